/** What a flow store promises, whatever database it is in. */
import assert from "node:assert/strict";
import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import path from "node:path";
import { test } from "node:test";
import {
  COUNT_MAX,
  FLOW_LIMITS,
  type FlowBatch,
  type FlowEntry,
  type FlowLimits,
  type FlowStore,
  type Place,
} from "./flow-store.ts";

export const MINUTE: number = 60_000;
export const HOUR: number = 3_600_000;
export const NOON: number = Date.UTC(2026, 10, 18, 12, 0);

export const POLL: FlowEntry = {
  atMs: NOON + 12_345,
  point: "outer",
  conduit: "erp-reads-tank",
  source: "10.10.0.10",
  destination: "10.41.0.10",
  sourceZone: "enterprise",
  destinationZone: "cell-a",
  protocol: "tcp",
  port: 502,
  function: "",
  reason: "",
  accepted: 1,
  refused: 0,
  sampled: 0,
};
export const SCAN: FlowEntry = {
  ...POLL,
  conduit: "",
  source: "10.10.0.66",
  reason: "no-conduit",
  accepted: 0,
  sampled: 1,
};

export function placeAt(offsetBytes: number): Place {
  return { inode: "7", offsetBytes, tail: "fQo=" };
}

export function batch(
  fromBytes: number,
  toBytes: number,
  entries: readonly FlowEntry[],
): FlowBatch {
  const from = fromBytes === 0 ? undefined : placeAt(fromBytes);
  return { file: "enforcer.ndjson", from, to: placeAt(toBytes), entries };
}

/** A place for one store. */
export interface FlowPlace {
  open(limits?: FlowLimits): Promise<FlowStore>;
  run(text: string): Promise<readonly unknown[]>;
  /** What a process of its own calls to open it. */
  readonly writer: { readonly module: string; readonly opener: string; readonly argument: unknown };
}

/** Records a flow and a step of one byte in each transaction, until it is killed. */
const WRITER = `
const opened = await (await import(process.argv[1]))[process.argv[2]](JSON.parse(process.argv[3]));
const store = opened.store ?? opened;
const entry = JSON.parse(process.argv[4]);
const known = (await store.places()).get("f");
const at = (offsetBytes) => ({ inode: "7", offsetBytes, tail: "" });
for (let n = known?.offsetBytes ?? 0; ; n++) {
  await store.record({ file: "f", from: n === 0 ? undefined : at(n), to: at(n + 1), entries: [entry, entry] });
  process.stdout.write(".");
}`;

function startWriter({ module, opener, argument }: FlowPlace["writer"]): ChildProcess {
  const source = path.join(import.meta.dirname, module);
  const words = [source, opener, JSON.stringify(argument), JSON.stringify(POLL)];
  return spawn(process.execPath, ["--input-type=module", "-e", WRITER, ...words], {
    stdio: ["ignore", "pipe", "inherit"],
  });
}

