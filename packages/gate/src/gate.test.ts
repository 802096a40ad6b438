/** The gate on real sockets of the loopback: 127.0.0.1 clients and gate, devices beside them. */
import assert from "node:assert/strict";
import { once } from "node:events";
import net from "node:net";
import { type TestContext, test } from "node:test";
import { parseIpv4 } from "@sallyport/core";
import type { ConnectionLimits, L7, ModbusLimits } from "@sallyport/policy/legs";
import type { ConnectionClosed, GateEvent, PdusAllowed } from "./events.ts";
import { type Gate, startGate } from "./gate.ts";
import { MESSAGE_TIMEOUT_MS } from "./modbus-inspector.ts";
import type { GateListener } from "./protocol.ts";

const MODBUS: ModbusLimits = {
  protocol: "modbus",
  functions: ["read-holding-registers", "write-single-register"],
  units: [{ first: 1, last: 1 }],
  coils: [],
  discreteInputs: [],
  holdingRegisters: [{ first: 0, last: 99 }],
  inputRegisters: [],
  writeValues: [],
};
const CONNECTIONS: ConnectionLimits = { max: 50, idleSeconds: 60, connectSeconds: 5 };
const EGRESS = "127.0.0.77";

function hex(text: string): Buffer {
  return Buffer.from(text.replaceAll(" ", ""), "hex");
}
//                     trans prot len  un fn addr qty
const READ = hex("     0001  0000 0006 01 03 0000 0001");
const READ_ANSWER = hex("0001 0000 0005 01 03 02 002a");
const OUTSIDE = hex("  0002  0000 0006 01 03 0064 0001");
const OUTSIDE_REFUSED = hex("0002 0000 0003 01 83 02");

function address(text: string): number {
  const parsed = parseIpv4(text);
  assert.ok(parsed !== undefined);
  return parsed;
}

/** A free port: bound once and given back. */
async function freePort(): Promise<number> {
  const server = net.createServer().listen(0, "127.0.0.1");
  await once(server, "listening");
  const { port } = server.address() as net.AddressInfo;
  server.close();
  await once(server, "close");
  return port;
}

interface Device {
  readonly port: number;
  readonly server: net.Server;
  /** Everything that arrived, over all connections. */
  readonly got: Buffer[];
  readonly sockets: net.Socket[];
}

