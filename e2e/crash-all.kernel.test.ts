/**
 * `kill -9` of all processes of the gateway at once: while a change waits, at moments of its making and of
 * its confirmation. With nobody alive the kernels alone decide, and when: the deadlines are read from them.
 */
import assert from "node:assert/strict";
import fs from "node:fs";
import path from "node:path";
import process from "node:process";
import { after, before, test } from "node:test";
import { stopGateway } from "sallyport";
import { knock } from "../lab/attacks.ts";
import { whyNoNamespaces } from "../lab/namespaces.ts";
import { must, sleep } from "../lab/shell.ts";
import type { PolicyText } from "../lab/story.ts";
import {
  BACK_LIMIT_MS,
  CrashStage,
  OPEN,
  PENDING,
  replaced,
  SETTLE_MS,
  wider,
} from "./hands/crash-stage.ts";
import { CLOCK_STEP_MS, fallBackOf, past, promisedEnd } from "./hands/deadlines.ts";
import * as ps from "./hands/processes.ts";
import { eventsSince, legsOf, roomsThere } from "./hands/rooms.ts";
import { captureInward } from "./hands/sweep.ts";
import { bootMs, InnerLeg, numberOf, OuterLeg } from "./live-sessions/legs.ts";

const why = process.getuid?.() === 0 ? await whyNoNamespaces() : "needs root: rooms, eBPF and uids";
const skip = why ?? false;
/** Longer than a busy machine needs to try what is open until then. */
const WAITS_SECONDS = 18;
const GRANT_SECONDS = 34;
/** Of changes that nobody lives to confirm; only waited for. */
const SHORT_SECONDS = 3;
/** Longer than a busy machine needs to start confirming. */
const CONFIRM_SECONDS = 12;

let built: CrashStage | undefined;

function stage(): CrashStage {
  if (built === undefined) throw new Error("the plant was not built");
  return built;
}

before(async () => {
  if (why === undefined) built = await CrashStage.build(`q${process.pid}`);
});
after(async () => {
  await built?.destroy();
});

/** With a room of its own as well, which comes with the change and goes with it. */
function larger(policy: PolicyText): PolicyText {
  const portal = "  portal:       { kind: portal }\n";
  const conduit = `  spare-reads-press:
    from: erp
    to: press-plc
    service: modbus
    via: proxy
    through: gate-spare
    owner: operations
    why: A gate that only this policy has
    expires: 2027-01-31
    l7: { modbus: { functions: [read-coils], units: [1], coils: [0-9] } }
`;
  const { name, text } = wider(policy);
  const roomy = replaced(text, portal, `${portal}  gate-spare: { kind: gate }\n`);
  return { name, text: replaced(roomy, "\ninvariants:\n", `${conduit}\ninvariants:\n`) };
}

/** Rooms that stand, and those that the policy in force asks for. */
async function roomsAreThose(when: string): Promise<void> {
  const { site } = stage();
  const { rooms } = await legsOf(site);
  const wanted = [...rooms.map(({ name }) => name), "outer", "inner", "tap"];
  const names = wanted.map((room) => `${site.instance.netnsPrefix}-${room}`);
  assert.deepEqual(roomsThere(site).sort(), names.sort(), when);
}

/** The next gateway is as whole as the first, with the generation that is confirmed and no other. */
async function isWhole(when: string): Promise<void> {
  assert.equal((await stage().status())["pending"], undefined, when);
  assert.equal(promisedEnd(stage().site), undefined, when);
  assert.deepEqual(await stage().differences(), [], when);
  await roomsAreThose(when);
  await Promise.all([stage().live.flowAgain("hmi", "erp", "direct"), stage().stillRefused()]);
}

/** What the kernels let pass: the confirmed policy's port, the other's only if it is in force. */
async function passes(isPending: boolean, when: string): Promise<void> {
  const [own, pending] = await Promise.all([
    stage().opens(OPEN),
    isPending ? stage().opens(PENDING) : stage().isOpen(PENDING),
    stage().stillRefused(),
  ]);
  assert.deepEqual([own, pending], [true, isPending], when);
}

/** Whether the kernels let the vendor get as far as the gate, which no longer answers. */
class VendorsGate implements AsyncDisposable {
  readonly #link: Awaited<ReturnType<typeof captureInward>>;

