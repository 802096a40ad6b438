/**
 * `kill -9` of each process of the gateway in turn, and of all at once in the middle of a change, on the
 * real plant. Three long connections tell what went on: two through gates, one that only rules carry.
 */
import assert from "node:assert/strict";
import fs from "node:fs";
import path from "node:path";
import process from "node:process";
import { after, before, test } from "node:test";
import { generatePolicy } from "../lab/generate-policy.ts";
import { knock } from "../lab/attacks.ts";
import { whyNoNamespaces } from "../lab/namespaces.ts";
import { must, sleep, within } from "../lab/shell.ts";
import { buildSite, plantPolicy, type Site } from "../lab/site.ts";
import type { PolicyText } from "../lab/story.ts";
import { PYTHON } from "../lab/device.ts";
import { ask, fields, startSupervisor, stopGateway } from "sallyport";
import { Live } from "./hands/live.ts";
import * as ps from "./hands/processes.ts";
import { eventsSince, roomsThere } from "./hands/rooms.ts";
import { captureInward } from "./hands/sweep.ts";

const why = process.getuid?.() === 0 ? await whyNoNamespaces() : "needs root: rooms, eBPF and uids";
const skip = why ?? false;
const BACK_LIMIT_MS = 30_000;
const CONFIRM_SECONDS = 3;
/** Past the deadline: the kernels round to whole seconds, and never up. */
const AFTER_DEADLINE_MS = 1_200;
const GRANT_SECONDS = 4;
/** Far longer than a packet takes to a capture in the next room. */
const SETTLE_MS = 500;
/** The confirmed policy opens the first; a pending one, never confirmed, the second beside it. */
const [OPEN, PENDING] = [4712, 4714];

interface Stage {
  readonly site: Site;
  readonly live: Live;
}
let built: Stage | undefined;

function stage(): Stage {
  if (built === undefined) throw new Error("the plant was not built");
  return built;
}

/** The plant's policy, with the direct conduit open at any time. */
function alwaysOpen(): PolicyText {
  const { name, text } = plantPolicy();
  return { name, text: replaced(text, "    when: sunday-maintenance\n", "") };
}

/** One that lets more pass, and whose direct conduit is another one: its sessions are not carried on. */
function wider({ name, text }: PolicyText): PolicyText {
  return { name, text: replaced(text, "tcp: [4711-4713]", `tcp: [4711-${PENDING}]`) };
}

function replaced(text: string, from: string, to: string): string {
  if (!text.includes(from)) throw new RangeError(`the policy no longer says "${from.trim()}"`);
  return text.replace(from, to);
}

before(async () => {
  if (why !== undefined) return;
  const site = await buildSite({ name: `k${process.pid}`, mode: "kernel", policy: alwaysOpen() });
  try {
    const { plant } = site;
    const serve = [...PYTHON, `${import.meta.dirname}/hands/ticker.py`, "serve"];
    const lines: string[] = [];
    plant.spawn("press-plc", [...serve, String(OPEN), String(PENDING)], (line) => lines.push(line));
    const serves = await within(BACK_LIMIT_MS, () => (lines.length > 0 ? true : undefined));
    assert.equal(serves, true, "the press listens");
    built = { site, live: new Live(site, OPEN) };
    built.live.start();
    await built.live.flow("hmi", "erp", "direct");
  } catch (error) {
    await site.destroy();
    throw error;
  }
});
after(async () => {
  await built?.live.stop();
  await built?.site.destroy();
});

async function status(): Promise<ReturnType<typeof fields>> {
  return fields(await ask(stage().site.instance.name, { type: "status" }));
}

/** Polls until the enforcer answers again. */
async function answers(): Promise<ReturnType<typeof fields>> {
  const said = await within(BACK_LIMIT_MS, () => status().catch(() => undefined));
  assert.ok(said !== undefined, "the enforcer is back");
  return said;
}

async function generation(): Promise<number> {
  const number = (await answers())["generation"];
  assert.ok(typeof number === "number");
  return number;
}

function up(): Promise<void> {
  const { plant, instance } = stage().site;
  return startSupervisor(instance, { hostNetns: `/run/netns/${plant.box}`, foreground: false });
}

