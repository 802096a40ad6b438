import assert from "node:assert/strict";
import fs from "node:fs";
import os from "node:os";
import path from "node:path";
import { test } from "node:test";
import type { GateEvent } from "@sallyport/gate";
import { compilePolicy } from "@sallyport/policy";
import type { Legs } from "@sallyport/policy/legs";
import { formatIpv4 } from "@sallyport/core";
import { openFlowStore } from "@sallyport/store";
import { EventLog } from "../event-log.ts";
import { eventsDir, instanceNamed } from "../instance.ts";
import { Journal } from "../journal.ts";
import { flowsDir, flowsFile } from "../journal-place.ts";
import { dispatch } from "./dispatch.ts";
import { flows } from "./flow-commands.ts";
import { type Replay, replayed, replayText } from "./replay.ts";

const MINUTE = 60_000;
const HOUR = 60 * MINUTE;
/** A Wednesday, 13:00 in Vienna. */
const NOW = Date.UTC(2026, 10, 18, 12, 0);
/** The Sunday before, 04:00 in Vienna: inside the plant's maintenance window. */
const SUNDAY = Date.UTC(2026, 10, 15, 3, 0);
const PLANT = fs.readFileSync(
  path.join(import.meta.dirname, "../../../../lab/plant/site.yaml"),
  "utf8",
);

function compiled(text: string): Legs {
  const files = [{ name: "site.yaml", bytes: new TextEncoder().encode(text) }];
  const { legs, diagnostics } = compilePolicy(files, { now: NOW });
  assert.ok(legs !== undefined, diagnostics.map(({ message }) => message).join("\n"));
  return legs;
}

/** The plant's policy with a text changed; fails if it isn't there. */
function plantWith(text: string | RegExp, instead: string): Legs {
  const changed = PLANT.replace(text, instead);
  assert.notEqual(changed, PLANT);
  return compiled(changed);
}

/** The plant's policy without one conduit's block. */
function plantWithout(conduit: string): Legs {
  return plantWith(new RegExp(`^  ${conduit}:\\n(?: {4}.*\\n)+`, "m"), "");
}

const PLANT_LEGS = compiled(PLANT);

interface Told {
  readonly enforcer: (atMs: number, flow: object) => void;
  readonly watch: (atMs: number, denied: object) => void;
  readonly gate: (room: string, events: readonly GateEvent[]) => void;
}

/** An instance of its own whose processes told `events`, journaled by the journal itself. */
async function withRecord(
  events: (told: Told) => void,
  use: () => void | Promise<void>,
): Promise<void> {
  const root = fs.mkdtempSync(path.join(os.tmpdir(), "sallyport-replay-"));
  const before = process.env["SALLYPORT_ROOT"];
  process.env["SALLYPORT_ROOT"] = root;
  try {
    const instance = instanceNamed("replay");
    const directory = eventsDir(instance);
    fs.mkdirSync(flowsDir(instance), { recursive: true });
    const enforcer = new EventLog(directory, "enforcer");
    const watch = new EventLog(directory, "watch");
    events({
      enforcer: (atMs, flow) => enforcer.append(atMs + MINUTE, "flow-minute", { ...flow }),
      watch: (atMs, packet) => watch.append(atMs, "packet-denied", { ...packet }),
      gate: (room, news) => {
        const lines = news.map((event) => `${JSON.stringify(event)}\n`).join("");
        fs.appendFileSync(path.join(directory, `${room}.ndjson`), lines);
      },
    });
    const { store } = await openFlowStore(flowsFile(flowsDir(instance)));
    await new Journal(store, directory, () => undefined).turn();
    await store.close();
    await use();
  } finally {
    if (before === undefined) delete process.env["SALLYPORT_ROOT"];
    else process.env["SALLYPORT_ROOT"] = before;
    fs.rmSync(root, { recursive: true });
  }
}