  private constructor(link: Awaited<ReturnType<typeof captureInward>>) {
    this.#link = link;
  }

  static async watch(): Promise<VendorsGate> {
    return new VendorsGate(await captureInward(stage().site, "gate-vendor", "outer", ["tcp"]));
  }

  /** One SYN, and whether it came. */
  async hears(): Promise<boolean> {
    const { plant } = stage().site;
    const since = Date.now();
    await knock(plant, "vendor-pc", { address: plant.address("press-plc"), port: 502 });
    await sleep(SETTLE_MS);
    return this.#link.since(since).some(({ flags }) => flags === "S");
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#link.stop();
  }
}

/** When both kernels end the grant, on the boot clock. */
async function endsOf(grant: string): Promise<{ readonly first: number; readonly last: number }> {
  const { instance } = stage().site;
  const id = numberOf(instance, grant);
  const at = bootMs();
  const outer = await new OuterLeg(instance, id).leftMs();
  const inner = await new InnerLeg(instance, id).leftMs();
  assert.ok(outer.length > 0 && inner.length > 0, "both kernels know the grant");
  const ends = [...outer, ...inner].map((left) => at + left);
  return { first: Math.min(...ends), last: Math.max(...ends) };
}

test("all are killed between apply and confirm: the kernels fall back, and end a grant, by themselves", {
  skip,
}, async () => {
  await stage().ready();
  const { site, live } = stage();
  const { plant, product } = site;
  const confirmed = await stage().generation();
  const start = Date.now();
  await using gate = await VendorsGate.watch();
  assert.equal(await gate.hears(), false, "without a grant not even a SYN");
  const grant = await product.grant({
    conduit: "vendor-services-press",
    person: "vendor-tech",
    reason: "All processes end while it lives",
    source: plant.address("vendor-pc"),
    asset: "press-plc",
    seconds: GRANT_SECONDS,
  });
  const pending = await stage().apply(wider(site.policy), WAITS_SECONDS);
  assert.ok((await ps.killAll(site)) >= 10);

  const { outer, inner } = await fallBackOf(site);
  const promised = promisedEnd(site);
  assert.ok(outer !== undefined && inner !== undefined && promised !== undefined);
  assert.ok(outer <= promised + CLOCK_STEP_MS, `outer falls back ${outer - promised} ms late`);
  assert.ok(inner <= promised + CLOCK_STEP_MS, `inner falls back ${inner - promised} ms late`);
  const ends = await endsOf(grant.id);
  const lateMs = ends.last - bootMs() + Date.now() - grant.notAfter;
  assert.ok(lateMs <= CLOCK_STEP_MS, `the grant ends ${lateMs} ms late`);
  assert.equal(await stage().opens(PENDING), true, "until its deadline the change is in force");
  assert.equal(await gate.hears(), true, "and so is the grant");
  assert.ok(bootMs() < Math.min(outer, inner), "this machine was too slow to try it in time");

  await past(Math.max(outer, inner));
  assert.equal(await stage().isOpen(PENDING), false, "then no longer");
  assert.equal(await stage().opens(OPEN), true, "and what was confirmed is");
  assert.equal((await fallBackOf(site)).outer, undefined, "in outer too");
  assert.equal(await gate.hears(), true, "the grant has not ended with the change");
  assert.ok(bootMs() < ends.first, "this machine was too slow to try it in time");
  await past(ends.last);
  assert.equal(await gate.hears(), false, "the grant ended with nobody there to end it");
  await stage().stillRefused();
  await stage().diodeFlows();
  await live.flowAgain("direct");
  assert.equal(ps.describe(site), "", "all of it with no process alive");

  await stage().up();
  assert.equal(await stage().generation(), confirmed);
  assert.equal(await stage().isOpen(PENDING), false);
  await isWhole("after");
  const told = eventsSince(site, start).find(({ type }) => type === "rolled-back");
  assert.equal(told?.["generation"], pending, "a record says so");
});

/** Looks as often as it can: the moments of a change pass in milliseconds. */
async function reachedSoon(reached: () => boolean): Promise<boolean> {
  const end = performance.now() + BACK_LIMIT_MS;
  while (performance.now() < end) {
    if (reached()) return true;
    await sleep(1);
  }
  return false;
}

