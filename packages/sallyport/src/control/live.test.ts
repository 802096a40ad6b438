/** What happens reaches live streams, metrics and status as it is, within bounds. */
import assert from "node:assert/strict";
import fs from "node:fs";
import os from "node:os";
import path from "node:path";
import { after, before, test } from "node:test";
import { type AccessEntry, EventHub, type LiveEvent, Metrics } from "@sallyport/api";
import type { Json } from "@sallyport/core";
import { fields, listOf, word } from "../cli/enforcer-client.ts";
import { ArchivistSource } from "../forward/source.ts";
import type { Status } from "../status.ts";
import { AccessFile } from "./access-log.ts";
import { addGauges } from "./gauges.ts";
import { LiveNews } from "./live.ts";
import { processesOf, supervisorLines } from "./machine.ts";
import { WatchBench } from "./watch.test-kit.ts";

const QUIET: Status = {
  ...{ instance: "main", site: "plant", generation: 3, degraded: [], timeTrusted: true },
  ...{ islands: [], grants: [], denials: [], tripwire: [] },
  conduits: [
    {
      ...{ name: "reads-a", via: "proxy", from: "office", to: "cell-a", open: true },
      ...{ packets: 10, bytes: 1000 },
    },
  ],
};
const DENIAL = {
  ...{ point: "outer", reason: "no-conduit", sourceZone: "office", destinationZone: "cell-a" },
  ...{ conduit: "", packets: 4 },
};
let bench: WatchBench;
let status: Status | undefined = QUIET;

before(async () => {
  bench = await WatchBench.start(async () => {
    if (status === undefined) throw new Error("down");
    return JSON.parse(JSON.stringify(status)) as Json;
  });
});
after(async () => await bench.close());

/** What a stream would show, and a clock that turns five seconds at a time. */
function watched(): { live: LiveNews; hub: EventHub; seen: () => LiveEvent[] } {
  const hub = new EventHub(1);
  let nowMs = Date.UTC(2026, 5, 1);
  const source = new ArchivistSource(bench.ask);
  const enforcer = async (): Promise<Json> => {
    if (status === undefined) throw new Error("down");
    return JSON.parse(JSON.stringify(status)) as Json;
  };
  const live = new LiveNews({ hub, source, enforcer, nowMs: () => (nowMs += 5000) });
  const seen: LiveEvent[] = [];
  const controller = new AbortController();
  const caller = {
    ...{ requestId: "r", peer: "", userAgent: "", principal: undefined },
    transport: "local" as const,
    signal: controller.signal,
  };
  const { events } = hub.subscribe(caller, {});
  void (async () => {
    for await (const event of events) seen.push(event);
  })();
  return { live, hub, seen: () => seen.splice(0) };
}

const settle = async (): Promise<void> => await new Promise((go) => setTimeout(go, 5));

test("a record of the ledger is an event, and one of what it means, without names", async () => {
  const { live, seen } = watched();
  await live.turn();
  await settle();
  assert.deepEqual(
    seen().map(({ type }) => type),
    ["status"],
    "what was there before is in the lists",
  );
  const at = Date.now();
  await bench.ledger.append([
    { type: "enforcer.applied", at, generation: 4, personal: { author: "anna" } },
    { type: "enforcer.grant-added", at, id: "g-1", personal: { person: "vic" } },
    { type: "control.sign-in-refused", at, personal: { person: "eve" } },
    { type: "supervisor.process-ended", at, worker: "gate-erp" },
    { type: "traffic.minute", at },
  ]);
  await live.turn();
  await settle();
  const events = seen();
  const types = events.map(({ type }) => type);
  assert.equal(types.filter((type) => type === "record").length, 5);
  for (const type of ["change", "grant", "session", "process"] as const) {
    assert.ok(types.includes(type), type);
  }
  const change = events.find(({ type }) => type === "change");
  assert.equal(change?.data["generation"], 4);
  assert.ok(!JSON.stringify(events).includes("vic"), "no names");
});