export function holdsAsFlowStore(
  withPlace: (use: (place: FlowPlace) => Promise<void>) => Promise<void>,
): void {
  test("a flow is counted once a minute and once an hour, whatever it is read from", async () => {
    await withPlace(async (place) => {
      const store = await place.open();
      await store.record(batch(0, 10, [POLL, { ...POLL, atMs: NOON + 59_999, accepted: 2 }]));
      await store.record(batch(10, 20, [POLL, { ...POLL, atMs: NOON + MINUTE }, SCAN]));
      const minutes = await store.flows({ limit: 10 });
      assert.deepEqual(
        minutes.map(({ startMs, source, accepted, sampled }) => [
          startMs,
          source,
          accepted,
          sampled,
        ]),
        [
          [NOON + MINUTE, "10.10.0.10", 1, 0],
          [NOON, "10.10.0.10", 4, 0],
          [NOON, "10.10.0.66", 0, 1],
        ],
      );
      const hours = await store.flows({ limit: 10, by: "hour", conduit: "erp-reads-tank" });
      assert.equal(hours.length, 1);
      assert.equal(hours[0]?.startMs, NOON);
      assert.equal(hours[0]?.accepted, 5);
      const newer = await store.flows({ sinceMs: NOON + 1, untilMs: NOON + HOUR, limit: 10 });
      assert.deepEqual(
        newer.map(({ startMs }) => startMs),
        [NOON + MINUTE],
      );
      assert.equal((await store.flows({ limit: 1 })).length, 1);
      await store.close();
    });
  });

  test("the same stretch of a file is never counted twice", async () => {
    await withPlace(async (place) => {
      const first = await place.open();
      await first.record(batch(0, 10, [POLL]));
      await assert.rejects(first.record(batch(0, 10, [POLL])), { code: "flow-place-moved" });
      await first.close();
      const store = await place.open();
      await assert.rejects(store.record(batch(0, 10, [POLL])), { code: "flow-place-moved" });
      assert.deepEqual((await store.places()).get("enforcer.ndjson"), placeAt(10));
      assert.deepEqual(
        (await store.flows({ limit: 10 })).map((row) => row.accepted),
        [1],
      );
      await store.close();
    });
  });

  test("two stretches given at once are both recorded, one after the other", async () => {
    await withPlace(async (place) => {
      const store = await place.open();
      const other = { ...batch(0, 10, [SCAN]), file: "watch.ndjson" };
      await Promise.all([store.record(batch(0, 10, [POLL])), store.record(other)]);
      assert.equal((await store.places()).size, 2);
      await store.close();
    });
  });

  test("kill -9 in the middle of recording loses no step and counts none twice", async () => {
    await withPlace(async (place) => {
      let acknowledged = 0;
      for (let round = 0; round < 6; round++) {
        const writer = startWriter(place.writer);
        let seen = 0;
        writer.stdout?.on("data", (chunk: Buffer) => {
          seen += chunk.length;
          if (seen > 20 + round) writer.kill("SIGKILL");
        });
        await once(writer, "close");
        assert.equal(writer.signalCode, "SIGKILL");
        acknowledged += seen;
      }
      const store = await place.open();
      const steps = (await store.places()).get("f")?.offsetBytes ?? 0;
      assert.ok(steps >= acknowledged, `${acknowledged} were acknowledged, ${steps} are recorded`);
      for (const by of ["minute", "hour"] as const) {
        const rows = await store.flows({ limit: 10, by });
        assert.deepEqual(
          rows.map((row) => row.accepted),
          [2 * steps],
        );
      }
      await store.close();
    });
  });

  test("what is too old goes, in steps of bounded size, and a flow that nothing counts is forgotten", async () => {
    await withPlace(async (place) => {
      const store = await place.open({ ...FLOW_LIMITS, pruneRows: 2 });
      const old = [1, 2, 3].map((n) => ({ ...SCAN, port: n }));
      await store.record(batch(0, 10, [...old, { ...POLL, atMs: NOON + FLOW_LIMITS.minutesMs }]));
      const later = NOON + FLOW_LIMITS.minutesMs + MINUTE;
      assert.equal(await store.prune(later), 2);
      assert.equal(await store.prune(later), 1);
      assert.equal(await store.prune(later), 0);
      assert.deepEqual(
        (await store.flows({ limit: 10 })).map((row) => row.source),
        ["10.10.0.10"],
      );
      assert.equal(
        (await store.flows({ limit: 10, by: "hour" })).length,
        4,
        "hours are kept longer",
      );
      const muchLater = NOON + FLOW_LIMITS.hoursMs + 2 * HOUR;
      let steps = 0;
      while ((await store.prune(muchLater)) > 0) steps++;
      assert.ok(steps >= 2 && steps < 10, `${steps} steps`);
      await store.close();
      // The poll's own hour is among the newest 400 days still.
      assert.deepEqual((await place.run("select id from flow")).length, 1);
    });
  });

  test("more rows than the limit push out the oldest, however young", async () => {
    await withPlace(async (place) => {
      const store = await place.open({ ...FLOW_LIMITS, minuteRows: 2 });
      const minutes = [0, 1, 2, 3].map((n) => ({ ...POLL, atMs: NOON + n * MINUTE }));
      await store.record(batch(0, 10, minutes));
      while ((await store.prune(NOON)) > 0);
      assert.deepEqual(
        (await store.flows({ limit: 10 })).map(({ startMs }) => startMs),
        [NOON + 3 * MINUTE, NOON + 2 * MINUTE],
      );
      await store.close();
    });
  });

  test("a scan of every port fills a bounded number of flows; all of it is still counted", async () => {
    await withPlace(async (place) => {
      const store = await place.open({ ...FLOW_LIMITS, flows: 10 });
      const ports = Array.from({ length: 100 }, (_, port) => ({ ...SCAN, port }));
      await store.record(batch(0, 10, ports));
      const words = Array.from({ length: 100 }, (_, n) => ({ ...SCAN, conduit: `made-up-${n}` }));
      await store.record(batch(10, 20, words));
      const rows = await store.flows({ limit: 500 });
      assert.ok(rows.length <= 2 * 10 + 1, `${rows.length} rows`);
      assert.equal(
        rows.reduce((sum, row) => sum + row.sampled, 0),
        200,
      );
      assert.ok(rows.some((row) => row.source === "other" && row.conduit === ""));
      await store.close();
    });
  });

  test("a text that is longer than any name is cut", async () => {
    await withPlace(async (place) => {
      const store = await place.open();
      await store.record(batch(0, 10, [{ ...POLL, function: "f".repeat(100_000) }]));
      const [row] = await store.flows({ limit: 1 });
      assert.equal(row?.function.length, FLOW_LIMITS.textChars);
      await store.close();
    });
  });

  test("counts that are absurd stay at a bound and can still be read", async () => {
    await withPlace(async (place) => {
      const store = await place.open();
      const much = { ...POLL, accepted: 1e12 };
      const thousand = Array.from({ length: 1000 }, () => ({ ...much }));
      await store.record(batch(0, 10, thousand));
      await store.record(batch(10, 20, thousand));
      assert.deepEqual(
        (await store.flows({ limit: 1 })).map((row) => row.accepted),
        [COUNT_MAX],
      );
      const minutes = Array.from({ length: 200 }, (_, n) => ({
        ...much,
        accepted: COUNT_MAX,
        atMs: NOON + n * MINUTE,
      }));
      await store.record(batch(20, 30, minutes));
      const peers = await store.peers({ sinceMs: NOON, everyMs: 24 * HOUR });
      assert.deepEqual(
        peers.map((peer) => peer.accepted),
        [Number.MAX_SAFE_INTEGER],
      );
      await store.close();
    });
  });

  test("peers are told once an hour, with the last minute in which they spoke", async () => {
    await withPlace(async (place) => {
      const store = await place.open();
      const minutes = [-1, 0, 1, 59, 60].map((n) => ({ ...POLL, atMs: NOON + n * MINUTE }));
      await store.record(batch(0, 10, minutes));
      const peers = await store.peers({ sinceMs: NOON, everyMs: HOUR });
      assert.deepEqual(
        peers.map(({ lastMs, accepted }) => [lastMs, accepted]),
        [
          [NOON + 60 * MINUTE, 1],
          [NOON + 59 * MINUTE, 3],
        ],
      );
      await assert.rejects(store.peers({ sinceMs: NOON, everyMs: 90_001 }), RangeError);
      await store.close();
    });
  });

  test("a text with a NUL or half a character is counted, and with the same flow each time", async () => {
    await withPlace(async (place) => {
      const store = await place.open();
      for (const text of ["a\0b", "a\ud800"]) {
        const entry = { ...POLL, function: text };
        const from = (await store.places()).get("enforcer.ndjson");
        const start = from?.offsetBytes ?? 0;
        await store.record(batch(start, start + 10, [entry]));
        await store.record(batch(start + 10, start + 20, [entry]));
      }
      const rows = await store.flows({ limit: 10 });
      assert.deepEqual(
        rows.map((row) => [row.function, row.accepted]),
        [
          ["a\ufffdb", 2],
          ["a\ufffd", 2],
        ],
      );
      await store.close();
    });
  });

  test("a store of a later release is not opened", async () => {
    await withPlace(async (place) => {
      await (await place.open()).close();
      await place.run("insert into kysely_migration values ('0099-later', '2027')");
      await assert.rejects(place.open(), { code: "store-too-new" });
    });
  });
}
