/**
 * `kill -9` of each process of the gateway in turn, on the real plant. Three long connections tell what went
 * on: two through gates, one that only rules carry.
 */
import assert from "node:assert/strict";
import process from "node:process";
import { after, before, test } from "node:test";
import { ask, fields } from "sallyport";
import { generatePolicy } from "../lab/generate-policy.ts";
import { whyNoNamespaces } from "../lab/namespaces.ts";
import { sleep, within } from "../lab/shell.ts";
import { BACK_LIMIT_MS, CrashStage, PENDING, SETTLE_MS, wider } from "./hands/crash-stage.ts";
import * as ps from "./hands/processes.ts";
import { eventsSince, inRoom, legsOf, linkTo } from "./hands/rooms.ts";

const why = process.getuid?.() === 0 ? await whyNoNamespaces() : "needs root: rooms, eBPF and uids";
const skip = why ?? false;
/** Longer than a busy machine needs to try what is open until then. */
const WAITS_SECONDS = 20;
/** Nobody waits for its end. */
const LONG_SECONDS = 300;

let built: CrashStage | undefined;

function stage(): CrashStage {
  if (built === undefined) throw new Error("the plant was not built");
  return built;
}

before(async () => {
  if (why === undefined) built = await CrashStage.build(`k${process.pid}`);
});
after(async () => {
  await built?.destroy();
});

function killOne(found: readonly ps.Process[], what: string): void {
  assert.ok(found.length > 0, `${what} runs`);
  ps.kill(found);
}

test("a gate that is killed ends its own flows only, and is back in moments", {
  skip,
}, async () => {
  const { site, live } = stage();
  for (const [room, own, other] of [
    ["gate-cells", "hmi", "erp"],
    ["gate-erp", "erp", "hmi"],
  ] as const) {
    const since = Date.now();
    killOne(ps.running(site, "gate", room), room);
    assert.equal(await live.ends(own), true, `${own} has lost its connection`);
    await stage().comesBack(room, since);
    await live.flowAgain(own);
    await live.flow(other, "direct");
    assert.deepEqual(live.broken(since, other, "direct"), []);
  }
  const since = Date.now();
  killOne(ps.running(site, "gate", "gate-vendor"), "gate-vendor");
  await stage().comesBack("gate-vendor", since);
  await live.flow("hmi", "erp", "direct");
  assert.deepEqual(live.broken(since, "hmi", "erp", "direct"), []);
});

test("the enforcer is killed: rules stay, sessions go on, and its successor adopts them", {
  skip,
}, async () => {
  const { site, live } = stage();
  const confirmed = await stage().generation();
  const packets = async (): Promise<number> => {
    const { conduits } = await stage().answers();
    const rows = Array.isArray(conduits) ? conduits.map(fields) : [];
    return Number(rows.find((row) => row["name"] === "press-diagnosis")?.["packets"]);
  };
  const counted = await packets();
  const since = Date.now();
  killOne(ps.running(site, "enforcer"), "the enforcer");
  await stage().stillRefused();
  await live.flow("hmi", "erp", "direct");
  await stage().comesBack("enforcer", since);
  assert.equal(await stage().generation(), confirmed);
  assert.ok((await packets()) > counted, "counters went on");
  await live.flow("hmi", "erp", "direct");
  assert.deepEqual(live.broken(since, "hmi", "erp", "direct"), []);
  assert.deepEqual(ps.lifeOf(site, "gate-cells", since), [], "gates were left alone");
  assert.deepEqual(await stage().differences(), []);
});

test("whoever reads and counts is killed: nothing stops, and refusals are told again", {
  skip,
}, async () => {
  const { site, live } = stage();
  const start = Date.now();
  const victims: readonly (readonly [string, string, () => readonly ps.Process[]])[] = [
    ["the journal", "journal", () => ps.running(site, "journal")],
    ["the watch", "watch", () => ps.running(site, "watch")],
    ["the packet reader", "watch", () => ps.running(site, "packets")],
    ["a capture", "watch", () => ps.tools(site, "tcpdump").slice(0, 1)],
  ];
  for (const [what, worker, find] of victims) {
    const since = Date.now();
    const found = await within(BACK_LIMIT_MS, () => (find().length > 0 ? find() : undefined));
    killOne(found ?? [], what);
    await stage().comesBack(worker, since);
  }
  await live.flow("hmi", "erp", "direct");
  assert.deepEqual(live.broken(start, "hmi", "erp", "direct"), []);
  const told = await within(BACK_LIMIT_MS, async () => {
    const since = Date.now();
    await stage().stillRefused();
    await sleep(SETTLE_MS);
    return eventsSince(site, since).find(({ type }) => type === "packet-denied");
  });
  assert.equal(told?.["reason"], "no-conduit");
});

/** A compilation that is under way: its answer, or the code of its refusal, and its process. */
async function compiling(): Promise<{
  readonly answer: Promise<unknown>;
  readonly compiler: readonly ps.Process[];
}> {
  const { site } = stage();
  const files = generatePolicy(7, { conduits: 2_000 });
  const answer = ask(site.instance.name, { type: "plan", files }).then(
    () => "planned",
    (error: unknown) => (error instanceof Error && "code" in error ? error.code : error),
  );
  const found = await within(BACK_LIMIT_MS, () => {
    const compilers = ps.running(site, "compiler");
    return compilers.length > 0 ? compilers : undefined;
  });
  return { answer, compiler: found ?? [] };
}

