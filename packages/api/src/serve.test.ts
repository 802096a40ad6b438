/** Over real TLS on loopback: slow and hostile clients, certificates, the local socket, live streams. */
import assert from "node:assert/strict";
import { EventEmitter, once } from "node:events";
import fs from "node:fs";
import http from "node:http";
import https from "node:https";
import net from "node:net";
import os from "node:os";
import path from "node:path";
import { test, type TestContext } from "node:test";
import tls from "node:tls";
import { selfSigned } from "./kit/certificate.test-kit.ts";
import { Plant } from "./kit/plant.test-kit.ts";
import { type ListenerBounds, type Listening, serveLocal, serveTls } from "./serve.ts";

const CERTIFICATE = selfSigned("first");

interface Served {
  readonly plant: Plant;
  readonly listening: Listening;
  readonly port: number;
}

async function served(t: TestContext, bounds: Partial<ListenerBounds> = {}): Promise<Served> {
  const plant = new Plant({}, ["localhost"]);
  const listening = await serveTls(
    plant.api,
    { certificate: CERTIFICATE, host: "127.0.0.1", port: 0 },
    bounds,
  );
  t.after(() => listening.close(0));
  return { plant, listening, port: listening.port };
}

async function connected(
  port: number,
  options: tls.ConnectionOptions = {},
): Promise<tls.TLSSocket> {
  const socket = tls.connect({
    port,
    host: "127.0.0.1",
    servername: "localhost",
    rejectUnauthorized: false,
    ...options,
  });
  await once(socket, "secureConnect");
  return socket;
}

/** Sends bytes as they are; answers all that comes until the server closes. */
async function raw(port: number, bytes: string | Buffer): Promise<string> {
  const socket = await connected(port);
  socket.write(bytes);
  return rest(socket);
}

async function rest(socket: net.Socket): Promise<string> {
  let text = "";
  socket.setEncoding("latin1");
  socket.on("data", (part: string) => (text += part));
  // A server that closes while the client still sends is a reset, with the answer before it.
  socket.on("error", () => undefined);
  if (!socket.closed) await new Promise((resolve) => socket.once("close", resolve));
  return text;
}

function statusOf(text: string): number {
  return Number(/^HTTP\/1\.1 (\d{3})/.exec(text)?.[1]);
}

function assertProblem(text: string, status: number, code: string): void {
  assert.equal(statusOf(text), status, text.slice(0, 200));
  assert.match(text, /content-type: application\/problem\+json/i);
  const body = text.slice(text.indexOf("\r\n\r\n") + 4);
  const json = body.slice(body.indexOf("{"), body.lastIndexOf("}") + 1);
  assert.equal((JSON.parse(json) as { code: string }).code, code);
}

interface Reply {
  readonly status: number;
  readonly headers: http.IncomingHttpHeaders;
  readonly text: string;
}

async function request(
  options: https.RequestOptions,
  body?: string,
  module: typeof http | typeof https = https,
): Promise<Reply> {
  const asked = module.request({
    host: "127.0.0.1",
    rejectUnauthorized: false,
    agent: false,
    ...options,
    headers: { host: "localhost", ...(options.headers as Record<string, string>) },
  });
  asked.end(body);
  const [response] = (await once(asked, "response")) as [http.IncomingMessage];
  response.setEncoding("utf8");
  let text = "";
  for await (const part of response) text += String(part);
  return { status: response.statusCode ?? 0, headers: response.headers, text };
}

test("speaks TLS 1.3, and nothing older unless it is told to", async (t) => {
  const { port, plant } = await served(t);
  const socket = await connected(port);
  assert.equal(socket.getProtocol(), "TLSv1.3");
  socket.destroy();
  await assert.rejects(connected(port, { maxVersion: "TLSv1.2" }));
  const certificate = selfSigned("old");
  const old = await serveTls(plant.api, {
    certificate,
    host: "127.0.0.1",
    port: 0,
    minVersion: "TLSv1.2",
  });
  t.after(() => old.close(0));
  const older = await connected(old.port, { maxVersion: "TLSv1.2" });
  assert.equal(older.getProtocol(), "TLSv1.2");
  older.destroy();
});

