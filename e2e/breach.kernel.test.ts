/**
 * The gateway's protections taken away one by one, on the real plant, with the enforcer held so that
 * nothing is repaired meanwhile. Each time everything that must not pass is tried; captures on all links
 * say whether anything did. Where one last rule stands in the way, it is taken out too, and the same
 * attempt then arrives: so no test passes for another reason.
 */
import assert from "node:assert/strict";
import process from "node:process";
import { after, before, test } from "node:test";
import { formatIpv4 } from "@sallyport/core";
import type { Legs, Point } from "@sallyport/policy/legs";
import { forge, knock } from "../lab/attacks.ts";
import { readModbus } from "../lab/client.ts";
import { whyNoNamespaces } from "../lab/namespaces.ts";
import { describePacket } from "../lab/pcap.ts";
import { HOSTS, type HostName } from "../lab/plant.ts";
import { must, sleep, within } from "../lab/shell.ts";
import { buildSite, type Site } from "../lab/site.ts";
import { tryEverything } from "./hands/intruders.ts";
import * as rooms from "./hands/rooms.ts";
import { sweep, SWEEP_PORT, watchGates } from "./hands/sweep.ts";
import { addressesOf, Wires } from "./hands/wires.ts";

const why = process.getuid?.() === 0 ? await whyNoNamespaces() : "needs root: rooms, eBPF and uids";
const skip = why ?? false;
const FRAMES = 3;
const FRAME_PORT = 47_300;
const WORKS_LIMIT_MS = 20_000;
const SETTLE_MS = 400;
const request = { area: "holding", address: 0, count: 1 } as const;

interface Stage {
  readonly site: Site;
  readonly legs: Legs;
  readonly wires: Wires;
}
let built: Stage | undefined;

function stage(): Stage {
  if (built === undefined) throw new Error("the plant was not built");
  return built;
}

before(async () => {
  if (why !== undefined) return;
  const site = await buildSite({ name: `x${process.pid}`, mode: "kernel" });
  try {
    await rooms.fixNeighbors(site);
    const legs = await rooms.legsOf(site);
    built = { site, legs, wires: await Wires.watch(site.plant, legs) };
  } catch (error) {
    await site.destroy();
    throw error;
  }
});
after(async () => {
  await built?.site.destroy();
});

/** Tries everything; nothing may answer and nothing may arrive that no conduit brings. */
async function nothingPasses(): Promise<void> {
  const { site, legs, wires } = stage();
  const since = Date.now();
  const { answered, faults } = await tryEverything(site.plant, legs, wires);
  assert.deepEqual(faults, []);
  assert.deepEqual(answered, []);
  assert.deepEqual(await wires.passed(since), []);
}

function read(from: HostName, to: HostName): Promise<{ readonly ok: boolean }> {
  const { plant } = stage().site;
  return readModbus(plant, from, { address: plant.address(to), port: 502 }, request);
}

/** Through gates of both kinds: from IT, and between OT segments. */
async function conduitsWork(): Promise<void> {
  for (const from of ["hmi", "erp"] as const) {
    const works = await within(WORKS_LIMIT_MS, async () =>
      (await read(from, "tank-plc")).ok ? true : undefined,
    );
    assert.equal(works, true, `${from} reads the tank`);
  }
}

/** Frames from one host to another, by TCP and UDP; how many arrived on the target's link. */
async function arrives(from: HostName, to: HostName, source?: string): Promise<number> {
  const { site, wires } = stage();
  const since = Date.now();
  const address = source ?? site.plant.address(from);
  for (const protocol of ["tcp", "udp"] as const) {
    await forge(site.plant, from, {
      ...{ source: address, destination: site.plant.address(to), protocol, count: FRAMES },
      ...{ port: 502, sourcePort: FRAME_PORT },
    });
  }
  await sleep(SETTLE_MS);
  const came = wires.arrived(to, since).filter((packet) => packet.source === address);
  // A host that is answered though it asked nothing resets: those are not the frames.
  return came.filter(({ sourcePort, flags }) => sourcePort === FRAME_PORT && flags !== "R").length;
}

