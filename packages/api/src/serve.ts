/**
 * Listeners: HTTPS for the network, a Unix socket for people on the machine. What node:http refuses before a
 * request is one, and what it would answer in plain text, is answered as a problem here.
 */
import http, { type IncomingMessage, type ServerResponse } from "node:http";
import https from "node:https";
import type { AddressInfo, Socket } from "node:net";
import type { Duplex } from "node:stream";
import type { TLSSocket } from "node:tls";
import { getRequestListener } from "@hono/node-server";
import type { Server as Api } from "./api.ts";
import * as limits from "./http/limits.ts";
import type { Connection } from "./http/run.ts";
import { sourceOf } from "./http/rate.ts";
import { titleOf } from "./http/problem.ts";

/** PEM. */
export interface Certificate {
  readonly key: string;
  readonly cert: string;
}

/** Bounds on slow and many clients; node:http keeps them. */
export interface ListenerBounds {
  readonly headersMsMax: number;
  readonly requestMsMax: number;
  readonly keepAliveMs: number;
  /** Without a byte either way; live streams have their beats. */
  readonly silentMsMax: number;
  readonly connectionsMax: number;
  readonly connectionsPerSource: number;
  /** How often node:http looks for requests that are too slow. */
  readonly lookMs: number;
}

const LISTENER_BOUNDS: ListenerBounds = {
  headersMsMax: limits.HEADERS_MS_MAX,
  requestMsMax: limits.REQUEST_MS_MAX,
  keepAliveMs: limits.KEEP_ALIVE_MS,
  silentMsMax: 4 * limits.STREAM_BEAT_MS,
  connectionsMax: limits.CONNECTIONS_MAX,
  connectionsPerSource: limits.CONNECTIONS_PER_SOURCE,
  lookMs: 2_000,
};

export interface TlsOptions {
  readonly certificate: Certificate;
  readonly host: string;
  /** 0 for any that is free. */
  readonly port: number;
  /** TLS 1.2 only where an old client leaves no choice. */
  readonly minVersion?: "TLSv1.3" | "TLSv1.2";
}

export interface LocalOptions {
  /** In a directory that only those who may ask can enter; the caller makes it and clears it. */
  readonly socketPath: string;
  /** Who alone can enter the directory; `local` where everybody on the machine can. */
  readonly peer?: "root";
}

export interface Listening {
  /** 0 on a local socket. */
  readonly port: number;
  /** New connections use it; those that are open keep theirs until they end. */
  replaceCertificate(certificate: Certificate): void;
  /** Takes no more requests, lets running ones end, then ends what is left. */
  close(graceMs?: number): Promise<void>;
}

export function serveTls(
  api: Api,
  { certificate, host, port, minVersion = "TLSv1.3" }: TlsOptions,
  bounds: Partial<ListenerBounds> = {},
): Promise<Listening> {
  const all = { ...LISTENER_BOUNDS, ...bounds };
  const secure = { ...certificate, minVersion, ALPNProtocols: ["http/1.1"] };
  const handshakeTimeout = limits.HANDSHAKE_MS_MAX;
  const server = https.createServer({ ...secure, handshakeTimeout, ...httpOptions(all) });
  const connectionOf = ({ socket }: IncomingMessage): Connection => ({
    peer: socket.remoteAddress ?? "unknown",
    transport: "tls",
  });
  bind(server, api, connectionOf, all);
  const replace = (next: Certificate): void => server.setSecureContext({ ...next, minVersion });
  return listen(server, { host, port }, replace);
}

export function serveLocal(
  api: Api,
  { socketPath, peer }: LocalOptions,
  bounds: Partial<ListenerBounds> = {},
): Promise<Listening> {
  const all = { ...LISTENER_BOUNDS, ...bounds };
  const server = http.createServer(httpOptions(all));
  bind(server, api, () => ({ peer: peer ?? "local", transport: "local" }), all);
  return listen(server, { path: socketPath }, () => undefined);
}

function httpOptions(bounds: ListenerBounds): http.ServerOptions {
  return {
    maxHeaderSize: limits.HEADER_BYTES_MAX,
    headersTimeout: bounds.headersMsMax,
    requestTimeout: bounds.requestMsMax,
    keepAliveTimeout: bounds.keepAliveMs,
    connectionsCheckingInterval: bounds.lookMs,
    insecureHTTPParser: false,
    // Answered as a problem by `faultOf`.
    requireHostHeader: false,
  };
}