test("refusals and flows are told by how much they grew, and the enforcer's end is an event", async () => {
  const { live, seen } = watched();
  status = { ...QUIET, denials: [DENIAL] };
  await live.turn();
  await settle();
  seen();
  const [conduit] = QUIET.conduits;
  assert.ok(conduit);
  status = {
    ...QUIET,
    denials: [{ ...DENIAL, packets: 11 }],
    conduits: [{ ...conduit, packets: 17, bytes: 1700 }],
  };
  await live.turn();
  await settle();
  const events = seen();
  const denial = events.find(({ type }) => type === "denial");
  assert.deepEqual([denial?.data["reason"], denial?.data["packets"]], ["no-conduit", 7]);
  const told = events.find(({ type }) => type === "status");
  assert.deepEqual(told?.data["flows"], [{ conduit: "reads-a", packets: 7, bytes: 700 }]);
  await live.turn();
  await settle();
  assert.deepEqual(seen(), [], "nothing new, nothing said");
  status = undefined;
  await live.turn();
  await settle();
  assert.deepEqual(
    seen().map(({ type, data }) => [type, data["ready"]]),
    [["process", false]],
  );
  status = QUIET;
});

test("a scan of many kinds makes no more events than a bound, and loses no count", async () => {
  const { live, seen } = watched();
  await live.turn();
  const denials = Array.from({ length: 500 }, (_, n) => ({ ...DENIAL, reason: `r-${n}` }));
  status = { ...QUIET, denials };
  await live.turn();
  await settle();
  const told = seen().filter(({ type }) => type === "denial");
  assert.equal(told.length, 51);
  assert.equal(
    told.reduce((sum, { data }) => sum + Number(data["packets"]), 0),
    2000,
  );
  status = QUIET;
});