function session(
  point: string,
  conduit: string,
  source: string,
  destination: string,
  port = 502,
): object {
  const zones = { sourceZone: "", destinationZone: "" };
  const counts = { accepted: 2, refused: 0, reason: "" };
  return { point, conduit, source, destination, ...zones, protocol: "tcp", port, ...counts };
}

function denied(
  point: string,
  reason: string,
  source: string,
  destination: string,
  conduit = "",
): object {
  const zones = { sourceZone: "", destinationZone: "" };
  return { point, reason, conduit, ...zones, protocol: "tcp", source, destination };
}

function egressOf(conduit: string): string {
  const listener = PLANT_LEGS.conduits.find(({ name }) => name === conduit)?.listeners[0];
  assert.ok(listener !== undefined);
  return formatIpv4(listener.egressAddress);
}

/** A working morning: polling through both kinds of gates, a vendor's grant, Sunday's diagnosis, and refusals. */
function morning({ enforcer, watch, gate }: Told): void {
  const at = NOW - 3 * HOUR;
  for (const hour of [0, 1]) {
    enforcer(at + hour * HOUR, session("outer", "erp-reads-tank", "10.10.0.10", "10.41.0.10"));
    const egress = egressOf("erp-reads-tank");
    enforcer(at + hour * HOUR, session("inner", "erp-reads-tank", egress, "10.41.0.10"));
  }
  enforcer(at, session("inner", "hmi-operates-cells", "10.40.0.10", "10.42.0.10"));
  enforcer(at, session("outer", "g-1f2e", "10.20.0.10", "10.42.0.10"));
  enforcer(SUNDAY, session("inner", "press-diagnosis", "10.40.0.20", "10.42.0.10", 4712));
  const sis = session("inner", "sis-status", "10.43.0.10", "10.40.0.10", 514);
  enforcer(at, { ...sis, protocol: "udp" });
  const where = {
    conduit: "erp-reads-tank",
    asset: "tank-plc",
    listener: "10.30.0.10:5001",
    slot: 0,
    policyLine: "site.yaml:1",
  };
  const peer = "10.10.0.10";
  const writing = {
    protocol: "modbus",
    direction: "request",
    operation: "write",
    function: "write-single-register",
    functionCode: 6,
  } as const;
  const refused = { type: "pdu-refused", atMs: at, peer, why: "", pdu: writing } as const;
  gate("gate-erp", [
    { ...where, type: "connection-opened", atMs: at, peer, port: 40_000 },
    {
      ...where,
      type: "pdus-allowed",
      minuteMs: at,
      peer,
      function: "read-holding-registers",
      count: 30,
    },
    {
      ...where,
      type: "pdus-allowed",
      minuteMs: at,
      peer,
      function: "read-input-registers",
      count: 30,
    },
    { ...where, ...refused, reason: "l7.function-not-allowed" },
    { ...where, ...refused, reason: "l7.address-not-allowed" },
  ]);
  const counted = {
    source: "",
    destination: "",
    port: 0,
    accepted: 0,
    refused: 90,
    reason: "no-conduit",
  };
  enforcer(at, { ...session("outer", "", "", ""), ...counted });
  watch(at, denied("outer", "no-conduit", "10.10.0.11:50000", "10.41.0.10:502"));
  watch(
    at,
    denied("outer", "no-grant", "10.20.0.10:50001", "10.42.0.10:502", "vendor-services-press"),
  );
  watch(at, denied("inner", "wrong-interface", "10.40.0.10:50002", "10.41.0.10:502"));
  watch(at, denied("inner", "no-src-zone", "192.0.2.7:50003", "10.41.0.10:502"));
}

const brief = (flow: Replay["breaking"][number]): string =>
  `${flow.conduit || "-"} ${flow.source} > ${flow.destination}:${flow.port} ${flow.function || flow.protocol} ` +
  `${flow.reason} ${flow.by || "-"} x${flow.times} ${flow.hours}/${flow.hoursSeen}${flow.alsoNow ? " also" : ""}`;

function judged(legs: Legs, running: Legs | undefined = PLANT_LEGS): Replay {
  return replayed("replay", running, legs, NOW);
}