test("a new certificate is used by the next connection, without a restart", async (t) => {
  const { port, listening } = await served(t);
  const name = async (): Promise<string | string[] | undefined> => {
    const socket = await connected(port);
    const { subject } = socket.getPeerCertificate();
    socket.destroy();
    return subject.CN;
  };
  assert.equal(await name(), "first");
  listening.replaceCertificate(selfSigned("second"));
  assert.equal(await name(), "second");
  await assert.rejects(connected(port, { maxVersion: "TLSv1.2" }), "still TLS 1.3 only");
});

test("answers a request of a script over TLS", async (t) => {
  const { port, plant } = await served(t);
  const authorization = `Bearer ${plant.key("anna")}`;
  const { status, headers, text } = await request({
    port,
    path: "/v1/status",
    headers: { authorization },
  });
  assert.equal(status, 200);
  assert.equal((JSON.parse(text) as { site: string }).site, "lab");
  assert.match(headers["strict-transport-security"] ?? "", /max-age/);
  assert.equal(plant.log.at(-1)?.peer, "127.0.0.1");
});

test("answers the same on the local socket, where the name is localhost", async (t) => {
  const { plant } = await served(t);
  const directory = fs.mkdtempSync(path.join(os.tmpdir(), "sallyport-api-"));
  t.after(() => fs.rmSync(directory, { recursive: true }));
  const socketPath = path.join(directory, "api.sock");
  const local = await serveLocal(plant.api, { socketPath });
  t.after(() => local.close(0));
  const headers = { "content-type": "application/json" };
  const asked = { socketPath, method: "POST", path: "/v1/sign-in/local/begin", headers };
  const { status, text } = await request(asked, '{"uid":0}', http);
  assert.equal(status, 200, text);
  assert.equal(plant.log.at(-1)?.peer, "local");
});

const SMUGGLED = "GET /v1/people HTTP/1.1\r\nHost: localhost\r\n\r\n";
const POST =
  "POST /v1/sign-in/password HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n";

test("refuses what two readers of HTTP could understand differently, and closes", async (t) => {
  const { port, plant } = await served(t);
  const hostile: Readonly<Record<string, string>> = {
    "length and chunks": `${POST}Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n${SMUGGLED}`,
    "chunks and length": `${POST}Transfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n0\r\n\r\n${SMUGGLED}`,
    "two lengths": `${POST}Content-Length: 2\r\nContent-Length: 3\r\n\r\n{}${SMUGGLED}`,
    "a list of lengths": `${POST}Content-Length: 2, 3\r\n\r\n{}${SMUGGLED}`,
    "a signed length": `${POST}Content-Length: +2\r\n\r\n{}`,
    "a length in hex": `${POST}Content-Length: 0x2\r\n\r\n{}`,
    "a folded header": `${POST}X-A: b\r\n c\r\nContent-Length: 2\r\n\r\n{}`,
    "a bad chunk": `${POST}Transfer-Encoding: chunked\r\n\r\nzz\r\n{}\r\n0\r\n\r\n`,
    "another coding": `${POST}Transfer-Encoding: chunked, gzip\r\n\r\n0\r\n\r\n`,
    "a space before the colon": `${POST}Content-Length : 2\r\n\r\n{}`,
    "a bare line feed": "GET /v1/status HTTP/1.1\nHost: localhost\n\n",
    "a null byte": `GET /v1/status HTTP/1.1\r\nHost: localhost\r\nX-A: a\0b\r\n\r\n`,
    "no host": "GET /v1/status HTTP/1.1\r\n\r\n",
    "two hosts": "GET /v1/status HTTP/1.1\r\nHost: localhost\r\nHost: evil.example\r\n\r\n",
    "a host that is none": "GET /v1/status HTTP/1.1\r\nHost: local host\r\n\r\n",
    "two secrets":
      "GET /v1/status HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer a\r\nAuthorization: Bearer b\r\n\r\n",
    "HTTP 1.0": "GET /v1/status HTTP/1.0\r\nHost: localhost\r\n\r\n",
    "another protocol": "SSH-2.0-OpenSSH_9.2\r\n\r\n",
    "no protocol": `${"\0".repeat(64)}\r\n\r\n`,
  };
  for (const [what, bytes] of Object.entries(hostile)) {
    const answer = await raw(port, bytes);
    try {
      assertProblem(answer, 400, "bad-request");
    } catch (cause) {
      throw new Error(what, { cause });
    }
    const answers = answer.match(/HTTP\/1\.1 \d/g)?.length;
    assert.equal(answers, 1, `${what}: one request, one answer`);
  }
  assert.equal(plant.people.counts.authenticated, 0);
});