test("metrics say what is known, by the names that the page lists", async () => {
  const { live, hub } = watched();
  status = { ...QUIET, denials: [DENIAL, { ...DENIAL, sourceZone: "lab" }] };
  const metrics = new Metrics();
  addGauges({
    ...{ metrics, live, hub, forwarder: bench.forwarder, access: { lost: 2 } },
    ...{ sessions: () => 3, readiness: () => new Map([["enforcer", true]]) },
  });
  assert.doesNotMatch(metrics.text(), /^sallyport_generation \d/m, "nothing is made up");
  await live.turn();
  await bench.ledger.append([{ type: "control.sign-in-refused", at: Date.now() }]);
  await live.turn();
  const text = metrics.text();
  const lines = [
    "sallyport_generation 3",
    'sallyport_refused_packets{point="outer",reason="no-conduit"} 8',
    "sallyport_sign_ins 3",
    "sallyport_sign_in_failures_total 1",
    `sallyport_ledger_records ${bench.ledger.head().size}`,
    'sallyport_process_ready{process="enforcer"} 1',
    "sallyport_access_log_lost_total 2",
  ];
  for (const line of lines) assert.ok(text.split("\n").includes(line), `${line} in ${text}`);
  const page = fs.readFileSync(
    new URL("../../../../docs/reference/metrics.md", import.meta.url),
    "utf8",
  );
  const names = [...text.matchAll(/^# TYPE (\S+)/gm)].map(([, name]) => name ?? "");
  assert.ok(names.length >= 18, String(names.length));
  for (const name of names) assert.ok(page.includes(`\`${name}\``), `${name} in metrics.md`);
  status = QUIET;
});

const line = (at: string, type: string, worker: string, complaint = ""): string =>
  JSON.stringify({ at: `2026-02-01T10:00:${at}Z`, type, worker, complaint });

test("processes are told from what the supervisor wrote: since when, how often anew, and why", async () => {
  const olga = await bench.person("olga", ["operator"]);
  bench.machine.lines = [
    line("01", "process-started", "enforcer"),
    line("02", "process-started", "gate-erp"),
    line("03", "process-ended", "gate-erp", "Error: out of sockets"),
    line("04", "process-started", "gate-erp"),
    line("05", "process-started", "watch"),
    line("06", "process-ended", "watch", "tcpdump is gone"),
    "half a line {",
  ];
  const { body } = await olga("GET", "/v1/processes");
  const items = listOf(fields(body ?? null)["items"]).map(fields);
  assert.deepEqual(
    items.map(({ name, state, ready, restarts, why }) => [name, state, ready, restarts, why]),
    [
      ["enforcer", "running", true, 0, undefined],
      ["gate-erp", "running", true, 1, "Error: out of sockets"],
      ["watch", "failed", false, 0, "tcpdump is gone"],
    ],
  );
  const anew = processesOf(
    [...bench.machine.lines, line("09", "process-started", "gate-erp")],
    new Map(),
  );
  assert.equal(anew.find(({ name }) => name === "gate-erp")?.restarts, 0, "a new supervisor's");
});

test("doctor over the API repeats what root found and when, and knows when it knows nothing", async () => {
  const ove = await bench.person("ove", ["operator"]);
  const asked = async (): Promise<(string | undefined)[][]> => {
    const { body } = await ove("GET", "/v1/doctor");
    const items = listOf(fields(body ?? null)["items"]).map(fields);
    return items.map(({ check, state, hint }) => [word(check), word(state), hint as string]);
  };
  assert.deepEqual(await asked(), [
    ["promises in force", "good", undefined],
    ["machine", "unknown", "sudo sallyport doctor"],
  ]);
  const finding = { name: "VLANs", state: "degraded", seen: "no", why: "y", fix: "modprobe 8021q" };
  const run = { at: "2026-02-01T00:00:00Z", findings: [finding] };
  bench.machine.doctor = JSON.stringify(run);
  assert.deepEqual((await asked())[1], ["VLANs", "degraded", "modprobe 8021q"]);
  bench.machine.doctor = JSON.stringify({ ...run, at: "2025-01-01T00:00:00Z" });
  assert.deepEqual((await asked())[1], ["VLANs", "unknown", "sudo sallyport doctor"]);
  bench.machine.doctor = "{ broken";
  assert.equal((await asked())[1]?.[1], "unknown");
});

test("the access log is JSON lines in at most four files of bounded size, and a full disk stops nobody", () => {
  const home = fs.mkdtempSync(path.join(os.tmpdir(), "sallyport-access-"));
  const file = path.join(home, "access.ndjson");
  const log = new AccessFile(file, 10_000);
  const entry: AccessEntry = {
    ...{ atMs: 0, requestId: "r-1", peer: "10.0.0.9", method: "GET", route: "/v1/status" },
    ...{ path: "/v1/status", status: 200, person: "eve\n\u2028", durationMs: 1 },
  };
  for (let n = 0; n < 2000; n++) {
    log.add(entry);
    if (n % 20 === 0) log.flush();
  }
  log.flush();
  const files = fs.readdirSync(home).sort();
  assert.deepEqual(files, [
    "access.ndjson",
    "access.ndjson.1",
    "access.ndjson.2",
    "access.ndjson.3",
  ]);
  for (const name of files) {
    const text = fs.readFileSync(path.join(home, name), "utf8");
    assert.ok(text.length <= 10_000, `${name} has ${text.length} bytes`);
    for (const one of text.trimEnd().split("\n"))
      assert.equal(fields(JSON.parse(one) as Json)["status"], 200);
  }
  const nowhere = new AccessFile(path.join(home, "access.ndjson", "in-a-file"));
  nowhere.add(entry);
  nowhere.flush();
  assert.equal(nowhere.lost, 1);
  assert.deepEqual(supervisorLines(path.join(home, "none")), []);
  fs.rmSync(home, { recursive: true });
});
