import assert from "node:assert/strict";
import { rm } from "node:fs/promises";
import path from "node:path";
import { test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { type ChildProcess, spawn } from "node:child_process";
import type { Conduit, Legs, Listener, SessionTerms } from "@sallyport/policy/legs";
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
  assert.deepEqual(await booted.boot(), { generation, rolledBack: generation + 1 });
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
  const told = { generation, rolledBack: generation + 1 };
  assert.deepEqual(await (await open()).boot(), told, "whoever comes next does");
  assert.deepEqual(await (await open()).boot(), { generation }, "once");
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

test("a change does not adopt a rule that somebody slipped in before it", { skip }, async () => {
  await using scope = await plantScope();
  const { site, open, engines } = scope.plant;
  const enforcement = await open();
  const legs = smallPlant([pingBtoA]);
  const { generation } = await enforcement.apply(request(legs), { confirmWithinSeconds: 60 });
  await enforcement.confirm(generation);
  const { digest } = await engines.inner.readBack();
  const rule = ["add", "rule", "ip", "plain", "entry", "meta", "mark", "set", "0x5a000001"];
  await run("nft", rule, { netns: site.room("inner") });
  await enforcement.setIsland("cell-a", true);
  // The tests' engine can't take the rule out again, but it must go on being found.
  assert.notEqual((await engines.inner.readBack()).digest, digest);
});

test("a window opens when its time comes, and shuts while the clock can't be trusted", {
  skip,
}, async () => {
  await using scope = await plantScope();
  const { site, open, clock } = scope.plant;
  // 22 November 2026 is a Sunday; the tests' clock starts at 12:00 UTC.
  const window = { days: [0], fromMinute: 13 * 60, toMinute: 14 * 60, timezone: "UTC" };
  const legs = smallPlant([{ ...pingBtoA, windows: [window] }]);
  const enforcement = await open();
  const { generation } = await enforcement.apply(request(legs), { confirmWithinSeconds: 60 });
  await enforcement.confirm(generation);
  const opens = Date.UTC(2026, 10, 22, 13, 0);
  assert.equal(await enforcement.reschedule(), opens);
  assert.equal(await site.pings("b", "10.41.0.10"), false);
  clock.now = opens;
  assert.equal(await enforcement.reschedule(), Date.UTC(2026, 10, 22, 14, 0));
  assert.equal(await site.pings("b", "10.41.0.10"), true);
  await enforcement.trustTime(false);
  assert.equal(await site.pings("b", "10.41.0.10"), false);
  await enforcement.trustTime(true);
  assert.equal(await site.pings("b", "10.41.0.10"), true);
  clock.now = Date.UTC(2026, 10, 22, 14, 0);
  await enforcement.reschedule();
  assert.equal(await site.pings("b", "10.41.0.10"), false);
});

test("a grant opens one asset for one device, for its time, in as many slots as there are", {
  skip,
}, async () => {
  await using scope = await plantScope();
  const { site, open, clock } = scope.plant;
  const enforcement = await open();
  const { generation } = await enforcement.apply(request(smallPlant([serviceOfA()])), {
    confirmWithinSeconds: 60,
  });
  await enforcement.confirm(generation);
  const listener = await listen(site, "gate", "10.30.0.10", 5020);
  try {
    // Dialled at the gate itself: the tests' engine has no translation outside.
    const dial = async (): Promise<boolean> =>
      (await site.on("it", "nc", "-z", "-w", "1", "10.30.0.10", "5020")).exitCode === 0;
    const wanted = {
      conduit: "service-a",
      person: "tech",
      reason: "test",
      asset: "plc",
      seconds: 3,
    };
    const source = ip("10.10.0.10");
    assert.equal(await dial(), false);
    await assert.rejects(enforcement.addGrant({ ...wanted, id: "g-0", source, person: "x" }), {
      code: "grant-refused",
    });
    await assert.rejects(enforcement.addGrant({ ...wanted, id: "g-0", source, seconds: 61 }), {
      code: "grant-refused",
    });
    const grant = await enforcement.addGrant({ ...wanted, id: "g-1", source });
    assert.deepEqual([grant.slot, grant.notAfter - grant.notBefore], [1, 3000]);
    assert.equal(await dial(), true);
    await assert.rejects(enforcement.addGrant({ ...wanted, id: "g-2", source }), {
      code: "grant-refused",
    });
    // Its end is in the kernel: nothing is told to close it.
    assert.equal(await until(async () => !(await dial())), true);

    clock.now += 3000;
    await enforcement.addGrant({ ...wanted, id: "g-3", source });
    assert.equal(await dial(), true);
    await enforcement.revokeGrant("g-3");
    assert.equal(await dial(), false);
    await assert.rejects(enforcement.revokeGrant("g-3"), { code: "no-such-grant" });
    await enforcement.trustTime(false);
    await assert.rejects(enforcement.addGrant({ ...wanted, id: "g-4", source }), {
      code: "time-untrusted",
    });
  } finally {
    listener.kill("SIGKILL");
  }
});

test("a clock that nobody vouched for is not trusted by the next enforcer; no grant survives a reboot", {
  skip,
}, async () => {
  await using scope = await plantScope();
  const { site, open, rooms } = scope.plant;
  const first = await open();
  const { generation } = await first.apply(request(smallPlant([serviceOfA()])), {
    confirmWithinSeconds: 60,
  });
  await first.confirm(generation);
  const wanted = {
    conduit: "service-a",
    person: "tech",
    reason: "test",
    asset: "plc",
    seconds: 60,
  };
  await first.addGrant({ ...wanted, id: "g-1", source: ip("10.10.0.10") });
  await first.trustTime(false);

  const next = await open();
  await next.boot();
  assert.equal(
    next.status().timeTrusted,
    false,
    "whoever kills the enforcer has vouched for nothing",
  );
  await assert.rejects(next.addGrant({ ...wanted, id: "g-2", source: ip("10.10.0.10") }), {
    code: "time-untrusted",
  });
  assert.deepEqual(
    next.heldGrants().map(({ id }) => id),
    ["g-1"],
    "a restart is no reboot",
  );

  // A reboot: rooms and run directory are gone, the state directory is there.
  await rooms.down();
  await rm(site.instance.runDir, { recursive: true });
  const booted = await open();
  assert.deepEqual(await booted.boot(), { generation });
  assert.deepEqual(booted.heldGrants(), []);
  assert.equal(booted.status().timeTrusted, true);
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

/** A session conduit from IT to the gate, which dials the PLC of cell-a. */
function serviceOfA(): Conduit {
  const listener: Listener = {
    room: "gate",
    listenAddress: ip("10.30.0.10"),
    listenPort: 5020,
    slot: 1,
    asset: "plc",
    l7: { protocol: "tcp" },
    egressAddress: ip("10.31.0.11"),
    targetAddress: ip("10.30.0.10"),
    targetPort: 5020,
    connections: { max: 4, idleSeconds: 60, connectSeconds: 5 },
  };
  const session: SessionTerms = {
    people: ["tech"],
    maxSeconds: 60,
    approvals: 1,
    attended: false,
    localEnable: false,
    device: "any",
    record: false,
    mode: "read-only",
    slots: 1,
  };
  return conduit("service-a", [leg("outer", "10.10.0.10", "10.30.0.10", "tcp", 5020)], {
    via: "session",
    fromZones: ["enterprise"],
    toZones: ["dmz/gate"],
    session,
    listeners: [listener],
  });
}

async function listen(
  site: TestSite,
  room: string,
  address: string,
  port: number,
): Promise<ChildProcess> {
  const code = `import socket; s = socket.create_server(("${address}", ${port})); print("up", flush=True)
while True: s.accept()`;
  const args = [`--net=/run/netns/${site.room(room)}`, "/usr/bin/python3", "-c", code];
  const child = spawn("nsenter", args, { stdio: ["ignore", "pipe", "inherit"] });
  await new Promise((resolve) => child.stdout.once("data", resolve).once("end", resolve));
  return child;
}