const ALL_FRAMES = 2 * FRAMES;

/**
 * Frames that get nowhere, each of them counted by the room that stopped it; how many the room has counted
 * by now, which the product's tripwire then has to say as well.
 */
async function isTripped(
  point: Point,
  from: HostName,
  to: HostName,
  source?: string,
): Promise<number> {
  const { site } = stage();
  const earlier = await rooms.unrouted(site, point);
  assert.equal(await arrives(from, to, source), 0, `${from} to ${to}`);
  const now = await rooms.unrouted(site, point);
  assert.ok(now - earlier >= ALL_FRAMES, `${point} counted ${now - earlier} of ${ALL_FRAMES}`);
  return now;
}

/** Packets that the tripwire of each room counted between two looks, where it counted any. */
function risen(
  from: ReadonlyMap<string, number>,
  to: ReadonlyMap<string, number>,
): ReadonlyMap<string, number> {
  const rows = [...to].map(([room, count]) => [room, count - (from.get(room) ?? 0)] as const);
  return new Map(rows.filter(([, count]) => count !== 0));
}

async function enginesGone(site: Site): Promise<void> {
  for (const room of rooms.POINTS) await rooms.inRoom(site, room, "nft", "flush", "ruleset");
  await rooms.detachPrograms(site);
}

/** Routes that lead IT's packets for the cells, and the cells' for IT, into the gates' rooms. */
async function routesWrong({ site, legs }: Stage): Promise<void> {
  const wrong = [
    ["outer", "gate-erp", "10.41.0.0/24"],
    ["outer", "gate-vendor", "10.42.0.0/24"],
    ["inner", "gate-erp", "10.10.0.0/24"],
    ["inner", "gate-vendor", "10.20.0.0/24"],
  ] as const;
  for (const [point, gate, network] of wrong) {
    const via = rooms.addressOf(legs, gate, point);
    const dev = rooms.linkTo(legs, gate, point);
    await rooms.inRoom(
      ...[site, point, "ip", "route", "replace", network, "via", via, "dev", dev, "onlink"],
    );
  }
}

test("with everything in place only conduits pass, and the tripwire counts nothing", {
  skip,
}, async () => {
  const { site } = stage();
  await nothingPasses();
  await conduitsWork();
  assert.deepEqual([...risen(new Map(), await rooms.tripwires(site))], []);
  assert.ok((await rooms.denials(site, "no-conduit", "enterprise", "cell-a")) > 0);
});

test("both engines flushed and routes set wrong on purpose: nothing passes", { skip }, async () => {
  const { site } = stage();
  const quiet = await rooms.tripwires(site);
  await using held = await rooms.Hold.take(site);
  await enginesGone(site);
  await routesWrong(stage());
  await nothingPasses();
  for (const from of ["hmi", "erp"] as const) {
    assert.equal((await read(from, "tank-plc")).ok, false, `${from} is cut off as well`);
  }
  const tripped = {
    outer: await isTripped("outer", "attacker", "vendor-pc"),
    inner: await isTripped("inner", "rogue", "tank-plc"),
  };

  // Without the guard as well, routing does as it was told: between cells packets pass, but IT and OT
  // have no more than the rooms between them, which forward nothing.
  for (const room of rooms.POINTS) await rooms.withoutGuard(site, room);
  assert.equal(await arrives("rogue", "tank-plc"), ALL_FRAMES, "the guard is what stopped it");
  assert.equal(await arrives("attacker", "vendor-pc"), ALL_FRAMES, "in outer too");
  assert.equal(await arrives("attacker", "tank-plc"), 0, "P1, from IT");
  assert.equal(await arrives("vendor-rogue", "press-plc"), 0, "P1, from the vendor");
  assert.equal(await arrives("rogue", "erp"), 0, "P1, out of a cell");

  const found = await held.repaired();
  for (const wanted of [
    /^outer: the engine cannot be read/,
    /^inner: the engine is not on cellb0/,
    /^outer: guard: has 1: from all lookup main/,
    /^outer: has route replace 10\.41\.0\.0\/24 via /,
    /^inner: has route replace 10\.10\.0\.0\/24 via /,
  ]) {
    assert.ok(
      found.some((line) => wanted.test(line)),
      `${wanted}: ${found.join("\n")}`,
    );
  }
  const told = await rooms.tripwires(site);
  const counted = risen(quiet, told);
  for (const room of rooms.POINTS) assert.ok((told.get(room) ?? 0) >= tripped[room], room);
  // What came into a DMZ room on its way across: both from IT and out of the cell.
  assert.equal(counted.get("gate-erp"), 2 * ALL_FRAMES);
  assert.equal(counted.get("gate-vendor"), ALL_FRAMES);
  await conduitsWork();
});

