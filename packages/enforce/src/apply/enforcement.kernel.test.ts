import assert from "node:assert/strict";
import path from "node:path";
import { test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { spawn } from "node:child_process";
import type { Legs } from "@sallyport/policy/legs";
import { ipBatch } from "../rooms/instance.ts";
import { PlainEngine } from "../rooms/plain-engine.test-kit.ts";
import { RoomSet } from "../rooms/room-set.ts";
import { conduit, ip, kernelTestsNeed, leg, smallPlant, TestSite } from "../rooms/site.test-kit.ts";
import { Enforcement } from "./enforcement.ts";
import { armedChange } from "./guard.ts";
import { run } from "./run.ts";
import { State } from "./state.ts";

const skip = kernelTestsNeed() ?? false;
const kit = path.join(import.meta.dirname, "guard-process.test-kit.ts");

const pingBtoA = conduit("b-pings-a", [leg("inner", "10.42.0.10", "10.41.0.10", "icmp")], {
  fromZones: ["cell-b"],
  toZones: ["cell-a"],
});
const pingAtoB = conduit("a-pings-b", [leg("inner", "10.41.0.10", "10.42.0.10", "icmp")], {
  fromZones: ["cell-a"],
  toZones: ["cell-b"],
});

/** The small plant with its hosts, and what runs it; `now` is the tests' clock. */
async function plant(): Promise<{
  site: TestSite;
  rooms: RoomSet;
  engines: { outer: PlainEngine; inner: PlainEngine };
  clock: { now: number };
  open: () => Promise<Enforcement>;
}> {
  const site = await TestSite.make();
  await site.addHost("it", "it0", "10.10.0.10/24", "10.10.0.1");
  await site.addHost("a", "cella0", "10.41.0.10/24", "10.41.0.1");
  await site.addHost("b", "cellb0", "10.42.0.10/24", "10.42.0.1");
  const engines = {
    outer: new PlainEngine("outer", site.room("outer")),
    inner: new PlainEngine("inner", site.room("inner")),
  };
  const rooms = new RoomSet(site.instance, engines, site.hostNetns);
  const { name, runDir, stateDir, netnsPrefix } = site.instance;
  const guardCommand = [process.execPath, kit, name, runDir, stateDir, netnsPrefix, site.hostNetns];
  const clock = { now: Date.UTC(2026, 10, 22, 12, 0) };
  const open = () => Enforcement.open({ rooms, clock: () => clock.now, guardCommand });
  return { site, rooms, engines, clock, open };
}

function request(legs: Legs) {
  return { legs, policy: new TextEncoder().encode("policy"), approvals: [], approvalIds: [] };
}

/** Bounded waiting for another process: the guard. */
async function until(what: () => Promise<boolean>): Promise<boolean> {
  for (let tries = 0; tries < 100; tries++) {
    if (await what()) return true;
    await sleep(100);
  }
  return false;
}

test("a confirmed policy is what boots, and nothing that was never confirmed", {
  skip,
}, async () => {
  await using scope = await plantScope();
  const { site, open } = scope.plant;
  const first = await open();
  const { generation } = await first.apply(request(smallPlant([pingBtoA])), {
    confirmWithinSeconds: 60,
  });
  await first.confirm(generation);
  assert.equal(await site.pings("b", "10.41.0.10"), true);
  await first.apply(request(smallPlant([pingBtoA, wideOpen()])), { confirmWithinSeconds: 60 });
  assert.equal(await site.pings("it", "10.30.0.10"), true, "the pending generation is in force");

  // A reboot: rooms and run directory are gone, the state directory is there.
  await scope.plant.rooms.down();
  const booted = await open();
  assert.deepEqual(await booted.boot(), { generation });
  assert.equal(await site.pings("b", "10.41.0.10"), true);
  assert.equal(await site.pings("it", "10.30.0.10"), false);
  const state = await State.load(site.instance.stateDir);
  assert.deepEqual(
    state.generations.map((g) => g.state),
    ["confirmed", "rolled-back"],
  );
});

test("an enforcer that starts again keeps the rooms that stand", { skip }, async () => {
  await using scope = await plantScope();
  const { site, open } = scope.plant;
  const first = await open();
  const { generation } = await first.apply(request(smallPlant([pingBtoA])), {
    confirmWithinSeconds: 60,
  });
  await first.confirm(generation);
  const before = await run("stat", ["-L", "-c", "%i", `/run/netns/${site.room("inner")}`]);
  assert.deepEqual(await (await open()).boot(), { generation });
  assert.equal(await run("stat", ["-L", "-c", "%i", `/run/netns/${site.room("inner")}`]), before);
  assert.equal(await site.pings("b", "10.41.0.10"), true);
});

test("without confirmation the kernel falls back by itself, no process alive", {
  skip,
}, async () => {
  await using scope = await plantScope();
  const { site, open } = scope.plant;
  const enforcement = await open();
  const { generation } = await enforcement.apply(request(smallPlant([pingBtoA])), {
    confirmWithinSeconds: 60,
  });
  await enforcement.confirm(generation);
  await enforcement.apply(request(smallPlant([pingAtoB, pingBtoA])), { confirmWithinSeconds: 3 });
  const guard = await guardOf(site);
  process.kill(guard, "SIGKILL");
  assert.equal(await scope.plant.engines.inner.readBack().then(({ slot }) => slot), 1);
  const back = () => scope.plant.engines.inner.readBack().then(({ slot }) => slot === 0);
  assert.equal(await until(back), true);
  assert.equal(await site.pings("b", "10.41.0.10"), true);
  const state = await State.load(site.instance.stateDir);
  assert.equal(state.pending?.number, generation + 1, "nobody was there to write it down");
});

test("the guard takes an unconfirmed change back after kill -9 of the process that applied it", {
  skip,
}, async () => {
  await using scope = await plantScope();
  const { site, open, rooms } = scope.plant;
  const legs = smallPlant([pingBtoA]);
  const enforcement = await open();
  const { generation } = await enforcement.apply(request(legs), { confirmWithinSeconds: 60 });
  await enforcement.confirm(generation);

  const { name, runDir, stateDir, netnsPrefix } = site.instance;
  const applier = spawn(
    process.execPath,
    [
      path.join(import.meta.dirname, "applier.test-kit.ts"),
      kit,
      name,
      runDir,
      stateDir,
      netnsPrefix,
      site.hostNetns,
    ],
    { stdio: ["ignore", "pipe", "inherit"] },
  );
  await new Promise((resolve) => applier.stdout.once("data", resolve).once("end", resolve));
  applier.kill("SIGKILL");
  assert.equal(await site.pings("it", "10.30.0.10"), true, "the change is in force");
  const links = await rooms.check(legs);
  assert.ok(
    links.some((line) => line.includes("i-extra")),
    "the change added a component's link",
  );

  const marked = async () =>
    (await State.load(stateDir)).generations.at(-1)?.state === "rolled-back";
  assert.equal(await until(marked), true);
  assert.equal(await site.pings("it", "10.30.0.10"), false);
  assert.equal(await site.pings("b", "10.41.0.10"), true);
  assert.deepEqual(await rooms.check(legs), []);
  assert.ok(!(await site.namespaces()).some((line) => line.includes("-extra")));
  assert.equal(await armedChange(stateDir), undefined);
});

test("one change waits at a time, and a rolled-back one can't be confirmed", { skip }, async () => {
  await using scope = await plantScope();
  const enforcement = await scope.plant.open();
  const { generation } = await enforcement.apply(request(smallPlant([pingBtoA])), {
    confirmWithinSeconds: 60,
  });
  const again = enforcement.apply(request(smallPlant([])), { confirmWithinSeconds: 60 });
  await assert.rejects(again, { code: "change-pending" });
  await enforcement.rollback(generation);
  await assert.rejects(enforcement.confirm(generation), { code: "not-pending" });
  assert.deepEqual(
    await scope.plant.site.namespaces(),
    [],
    "before the first policy there were no rooms",
  );
});

test("an apply that fails half-way leaves the confirmed generation in force and nothing armed", {
  skip,
}, async () => {
  await using scope = await plantScope();
  const { site, open, rooms } = scope.plant;
  const legs = smallPlant([pingBtoA]);
  const enforcement = await open();
  const { generation } = await enforcement.apply(request(legs), { confirmWithinSeconds: 60 });
  await enforcement.confirm(generation);
  const own = [...legs.own, ip("10.77.0.1")];
  const missing = { ...legs, own, attachments: [...legs.attachments, attachmentOf("nosuch0")] };
  await assert.rejects(enforcement.apply(request(missing), { confirmWithinSeconds: 60 }), {
    code: "no-such-nic",
  });
  assert.equal(await armedChange(site.instance.stateDir), undefined);
  assert.deepEqual(await rooms.check(legs), []);
  assert.equal(await site.pings("b", "10.41.0.10"), true);
  assert.equal(enforcement.status().pending, undefined);
});

test("a conduit's number stays the same while its legs do, and is never given again", {
  skip,
}, async () => {
  await using scope = await plantScope();
  const enforcement = await scope.plant.open();
  const numbers: Record<string, number>[] = [];
  for (const conduits of [[pingBtoA], [pingBtoA, pingAtoB], [pingAtoB]]) {
    const { generation } = await enforcement.apply(request(smallPlant(conduits)), {
      confirmWithinSeconds: 60,
    });
    await enforcement.confirm(generation);
    numbers.push(Object.fromEntries(enforcement.numbers().map(({ name, id }) => [name, id])));
  }
  assert.deepEqual(numbers, [
    { "b-pings-a": 1 },
    { "a-pings-b": 2, "b-pings-a": 1 },
    { "a-pings-b": 2 },
  ]);
});

test("an island cuts a zone off and its return opens it again", { skip }, async () => {
  await using scope = await plantScope();
  const { site, open } = scope.plant;
  const enforcement = await open();
  const { generation } = await enforcement.apply(request(smallPlant([pingBtoA])), {
    confirmWithinSeconds: 60,
  });
  await enforcement.confirm(generation);
  await enforcement.setIsland("cell-a", true);
  assert.equal(await site.pings("b", "10.41.0.10"), false);
  await enforcement.setIsland("cell-a", false);
  assert.equal(await site.pings("b", "10.41.0.10"), true);
  await assert.rejects(enforcement.setIsland("cell-x", true), { code: "unknown-zone" });
});

test("drift that could open is found and undone", { skip }, async () => {
  await using scope = await plantScope();
  const { site, open } = scope.plant;
  const enforcement = await open();
  const { generation } = await enforcement.apply(request(smallPlant([pingBtoA])), {
    confirmWithinSeconds: 60,
  });
  await enforcement.confirm(generation);
  assert.deepEqual(await enforcement.drift(), []);

  await ipBatch(site.room("inner"), [
    "rule add pref 5 lookup main",
    "rule add pref 4 lookup local",
  ]);
  await run("sysctl", ["-q", "-w", "net.ipv4.conf.all.rp_filter=0"], { netns: site.room("inner") });
  await run("nft", ["add", "rule", "ip", "plain", "slot0", "meta", "mark", "set", "0x5a000001"], {
    netns: site.room("outer"),
  });
  const found = (await enforcement.repair()).map(({ what }) => what);
  assert.ok(found.includes("inner: guard: has 5: from all lookup main"), found.join("\n"));
  assert.ok(found.includes("inner: net/ipv4/conf/all/rp_filter is 0, not 1"), found.join("\n"));
  assert.ok(found.includes("outer: rules differ from what was loaded"), found.join("\n"));
  assert.deepEqual(await enforcement.drift(), []);
});

function wideOpen() {
  return conduit("it-pings-gate", [leg("outer", "10.10.0.10", "10.30.0.10", "icmp")], {
    fromZones: ["enterprise"],
    toZones: ["dmz/gate"],
  });
}

function attachmentOf(nic: string): Legs["attachments"][number] {
  const addresses = [{ address: ip("10.77.0.1"), length: 24 }];
  return {
    zone: "cell-b",
    point: "inner",
    nic,
    interface: nic,
    mode: "routed",
    addresses,
    routes: [],
  };
}

async function guardOf(site: TestSite): Promise<number> {
  const listing = await run("ps", ["-eo", "pid,args"]);
  const line = listing
    .split("\n")
    .find((text) => text.includes(kit) && text.includes(site.instance.stateDir));
  return Number(line?.trim().split(" ")[0]);
}

async function plantScope(): Promise<
  AsyncDisposable & { plant: Awaited<ReturnType<typeof plant>> }
> {
  const made = await plant();
  return { plant: made, [Symbol.asyncDispose]: () => made.site[Symbol.asyncDispose]() };
}