/** What it does with each chunk is the test's. */
async function device(
  t: TestContext,
  onData: (socket: net.Socket, data: Buffer) => void = () => undefined,
): Promise<Device> {
  const got: Buffer[] = [];
  const sockets: net.Socket[] = [];
  const server = net.createServer({ allowHalfOpen: true }, (socket) => {
    sockets.push(socket);
    socket.on("error", () => undefined);
    socket.on("data", (data) => {
      got.push(data);
      onData(socket, data);
    });
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  t.after(() => {
    for (const socket of sockets) socket.destroy();
    server.close();
  });
  return { port: (server.address() as net.AddressInfo).port, server, got, sockets };
}

const answersReads = (socket: net.Socket, data: Buffer): void => {
  for (let at = 0; at + 12 <= data.length; at += 12) {
    const answer = Buffer.from(READ_ANSWER);
    data.copy(answer, 0, at, at + 2);
    socket.write(answer);
  }
};

class World {
  readonly events: GateEvent[] = [];
  readonly clock = { wall: 1_800_000_000_000, now: 0 };
  readonly port: number;
  gate: Gate | undefined;

  constructor(port: number) {
    this.port = port;
  }

  listener(targetPort: number, l7: L7 = MODBUS, connections = CONNECTIONS): GateListener {
    return {
      conduit: "erp-reads-tank",
      policyLine: "site.yaml:80",
      room: "gate-erp",
      listenAddress: address("127.0.0.1"),
      listenPort: this.port,
      egressAddress: address(EGRESS),
      targetAddress: address("127.0.0.1"),
      targetPort,
      asset: "tank-plc",
      slot: 0,
      l7,
      connections,
    };
  }

  async start(t: TestContext, ...listeners: GateListener[]): Promise<Gate> {
    const gate = await startGate({
      listeners,
      onEvent: (event) => void this.events.push(event),
      clock: { wallMs: () => this.clock.wall, nowMs: () => this.clock.now },
      sweepMs: 0,
    });
    this.gate = gate;
    t.after(() => gate.close());
    return gate;
  }

  of<Type extends GateEvent["type"]>(type: Type): Extract<GateEvent, { type: Type }>[] {
    return this.events.filter(
      (event): event is Extract<GateEvent, { type: Type }> => event.type === type,
    );
  }

  /** Until sockets and events have come that far; the runner's time limit ends it otherwise. */
  async until(isSo: () => boolean): Promise<void> {
    while (!isSo()) await new Promise<void>((resolve) => setTimeout(resolve, 2));
  }

  /** The next closed connection's event. */
  async closed(count = 1): Promise<ConnectionClosed> {
    await this.until(() => this.of("connection-closed").length >= count);
    const event = this.of("connection-closed")[count - 1];
    assert.ok(event !== undefined);
    return event;
  }

  async client(t: TestContext): Promise<Client> {
    const socket = net.connect({ port: this.port, host: "127.0.0.1", allowHalfOpen: true });
    t.after(() => socket.destroy());
    await once(socket, "connect");
    return new Client(socket);
  }
}

class Client {
  readonly socket: net.Socket;
  #kept = Buffer.alloc(0);
  isEnded = false;
  #wake: () => void = () => undefined;

  constructor(socket: net.Socket) {
    this.socket = socket;
    socket.on("error", () => undefined);
    socket.on("data", (data: Buffer) => {
      this.#kept = Buffer.concat([this.#kept, data]);
      this.#wake();
    });
    for (const end of ["end", "close"]) {
      socket.on(end, () => {
        this.isEnded = true;
        this.#wake();
      });
    }
  }

  async read(size: number): Promise<string> {
    while (this.#kept.length < size && !this.isEnded) await this.#next();
    const out = this.#kept.subarray(0, size);
    this.#kept = this.#kept.subarray(size);
    return out.toString("hex");
  }

  /** All that is left until the other side ends. */
  async rest(): Promise<string> {
    while (!this.isEnded) await this.#next();
    return this.#kept.toString("hex");
  }

  #next(): Promise<void> {
    return new Promise((resolve) => {
      this.#wake = resolve;
    });
  }
}

async function world(): Promise<World> {
  return new World(await freePort());
}

test("an allowed request is answered by the device, which sees the conduit's egress address", async (t) => {
  const plc = await device(t, answersReads);
  const w = await world();
  await w.start(t, w.listener(plc.port));
  const client = await w.client(t);
  client.socket.write(READ);
  assert.equal(await client.read(11), READ_ANSWER.toString("hex"));
  assert.equal(plc.sockets[0]?.remoteAddress, EGRESS);
  client.socket.end();
  assert.equal(await client.rest(), "");
  const closed = await w.closed();
  assert.equal(closed.reason, "closed-by-client");
  assert.deepEqual(
    [closed.bytesFromClient, closed.bytesFromDevice, closed.allowed, closed.refused],
    [12, 11, 1, 0],
  );
  const [opened] = w.of("connection-opened");
  assert.equal(opened?.peer, "127.0.0.1");
  assert.equal(opened?.conduit, "erp-reads-tank");
  assert.equal(opened?.asset, "tank-plc");
  assert.equal(opened?.listener, `127.0.0.1:${w.port}`);
});

test("a refused request gets its exception in its turn and the device never sees it", async (t) => {
  const plc = await device(t, answersReads);
  const w = await world();
  await w.start(t, w.listener(plc.port));
  const client = await w.client(t);
  client.socket.write(Buffer.concat([READ, OUTSIDE, READ]));
  assert.equal(
    await client.read(31),
    Buffer.concat([READ_ANSWER, OUTSIDE_REFUSED, READ_ANSWER]).toString("hex"),
  );
  assert.equal(Buffer.concat(plc.got).toString("hex"), Buffer.concat([READ, READ]).toString("hex"));
  const [refused] = w.of("pdu-refused");
  assert.equal(refused?.reason, "l7.address-not-allowed");
  assert.equal(refused?.peer, "127.0.0.1");
  assert.deepEqual(refused?.pdu.target, {
    kind: "memory",
    unit: 1,
    area: "holding-registers",
    address: 100,
    count: 1,
  });
});

test("a malformed request ends both connections, and the event says what was wrong", async (t) => {
  const plc = await device(t);
  const w = await world();
  await w.start(t, w.listener(plc.port));
  for (const [index, [bytes, reason]] of (
    [
      ["GET / HTTP/1.1\r\n\r\n", "l7.request-bad-protocol-id"],
      [hex("0001 0000 ffff 01"), "l7.request-bad-length"],
      [hex("0001 0000 0001"), "l7.request-bad-length"],
      [hex("0001 0000 0006 01 03 0000 007e"), "l7.request-bad-quantity"],
    ] as const
  ).entries()) {
    const client = await w.client(t);
    client.socket.write(bytes);
    assert.equal(await client.rest(), "");
    assert.equal((await w.closed(index + 1)).reason, reason);
    await new Promise<void>((resolve) => {
      const socket = plc.sockets[index];
      if (socket === undefined || socket.readableEnded || socket.destroyed) resolve();
      else socket.once("end", resolve).once("close", resolve);
    });
  }
  assert.equal(plc.got.length, 0);
});

test("a device that answers what nobody asked is cut off from the client", async (t) => {
  const plc = await device(t, (socket) => {
    socket.write(hex("0009 0000 0005 01 03 02 002a"));
  });
  const w = await world();
  await w.start(t, w.listener(plc.port));
  const client = await w.client(t);
  client.socket.write(READ);
  assert.equal(await client.rest(), "");
  assert.equal((await w.closed()).reason, "l7.response-unsolicited");
});

test("a device that refuses the connection is told as exception 0B, and so is one that is silent", async (t) => {
  const w = await world();
  const gate = await w.start(t, w.listener(await freePort()));
  const client = await w.client(t);
  client.socket.write(READ);
  assert.equal(await client.rest(), "00010000000301830b");
  assert.equal((await w.closed()).reason, "device-refused");

  // 192.0.2.0/24 is for documentation: from a loopback address nothing leads there.
  const lost = { ...w.listener(502), targetAddress: address("192.0.2.1") };
  await gate.reload([lost]);
  const other = await w.client(t);
  other.socket.write(READ);
  await w.until(() => w.of("connection-opened").length === 2);
  w.clock.now += 5_000;
  gate.sweep();
  assert.equal(await other.rest(), "00010000000301830b");
  assert.match((await w.closed(2)).reason, /^device-(unreachable|timeout)$/);
});

test("an opaque relay without a device only closes", async (t) => {
  const w = await world();
  await w.start(t, w.listener(await freePort(), { protocol: "tcp" }));
  const client = await w.client(t);
  assert.equal(await client.rest(), "");
  assert.equal((await w.closed()).reason, "device-refused");
});

test("the client may end its side and still gets its answer", async (t) => {
  const plc = await device(t, (socket, data) => {
    // The answer comes after the client's end has arrived at the gate.
    setTimeout(() => answersReads(socket, data), 30);
  });
  const w = await world();
  await w.start(t, w.listener(plc.port));
  const client = await w.client(t);
  client.socket.end(READ);
  assert.equal(await client.rest(), READ_ANSWER.toString("hex"));
  assert.equal((await w.closed()).reason, "closed-by-client");
});

test("a device that ends its side leaves the client an exception and an end", async (t) => {
  const plc = await device(t, (socket) => socket.end());
  const w = await world();
  await w.start(t, w.listener(plc.port));
  const client = await w.client(t);
  client.socket.write(READ);
  assert.equal(await client.rest(), "00010000000301830b");
  assert.equal((await w.closed()).reason, "closed-by-device");
});

test("the opaque relay passes bytes both ways and each end by itself", async (t) => {
  const plc = await device(t);
  const w = await world();
  await w.start(t, w.listener(plc.port, { protocol: "tcp" }));
  const client = await w.client(t);
  client.socket.end("to the device");
  await w.until(() => plc.sockets.length === 1);
  const socket = plc.sockets[0];
  assert.ok(socket !== undefined);
  if (!socket.readableEnded) await once(socket, "end");
  assert.equal(Buffer.concat(plc.got).toString(), "to the device");
  socket.end("and back, after the client's end");
  assert.equal(
    Buffer.from(await client.rest(), "hex").toString(),
    "and back, after the client's end",
  );
  const closed = await w.closed();
  assert.equal(closed.bytesFromClient, 13);
  assert.equal(closed.bytesFromDevice, 32);
});

test("a slow reader slows the sender: 64 megabytes arrive whole, and little is kept", async (t) => {
  const size = 64 * 1024 * 1024;
  const plc = await device(t, (socket) => {
    socket.write(Buffer.alloc(size, "x"));
    socket.end();
  });
  const w = await world();
  await w.start(t, w.listener(plc.port, { protocol: "tcp" }));
  const socket = net.connect({ port: w.port, host: "127.0.0.1" });
  t.after(() => socket.destroy());
  await once(socket, "connect");
  socket.pause();
  socket.write("go");
  await w.until(() => w.of("connection-opened").length === 1);
  // Until the buffers of both kernels and the gate are full; together they hold less.
  let sent = -1;
  for (;;) {
    await new Promise((resolve) => setTimeout(resolve, 50));
    const now = (plc.sockets[0]?.bytesWritten ?? 0) - (plc.sockets[0]?.writableLength ?? 0);
    if (plc.sockets[0] !== undefined && now === sent) break;
    sent = now;
  }
  assert.equal(plc.sockets[0]?.writableFinished, false, "the device is held up");
  let got = 0;
  socket.on("data", (data) => {
    got += data.length;
  });
  socket.resume();
  await once(socket, "end");
  assert.equal(got, size);
});

test("a client that asks and never reads is not served without bound", async (t) => {
  const plc = await device(t, answersReads);
  const w = await world();
  await w.start(t, w.listener(plc.port));
  const client = net.connect({ port: w.port, host: "127.0.0.1" });
  t.after(() => client.destroy());
  await once(client, "connect");
  client.on("error", () => undefined);
  client.pause();
  const flood = Buffer.concat(Array.from({ length: 1000 }, () => OUTSIDE));
  let isHeld = false;
  for (let round = 0; round < 3000 && !isHeld; round++) {
    if (client.write(flood)) continue;
    isHeld = await Promise.race([
      once(client, "drain").then(
        () => false,
        () => false,
      ),
      new Promise<boolean>((resolve) => setTimeout(() => resolve(true), 300)),
    ]);
  }
  assert.equal(isHeld, true, "the flood was taken whole");
  assert.deepEqual(w.of("connection-closed"), [], "it was slowed, not cut off");
  assert.equal(plc.got.length, 0);
});

test("connections above the listener's limit are closed at once and counted", async (t) => {
  const plc = await device(t, answersReads);
  const w = await world();
  const gate = await w.start(t, w.listener(plc.port, MODBUS, { ...CONNECTIONS, max: 2 }));
  const first = await w.client(t);
  const second = await w.client(t);
  for (const client of [first, second]) {
    client.socket.write(READ);
    assert.equal(await client.read(11), READ_ANSWER.toString("hex"));
  }
  const third = await w.client(t);
  assert.equal(await third.rest(), "");
  assert.equal(gate.connections, 2);
  assert.equal(w.of("connection-refused")[0]?.reason, "connection-limit");
  assert.equal(plc.sockets.length, 2, "no connection to the device was spent on it");
  first.socket.destroy();
  await w.closed();
  const fourth = await w.client(t);
  fourth.socket.write(READ);
  assert.equal(await fourth.read(11), READ_ANSWER.toString("hex"));
});

test("a flood of connections is told by a few events and exact counts", async (t) => {
  const plc = await device(t);
  const w = await world();
  const gate = await w.start(t, w.listener(plc.port, MODBUS, { ...CONNECTIONS, max: 1 }));
  await w.client(t);
  const flood = 300;
  for (let round = 0; round < flood; round++) {
    const client = await w.client(t);
    await client.rest();
  }
  assert.equal(gate.connections, 1);
  const told = w.of("connection-refused").length;
  assert.ok(told < 150, `${told} events`);
  w.clock.wall += 60_000;
  gate.sweep();
  const [suppressed] = w.of("suppressed").filter((event) => event.kind === "connection-refused");
  assert.equal((suppressed?.count ?? 0) + told, flood);
});

test("idle connections and slow messages end by the clock that was passed in", async (t) => {
  const plc = await device(t, answersReads);
  const w = await world();
  const gate = await w.start(t, w.listener(plc.port));
  const idle = await w.client(t);
  idle.socket.write(READ);
  await idle.read(11);
  gate.sweep();
  w.clock.now += 59_999;
  gate.sweep();
  assert.equal(gate.connections, 1);
  w.clock.now += 1;
  gate.sweep();
  assert.equal((await w.closed()).reason, "idle");
  assert.equal(await idle.rest(), "");

  const slow = await w.client(t);
  slow.socket.write(Buffer.concat([READ, READ.subarray(0, 9)]));
  await slow.read(11);
  for (let step = 0; step <= 10; step++) {
    gate.sweep();
    w.clock.now += MESSAGE_TIMEOUT_MS / 10;
  }
  gate.sweep();
  assert.equal((await w.closed(2)).reason, "l7.request-slow");
});

test("new limits reach open connections, and nothing is dropped", async (t) => {
  const plc = await device(t, answersReads);
  const w = await world();
  const gate = await w.start(t, w.listener(plc.port));
  const client = await w.client(t);
  client.socket.write(READ);
  await client.read(11);
  const narrower: ModbusLimits = { ...MODBUS, holdingRegisters: [{ first: 50, last: 60 }] };
  assert.deepEqual(await gate.reload([w.listener(plc.port, narrower)]), {
    opened: 0,
    kept: 1,
    closed: 0,
    failed: 0,
  });
  client.socket.write(READ);
  assert.equal(await client.read(9), "000100000003018302");
  await gate.reload([w.listener(plc.port)]);
  client.socket.write(READ);
  assert.equal(await client.read(11), READ_ANSWER.toString("hex"));
  assert.equal(w.of("connection-closed").length, 0);
});

test("a refusal names the line of the policy, also after an edit moved it under a live connection", async (t) => {
  const plc = await device(t, answersReads);
  const w = await world();
  const none: ModbusLimits = { ...MODBUS, holdingRegisters: [] };
  const gate = await w.start(t, w.listener(plc.port, none));
  const client = await w.client(t);
  client.socket.write(READ);
  await client.read(9);
  await gate.reload([{ ...w.listener(plc.port, none), policyLine: "site.yaml:97" }]);
  client.socket.write(READ);
  await client.read(9);
  const lines = w.of("pdu-refused").map(({ policyLine }) => policyLine);
  assert.deepEqual(lines, ["site.yaml:80", "site.yaml:97"]);
  assert.equal(w.of("connection-closed").length, 0);
});

test("a listener that leaves the set ends with its connections; one with a new route starts anew", async (t) => {
  const plc = await device(t, answersReads);
  const other = await device(t, answersReads);
  const w = await world();
  const gate = await w.start(t, w.listener(plc.port));
  const client = await w.client(t);
  client.socket.write(READ);
  await client.read(11);
  const moved = await gate.reload([w.listener(other.port)]);
  assert.deepEqual([moved.opened, moved.kept, moved.closed], [1, 0, 1]);
  assert.equal((await w.closed()).reason, "revoked");
  assert.equal(await client.rest(), "");
  const next = await w.client(t);
  next.socket.write(READ);
  await next.read(11);
  assert.equal(other.sockets.length, 1);
  await gate.reload([]);
  assert.equal((await w.closed(2)).reason, "revoked");
  const refused = net.connect({ port: w.port, host: "127.0.0.1" });
  const [error] = (await once(refused, "error")) as [NodeJS.ErrnoException];
  assert.equal(error.code, "ECONNREFUSED");
});

test("a place that is taken is told, the others work, and a later reload tries again", async (t) => {
  const plc = await device(t, answersReads);
  const w = await world();
  const squatter = net.createServer().listen(w.port, "127.0.0.1");
  await once(squatter, "listening");
  const gate = await w.start(t, w.listener(plc.port));
  assert.deepEqual([gate.started.opened, gate.started.failed], [0, 1]);
  assert.equal(w.of("listener-failed")[0]?.why, "EADDRINUSE");
  squatter.close();
  await once(squatter, "close");
  assert.equal((await gate.reload([w.listener(plc.port)])).opened, 1);
  const client = await w.client(t);
  client.socket.write(READ);
  assert.equal(await client.read(11), READ_ANSWER.toString("hex"));
});

test("drain takes no new connection and lets the present one end", async (t) => {
  const plc = await device(t, answersReads);
  const w = await world();
  const gate = await w.start(t, w.listener(plc.port));
  const client = await w.client(t);
  client.socket.write(READ);
  await client.read(11);
  const drained = gate.drain(60_000);
  client.socket.write(READ);
  assert.equal(await client.read(11), READ_ANSWER.toString("hex"));
  const late = net.connect({ port: w.port, host: "127.0.0.1" });
  const [error] = (await once(late, "error")) as [NodeJS.ErrnoException];
  assert.equal(error.code, "ECONNREFUSED");
  client.socket.end();
  await drained;
  assert.equal(w.of("listener-closed").length, 1);
});

test("what passes is counted by peer, function and minute", async (t) => {
  const plc = await device(t, answersReads);
  const w = await world();
  const gate = await w.start(t, w.listener(plc.port));
  const client = await w.client(t);
  client.socket.write(Buffer.concat([READ, READ, READ]));
  await client.read(33);
  gate.sweep();
  assert.equal(w.of("pdus-allowed").length, 0, "the minute is not over");
  const minuteMs = Math.floor(w.clock.wall / 60_000) * 60_000;
  w.clock.wall += 60_000;
  gate.sweep();
  const counts = (events: readonly PdusAllowed[]): unknown[] =>
    events.map(({ peer, function: name, count, minuteMs: minute }) => [peer, name, count, minute]);
  assert.deepEqual(counts(w.of("pdus-allowed")), [
    ["127.0.0.1", "read-holding-registers", 3, minuteMs],
  ]);
  client.socket.write(READ);
  await client.read(11);
  await gate.close();
  assert.deepEqual(counts(w.of("pdus-allowed").slice(1)), [
    ["127.0.0.1", "read-holding-registers", 1, minuteMs + 60_000],
  ]);
});

test("refusals above the budget are counted exactly, and reads cannot hide a write", async (t) => {
  const plc = await device(t);
  const w = await world();
  const gate = await w.start(t, w.listener(plc.port));
  const client = await w.client(t);
  const reads = 500;
  client.socket.write(Buffer.concat(Array.from({ length: reads }, () => OUTSIDE)));
  await client.read(reads * 9);
  client.socket.write(hex("0003 0000 0006 01 06 0064 0007"));
  await client.read(9);
  const told = w.of("pdu-refused");
  assert.ok(told.length < 50);
  const write = told.at(-1);
  assert.equal(write?.pdu.function, "write-single-register");
  assert.deepEqual(write?.pdu.values, [7]);
  w.clock.wall += 60_000;
  gate.sweep();
  const [suppressed] = w.of("suppressed");
  assert.equal(suppressed?.function, "read-holding-registers");
  assert.equal(suppressed?.reason, "l7.address-not-allowed");
  assert.equal((suppressed?.count ?? 0) + told.length - 1, reads);
  client.socket.destroy();
  assert.equal((await w.closed()).refused, reads + 1);
  assert.equal(plc.got.length, 0);
});

test("many connections read into one buffer without touching each other's bytes", async (t) => {
  const plc = await device(t, (socket, data) => {
    socket.write(data);
  });
  const w = await world();
  await w.start(t, w.listener(plc.port, { protocol: "tcp" }));
  const clients = await Promise.all(Array.from({ length: 40 }, () => w.client(t)));
  await Promise.all(
    clients.map(async (client, index) => {
      for (let round = 0; round < 10; round++) {
        const own = Buffer.alloc(3000, index * 5 + round);
        client.socket.write(own);
        assert.equal(await client.read(3000), own.toString("hex"));
      }
    }),
  );
});