test("only the eBPF program is detached: nothing passes, and the tripwire counts it", {
  skip,
}, async () => {
  const { site } = stage();
  const quiet = await rooms.tripwires(site);
  await using held = await rooms.Hold.take(site);
  await rooms.detachPrograms(site);
  await nothingPasses();
  assert.equal((await read("hmi", "tank-plc")).ok, false);
  assert.equal((await read("erp", "tank-plc")).ok, false, "outer lets it in, inner stops it");
  const tripped = await isTripped("inner", "rogue", "tank-plc");

  await rooms.withoutGuard(site, "inner");
  assert.equal(await arrives("rogue", "tank-plc"), ALL_FRAMES, "the guard is what stopped it");

  const found = await held.repaired();
  assert.ok(found.includes("inner: the engine is not on sup0"), found.join("\n"));
  const told = await rooms.tripwires(site);
  assert.ok((told.get("inner") ?? 0) >= tripped);
  assert.deepEqual([...risen(quiet, told).keys()], ["inner"], "outer still judged for itself");
  await conduitsWork();
});

test("only the translation is removed: an inspected packet reaches neither device nor gate", {
  skip,
}, async () => {
  const { site, wires } = stage();
  const quiet = await rooms.tripwires(site);
  await using held = await rooms.Hold.take(site);
  await rooms.inRoom(site, "inner", "nft", "delete", "table", "ip", "sallyport_gates");
  await rooms.inRoom(site, "outer", "nft", "flush", "chain", "ip", "sallyport", "translate");
  const gates = await watchGates(stage().site, stage().legs);
  try {
    const since = Date.now();
    assert.equal((await read("hmi", "tank-plc")).ok, false);
    assert.equal((await read("erp", "tank-plc")).ok, false);
    await nothingPasses();
    assert.deepEqual(gates.heard(since), []);

    // The mark has a table of its own; without it the packet is routed to the device itself.
    const rule = ["ip", "rule", "add", "pref", "35", "fwmark", "0x5a010000/0xffff0000"];
    await rooms.inRoom(site, "inner", ...rule, "lookup", "main");
    const untranslated = Date.now();
    await read("hmi", "tank-plc");
    const direct = wires.arrived("tank-plc", untranslated).map(({ source }) => source);
    assert.ok(direct.includes(site.plant.address("hmi")), "past its gate");
  } finally {
    await gates.stop();
  }

  const found = await held.repaired();
  for (const room of rooms.POINTS) {
    assert.ok(found.includes(`${room}: rules differ from what was loaded`), found.join("\n"));
  }
  const counted = risen(quiet, await rooms.tripwires(site));
  assert.ok((counted.get("inner") ?? 0) > 0, "what nothing translated had nowhere to go");
  // In outer the engine itself notices, and says so.
  assert.ok((await rooms.denials(site, "engine-detached", "enterprise")) > 0);
  await conduitsWork();
});