type AnyServer = http.Server | https.Server;

function bind(
  server: AnyServer,
  api: Api,
  connectionOf: (incoming: IncomingMessage) => Connection,
  bounds: ListenerBounds,
): void {
  server.maxConnections = bounds.connectionsMax;
  server.maxRequestsPerSocket = limits.REQUESTS_PER_CONNECTION;
  server.timeout = bounds.silentMsMax;
  const options = {
    overrideGlobalObjects: false,
    errorHandler: () => api.refused("bad-request"),
  };
  server.on("request", (incoming: IncomingMessage, outgoing: ServerResponse) => {
    const fault = faultOf(incoming);
    const connection = connectionOf(incoming);
    const listener = getRequestListener(
      (request) => (fault === undefined ? api.fetch(request, connection) : api.refused(fault)),
      options,
    );
    void listener(incoming, outgoing);
  });
  // `Expect: 100-continue` goes on only where a body would be read; anything else is not understood.
  server.on("checkExpectation", (_incoming: IncomingMessage, outgoing: ServerResponse) => {
    void send(api.refused("expectation-refused"), outgoing.socket);
  });
  server.on("clientError", (error: NodeJS.ErrnoException, socket: Duplex) => {
    void send(api.refused(codeOf(error)), socket);
  });
  const refuse = (_incoming: IncomingMessage, socket: Duplex): void => {
    void send(api.refused("bad-request"), socket);
  };
  server.on("upgrade", refuse);
  server.on("connect", refuse);
  limitSources(server, bounds.connectionsPerSource);
}

/** What node:http lets through but two readers could understand differently. */
function faultOf(incoming: IncomingMessage): string | undefined {
  let hosts = 0;
  let secrets = 0;
  for (let at = 0; at < incoming.rawHeaders.length; at += 2) {
    const name = incoming.rawHeaders[at]?.toLowerCase();
    if (name === "host") hosts += 1;
    if (name === "authorization" || name === "cookie") secrets += 1;
  }
  return hosts !== 1 || secrets > 1 || incoming.httpVersion !== "1.1" ? "bad-request" : undefined;
}

function codeOf({ code }: NodeJS.ErrnoException): string {
  if (code === "HPE_HEADER_OVERFLOW") return "headers-too-large";
  if (code === "ERR_HTTP_REQUEST_TIMEOUT") return "request-timeout";
  return "bad-request";
}

/** For sockets on which there is no response object. */
async function send(response: Response, socket: Duplex | null): Promise<void> {
  if (socket === null || !socket.writable) {
    socket?.destroy();
    return;
  }
  const text = await response.text();
  const lines = [`HTTP/1.1 ${response.status} ${titleOf(response.status)}`];
  response.headers.forEach((value, name) => lines.push(`${name}: ${value}`));
  lines.push(`content-length: ${Buffer.byteLength(text)}`, "", text);
  socket.end(lines.join("\r\n"), () => socket.destroy());
}

function limitSources(server: AnyServer, perSource: number): void {
  const open = new Map<string, number>();
  server.on("connection", (socket: Socket) => {
    const peer = socket.remoteAddress;
    if (peer === undefined) return;
    const source = sourceOf(peer);
    const now = (open.get(source) ?? 0) + 1;
    if (now > perSource) {
      socket.destroy();
      return;
    }
    open.set(source, now);
    socket.once("close", () => {
      const left = (open.get(source) ?? 1) - 1;
      if (left === 0) open.delete(source);
      else open.set(source, left);
    });
  });
  server.on("tlsClientError", (_error: Error, socket: TLSSocket) => socket.destroy());
}

async function listen(
  server: AnyServer,
  where: { readonly host: string; readonly port: number } | { readonly path: string },
  replaceCertificate: (certificate: Certificate) => void,
): Promise<Listening> {
  await new Promise<void>((resolve, reject) => {
    server.once("error", reject);
    server.listen(where, () => {
      server.off("error", reject);
      resolve();
    });
  });
  const address = server.address();
  return {
    port: isPort(address) ? address.port : 0,
    replaceCertificate,
    close: (graceMs = 5_000) =>
      new Promise<void>((resolve) => {
        const timer = setTimeout(() => server.closeAllConnections(), graceMs);
        server.close(() => {
          clearTimeout(timer);
          resolve();
        });
        server.closeIdleConnections();
      }),
  };
}

function isPort(address: AddressInfo | string | null): address is AddressInfo {
  return typeof address === "object" && address !== null;
}
