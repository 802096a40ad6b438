/** A gate as the process that the supervisor starts: lines in, lines out. */
import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { once } from "node:events";
import net from "node:net";
import { createInterface } from "node:readline";
import { type TestContext, test } from "node:test";
import { parseIpv4 } from "@sallyport/core";

const RUN = `import { runGate } from ${JSON.stringify(new URL("run.ts", import.meta.url).href)};
const clock = { wallMs: () => Date.now(), nowMs: () => performance.now() };
await runGate(process.stdin, process.stdout, clock);`;
const LOOPBACK = parseIpv4("127.0.0.1") ?? 0;

type Line = Readonly<Record<string, unknown>>;

function start(t: TestContext) {
  const child = spawn(process.execPath, ["--input-type=module", "--eval", RUN], {
    stdio: ["pipe", "pipe", "inherit"],
  });
  t.after(() => child.kill("SIGKILL"));
  const lines = createInterface({ input: child.stdout })[Symbol.asyncIterator]();
  /** The next line of that type; what comes before it is passed over. */
  const next = async (type: string): Promise<Line> => {
    for (;;) {
      const { value, done } = await lines.next();
      assert.notEqual(done, true, `the process ended before ${type}`);
      const line = JSON.parse(String(value)) as Line;
      if (line["type"] === type) return line;
    }
  };
  return { child, next, say: (line: string) => child.stdin.write(`${line}\n`) };
}

async function echo(t: TestContext): Promise<number> {
  const server = net.createServer((socket) => {
    socket.on("error", () => undefined);
    socket.pipe(socket);
  });
  t.after(() => server.close());
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  return (server.address() as net.AddressInfo).port;
}

async function freePort(): Promise<number> {
  const server = net.createServer().listen(0, "127.0.0.1");
  await once(server, "listening");
  const { port } = server.address() as net.AddressInfo;
  server.close();
  await once(server, "close");
  return port;
}

function listeners(listenPort: number, targetPort: number): string {
  const listener = {
    conduit: "press-diagnosis",
    policyLine: "site.yaml:154",
    room: "gate-cells",
    listenAddress: LOOPBACK,
    listenPort,
    egressAddress: LOOPBACK,
    targetAddress: LOOPBACK,
    targetPort,
    asset: "press-plc",
    slot: 0,
    l7: { protocol: "tcp" },
    connections: { max: 5, idleSeconds: 60, connectSeconds: 5 },
  };
  return JSON.stringify({ type: "listeners", listeners: [listener] });
}

test("a gate process listens when told to, refuses what it does not understand, and ends with its input", async (t) => {
  const target = await echo(t);
  const port = await freePort();
  const { child, next, say } = start(t);
  say(listeners(port, target));
  assert.deepEqual(await next("loaded"), {
    type: "loaded",
    opened: 1,
    kept: 0,
    closed: 0,
    failed: 0,
  });
  say('{"type":"listeners","listeners":[{}]}');
  const refused = await next("message-refused");
  assert.equal(refused["code"], "gate-message-refused");
  const socket = net.connect({ port, host: "127.0.0.1" });
  socket.write("still there");
  const [data] = (await once(socket, "data")) as [Buffer];
  assert.equal(data.toString(), "still there", "what was loaded before stays");
  assert.equal((await next("connection-opened"))["conduit"], "press-diagnosis");
  const ended = once(socket, "close");
  child.stdin.end();
  assert.equal((await next("connection-closed"))["reason"], "gate-closed");
  await next("ended");
  await ended;
  const [code] = (await once(child, "exit")) as [number];
  assert.equal(code, 0, "no timer and no socket keeps it alive");
});

test("a drained gate takes nothing new, serves what is open, and ends", async (t) => {
  const target = await echo(t);
  const port = await freePort();
  const { child, next, say } = start(t);
  say(listeners(port, target));
  await next("loaded");
  const socket = net.connect({ port, host: "127.0.0.1" });
  socket.write("one");
  await once(socket, "data");
  say('{"type":"drain"}');
  await next("connection-opened");
  socket.write("two");
  const [data] = (await once(socket, "data")) as [Buffer];
  assert.equal(data.toString(), "two");
  socket.end();
  await next("ended");
  const [code] = (await once(child, "exit")) as [number];
  assert.equal(code, 0);
});