test("under the policy that was in force every flow stays as it was", async () => {
  await withRecord(morning, () => {
    const replay = judged(PLANT_LEGS);
    assert.deepEqual(replay.breaking.map(brief), []);
    assert.deepEqual(replay.passing.map(brief), []);
    // ERP's connection and its two functions, the HMI, the vendor's grant, Sunday's diagnosis, the diode.
    assert.equal(replay.staying, 7);
    // The historian at the wrong device, the vendor without a grant, a stranger, the write.
    assert.equal(replay.stillRefused, 4);
    assert.deepEqual(replay.notReplayed.map(({ why, flows: n }) => `${n} ${why}`).sort(), [
      "1 a gate's own dialing, which follows its client's",
      "1 counted without addresses: samples of them are replayed",
      "1 refused for addresses, values or rate that are not recorded",
      "1 refused for what the packet was, not for who sent it",
    ]);
  });
});

test("a conduit that is left out breaks what it carried, and nothing else", async () => {
  await withRecord(morning, () => {
    const replay = judged(plantWithout("erp-reads-tank"));
    assert.deepEqual(replay.breaking.map(brief).sort(), [
      "erp-reads-tank 10.10.0.10 > 10.41.0.10:502 read-holding-registers no-conduit - x30 1/1",
      "erp-reads-tank 10.10.0.10 > 10.41.0.10:502 read-input-registers no-conduit - x30 1/1",
      "erp-reads-tank 10.10.0.10 > 10.41.0.10:502 tcp no-conduit - x4 2/2",
    ]);
    assert.equal(replay.staying, 4);
    assert.deepEqual(replay.passing, []);
    const text = replayText(replay);
    assert.match(text, /3 that passed would be refused, 4 would go on passing/);
    assert.match(
      text,
      /would break: erp-reads-tank {2}10\.10\.0\.10 → 10\.41\.0\.10:502 tcp at outer, 4 times: no-conduit\n/,
    );
  });
});

test("a function that the new policy leaves out breaks only the requests that use it", async () => {
  await withRecord(morning, () => {
    const legs = plantWith(
      "functions: [read-holding-registers, read-input-registers]\n",
      "functions: [read-holding-registers]\n",
    );
    assert.deepEqual(judged(legs).breaking.map(brief), [
      "erp-reads-tank 10.10.0.10 > 10.41.0.10:502 read-input-registers l7.function-not-allowed erp-reads-tank x30 1/1",
    ]);
  });
});

test("what was refused and would pass is listed with the conduit that would carry it", async () => {
  await withRecord(morning, () => {
    const replay = judged(plantWith("    from: erp\n", "    from: [erp, historian]\n"));
    assert.deepEqual(replay.breaking.map(brief), []);
    assert.deepEqual(replay.passing.map(brief), [
      "- 10.10.0.11 > 10.41.0.10:502 tcp no-conduit erp-reads-tank x1 1/1",
    ]);
    assert.match(replayText(replay), /would pass: .*was no-conduit, now carried by erp-reads-tank/);
    const wider = plantWith(
      "functions: [read-holding-registers, read-input-registers]\n",
      "functions: [read-holding-registers, read-input-registers, write-single-register]\n",
    );
    assert.deepEqual(judged(wider).passing.map(brief), [
      "erp-reads-tank 10.10.0.10 > 10.41.0.10:502 write-single-register l7.function-not-allowed erp-reads-tank x1 1/1",
    ]);
  });
});

test("a window that moves breaks what happened in the old one, by the hour of the week", async () => {
  await withRecord(morning, () => {
    const legs = plantWith("days: [sun], from", "days: [mon], from");
    assert.deepEqual(judged(legs).breaking.map(brief), [
      "press-diagnosis 10.40.0.20 > 10.42.0.10:4712 tcp outside-window press-diagnosis x2 1/1",
    ]);
  });
});