test("the compiler is killed: the change is refused, and nothing else", { skip }, async () => {
  const { live } = stage();
  const confirmed = await stage().generation();
  const since = Date.now();
  const { answer, compiler } = await compiling();
  killOne(compiler, "the compiler");
  assert.equal(await answer, "compiler-failed");
  assert.equal(await stage().generation(), confirmed);
  await live.flow("hmi", "erp", "direct");
  assert.deepEqual(live.broken(since, "hmi", "erp", "direct"), []);
});

test("the enforcer is killed while a policy is compiled: the compiler does not outlive it", {
  skip,
}, async () => {
  const { site } = stage();
  const since = Date.now();
  const { answer, compiler } = await compiling();
  // It would be done in a moment and go by itself.
  for (const { pid } of compiler) process.kill(pid, "SIGSTOP");
  killOne(ps.running(site, "enforcer"), "the enforcer");
  assert.equal(await answer, "enforcer-gone");
  const gone = await within(BACK_LIMIT_MS, () => {
    const there = ps.processesOf(site).map(({ pid }) => pid);
    return compiler.some(({ pid }) => there.includes(pid)) ? undefined : true;
  });
  assert.equal(gone, true, ps.describe(site));
  await stage().comesBack("enforcer", since);
  await stage().answers();
});

test("the guard of a change is killed: it falls back all the same", { skip }, async () => {
  const { site, live } = stage();
  const confirmed = await stage().generation();
  const since = Date.now();
  const pending = await stage().apply(wider(site.policy), WAITS_SECONDS);
  killOne(ps.running(site, "guard"), "the guard");
  assert.equal(await stage().isOpen(PENDING), true, "until then the change is in force");
  // Whoever asks meanwhile is not what the record of its end depends on.
  const back = await within(BACK_LIMIT_MS, async () => {
    await stage().status();
    return eventsSince(site, since).find(({ type }) => type === "rolled-back");
  });
  assert.equal(back?.["generation"], pending);
  assert.equal(await stage().generation(), confirmed);
  assert.equal((await stage().status())["pending"], undefined);
  assert.equal(await stage().isOpen(PENDING), false);
  await live.flowAgain("hmi", "erp", "direct");
});

test("the enforcer is killed while a change waits: its successor takes the change back", {
  skip,
}, async () => {
  const { site, live } = stage();
  const confirmed = await stage().generation();
  const since = Date.now();
  const pending = await stage().apply(wider(site.policy), LONG_SECONDS);
  assert.equal(await stage().opens(PENDING), true);
  const guards = ps.running(site, "guard");
  assert.equal(guards.length, 1, "its guard stands");
  killOne(ps.running(site, "enforcer"), "the enforcer");
  await stage().comesBack("enforcer", since);
  assert.equal(await stage().generation(), confirmed);
  assert.equal((await stage().status())["pending"], undefined);
  assert.equal(await stage().isOpen(PENDING), false);
  const told = eventsSince(site, since).find(({ type }) => type === "rolled-back");
  assert.equal(told?.["generation"], pending);
  const gone = await within(BACK_LIMIT_MS, () =>
    ps.running(site, "guard").length === 0 ? true : undefined,
  );
  assert.equal(gone, true, "the guard has nothing to guard any more");
  await live.flowAgain("hmi", "erp", "direct");
});

test("an enforcer that finds its rooms broken makes them anew, and the gates are in them again", {
  skip,
}, async () => {
  const { site, live } = stage();
  const confirmed = await stage().generation();
  const legs = await legsOf(site);
  const since = Date.now();
  const enforcer = ps.running(site, "enforcer");
  // It would look for drift meanwhile.
  for (const { pid } of enforcer) process.kill(pid, "SIGSTOP");
  await inRoom(site, "inner", "ip", "link", "del", linkTo(legs, "gate-cells", "inner"));
  killOne(enforcer, "the enforcer");
  await stage().comesBack("enforcer", since);
  assert.equal(await stage().generation(), confirmed);
  await live.flowAgain("hmi", "erp", "direct");
  await stage().stillRefused();
  assert.deepEqual(await stage().differences(), []);
});

test("the supervisor is killed: all processes end, rules stay, and the next one adopts the rooms", {
  skip,
}, async () => {
  const { site, live } = stage();
  const confirmed = await stage().generation();
  const since = Date.now();
  killOne(ps.running(site, "supervisor"), "the supervisor");
  const gone = await within(BACK_LIMIT_MS, () =>
    ps.processesOf(site).length === 0 ? true : undefined,
  );
  assert.equal(gone, true, `no process is left: ${ps.describe(site)}`);
  assert.equal(await live.ends("hmi"), true);
  assert.equal(await live.ends("erp"), true);
  await stage().stillRefused();
  await stage().diodeFlows();
  await live.flow("direct");

  await stage().up();
  assert.equal(await stage().generation(), confirmed);
  await live.flowAgain("hmi", "erp");
  await live.flow("direct");
  assert.deepEqual(live.broken(since, "direct"), [], "what only rules carry was never touched");
  assert.deepEqual(await stage().differences(), []);
});
