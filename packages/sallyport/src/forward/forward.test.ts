/** Nothing is lost on its way to a SIEM: outages, receivers that die in the middle, hang, or lie. */
import assert from "node:assert/strict";
import { once } from "node:events";
import fs from "node:fs";
import type { IncomingMessage } from "node:http";
import https from "node:https";
import type net from "node:net";
import os from "node:os";
import path from "node:path";
import { after, afterEach, before, beforeEach, test } from "node:test";
import tls from "node:tls";
import { checkCheckpoint, parseCheckpointLine } from "@sallyport/ledger";
import { checkDestinations, type Destination } from "./destination.ts";
import {
  type Certificates,
  certificates,
  drained,
  firstMissing,
  freePort,
  indexesIn,
  missingTool,
  parseSyslog,
  TestLedger,
} from "./forward.test-kit.ts";
import { backOffMs } from "./pump.ts";
import { Rsyslog } from "./rsyslog.test-kit.ts";
import { SyslogReceiver } from "./syslog-receiver.ts";
import { signatureOf, WebhookReceiver } from "./webhook-receiver.ts";

const SECRET = "0123456789abcdef0123456789abcdef";
const keysHome = fs.mkdtempSync(path.join(os.tmpdir(), "sallyport-keys-"));
const noRsyslog = missingTool("rsyslogd") ?? false;
let keys: Certificates;
let ledger: TestLedger;
const doors: { close(): unknown }[] = [];

before(() => {
  keys = certificates(keysHome);
});
after(() => fs.rmSync(keysHome, { recursive: true }));
beforeEach(async () => {
  ledger = await TestLedger.open();
});
afterEach(async () => {
  for (const door of doors.splice(0)) door.close();
  await ledger.close();
});

type SyslogDestination = Extract<Destination, { readonly kind: "syslog" }>;

function syslogTo(port: number, more: Partial<SyslogDestination> = {}): SyslogDestination {
  return {
    ...{ kind: "syslog", name: "siem", to: `127.0.0.1:${port}`, transport: "tls" },
    ...{ format: "rfc5424", people: false, trust: keys.ca },
    ...{ clientCertificate: keys.clientCertificate, clientKey: keys.clientKey },
    ...more,
  };
}

function hookTo(port: number): Extract<Destination, { readonly kind: "webhook" }> {
  return {
    ...{ kind: "webhook", name: "hook", to: `https://localhost:${port}/in?x=1`, format: "ocsf" },
    ...{ people: false, trust: keys.ca, secret: SECRET },
  };
}

/** RFC 5425 §4.3 as a receiver reads it: whole frames, and what is left over. */
class Frames {
  readonly lines: string[] = [];
  #rest: Buffer = Buffer.alloc(0);