/** Waits until the supervisor has written both of the worker's end and of its next start. */
async function comesBack(worker: string, since: number): Promise<void> {
  const { site } = stage();
  const back = await within(BACK_LIMIT_MS, () => {
    const life = ps.lifeOf(site, worker, since).map(({ type }) => type);
    const ended = life.indexOf("process-ended");
    return ended >= 0 && life.indexOf("process-started", ended) > ended ? true : undefined;
  });
  assert.equal(back, true, `${worker} ended on record and was started again`);
}

function killOne(found: readonly ps.Process[], what: string): void {
  assert.ok(found.length > 0, `${what} runs`);
  ps.kill(found);
}

/** The attacker gets nowhere, and the kernel says so by itself: no process is asked. */
async function stillRefused(): Promise<void> {
  const { plant } = stage().site;
  const since = Date.now();
  const link = await plant.capture("tank-plc", ["not", "arp"]);
  try {
    for (const from of ["attacker", "rogue"] as const) {
      const tank = { address: plant.address("tank-plc"), port: 502 };
      assert.equal((await knock(plant, from, tank)).ok, false, `${from} dials the tank`);
    }
    await sleep(SETTLE_MS);
    const own = [plant.address("attacker"), plant.address("rogue")];
    const came = link.since(since).filter(({ source }) => own.includes(source));
    assert.deepEqual(came, []);
  } finally {
    await link.stop();
  }
}

function until(at: number): Promise<void> {
  return sleep(Math.max(1, at - Date.now()));
}

async function isOpen(port: number): Promise<boolean> {
  const { plant } = stage().site;
  return (await knock(plant, "eng-ws", { address: plant.address("press-plc"), port })).ok;
}

/** The one-way status of the safety system, which no process of ours carries. */
async function diodeFlows(): Promise<void> {
  const since = Date.now();
  const hmi = stage().site.plant.device("hmi");
  const came = await within(BACK_LIMIT_MS, () =>
    hmi.eventsSince(since).find(({ event }) => event === "datagram"),
  );
  assert.ok(came !== undefined, "the safety system's status arrives");
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
    await comesBack(room, since);
    await live.flowAgain(own);
    await live.flow(other, "direct");
    assert.deepEqual(live.broken(since, other, "direct"), []);
  }
  const since = Date.now();
  killOne(ps.running(site, "gate", "gate-vendor"), "gate-vendor");
  await comesBack("gate-vendor", since);
  await live.flow("hmi", "erp", "direct");
  assert.deepEqual(live.broken(since, "hmi", "erp", "direct"), []);
});