test("only nftables is flushed: nothing passes, and the tripwire counts it", { skip }, async () => {
  const { site } = stage();
  const judged = await rooms.denials(site, "no-conduit", "cell-b", "cell-a");
  await using held = await rooms.Hold.take(site);
  for (const room of rooms.POINTS) await rooms.inRoom(site, room, "nft", "flush", "ruleset");
  await nothingPasses();
  assert.equal((await read("erp", "tank-plc")).ok, false);
  const tripped = await isTripped("outer", "attacker", "vendor-pc");

  await rooms.withoutGuard(site, "outer");
  assert.equal(await arrives("attacker", "vendor-pc"), ALL_FRAMES, "the guard is what stopped it");

  const found = await held.repaired();
  assert.ok(found.includes("outer: the engine cannot be read"), found.join("\n"));
  const told = await rooms.tripwires(site);
  assert.ok((told.get("outer") ?? 0) >= tripped);
  assert.ok(
    (await rooms.denials(site, "no-conduit", "cell-b", "cell-a")) > judged,
    "inner judged on",
  );
  await conduitsWork();
});

/** A NIC in an engine's room whose other end somebody else holds. */
async function strangeNic(site: Site, point: "outer" | "inner", netns: string): Promise<void> {
  await must(["ip", "netns", "add", netns]);
  const nic = `strange-${point}`;
  await rooms.inRoom(
    ...[site, point, "ip", "link", "add", nic, "type", "veth", "peer", "name", "eth0"],
    ...["netns", netns],
  );
  await rooms.inRoom(site, point, "ip", "link", "set", nic, "up");
  for (const line of ["addr add 10.99.0.10/24 dev eth0", "link set eth0 up", "link set lo up"]) {
    await must(["ip", ...line.split(" ")], { netns });
  }
  await must(["ip", "route", "add", "default", "via", "10.99.0.1"], { netns });
  const mac = (await rooms.linksOf(site, point)).find(({ ifname }) => ifname === nic)?.address;
  await must(
    ["ip", "neigh", "replace", "10.99.0.1", "lladdr", mac ?? "", "dev", "eth0", "nud", "permanent"],
    { netns },
  );
}

test("a NIC that nobody declared gets nothing through, however long it stays", {
  skip,
}, async () => {
  const { site, legs, wires } = stage();
  const quiet = await rooms.tripwires(site);
  const refused = await rooms.denials(site, "no-src-zone", "");
  const strangers = { outer: `${site.plant.prefix}-s-o`, inner: `${site.plant.prefix}-s-i` };
  const inner: readonly HostName[] = ["tank-plc", "press-plc", "sis", "hmi", "eng-ws"];
  const outer: readonly HostName[] = ["erp", "historian", "vendor-pc"];
  const gates = legs.rooms.flatMap(({ name }) => addressesOf(legs, name));
  const lies = [...HOSTS.map(({ address }) => address), ...gates];
  /** What answered, and what arrived. */
  const attempt = async (point: "outer" | "inner"): Promise<string[]> => {
    const since = Date.now();
    const targets = (point === "inner" ? inner : outer).map((host) => site.plant.address(host));
    const nic = `strange-${point}`;
    const mac = (await rooms.linksOf(site, point)).find(({ ifname }) => ifname === nic)?.address;
    const told = await sweep(strangers[point], {
      own: ["10.99.0.10"],
      targets: [...targets, ...gates],
      lies,
      links: [`eth0=${mac ?? ""}`],
    });
    assert.ok(told.frames > 100, "frames went out");
    return [...told.answered.map(String), ...(await wires.passed(since))];
  };
  const ofStranger = (line: string): boolean => line.includes("strange-");
  // As whoever plugs it in might; what is declared nowhere is taken away again by each repair.
  const setUp = async (point: string): Promise<void> => {
    const nic = `strange-${point}`;
    await rooms.inRoom(site, point, "ip", "addr", "add", "10.99.0.1/24", "dev", nic);
    await rooms.setInRoom(site, point, `net/ipv4/conf/${nic}/forwarding=1`);
  };
  try {
    for (const point of rooms.POINTS) await strangeNic(site, point, strangers[point]);
    {
      await using held = await rooms.Hold.take(site, ofStranger);
      for (const point of rooms.POINTS) {
        await setUp(point);
        assert.deepEqual(await attempt(point), [], point);
      }
      await rooms.withoutGuard(site, "inner");
      const since = Date.now();
      await attempt("inner");
      const sources = wires.arrived("tank-plc", since).map(({ source }) => source);
      assert.ok(sources.includes("10.99.0.10"), "the guard is what stopped it");
      const found = await held.repaired(ofStranger);
      for (const point of rooms.POINTS) {
        assert.ok(found.includes(`${point}: has link strange-${point}`), found.join("\n"));
      }
    }
    assert.deepEqual(await attempt("inner"), [], "also beside an enforcer that repairs around it");
    await conduitsWork();
    // No program is on the NIC in inner, so its packets are left to the guard; nftables is on all.
    const counted = risen(quiet, await rooms.tripwires(site));
    assert.ok((counted.get("inner") ?? 0) > 100);
    assert.ok((await rooms.denials(site, "no-src-zone", "")) - refused > 100);
  } finally {
    for (const netns of Object.values(strangers)) await must(["ip", "netns", "del", netns]);
  }
  await using held = await rooms.Hold.take(site);
  await held.repaired();
});