test("an absolute target, a foreign name in it, and CONNECT lead nowhere", async (t) => {
  const { port } = await served(t);
  const close = "Connection: close\r\n";
  const absolute = await raw(
    port,
    `GET https://evil.example/v1/status HTTP/1.1\r\nHost: localhost\r\n${close}\r\n`,
  );
  assertProblem(absolute, 421, "wrong-host");
  const connect = await raw(port, `CONNECT 10.0.0.1:502 HTTP/1.1\r\nHost: localhost\r\n\r\n`);
  assertProblem(connect, 400, "bad-request");
  const upgrade = await raw(
    port,
    `GET /v1/events HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n`,
  );
  assertProblem(upgrade, 400, "bad-request");
  const expect = await raw(port, `${POST}Expect: the-moon\r\nContent-Length: 2\r\n\r\n{}`);
  assertProblem(expect, 417, "expectation-refused");
});

test("headers of more than 16 KiB are refused with 431, a target that is too long with 414", async (t) => {
  const { port } = await served(t);
  const long = await raw(
    port,
    `GET /v1/status HTTP/1.1\r\nHost: localhost\r\nX-A: ${"a".repeat(20_000)}\r\n\r\n`,
  );
  assertProblem(long, 431, "headers-too-large");
  const target = await raw(
    port,
    `GET /v1/${"a".repeat(5000)} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n`,
  );
  assertProblem(target, 414, "target-too-long");
});

test("a client that sends its headers or its body drop by drop is answered 408 and closed", async (t) => {
  const bounds = { headersMsMax: 200, requestMsMax: 400, lookMs: 50 };
  const { port } = await served(t, bounds);
  const slow = await connected(port);
  slow.write("GET /v1/status HTTP/1.1\r\nHost: localhost\r\n");
  const drops = setInterval(() => slow.writable && slow.write("X-A: b\r\n"), 20);
  const [headers, body] = await Promise.all([
    rest(slow),
    raw(port, `${POST}Content-Length: 100\r\n\r\n{`),
  ]);
  clearInterval(drops);
  assertProblem(headers, 408, "request-timeout");
  assert.match(body, /^HTTP\/1\.1 40[08] /, body.slice(0, 100));
});

test("a body that says it is too large is refused before it is sent", async (t) => {
  const { port } = await served(t);
  const answer = await raw(port, `${POST}Content-Length: 9999999999\r\n\r\n`);
  assertProblem(answer, 413, "body-too-large");
});

test("a body without end is refused at the route's limit, in little memory", async (t) => {
  const { port } = await served(t);
  const socket = await connected(port);
  const answer = rest(socket);
  socket.write(`${POST}Transfer-Encoding: chunked\r\n\r\n`);
  const chunk = `4000\r\n${"x".repeat(0x4000)}\r\n`;
  const before = process.memoryUsage().rss;
  let sent = 0;
  const room = new EventEmitter();
  for (const name of ["drain", "close"]) socket.on(name, () => room.emit("moved"));
  while (socket.writable && sent < 64 * 1024 * 1024) {
    sent += chunk.length;
    if (!socket.write(chunk)) await once(room, "moved");
  }
  socket.destroy();
  const text = await answer;
  if (text !== "") assertProblem(text, 413, "body-too-large");
  assert.ok(sent < 64 * 1024 * 1024, `${sent} bytes were taken`);
  const grown = (process.memoryUsage().rss - before) / 1024 / 1024;
  assert.ok(grown < 64, `${grown.toFixed(1)} MiB more`);
});

test("one source cannot hold all connections", async (t) => {
  const { port } = await served(t, { connectionsPerSource: 4 });
  const sockets = await Promise.all([1, 2, 3, 4].map(() => connected(port)));
  await assert.rejects(connected(port));
  sockets[0]?.destroy();
  await new Promise((resolve) => setTimeout(resolve, 50));
  (await connected(port)).destroy();
  for (const socket of sockets) socket.destroy();
});

test("a connection that says nothing is closed", async (t) => {
  const { port } = await served(t, {
    headersMsMax: 200,
    requestMsMax: 300,
    lookMs: 50,
    silentMsMax: 500,
  });
  const silent = await connected(port);
  await rest(silent);
  const plain = net.connect(port, "127.0.0.1");
  await once(plain, "connect");
  plain.write("GET / HTTP/1.1\r\n\r\n");
  assert.equal((await rest(plain)).includes("HTTP/1.1 200"), false, "no plain HTTP on this port");
});
