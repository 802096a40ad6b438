/**
 * Sockets that all read into one buffer. Node offers that (`onread`) to sockets that dial; one that
 * a server accepted has to be wrapped again, by its handle. The handle is not documented, so all that
 * knows of it is here, and on a Node without it no connection is taken.
 */
import net from "node:net";
import { READ_MAX_BYTES } from "./modbus-inspector.ts";

/** Bytes that wait for a slow receiver, per socket, before its sender is not read any more. */
export const WRITE_QUEUE_BYTES: number = 16 * 1024;

/** Who owns a socket, and gets what happens to it. */
export interface Owner {
  /** `bytes` is shared by all sockets and valid during the call only. */
  readFrom(socket: GateSocket, bytes: Uint8Array, sizeBytes: number): void;
  connected(socket: GateSocket): void;
  ended(socket: GateSocket): void;
  /** What was written to it waits for it to read; `drained` tells when that is over. */
  blocked(socket: GateSocket): void;
  drained(socket: GateSocket): void;
  failed(socket: GateSocket, error: NodeJS.ErrnoException): void;
  closed(socket: GateSocket): void;
}

/** Valid from one read callback to the next: every read of every socket fills the same bytes. */
const shared = new Uint8Array(READ_MAX_BYTES);

function deliver(this: GateSocket, sizeBytes: number, bytes: Uint8Array): boolean {
  this.owner?.readFrom(this, bytes, sizeBytes);
  return true;
}

/** One function for all sockets: Node calls it with the socket as `this`. */
const onread = {
  buffer: shared,
  callback: deliver,
};

export class GateSocket extends net.Socket {
  owner: Owner | undefined;

  constructor(options: net.SocketConstructorOpts) {
    super(options);
    this.owner = undefined;
  }
}

/** The handlers are shared by all sockets, so that an idle connection costs no functions of its own. */
export function own(socket: GateSocket, owner: Owner): void {
  socket.owner = owner;
  socket.on("end", onEnd);
  socket.on("drain", onDrain);
  socket.on("error", onError);
  socket.on("close", onClose);
  if (socket.connecting || socket.pending) socket.once("connect", onConnect);
}

function onConnect(this: GateSocket): void {
  this.owner?.connected(this);
}
function onEnd(this: GateSocket): void {
  this.owner?.ended(this);
}
function onDrain(this: GateSocket): void {
  this.owner?.drained(this);
}
function onError(this: GateSocket, error: NodeJS.ErrnoException): void {
  this.owner?.failed(this, error);
}
function onClose(this: GateSocket): void {
  this.owner?.closed(this);
}

/** What is not in Node's types: the handle of an accepted socket, and the option to start from one. */
interface Handled {
  _handle?: object | null;
  /** The server that counts this socket as open until it is destroyed. */
  _server?: unknown;
}

/** A socket to dial with. */
export function dialer(): GateSocket {
  return new GateSocket({
    allowHalfOpen: true,
    onread,
    highWaterMark: WRITE_QUEUE_BYTES,
  } as object);
}

/**
 * Wraps a socket that a server with `pauseOnConnect` accepted. The new one is paused; the old one must
 * not be used again. Undefined if it has no handle to take over: then it is still the caller's.
 */
export function adopt(accepted: net.Socket): GateSocket | undefined {
  const old: Handled = accepted as unknown as Handled;
  const handle = old._handle;
  if (typeof handle !== "object" || handle === null) return undefined;
  const options = {
    handle,
    onread,
    allowHalfOpen: true,
    highWaterMark: WRITE_QUEUE_BYTES,
    pauseOnCreate: true,
  };
  const socket = new GateSocket(options as object);
  const fresh: Handled = socket as unknown as Handled;
  // The server's count of open sockets follows the one that will be destroyed.
  fresh._server = old._server;
  old._server = null;
  old._handle = null;
  socket.pause();
  return socket;
}
