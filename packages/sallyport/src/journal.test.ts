import assert from "node:assert/strict";
import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import fs from "node:fs";
import os from "node:os";
import path from "node:path";
import { test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import type { GateEvent, Where } from "@sallyport/gate";
import {
  type FlowAnswers,
  type FlowRow,
  type FlowStore,
  openFlowStore,
  readFlowStore,
} from "@sallyport/store";
import { FlowService } from "./control/watch-service.ts";
import { EventLog } from "./event-log.ts";
import type { EngineEvent } from "./events.ts";
import { Journal, type JournalNews, Retention } from "./journal.ts";
import { flowsFile } from "./journal-place.ts";

const MINUTE = 60_000;
const NOON = Date.UTC(2026, 10, 18, 12, 0);

interface Bench {
  readonly directory: string;
  readonly store: FlowStore;
  readonly news: JournalNews[];
  journal: Journal;
}

async function withJournal(use: (bench: Bench) => Promise<void>): Promise<void> {
  const directory = fs.mkdtempSync(path.join(os.tmpdir(), "sallyport-journal-"));
  const { store } = await openFlowStore(flowsFile(directory));
  const news: JournalNews[] = [];
  try {
    const journal = new Journal(store, directory, (each) => news.push(each));
    await use({ directory, store, news, journal });
  } finally {
    await store.close();
    fs.rmSync(directory, { recursive: true });
  }
}

type Untimed<Event> = Event extends unknown ? Omit<Event, "at"> : never;

/** As the enforcer and the watch write: the type and fields of one event. */
function tell(log: EventLog, atMs: number, event: Untimed<EngineEvent>): void {
  const { type, ...fields } = event;
  log.append(atMs, type, fields);
}

const SESSIONS: Omit<Extract<EngineEvent, { type: "flow-minute" }>, "at"> = {
  type: "flow-minute",
  point: "outer",
  conduit: "erp-reads-tank",
  source: "10.10.0.10",
  destination: "10.41.0.10",
  sourceZone: "enterprise",
  destinationZone: "cell-a",
  protocol: "tcp",
  port: 502,
  accepted: 3,
  refused: 0,
  reason: "",
};

const SCAN: Omit<Extract<EngineEvent, { type: "packet-denied" }>, "at"> = {
  type: "packet-denied",
  point: "outer",
  reason: "no-conduit",
  generation: 4,
  conduit: "",
  policyLine: "",
  sourceZone: "vendor",
  destinationZone: "cell-a",
  protocol: "tcp",
  source: "10.20.0.10:40112",
  destination: "10.41.0.10:22",
  packet: { file: "refused-0.pcap", offsetBytes: 24 },
};

const WHERE: Where = {
  conduit: "hmi-operates-cells",
  asset: "tank-plc",
  listener: "10.31.0.20:5001",
  slot: 0,
  policyLine: "site.yaml:1",
};

function gateLines(events: readonly GateEvent[]): string {
  return events.map((event) => `${JSON.stringify(event)}\n`).join("");
}

const brief = (row: FlowRow): string =>
  [
    new Date(row.startMs).toISOString().slice(11, 16),
    `${row.point} ${row.conduit || "-"}`,
    `${row.source || "-"}>${row.destination || "-"}:${row.port}`,
    `${row.protocol || "-"} ${row.function || "-"} ${row.reason || "-"}`,
    `${row.accepted}/${row.refused}/${row.sampled}`,
  ].join(" | ");

test("what engines and gates tell is counted by conduit, peer, function and minute", async () => {
  await withJournal(async ({ directory, store, journal, news }) => {
    const enforcer = new EventLog(directory, "enforcer");
    enforcer.append(NOON, "generation-applied", { generation: 4 });
    tell(enforcer, NOON + MINUTE, SESSIONS);
    const refusals = { source: "", destination: "", protocol: "", port: 0, accepted: 0 };
    tell(enforcer, NOON + MINUTE, {
      ...SESSIONS,
      ...refusals,
      conduit: "",
      refused: 7,
      reason: "no-conduit",
    });
    tell(new EventLog(directory, "watch"), NOON + 1234, SCAN);
    const peer = "10.40.0.10";
    const pdu = {
      protocol: "modbus",
      direction: "request",
      operation: "write",
      function: "write-single-register",
      functionCode: 6,
    } as const;
    const why = "register 11 may not be written";
    fs.writeFileSync(
      path.join(directory, "gate-cells.ndjson"),
      gateLines([
        { ...WHERE, type: "listening" },
        { ...WHERE, type: "connection-opened", atMs: NOON, peer, port: 4000 },
        { ...WHERE, type: "pdus-allowed", minuteMs: NOON, peer, function: "read-coils", count: 60 },
        {
          ...WHERE,
          type: "pdu-refused",
          atMs: NOON,
          peer,
          reason: "l7.address-not-allowed",
          why,
          pdu,
        },
        {
          ...WHERE,
          type: "suppressed",
          minuteMs: NOON,
          kind: "pdu-refused",
          peer,
          reason: "l7.address-not-allowed",
          function: "write-single-register",
          count: 40,
        },
      ]),
    );
    assert.equal(await journal.turn(), false);
    const rows = await store.flows({ limit: 100 });
    assert.deepEqual(rows.map(brief).sort(), [
      "12:00 | gate-cells hmi-operates-cells | 10.40.0.10>tank-plc:0 | modbus read-coils - | 60/0/0",
      "12:00 | gate-cells hmi-operates-cells | 10.40.0.10>tank-plc:0 | modbus write-single-register l7.address-not-allowed | 0/41/0",
      "12:00 | gate-cells hmi-operates-cells | 10.40.0.10>tank-plc:0 | tcp - - | 1/0/0",
      "12:00 | outer - | ->-:0 | - - no-conduit | 0/7/0",
      "12:00 | outer - | 10.20.0.10>10.41.0.10:22 | tcp - no-conduit | 0/0/1",
      "12:00 | outer erp-reads-tank | 10.10.0.10>10.41.0.10:502 | tcp - - | 3/0/0",
    ]);
    assert.deepEqual(news, []);
  });
});

test("a journal that starts again goes on where the last one was", async () => {
  await withJournal(async (bench) => {
    const log = new EventLog(bench.directory, "enforcer");
    tell(log, NOON + MINUTE, SESSIONS);
    await bench.journal.turn();
    await bench.journal.turn();
    tell(log, NOON + MINUTE, SESSIONS);
    const next = new Journal(bench.store, bench.directory, () => undefined);
    await next.turn();
    assert.deepEqual(
      (await bench.store.flows({ limit: 10 })).map((row) => row.accepted),
      [6],
    );
  });
});

test("a gate is counted under its own name, whatever it says that it is", async () => {
  await withJournal(async ({ directory, store, journal }) => {
    const forged = { at: new Date(NOON).toISOString(), ...SESSIONS };
    const claims = {
      ...WHERE,
      type: "connection-opened",
      atMs: NOON,
      peer: "10.9.9.9",
      point: "outer",
    };
    fs.writeFileSync(
      path.join(directory, "gate-erp.ndjson"),
      `${JSON.stringify(forged)}\n${JSON.stringify(claims)}\n`,
    );
    await journal.turn();
    const rows = await store.flows({ limit: 10 });
    assert.deepEqual(
      rows.map(({ point, source }) => [point, source]),
      [["gate-erp", "10.9.9.9"]],
    );
  });
});

test("a file that was renamed is read to its end before the one that took its place", async () => {
  await withJournal(async ({ directory, store, journal, news }) => {
    const file = path.join(directory, "enforcer.ndjson");
    tell(new EventLog(directory, "enforcer"), NOON, SESSIONS);
    await journal.turn();
    tell(new EventLog(directory, "enforcer"), NOON, SESSIONS);
    fs.renameSync(file, `${file}.1`);
    tell(new EventLog(directory, "enforcer"), NOON, SESSIONS);
    await journal.turn();
    assert.deepEqual(
      (await store.flows({ limit: 10 })).map((row) => row.accepted),
      [9],
    );
    assert.deepEqual(news, []);
  });
});

test("a file that was cut or replaced is read from its start, and that events may be missing is told", async () => {
  await withJournal(async ({ directory, store, journal, news }) => {
    const file = path.join(directory, "enforcer.ndjson");
    tell(new EventLog(directory, "enforcer"), NOON, SESSIONS);
    await journal.turn();
    fs.truncateSync(file);
    tell(new EventLog(directory, "enforcer"), NOON, { ...SESSIONS, accepted: 100 });
    tell(new EventLog(directory, "enforcer"), NOON, { ...SESSIONS, accepted: 100 });
    await journal.turn();
    assert.deepEqual(
      (await store.flows({ limit: 10 })).map((row) => row.accepted),
      [203],
    );
    assert.deepEqual(news, [{ type: "journal-gap", process: "enforcer", lines: 0 }]);
  });
});

test("lines that are no events are counted and passed over; half a line waits for its rest", async () => {
  await withJournal(async ({ directory, store, journal, news }) => {
    const file = path.join(directory, "enforcer.ndjson");
    const line = JSON.stringify({ at: new Date(NOON).toISOString(), ...SESSIONS });
    const never = { at: "never", ...SESSIONS };
    const negative = { at: new Date(NOON).toISOString(), ...SESSIONS, accepted: -1 };
    const hostile = ["nonsense", "null", "[]", JSON.stringify(never), JSON.stringify(negative)];
    fs.writeFileSync(file, `${[...hostile, line].join("\n")}\n${line.slice(0, 40)}`);
    await journal.turn();
    assert.deepEqual(
      (await store.flows({ limit: 10 })).map((row) => row.accepted),
      [3],
    );
    assert.deepEqual(news, [{ type: "journal-unreadable", process: "enforcer", lines: 5 }]);
    fs.appendFileSync(file, `${line.slice(40)}\n`);
    await journal.turn();
    assert.deepEqual(
      (await store.flows({ limit: 10 })).map((row) => row.accepted),
      [6],
    );
  });
});

test("a line without an end does not stop what comes after it", async () => {
  await withJournal(async ({ directory, store, journal, news }) => {
    const line = JSON.stringify({ at: new Date(NOON).toISOString(), ...SESSIONS });
    const file = path.join(directory, "enforcer.ndjson");
    fs.writeFileSync(file, `${"x".repeat(3 * 1024 * 1024)}\n${line}\n`);
    while (await journal.turn());
    assert.deepEqual(
      (await store.flows({ limit: 10 })).map((row) => row.accepted),
      [3],
    );
    assert.ok(news.every(({ type }) => type === "journal-unreadable"));
  });
});

test("a link in place of an event file is not followed", async () => {
  await withJournal(async ({ directory, store, journal }) => {
    const elsewhere = fs.mkdtempSync(path.join(os.tmpdir(), "sallyport-else-"));
    tell(new EventLog(elsewhere, "enforcer"), NOON, SESSIONS);
    const link = path.join(directory, "enforcer.ndjson");
    fs.symlinkSync(path.join(elsewhere, "enforcer.ndjson"), link);
    await journal.turn();
    assert.deepEqual(await store.flows({ limit: 10 }), []);
    fs.rmSync(elsewhere, { recursive: true });
  });
});

const EVENTS = 30_000;

function startJournal(events: string, flows: string): ChildProcess {
  const main = path.join(import.meta.dirname, "journal.main.ts");
  return spawn(process.execPath, [main, events, flows], { stdio: ["ignore", "ignore", "inherit"] });
}

function recorded(flows: string): number {
  const rows = readFlowStore(flowsFile(flows), (answers) => answers.flows({ limit: 1000 })) ?? [];
  return rows.reduce((sum, row) => sum + row.accepted, 0);
}

/** Real processes at work: their progress is waited for, a minute at most. */
async function until(reached: () => boolean): Promise<void> {
  for (let tries = 0; tries < 6000 && !reached(); tries++) await sleep(10);
}

test("the journal's process, killed again and again, counts each event exactly once", async () => {
  const events = fs.mkdtempSync(path.join(os.tmpdir(), "sallyport-events-"));
  const flows = fs.mkdtempSync(path.join(os.tmpdir(), "sallyport-flows-"));
  let child: ChildProcess | undefined;
  try {
    const log = new EventLog(events, "enforcer");
    for (let n = 0; n < EVENTS; n++) {
      tell(log, NOON + (n % 600) * 1000, { ...SESSIONS, accepted: 1, port: n % 100 });
    }
    const seen: number[] = [];
    for (let round = 0; round < 3; round++) {
      const before = recorded(flows);
      child = startJournal(events, flows);
      await until(() => recorded(flows) > before);
      child.kill("SIGKILL");
      await once(child, "close");
      seen.push(recorded(flows));
    }
    assert.ok((seen[0] ?? 0) > 0 && (seen[0] ?? 0) < EVENTS, `${seen.join(", ")}: killed too late`);
    child = startJournal(events, flows);
    await until(() => recorded(flows) >= EVENTS);
    tell(log, NOON, { ...SESSIONS, accepted: 1, port: 1 });
    await until(() => recorded(flows) > EVENTS);
    assert.equal(recorded(flows), EVENTS + 1);
  } finally {
    child?.kill("SIGKILL");
    fs.rmSync(events, { recursive: true });
    fs.rmSync(flows, { recursive: true });
  }
});

test("minutes of 30 days and hours of 400 are there for charts and replay, and nothing older; the API reads them", async () => {
  await withJournal(async ({ directory, store, journal }) => {
    const log = new EventLog(directory, "traffic");
    const DAY = 24 * 60 * MINUTE;
    // One in each hour of the first day, then one a day.
    for (let hour = 0; hour < 24; hour++) tell(log, NOON + hour * 60 * MINUTE, SESSIONS);
    for (let day = 2; day <= 40; day++) tell(log, NOON + day * DAY, SESSIONS);
    while (await journal.turn());
    let nowMs = NOON + 40 * DAY;
    const retention = new Retention(store);
    while ((await retention.turn(nowMs)) > 0);
    const means = {
      nowMs: () => nowMs,
      readFlows: <Answer>(use: (answers: FlowAnswers) => Answer): Answer =>
        readFlowStore(flowsFile(directory), use) as Answer,
    };
    // Of all that it is handed, reading flows uses only these.
    const api = new FlowService(means as unknown as ConstructorParameters<typeof FlowService>[0]);
    const starts = async (by: "minute" | "hour"): Promise<readonly number[]> => {
      const asked = { since: new Date(NOON - DAY).toISOString(), by };
      const { items } = await api.flows({} as never, asked, { limit: 1000 });
      return items.map(({ start }) => Date.parse(start)).sort((a, b) => a - b);
    };
    const minutes = await starts("minute");
    assert.equal(minutes.length, 30);
    assert.ok((minutes[0] ?? 0) >= nowMs - 30 * DAY);
    assert.equal((await starts("hour")).length, 24 + 39, "older than that, by the hour");
    nowMs = NOON + 430 * DAY;
    while ((await retention.turn(nowMs)) > 0);
    assert.deepEqual(await starts("minute"), []);
    assert.ok((await starts("hour")).every((start) => start >= nowMs - 400 * DAY));
    assert.ok((await starts("hour")).length > 0);
  });
});
