/**
 * `kill -9` of all processes of the gateway at once, while a change waits and a grant lives. With nobody alive
 * the kernels alone decide, and when: the deadlines are read from them.
 */
import assert from "node:assert/strict";
import fs from "node:fs";
import process from "node:process";
import { after, before, test } from "node:test";
import { stopGateway } from "sallyport";
import { knock } from "../lab/attacks.ts";
import { whyNoNamespaces } from "../lab/namespaces.ts";
import { must, sleep, within } from "../lab/shell.ts";
import { BACK_LIMIT_MS, CrashStage, OPEN, PENDING, SETTLE_MS, wider } from "./hands/crash-stage.ts";
import { CLOCK_STEP_MS, fallBackOf, past, promisedEnd } from "./hands/deadlines.ts";
import * as ps from "./hands/processes.ts";
import { eventsSince, roomsThere } from "./hands/rooms.ts";
import { captureInward } from "./hands/sweep.ts";
import { bootMs, InnerLeg, numberOf, OuterLeg } from "./live-sessions/legs.ts";

const why = process.getuid?.() === 0 ? await whyNoNamespaces() : "needs root: rooms, eBPF and uids";
const skip = why ?? false;
/** Longer than a busy machine needs to try what is open until then. */
const WAITS_SECONDS = 18;
const GRANT_SECONDS = 34;

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
  await Promise.all([stage().isWhole("after"), stage().stillRefused()]);
  const told = eventsSince(site, start).find(({ type }) => type === "rolled-back");
  assert.equal(told?.["generation"], pending, "a record says so");
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
  await Promise.all([stage().isWhole("after"), stage().stillRefused()]);
});

test("a supervisor that hangs is stopped with all that it started", { skip }, async () => {
  await stage().ready();
  const { site } = stage();
  await stage().live.stop();
  const [supervisor] = ps.running(site, "supervisor");
  assert.ok(supervisor !== undefined);
  process.kill(supervisor.pid, "SIGSTOP");
  await stopGateway(site.instance, `/run/netns/${site.plant.box}`);
  const gone = await within(BACK_LIMIT_MS, () => (ps.describe(site) === "" ? true : undefined));
  assert.equal(gone, true, ps.describe(site));
  assert.deepEqual(roomsThere(site), []);
  assert.equal(fs.existsSync(site.instance.runDir), false);
});

function roomsStandWithNics(ofHost: readonly string[]): void {
  assert.ok(roomsThere(stage().site).length >= 6, "its rooms stand");
  assert.deepEqual(ofHost, [], "with its NICs in them");
}