type Moment = readonly [what: string, reached: () => boolean];

function momentsOfApply(): readonly Moment[] {
  const { site } = stage();
  const { stateDir } = site.instance;
  const generations = path.join(stateDir, "generations");
  const known = fs.readdirSync(generations).length;
  const standing = roomsThere(site).length;
  return [
    ["while it is compiled", () => ps.running(site, "compiler").length > 0],
    ["as its files are written", () => fs.readdirSync(generations).length > known],
    ["as its room is made", () => roomsThere(site).length > standing],
    ["as it is armed", () => fs.existsSync(path.join(stateDir, "armed.json"))],
    ["as its guard stands", () => ps.running(site, "guard").length > 0],
  ];
}

test("all are killed at any moment of an apply: the last confirmed generation returns", {
  skip,
}, async () => {
  await stage().ready();
  const { site } = stage();
  const confirmed = await stage().generation();
  for (const [what, reached] of momentsOfApply()) {
    // Mostly it is never answered; on a busy machine it may just have been.
    const applying = stage()
      .apply(larger(site.policy), SHORT_SECONDS)
      .catch(() => undefined);
    const came = await reachedSoon(reached);
    await ps.killAll(site);
    assert.equal(came, true, what);
    await applying;
    const end = promisedEnd(site);
    if (end !== undefined) await past(end);
    await passes(false, `${what}: with nobody alive`);

    await stage().up();
    assert.equal(await stage().generation(), confirmed, what);
    await passes(false, what);
    await isWhole(what);
  }
});

function momentsOfConfirm(pending: number): readonly Moment[] {
  const { stateDir } = stage().site.instance;
  const isThere = (name: string): boolean => fs.existsSync(path.join(stateDir, name));
  const isConfirmed = (): boolean => {
    const text = fs.readFileSync(path.join(stateDir, "state.json"), "utf8");
    const { generations } = JSON.parse(text) as {
      readonly generations: readonly { readonly number: number; readonly state: string }[];
    };
    return generations.some(({ number, state }) => number === pending && state === "confirmed");
  };
  return [
    ["as it is claimed", () => !isThere("armed.json")],
    ["as it is written down", isConfirmed],
    ["as it is done", () => isConfirmed() && !isThere("confirming.json")],
  ];
}

test("all are killed as a change is confirmed: one of the two generations is in force, whole", {
  skip,
}, async () => {
  await stage().ready();
  const { site } = stage();
  for (const moment of momentsOfConfirm(0).keys()) {
    const confirmed = await stage().generation();
    const isLarge = (await legsOf(site)).rooms.some(({ name }) => name === "gate-spare");
    // Each goes where the last one did not come from: rooms are added and taken away.
    const next = isLarge ? site.policy : larger(site.policy);
    const pending = await stage().apply(next, CONFIRM_SECONDS);
    const [what, reached] = momentsOfConfirm(pending)[moment] ?? ["", (): boolean => false];
    const confirming = site.product.confirm(pending).catch(() => undefined);
    const came = await reachedSoon(reached);
    await ps.killAll(site);
    assert.equal(came, true, what);
    await confirming;
    const end = promisedEnd(site);
    if (end !== undefined) await past(end);
    const [own] = await Promise.all([stage().opens(OPEN), stage().stillRefused()]);
    assert.equal(own, true, `${what}: both have this`);

    await stage().up();
    const now = await stage().generation();
    assert.ok(now === confirmed || now === pending, `${what}: generation ${now}`);
    if (what !== "as it is claimed") assert.equal(now, pending, `${what}: it was confirmed`);
    await passes((now === pending) !== isLarge, what);
    await isWhole(what);
  }
});

test("what a killed gateway left is found and removed, and the next one starts from its record", {
  skip,
}, async () => {
  await stage().ready();
  const { site, live } = stage();
  const { plant, instance } = site;
  const confirmed = await stage().generation();
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
  roomsStandWithNics(await nicsOfHost());

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

  await stage().up();
  assert.equal(await stage().generation(), confirmed);
  await isWhole("after");
});

function roomsStandWithNics(ofHost: readonly string[]): void {
  assert.ok(roomsThere(stage().site).length >= 6, "its rooms stand");
  assert.deepEqual(ofHost, [], "with its NICs in them");
}