test("forwarding switched on in every DMZ room: nothing crosses, and the tripwire counts it", {
  skip,
}, async () => {
  const { site, legs } = stage();
  const quiet = await rooms.tripwires(site);
  await using held = await rooms.Hold.take(site);
  for (const { name } of legs.rooms) await rooms.setInRoom(site, name, "net.ipv4.ip_forward=1");
  await nothingPasses();

  // Also when there is neither engine nor guard beside it, and routes lead into the room.
  await enginesGone(site);
  await routesWrong(stage());
  for (const room of rooms.POINTS) await rooms.withoutGuard(site, room);
  assert.equal(await arrives("attacker", "tank-plc"), 0);
  assert.equal(await arrives("rogue", "erp"), 0);

  const found = await held.repaired();
  for (const { name } of legs.rooms) {
    const wanted = `${name}: net/ipv4/conf/all/forwarding is 1, not 0`;
    assert.ok(found.includes(wanted), `${wanted}: ${found.join("\n")}`);
  }
  const refused = await rooms.tripwires(site);
  assert.equal(
    risen(quiet, refused).get("gate-erp"),
    2 * ALL_FRAMES,
    "both attempts, frame by frame",
  );

  // Once more without the room's own guard, and without the reverse path, which knows IT on one side.
  await using again = await rooms.Hold.take(site);
  await rooms.setInRoom(site, "gate-erp", "net.ipv4.ip_forward=1");
  await enginesGone(site);
  await routesWrong(stage());
  for (const room of rooms.POINTS) await rooms.withoutGuard(site, room);
  await rooms.inRoom(site, "gate-erp", "ip", "rule", "add", "pref", "1", "lookup", "102");
  const loose = (dev: string): string[] =>
    ["all", dev].map((name) => `net/ipv4/conf/${name}/rp_filter=0`);
  await rooms.setInRoom(site, "gate-erp", ...loose("outer0"));
  await rooms.setInRoom(site, "inner", ...loose(rooms.linkTo(legs, "gate-erp", "inner")));
  assert.equal(await arrives("attacker", "tank-plc"), ALL_FRAMES, "it is what stopped it");
  await again.repaired();
  const crossed = risen(refused, await rooms.tripwires(site)).get("gate-erp") ?? 0;
  assert.ok(crossed >= ALL_FRAMES, "what crossed is counted too");
  await conduitsWork();
});