  add(chunk: Buffer): void {
    this.#rest = Buffer.concat([this.#rest, chunk]);
    for (;;) {
      const space = this.#rest.indexOf(32);
      if (space < 0) return;
      const digits = this.#rest.subarray(0, space).toString("ascii");
      assert.match(digits, /^[1-9]\d{0,4}$/, "MSG-LEN is a number without leading zeros");
      const end = space + 1 + Number(digits);
      if (this.#rest.length < end) return;
      this.lines.push(this.#rest.subarray(space + 1, end).toString("utf8"));
      this.#rest = this.#rest.subarray(end);
    }
  }

  get isWithin(): boolean {
    return this.#rest.length > 0;
  }
}

async function listen(server: net.Server, port = 0): Promise<number> {
  server.listen(port, "127.0.0.1");
  await once(server, "listening");
  doors.push(server);
  const address = server.address();
  assert.ok(address !== null && typeof address === "object");
  return address.port;
}

function tlsServer(onSocket: (socket: tls.TLSSocket) => void): net.Server {
  const options = {
    ...{ key: keys.serverKey, cert: keys.serverCertificate, ca: keys.ca, requestCert: true },
    minVersion: "TLSv1.3" as const,
  };
  return tls.createServer(options, (socket) => {
    socket.on("error", () => undefined);
    onSocket(socket);
  });
}

test("rsyslog takes the stream over TLS by the gateway's certificate, and each line is RFC 5424", {
  skip: noRsyslog,
}, async () => {
  await ledger.append(300, { note: 'quote " bracket ] back \\ slash', umlaut: "Kühlung µ" });
  await ledger.append(1, { long: "x".repeat(20_000) });
  await ledger.ledger.checkpoint();
  const rsyslog = new Rsyslog(ledger.home, await freePort(), keys);
  await rsyslog.start();
  try {
    const to = syslogTo(rsyslog.port);
    await drained(ledger.pump(to, new SyslogReceiver(to)), ledger);
  } finally {
    await rsyslog.stop();
  }
  const seen = rsyslog.seen();
  assert.equal(firstMissing(indexesIn(seen.map(({ raw }) => raw)), ledger.size), undefined);
  assert.equal(seen.length, 301 + 1, "each record once, and one checkpoint");
  for (const one of seen) {
    const own = parseSyslog(one.raw);
    // Both read the same of it.
    assert.deepEqual(
      [own.host, own.app, own.id, String(own.priority)],
      [one.host, one.app, one.id, one.priority],
    );
    if (own.id === "checkpoint") continue;
    assert.equal(own.id, "enforcer.grant-added");
    assert.ok(one.raw.includes(one.data) && one.data.startsWith("[sp@32473 "), one.data);
    assert.ok(!one.raw.includes("vic-the-vendor"), "no names to whom they are not for");
  }
  const note = parseSyslog(seen[0]?.raw ?? "").data.get("sp@32473");
  assert.equal(note?.get("note"), 'quote " bracket ] back \\ slash');
  const last = seen.find(({ id }) => id === "checkpoint");
  const checkpoint = parseCheckpointLine(last?.raw ?? "");
  assert.ok(checkpoint.kind === "parsed");
  const trust = { logKeys: [], witnessKeys: [], threshold: 0 };
  assert.equal(checkCheckpoint(checkpoint.value, trust).kind, "bad", "nobody's key, nobody's word");
  assert.equal(checkpoint.value.split("\n")[1], "301");
});

test("a receiver that does not know the gateway's certificate, or is not the right one, gets nothing", {
  skip: noRsyslog,
}, async () => {
  await ledger.append(3);
  const rsyslog = new Rsyslog(ledger.home, await freePort(), keys);
  await rsyslog.start();
  try {
    const { clientCertificate: _, clientKey: __, ...nobody } = syslogTo(rsyslog.port);
    await assert.rejects(ledger.pump(nobody, new SyslogReceiver(nobody)).turn());
    const other = fs.mkdtempSync(path.join(ledger.home, "other-"));
    const wrongCa = syslogTo(rsyslog.port, { trust: certificates(other).ca });
    await assert.rejects(ledger.pump(wrongCa, new SyslogReceiver(wrongCa)).turn(), {
      code: "forwarding-broken",
    });
    assert.equal(ledger.pump(wrongCa, new SyslogReceiver(wrongCa)).state().settled, 0);
  } finally {
    await rsyslog.stop();
  }
  assert.deepEqual(rsyslog.seen(), []);
});

test("ten minutes of records while rsyslog is down, and a kill in the middle, lose nothing", {
  skip: noRsyslog,
}, async (t) => {
  const rsyslog = new Rsyslog(ledger.home, await freePort(), keys);
  const to = syslogTo(rsyslog.port);
  await ledger.append(1);
  const endMs = ledger.clock.now + 600_000;
  let isUp = false;
  let kills = 0;
  ledger.onWait = async (ms) => {
    if (ledger.clock.now - ms < endMs) {
      await ledger.append(Math.ceil(ms / 100));
      return;
    }
    if (isUp) return;
    isUp = true;
    await rsyslog.start();
  };
  const pump = ledger.pump(to, new SyslogReceiver(to));
  const watch = setInterval(() => {
    // Some are there, more are on their way: as a power cut comes.
    if (kills > 0 || rsyslog.seen().length < 1000) return;
    kills += 1;
    void rsyslog.stop("SIGKILL").then(() => rsyslog.start());
  }, 5);
  try {
    await drained(pump, ledger, 120_000);
  } finally {
    clearInterval(watch);
    await rsyslog.stop();
  }
  assert.ok(ledger.size >= 6000, `${ledger.size} records in ten minutes`);
  assert.equal(kills, 1);
  const indexes = indexesIn(rsyslog.seen().map(({ raw }) => raw));
  assert.equal(firstMissing(indexes, ledger.size), undefined);
  t.diagnostic(`${ledger.size} records, ${indexes.length - new Set(indexes).size} of them twice`);
});

test("a receiver that dies within a frame, time and again, has all records in the end", async (t) => {
  await ledger.append(5000);
  const whole: string[] = [];
  let [cuts, within, connections] = [0, 0, 0];
  const port = await listen(
    tlsServer((socket) => {
      connections += 1;
      const frames = new Frames();
      // Odd numbers, so that most cuts are within a frame; in the end it lives.
      const dieAfter = connections <= 6 ? 7919 * connections : Number.POSITIVE_INFINITY;
      let bytes = 0;
      socket.on("data", (chunk: Buffer) => {
        const left = dieAfter - bytes;
        bytes += chunk.length;
        frames.add(chunk.subarray(0, Math.max(0, left)));
        if (bytes < dieAfter) return;
        cuts += 1;
        within += Number(frames.isWithin);
        whole.push(...frames.lines);
        socket.removeAllListeners("data").destroy();
      });
      socket.on("end", () => whole.push(...frames.lines));
    }),
  );
  const to = syslogTo(port);
  await drained(ledger.pump(to, new SyslogReceiver(to)), ledger);
  assert.equal(firstMissing(indexesIn(whole), ledger.size), undefined);
  assert.ok(cuts === 6 && within > 0, `${cuts} cuts, ${within} within a frame`);
  t.diagnostic(`${whole.length} lines for ${ledger.size} records`);
});

test("a receiver that takes nothing more, and one that never ends a connection, are told apart from one that has", async () => {
  await ledger.append(2000, { pad: "x".repeat(900) });
  let mode: "stall" | "endless" = "stall";
  const port = await listen(
    tls.createServer(
      { key: keys.serverKey, cert: keys.serverCertificate, allowHalfOpen: true },
      (socket) => {
        socket.on("error", () => undefined);
        doors.push({ close: () => socket.destroy() });
        if (mode === "endless") socket.resume();
      },
    ),
  );
  const to = syslogTo(port);
  const pump = ledger.pump(to, new SyslogReceiver(to, { stallMs: 200, endMs: 200 }));
  // The kernels' buffers may hold all of it: then it is the end that does not come.
  await assert.rejects(pump.turn(), /takes nothing|does not end/);
  mode = "endless";
  await assert.rejects(pump.turn(), /does not end the connection/);
  assert.equal(pump.state().settled, 0, "its place has not moved");
});

test("after a restart of ours the last connection is sent once more, and the place is the one on record", async () => {
  await ledger.append(50);
  const seen: string[] = [];
  const port = await listen(
    tlsServer((socket) => {
      const frames = new Frames();
      socket.on("data", (chunk: Buffer) => frames.add(chunk));
      socket.on("end", () => seen.push(...frames.lines));
    }),
  );
  const to = syslogTo(port);
  await drained(ledger.pump(to, new SyslogReceiver(to)), ledger);
  await ledger.append(7);
  await drained(ledger.pump(to, new SyslogReceiver(to)), ledger);
  const indexes = indexesIn(seen);
  assert.equal(firstMissing(indexes, 57), undefined);
  assert.equal(indexes.length, 50 + 57);
});

test("only types that were asked for go out, and the place moves over the others", async () => {
  await ledger.append(5);
  await ledger.ledger.append([{ type: "control.sign-in", at: ledger.clock.now }]);
  const seen: string[] = [];
  const port = await listen(
    tlsServer((socket) => {
      const frames = new Frames();
      socket.on("data", (chunk: Buffer) => frames.add(chunk));
      socket.on("end", () => seen.push(...frames.lines));
    }),
  );
  const to = syslogTo(port, { types: ["control.sign-in"], format: "cef", people: true });
  await drained(ledger.pump(to, new SyslogReceiver(to)), ledger);
  const records = seen.filter((line) => !line.includes("|checkpoint|"));
  assert.equal(records.length, 1);
  assert.match(records[0] ?? "", /externalId=5$/);
});

test("a webhook's request is signed over its time and body, and carries the signed head too", async () => {
  await ledger.append(250);
  await ledger.ledger.checkpoint();
  const bodies: { events: { metadata: { sequence: number }; message: string }[] }[] = [];
  const port = await hookServer((request, body, answer) => {
    assert.equal(request.method, "POST");
    const at = String(request.headers["sallyport-timestamp"]);
    assert.equal(at, String(Math.floor(ledger.clock.now / 1000)));
    assert.equal(request.headers["sallyport-signature"], `v1=${signatureOf(SECRET, at, body)}`);
    bodies.push(JSON.parse(body.toString("utf8")) as (typeof bodies)[number]);
    answer(204);
  });
  const to = hookTo(port);
  await drained(ledger.pump(to, new WebhookReceiver(to, ledger.clock.nowMs)), ledger);
  const events = bodies.flatMap((body) => body.events);
  const records = events.filter(({ message }) => message !== "checkpoint");
  assert.deepEqual(
    records.map(({ metadata }) => metadata.sequence),
    Array.from({ length: 250 }, (_, index) => index),
    "each once, in order",
  );
  assert.equal(events.length, 251);
  assert.ok(Math.max(...bodies.map((body) => body.events.length)) <= 101);
});

test("a webhook that answers 500, hangs, and is killed has each record in the end, later each time", async () => {
  await ledger.append(30);
  const taken: number[] = [];
  const waits: number[] = [];
  let requests = 0;
  const port = await hookServer((request, body, answer) => {
    requests += 1;
    if (requests === 1) answer(500);
    else if (requests === 2) answer(302);
    else if (requests === 4) request.socket.destroy();
    else if (requests > 4) {
      const { events } = JSON.parse(body.toString("utf8")) as {
        events: { metadata: { sequence: number } }[];
      };
      taken.push(...events.map(({ metadata }) => metadata.sequence));
      answer(200);
    }
    // The third is never answered.
  });
  const to = hookTo(port);
  ledger.onWait = async (ms) => void waits.push(ms);
  await drained(ledger.pump(to, new WebhookReceiver(to, ledger.clock.nowMs, 200)), ledger);
  assert.equal(firstMissing(taken, 30), undefined);
  assert.deepEqual(waits.slice(0, 4), [1000, 2000, 4000, 8000]);
  assert.equal(backOffMs(50), 60_000);
});

test("destinations that would lose records unseen, or whose keys don't fit, are refused with the field", () => {
  const refused = (one: Destination, field: string): void => {
    assert.throws(
      () => checkDestinations([one]),
      (error: { errors?: { field: string }[] }) => error.errors?.[0]?.field === field,
      field,
    );
  };
  assert.throws(() => checkDestinations([syslogTo(1, { transport: "udp" })]), {
    code: "not-supported-yet",
  });
  refused(syslogTo(1, { to: "nobody" }), "to");
  refused(syslogTo(1, { to: "host:70000" }), "to");
  refused(syslogTo(1, { trust: "no PEM" }), "trust");
  refused(syslogTo(1, { clientKey: keys.serverKey }), "clientKey");
  refused({ ...hookTo(1), to: "http://localhost/in" }, "to");
  const { secret: _, ...open } = hookTo(1);
  refused(open, "secret");
  assert.throws(() => checkDestinations([syslogTo(1), syslogTo(1)]), /names two destinations/);
  checkDestinations([syslogTo(1), hookTo(1)]);
});

async function hookServer(
  onRequest: (request: IncomingMessage, body: Buffer, answer: (status: number) => void) => void,
): Promise<number> {
  const server = https.createServer(
    { key: keys.serverKey, cert: keys.serverCertificate },
    (request, response) => {
      const chunks: Buffer[] = [];
      request.on("data", (chunk: Buffer) => chunks.push(chunk));
      request.on("end", () => {
        onRequest(request, Buffer.concat(chunks), (status) => {
          response
            .writeHead(status, status === 302 ? { location: "https://localhost/" } : {})
            .end();
        });
      });
    },
  );
  doors.push({ close: () => server.closeAllConnections() });
  return await listen(server);
}