test("the enforcer is killed: rules stay, sessions go on, and its successor adopts them", {
  skip,
}, async () => {
  const { site, live } = stage();
  const confirmed = await generation();
  const packets = async (): Promise<number> => {
    const { conduits } = await answers();
    const rows = Array.isArray(conduits) ? conduits.map(fields) : [];
    return Number(rows.find((row) => row["name"] === "press-diagnosis")?.["packets"]);
  };
  const counted = await packets();
  const since = Date.now();
  killOne(ps.running(site, "enforcer"), "the enforcer");
  await stillRefused();
  await live.flow("hmi", "erp", "direct");
  await comesBack("enforcer", since);
  assert.equal(await generation(), confirmed);
  assert.ok((await packets()) > counted, "counters went on");
  await live.flow("hmi", "erp", "direct");
  assert.deepEqual(live.broken(since, "hmi", "erp", "direct"), []);
  assert.deepEqual(ps.lifeOf(site, "gate-cells", since), [], "gates were left alone");
  assert.deepEqual(fields(await ask(site.instance.name, { type: "drift" }))["differences"], []);
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
    await comesBack(worker, since);
  }
  await live.flow("hmi", "erp", "direct");
  assert.deepEqual(live.broken(start, "hmi", "erp", "direct"), []);
  const told = await within(BACK_LIMIT_MS, async () => {
    const since = Date.now();
    await stillRefused();
    await sleep(500);
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
  const confirmed = await generation();
  const since = Date.now();
  const { answer, compiler } = await compiling();
  killOne(compiler, "the compiler");
  assert.equal(await answer, "compiler-failed");
  assert.equal(await generation(), confirmed);
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
  await comesBack("enforcer", since);
  await answers();
});

async function applyWider(): Promise<number> {
  const { product, policy } = stage().site;
  const applied = await product.apply(wider(policy), CONFIRM_SECONDS);
  if (applied.kind === "refused") throw new Error(applied.diagnostics.join("\n"));
  return applied.generation;
}

test("the guard of a change is killed: it falls back all the same", { skip }, async () => {
  const { site, live } = stage();
  const confirmed = await generation();
  const since = Date.now();
  const pending = await applyWider();
  killOne(ps.running(site, "guard"), "the guard");
  assert.equal(await isOpen(PENDING), true, "until then the change is in force");
  const back = await within(BACK_LIMIT_MS, () =>
    eventsSince(site, since).find(({ type }) => type === "rolled-back"),
  );
  assert.equal(back?.["generation"], pending);
  assert.equal(await generation(), confirmed);
  assert.equal((await status())["pending"], undefined);
  assert.equal(await isOpen(PENDING), false);
  await live.flowAgain("hmi", "erp", "direct");
});

test("the supervisor is killed: all processes end, rules stay, and the next one adopts the rooms", {
  skip,
}, async () => {
  const { site, live } = stage();
  const confirmed = await generation();
  const since = Date.now();
  killOne(ps.running(site, "supervisor"), "the supervisor");
  const gone = await within(BACK_LIMIT_MS, () =>
    ps.processesOf(site).length === 0 ? true : undefined,
  );
  assert.equal(gone, true, `no process is left: ${ps.describe(site)}`);
  assert.equal(await live.ends("hmi"), true);
  assert.equal(await live.ends("erp"), true);
  await stillRefused();
  await diodeFlows();
  await live.flow("direct");

  await up();
  assert.equal(await generation(), confirmed);
  await live.flowAgain("hmi", "erp");
  await live.flow("direct");
  assert.deepEqual(live.broken(since, "direct"), [], "what only rules carry was never touched");
  assert.deepEqual(fields(await ask(site.instance.name, { type: "drift" }))["differences"], []);
});

test("all are killed between apply and confirm: the kernels fall back, and end a grant, by themselves", {
  skip,
}, async () => {
  const { site, live } = stage();
  const { plant, product } = site;
  const confirmed = await generation();
  const start = Date.now();
  const gate = await captureInward(site, "gate-vendor", "outer", ["tcp"]);
  /** Whether the kernels still let the vendor get as far as the gate, which no longer answers. */
  const knocks = async (): Promise<boolean> => {
    const since = Date.now();
    await knock(plant, "vendor-pc", { address: plant.address("press-plc"), port: 502 });
    const seen = await within(SETTLE_MS, () =>
      gate.since(since).some(({ flags }) => flags === "S") ? true : undefined,
    );
    return seen === true;
  };
  let pending = 0;
  try {
    assert.equal(await knocks(), false, "without a grant not even a SYN");
    const grant = await product.grant({
      conduit: "vendor-services-press",
      person: "vendor-tech",
      reason: "All processes end while it lives",
      source: plant.address("vendor-pc"),
      asset: "press-plc",
      seconds: GRANT_SECONDS + CONFIRM_SECONDS,
    });
    pending = await applyWider();
    const appliedAt = Date.now();
    assert.ok((await ps.killAll(site)) >= 10);
    assert.equal(await isOpen(PENDING), true, "until its deadline the change is in force");
    assert.equal(await knocks(), true, "and so is the grant");
    await until(appliedAt + CONFIRM_SECONDS * 1000 + AFTER_DEADLINE_MS);
    assert.equal(await isOpen(PENDING), false, "then no longer");
    assert.equal(await isOpen(OPEN), true, "and what was confirmed is");
    await until(grant.notAfter + AFTER_DEADLINE_MS);
    assert.equal(await knocks(), false, "the grant ended with nobody there to end it");
    await stillRefused();
    await diodeFlows();
    await live.flowAgain("direct");
    assert.equal(ps.describe(site), "", "all of it with no process alive");
  } finally {
    await gate.stop();
  }
  await up();
  assert.equal(await generation(), confirmed);
  assert.equal((await status())["pending"], undefined);
  assert.equal(await isOpen(PENDING), false);
  const told = eventsSince(site, start).find(({ type }) => type === "rolled-back");
  assert.equal(told?.["generation"], pending, "a record says so");
  await live.flowAgain("hmi", "erp", "direct");
});

test("all are killed at any moment of an apply: the last confirmed generation returns", {
  skip,
}, async () => {
  const { site, live } = stage();
  const { stateDir } = site.instance;
  const confirmed = await generation();
  const generations = path.join(stateDir, "generations");
  let known = 0;
  const moments: readonly (readonly [string, () => boolean])[] = [
    ["while it is compiled", () => ps.running(site, "compiler").length > 0],
    ["as its files are written", () => fs.readdirSync(generations).length > known],
    ["as it is armed", () => fs.existsSync(path.join(stateDir, "armed.json"))],
    ["as its guard stands", () => ps.running(site, "guard").length > 0],
  ];
  for (const [what, reached] of moments) {
    known = fs.readdirSync(generations).length;
    const applying = applyWider().then(
      () => "applied",
      () => "never answered",
    );
    const at = await reachedSoon(reached);
    await ps.killAll(site);
    assert.equal(at, true, what);
    await applying;
    await until(Date.now() + CONFIRM_SECONDS * 1000 + AFTER_DEADLINE_MS);
    assert.equal(await isOpen(PENDING), false, `${what}: nothing of the change is left`);
    assert.equal(await isOpen(OPEN), true, `${what}: what was confirmed is in force`);
    await stillRefused();
    await up();
    assert.equal(await generation(), confirmed, what);
    assert.equal((await status())["pending"], undefined, what);
    await live.flowAgain("hmi", "erp", "direct");
  }
  const pending = await applyWider();
  assert.equal(await isOpen(PENDING), true, "the next change is taken as ever");
  await ask(site.instance.name, { type: "rollback", generation: pending });
  await live.flowAgain("direct");
});

/** Looks as often as it can: the moments of a change pass in milliseconds. */
async function reachedSoon(reached: () => boolean): Promise<boolean> {
  const end = Date.now() + BACK_LIMIT_MS;
  while (Date.now() < end) {
    if (reached()) return true;
    await sleep(1);
  }
  return false;
}

test("all are killed as a change is confirmed: one of the two generations is in force, whole", {
  skip,
}, async () => {
  const { site, live } = stage();
  const confirmed = await generation();
  const pending = await applyWider();
  const confirming = site.product.confirm(pending).catch(() => undefined);
  const armed = path.join(site.instance.stateDir, "armed.json");
  assert.equal(await reachedSoon(() => !fs.existsSync(armed)), true);
  await ps.killAll(site);
  await confirming;
  await until(Date.now() + CONFIRM_SECONDS * 1000 + AFTER_DEADLINE_MS);
  await up();
  const now = await generation();
  assert.ok(now === confirmed || now === pending, `generation ${now}`);
  assert.equal(await isOpen(PENDING), now === pending);
  assert.equal(await isOpen(OPEN), true);
  assert.equal((await status())["pending"], undefined);
  await live.flowAgain("hmi", "erp", "direct");
});

test("what a killed gateway left is found and removed, and the next one starts from its record", {
  skip,
}, async () => {
  const { site, live } = stage();
  const { plant, instance } = site;
  const confirmed = await generation();
  const nicsOfHost = async (): Promise<string[]> => {
    const links = await must(["ip", "-j", "link", "show"], { netns: plant.box });
    return (JSON.parse(links) as { ifname: string; flags: string[] }[])
      .filter(({ ifname }) => ifname !== "lo")
      .map(({ ifname, flags }) => `${ifname} ${flags.includes("UP") ? "up" : "down"}`)
      .sort();
  };
  // Of a connection whose room is removed neither end ever hears again.
  await live.stop();
  await ps.killAll(site);
  assert.ok(roomsThere(site).length >= 6, "its rooms stand");
  assert.deepEqual(await nicsOfHost(), [], "with its NICs in them");

  await stopGateway(instance, `/run/netns/${plant.box}`);
  assert.deepEqual(roomsThere(site), []);
  const nics = ["cella0", "cellb0", "it0", "sis0", "sup0", "vendor0"];
  assert.deepEqual(
    await nicsOfHost(),
    nics.map((nic) => `${nic} down`),
  );
  assert.equal(fs.existsSync(instance.runDir), false);
  const mounts = fs.readFileSync("/proc/self/mounts", "utf8");
  assert.equal(mounts.includes(`${instance.runDir}/`), false);
  assert.equal(ps.describe(site), "");

  await up();
  assert.equal(await generation(), confirmed);
  await live.flowAgain("hmi", "erp", "direct");
  await stillRefused();
});