test("a cell that takes a DMZ gate's address is stopped by the engine, and by the room without it", {
  skip,
}, async () => {
  const { site, legs } = stage();
  const gates = legs.rooms.flatMap(({ inner }) => (inner?.addresses ?? []).map(formatIpv4));
  assert.ok(gates.length >= 6);
  const earlier = await rooms.denials(site, "wrong-interface", "dmz/gate-erp", "cell-a");
  for (const gate of gates) {
    for (const target of ["tank-plc", "sis", "hmi"] as const) {
      assert.equal(await arrives("rogue", target, gate), 0, `${gate} to ${target}`);
    }
  }
  const refused =
    (await rooms.denials(site, "wrong-interface", "dmz/gate-erp", "cell-a")) - earlier;
  const ofErp = gates.filter((gate) => addressesOf(legs, "gate-erp").includes(gate)).length;
  assert.equal(refused, ofErp * ALL_FRAMES, "each frame is counted with its reason");

  await using held = await rooms.Hold.take(site);
  await rooms.detachPrograms(site);
  const [gate = ""] = gates;
  const tripped = await isTripped("inner", "rogue", "tank-plc", gate);
  await rooms.withoutGuard(site, "inner");
  assert.equal(await arrives("rogue", "tank-plc"), ALL_FRAMES, "its own address now passes");
  assert.equal(await arrives("rogue", "tank-plc", gate), 0, "the reverse path");
  await rooms.setInRoom(
    ...[site, "inner", "net/ipv4/conf/all/rp_filter=0", "net/ipv4/conf/cellb0/rp_filter=0"],
  );
  assert.equal(await arrives("rogue", "tank-plc", gate), ALL_FRAMES, "it is what stopped it");
  await held.repaired();
  assert.ok(((await rooms.tripwires(site)).get("inner") ?? 0) >= tripped);
  await conduitsWork();
});

test("a process with uid 0 in any one DMZ room sees only its own conduits' devices", {
  skip,
}, async () => {
  const { site, legs, wires } = stage();
  const quiet = await rooms.tripwires(site);
  const refused = await rooms.denials(site, "no-conduit", "dmz/gate-erp");
  const hosts = HOSTS.map(({ address }) => address);
  const gates = legs.rooms.flatMap(({ name }) => addressesOf(legs, name));
  const listening = legs.conduits.flatMap(({ listeners }) => listeners);
  const ports = listening.map(({ listenPort }) => listenPort);
  let seen = 0;
  for (const room of [...legs.rooms.map(({ name }) => name), "tap"]) {
    const own = addressesOf(legs, room);
    const links = await Promise.all(
      (await rooms.linksOf(site, room)).map(async ({ ifname }) => {
        const point = ifname.replace(/0$/, "");
        if (point !== "outer" && point !== "inner") return `${ifname}=ff:ff:ff:ff:ff:ff`;
        const near = rooms.linkTo(legs, room, point);
        const mac = (await rooms.linksOf(site, point)).find((link) => link.ifname === near);
        return `${ifname}=${mac?.address ?? ""}`;
      }),
    );
    const watched = await watchGates(stage().site, stage().legs);
    try {
      const since = Date.now();
      const strangers = gates.filter((gate) => !own.includes(gate));
      const told = await sweep(rooms.netnsOf(site, room), {
        own,
        targets: [...hosts, ...strangers],
        lies: [...strangers, site.plant.address("hmi"), site.plant.address("eng-ws")],
        links,
        ports,
      });
      assert.equal(told.uid, 0);
      const mine = listening
        .filter((listener) => listener.room === room && !hasNoGrant(legs, listener))
        .map((listener) =>
          [
            formatIpv4(listener.egressAddress),
            formatIpv4(listener.targetAddress),
            listener.targetPort,
          ].join(" "),
        );
      assert.deepEqual(told.answered.map((one) => one.join(" ")).sort(), mine.sort(), room);
      seen += told.answered.length;
      if (links.length > 0) assert.ok(told.frames > 1000, `${room} sent ${told.frames} frames`);
      assert.deepEqual(await wires.passed(since), [], room);
      const lied = HOSTS.flatMap(({ name }) => wires.arrived(name, since)).filter(
        ({ source, sourcePort }) => sourcePort === SWEEP_PORT && !own.includes(source),
      );
      assert.deepEqual(lied.map(describePacket), [], room);
      const others = watched.heard(since).filter((line) => !line.startsWith(`${room}: `));
      assert.deepEqual(others, [], `${room} reached another component`);
    } finally {
      await watched.stop();
    }
  }
  assert.ok(seen >= 4, "rooms with conduits saw their devices");
  assert.ok((await rooms.denials(site, "no-conduit", "dmz/gate-erp")) > refused);
  assert.deepEqual([...risen(quiet, await rooms.tripwires(site))], [], "no room was crossed");
});

