import fs from "node:fs";
import net from "node:net";
import path from "node:path";
import { SallyportError } from "@sallyport/core";

/** 64 files of 1 MiB with their JSON escapes; a longer line ends the connection. */
const LINE_MAX_BYTES = 160 * 1024 * 1024;
/** A person's command line and a few tools; the next caller is refused. */
const CONNECTIONS_MAX = 32;
const ANSWER_TIMEOUT_MS = 120_000;

/** Answers each line with one line, in order. `connection` counts up: a new number, a new connection. */
export type LineHandler = (line: string, connection: number) => Promise<string>;

/** Counts over all sockets of a process, so that no two connections have one number. */
let connections = 0;

/**
 * Listens on a Unix socket. The directory that it is in lets one caller pass, and so says who calls (Node cannot
 * ask the kernel for a peer's uid): the supervisor made it, or only the owner of this process gets one here.
 */
export async function serveLines(socketPath: string, handler: LineHandler): Promise<net.Server> {
  fs.mkdirSync(path.dirname(socketPath), { recursive: true, mode: 0o700 });
  fs.rmSync(socketPath, { force: true });
  const server = net.createServer((socket) => {
    const connection = ++connections;
    let queue = Promise.resolve();
    socket.on("error", () => socket.destroy());
    readLines(socket, (line) => {
      queue = queue.then(async () => {
        const answer = await handler(line, connection);
        if (!socket.destroyed) socket.write(`${answer}\n`);
      });
    });
  });
  server.maxConnections = CONNECTIONS_MAX;
  await new Promise<void>((resolve, reject) => {
    server.once("error", reject);
    server.listen(socketPath, resolve);
  });
  // Who may connect is decided by the directory.
  fs.chmodSync(socketPath, 0o666);
  return server;
}

function readLines(socket: net.Socket, onLine: (line: string) => void): void {
  let parts: Buffer[] = [];
  let sizeBytes = 0;
  socket.on("data", (chunk: Buffer) => {
    let rest = chunk;
    for (;;) {
      const end = rest.indexOf(10);
      if (end < 0) break;
      parts.push(rest.subarray(0, end));
      onLine(Buffer.concat(parts).toString("utf8"));
      parts = [];
      sizeBytes = 0;
      rest = rest.subarray(end + 1);
    }
    sizeBytes += rest.length;
    if (sizeBytes > LINE_MAX_BYTES) socket.destroy();
    else if (rest.length > 0) parts.push(rest);
  });
}

/** One question over a connection of its own. */
export async function askLine(socketPath: string, line: string): Promise<string> {
  return await new Promise((resolve, reject) => {
    const socket = net.connect(socketPath);
    socket.setTimeout(ANSWER_TIMEOUT_MS, () => {
      socket.destroy(new SallyportError("enforcer-silent", "the enforcer did not answer in time"));
    });
    socket.once("error", reject);
    socket.once("close", () => {
      reject(new SallyportError("enforcer-gone", "the enforcer closed the connection unanswered"));
    });
    readLines(socket, (answer) => {
      resolve(answer);
      socket.destroy();
    });
    socket.write(`${line}\n`);
  });
}