test("a conduit that ends within the week breaks what it would have carried by then", async () => {
  await withRecord(morning, () => {
    const legs = plantWith(
      "why: Fill levels for production planning\n    expires: 2027-06-30",
      "why: Fill levels for production planning\n    expires: 2026-11-20",
    );
    const reasons = judged(legs).breaking.map(({ conduit, reason }) => `${conduit} ${reason}`);
    assert.deepEqual([...new Set(reasons)], ["erp-reads-tank expired"]);
  });
});

test("what breaks without the change too is told apart", async () => {
  await withRecord(morning, () => {
    const without = plantWithout("erp-reads-tank");
    const replay = judged(without, without);
    assert.ok(replay.breaking.length > 0);
    assert.ok(replay.breaking.every(({ alsoNow }) => alsoNow));
    assert.match(replayText(replay), /also without this change/);
  });
});

test("a session that a grant opened stays as long as a grant could open it", async () => {
  await withRecord(morning, () => {
    const replay = judged(plantWithout("vendor-services-press"));
    assert.deepEqual(replay.breaking.map(brief), [
      "g-1f2e 10.20.0.10 > 10.42.0.10:502 tcp no-conduit - x2 1/1",
    ]);
    assert.equal(judged(PLANT_LEGS, undefined).breaking.length, 0, "also for the first policy");
  });
});

test("with nothing recorded it says that nothing was replayed", async () => {
  await withRecord(
    () => undefined,
    () => {
      const replay = judged(PLANT_LEGS);
      assert.equal(replay.empty, true);
      assert.match(replayText(replay), /no flows are recorded yet: nothing was replayed/);
    },
  );
  assert.equal(replayed("nobody", undefined, PLANT_LEGS, NOW).empty, true, "no store at all");
});

test("flows of more than a week ago are not replayed", async () => {
  const old = ({ enforcer }: Told): void => {
    enforcer(NOW - 8 * 24 * HOUR, session("outer", "erp-reads-tank", "10.10.0.10", "10.41.0.10"));
  };
  await withRecord(old, () => assert.equal(judged(PLANT_LEGS).empty, true));
});

async function sallyport(...argv: string[]): Promise<{ code: number; out: string }> {
  let out = "";
  const take = (text: string): void => {
    out += text;
  };
  const streams = { out: take, err: take, isTerminal: false };
  const code = await dispatch([flows], [...argv, "--instance", "replay"], streams);
  return { code, out };
}

test("`flows` shows who passed and who did not, by conduit and hour", async () => {
  await withRecord(morning, async () => {
    const all = await sallyport("flows");
    assert.equal(all.code, 0);
    assert.match(all.out, /outer +erp-reads-tank +10\.10\.0\.10 → 10\.41\.0\.10 +tcp 502 +2 +0$/m);
    assert.match(
      all.out,
      /gate-erp +erp-reads-tank +10\.10\.0\.10 → tank-plc +modbus read-input-registers +30 +0$/m,
    );
    assert.match(
      all.out,
      /outer +- +10\.10\.0\.11 → 10\.41\.0\.10 +tcp 502 +0 +1 sampled +no-conduit$/m,
    );
    const { out } = await sallyport("flows", "--conduit", "sis-status", "--hours", "--json");
    const [row, ...rest] = out
      .trim()
      .split("\n")
      .map((text): unknown => JSON.parse(text));
    assert.equal(rest.length, 0);
    assert.deepEqual(row, {
      at: "2026-11-18T09:00:00.000Z",
      point: "inner",
      conduit: "sis-status",
      source: "10.43.0.10",
      destination: "10.40.0.10",
      sourceZone: "",
      destinationZone: "",
      protocol: "udp",
      port: 514,
      function: "",
      reason: "",
      accepted: 2,
      refused: 0,
      sampled: 0,
    });
    assert.equal((await sallyport("flows", "--since", "yesterday")).code, 64);
  });
});

test("`flows` says so when nothing was ever recorded", async () => {
  const { code, out } = await sallyport("flows", "--instance", "nobody");
  assert.equal(code, 0);
  assert.match(out, /No flows are recorded yet/);
});