/** Listeners of session conduits lead nowhere until a grant opens them. */
function hasNoGrant(legs: Legs, listener: Legs["conduits"][number]["listeners"][number]): boolean {
  const conduit = legs.conduits.find(({ listeners }) => listeners.includes(listener));
  return conduit?.session !== undefined;
}

test("a listener that is dialled directly, past its conduit, hears nothing", { skip }, async () => {
  const { site, legs } = stage();
  const { plant } = site;
  const listeners = legs.conduits.flatMap(({ listeners: all }) => all);
  const dialers: readonly HostName[] = ["erp", "attacker", "vendor-pc", "hmi", "rogue"];
  const watched = await watchGates(stage().site, stage().legs);
  const dial = (from: HostName, address: string, port: number): Promise<{ readonly ok: boolean }> =>
    readModbus(plant, from, { address, port }, request);
  const tries = (): Promise<number> =>
    rooms.denials(site, "no-conduit", "enterprise", "dmz/gate-erp");
  try {
    const since = Date.now();
    const earlier = await tries();
    const dialled = await Promise.all(
      dialers.flatMap((from) =>
        listeners.map(async ({ listenAddress, listenPort }) => {
          const answer = await knock(plant, from, {
            address: formatIpv4(listenAddress),
            port: listenPort,
          });
          return answer.ok ? [`${from} reached ${formatIpv4(listenAddress)}:${listenPort}`] : [];
        }),
      ),
    );
    assert.deepEqual(dialled.flat(), []);
    assert.deepEqual(watched.heard(since), []);
    const ofErp = listeners.filter(({ room }) => room === "gate-erp").length;
    // By two hosts of the enterprise, with one SYN each at least.
    assert.ok((await tries()) - earlier >= 2 * ofErp, "each is counted as a try at the DMZ");

    // The judgment is all that stands there: with one that allows it, an attacker reads the tank.
    const through = listeners.find(({ room }) => room === "gate-erp");
    assert.ok(through !== undefined);
    const [address, port] = [formatIpv4(through.listenAddress), through.listenPort];
    await using held = await rooms.Hold.take(site);
    const pass = ["meta", "mark", "set", "0x5a000001", "accept"];
    const insert = ["nft", "insert", "rule", "ip", "sallyport", "judge", "ip", "saddr"];
    const answering = ["nft", "insert", "rule", "ip", "sallyport", "judge", "ip", "daddr"];
    await rooms.inRoom(site, "outer", ...insert, plant.address("attacker"), ...pass);
    await rooms.inRoom(site, "outer", ...answering, plant.address("attacker"), ...pass);
    const reached = Date.now();
    assert.equal((await dial("attacker", address, port)).ok, true);
    await sleep(SETTLE_MS);
    const heard = `gate-erp: ${plant.address("attacker")} > ${address}:${port}`;
    assert.ok(watched.heard(reached).includes(heard), "the captures would have told");

    // And in inner: with neither program nor guard a cell gets as far as a gate's socket.
    const between = listeners.find(({ room }) => room === "gate-cells");
    assert.ok(between !== undefined);
    const socket = { address: formatIpv4(between.listenAddress), port: between.listenPort };
    await rooms.detachPrograms(site);
    assert.equal((await knock(plant, "rogue", socket)).ok, false, "the guard");
    await rooms.withoutGuard(site, "inner");
    assert.equal((await knock(plant, "rogue", socket)).ok, true);
    await held.repaired();
    assert.equal((await dial("attacker", address, port)).ok, false);
    assert.equal((await knock(plant, "rogue", socket)).ok, false);
  } finally {
    await watched.stop();
  }
  await conduitsWork();
});
