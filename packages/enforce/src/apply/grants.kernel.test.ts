/** Grants in both engines as they are: what is written, what is read back, what drift finds of it. */
import assert from "node:assert/strict";
import { readdir } from "node:fs/promises";
import path from "node:path";
import { test } from "node:test";
import { SallyportError } from "@sallyport/core";
import type { Conduit, Listener, SessionTerms } from "@sallyport/policy/legs";
import { openEnforcement } from "../open.ts";
import { ipBatch } from "../rooms/instance.ts";
import { PlainEngine } from "../rooms/plain-engine.test-kit.ts";
import { RoomSet } from "../rooms/room-set.ts";
import { conduit, ip, kernelTestsNeed, leg, smallPlant, TestSite } from "../rooms/site.test-kit.ts";
import type { Entries } from "./engine-port.ts";
import { Enforcement } from "./enforcement.ts";
import { run } from "./run.ts";

const skip = kernelTestsNeed() ?? false;
const kit = path.join(import.meta.dirname, "guard-process.test-kit.ts");

const PLC = "10.41.0.10";
const WANTED = {
  conduit: "service-a",
  person: "tech",
  reason: "test",
  source: ip("10.10.0.10"),
  asset: "plc",
  seconds: 60,
};
const WRONG_OUTSIDE = "outer: rules differ from what was loaded";
const WRONG_INSIDE = "inner: rules differ from what was loaded";

test("each element that a grant has in either engine is missed, or found altered, and put back", {
  skip,
}, async () => {
  await using gateway = await Gateway.open();
  const { enforcement } = gateway;
  await enforcement.addGrant({ ...WANTED, id: "g-1" });
  assert.deepEqual(await enforcement.drift(), [], "a grant is no drift");
  const id = gateway.number("g-1");
  const row = `10.10.0.10 . ${PLC} . tcp . 503`;
  // What stands there, and what stands there no longer or instead of it.
  const outside: readonly (readonly [string, string, string?])[] = [
    ["grants", `${row} : ${id}`],
    ["grants", `${row} : ${id}`, `${row} : 1`],
    ["granted_closed", `${id} : goto note_grant-expired_0`],
    ["granted_in", `${id} . it0`],
    ["granted_address", `${id} . ${PLC} . 503 : 10.30.0.10`],
    ["granted_port", `${id} . ${PLC} . 503 : 5020`, `${id} . ${PLC} . 503 : 22`],
  ];
  for (const [table, there, instead] of outside) {
    await gateway.nft("outer", "delete", table, there);
    if (instead !== undefined) await gateway.nft("outer", "add", table, instead);
    await gateway.isFound(WRONG_OUTSIDE, `${table} without ${there}`);
    if (instead !== undefined) await gateway.nft("outer", "delete", table, instead);
    await gateway.nft("outer", "add", table, there);
  }
  assert.deepEqual(await enforcement.drift(), [], "all is as it was");
  for (const map of ["grants", "live"]) {
    const [key, value] = await gateway.newest(map);
    await gateway.map("delete", map, key);
    await gateway.isFound(WRONG_INSIDE, `no ${map}`);
    await gateway.map("update", map, key, "value", "hex", ...value.map(() => "07"));
    await gateway.isFound(WRONG_INSIDE, `another ${map}`);
    await gateway.map("update", map, key, "value", "hex", ...value);
  }
  const inside = `10.10.0.10 . ${PLC} . 503 : 10.30.0.10 . 22`;
  await gateway.nft("inner", "add", "grants", inside);
  await gateway.isFoundAndUndone(WRONG_INSIDE, "a translation");
  await gateway.nft("outer", "add", "grants", `10.10.0.99 . ${PLC} . tcp . 503 : 1`);
  await gateway.isFoundAndUndone(WRONG_OUTSIDE, "a row for somebody else");
  await gateway.nft("outer", "add", "granted_live", "4711");
  await gateway.isFoundAndUndone(WRONG_OUTSIDE, "a number that nobody opened");
  await enforcement.revokeGrant("g-1");
  assert.deepEqual(await enforcement.drift(), [], "nor is a revoked one");
});

test("a rule that somebody slipped in before a grant is found after it, and after a revocation", {
  skip,
}, async () => {
  await using gateway = await Gateway.open();
  const { enforcement } = gateway;
  const rule = ["ip", "sallyport", "forward", "accept"];
  await run("nft", ["add", "rule", ...rule], { netns: gateway.site.room("outer") });
  await enforcement.addGrant({ ...WANTED, id: "g-1" });
  await gateway.isFoundAndUndone(WRONG_OUTSIDE, "before a grant");
  await run("nft", ["add", "rule", ...rule], { netns: gateway.site.room("outer") });
  await enforcement.revokeGrant("g-1");
  await gateway.isFoundAndUndone(WRONG_OUTSIDE, "before a revocation");
});

test("revoking one of many grants leaves the others open until their own ends, and none longer", {
  skip,
}, async () => {
  await using gateway = await Gateway.open(3);
  const { enforcement } = gateway;
  for (const id of ["g-1", "g-2", "g-3"]) await enforcement.addGrant({ ...WANTED, id });
  await enforcement.revokeGrant("g-2");
  const left = await gateway.openOutside();
  const numbers = ["g-1", "g-3"].map((id) => gateway.number(id));
  assert.deepEqual(new Set(left.keys()), new Set(numbers));
  for (const seconds of left.values()) assert.ok(seconds <= 60 && seconds >= 50, `${seconds} s`);
  assert.deepEqual(await enforcement.drift(), []);
});

test("what a conduit counted never falls, whatever became of its grants", { skip }, async () => {
  await using gateway = await Gateway.open();
  const { enforcement, clock } = gateway;
  const counted: number[] = [];
  const count = async (): Promise<void> => {
    await gateway.site.on("it", "nc", "-z", "-w", "1", PLC, "503");
    const { hits } = await enforcement.counters();
    const ours = hits.filter(({ name }) => name === "service-a");
    counted.push(ours.reduce((sum, { packets }) => sum + packets, 0));
  };
  await enforcement.addGrant({ ...WANTED, id: "g-1" });
  await count();
  clock.now += 61_000;
  await enforcement.addGrant({ ...WANTED, id: "g-2" });
  await count();
  await enforcement.revokeGrant("g-2");
  await count();
  const again = await gateway.reopened();
  const { hits } = await again.counters();
  const ours = hits.filter(({ name, grant }) => name === "service-a" && grant !== "");
  assert.equal(ours.length > 0, true, "nor when the enforcer starts again");
  counted.push(ours.reduce((sum, { packets }) => sum + packets, 0));
  assert.ok((counted[0] ?? 0) > 0, counted.join());
  assert.ok((counted[1] ?? 0) > (counted[0] ?? 0), counted.join());
  assert.deepEqual(
    counted,
    counted.toSorted((a, b) => a - b),
  );
});

test("a NIC that nobody declared is answered by one reload, until what is wrong changes", {
  skip,
}, async () => {
  await using gateway = await Gateway.open();
  const { enforcement, site } = gateway;
  const inner = site.room("inner");
  const strange = (name: string): string =>
    `link add ${name} type veth peer name ${name} netns ${site.host}`;
  const slots: (number | undefined)[] = [];
  const look = async (...nics: readonly string[]): Promise<void> => {
    const found = (await enforcement.repair()).map(({ what }) => what);
    for (const nic of nics) assert.ok(found.includes(`inner: has link ${nic}`), found.join("\n"));
    if (nics.length === 0) assert.deepEqual(found, []);
    slots.push(enforcement.status().confirmed?.slot);
  };
  await look();
  await ipBatch(inner, [strange("evil0")]);
  await look("evil0");
  await look("evil0");
  await look("evil0");
  await ipBatch(inner, [strange("evil1")]);
  await look("evil0", "evil1");
  await look("evil0", "evil1");
  await ipBatch(inner, ["link del evil0", "link del evil1"]);
  await look();
  await ipBatch(inner, [strange("evil0")]);
  await look("evil0");
  await look("evil0");
  // Every reload goes to the other slot.
  assert.deepEqual(slots, [0, 1, 1, 1, 0, 0, 0, 1, 1]);
});

/** Does what it is told and says that it didn't: as where something else wrote in between. */
class Forgetful extends PlainEngine {
  override async addGrant(...args: Parameters<PlainEngine["addGrant"]>): Promise<Entries> {
    await super.addGrant(...args);
    throw new SallyportError("grant-not-as-written", "inner: grants_0 is not as written");
  }
}

test("a grant that did not arrive as written is refused and taken back, and is a finding", {
  skip,
}, async () => {
  await using gateway = await Gateway.open(1, (site) => ({
    outer: new PlainEngine("outer", site.room("outer")),
    inner: new Forgetful("inner", site.room("inner")),
  }));
  const { enforcement } = gateway;
  const refused = enforcement.addGrant({ ...WANTED, id: "g-1" });
  await assert.rejects(refused, { code: "grant-not-as-written" });
  assert.deepEqual(enforcement.listGrants(), []);
  const found = (await enforcement.repair()).map(({ what }) => what);
  assert.ok(found.includes("inner: grants_0 is not as written"), found.join("\n"));
  assert.deepEqual(await enforcement.repair(), []);
});

class Gateway implements AsyncDisposable {
  readonly site: TestSite;
  readonly clock: { now: number };
  enforcement: Enforcement;
  readonly #make: () => Promise<Enforcement>;

  private constructor(
    site: TestSite,
    clock: { now: number },
    enforcement: Enforcement,
    make: () => Promise<Enforcement>,
  ) {
    this.site = site;
    this.clock = clock;
    this.enforcement = enforcement;
    this.#make = make;
  }

  static async open(
    sessions = 1,
    engines?: (site: TestSite) => { outer: PlainEngine; inner: PlainEngine },
  ): Promise<Gateway> {
    const site = await TestSite.make();
    await site.addHost("it", "it0", "10.10.0.10/24", "10.10.0.1");
    await site.addHost("a", "cella0", "10.41.0.10/24", "10.41.0.1");
    await site.addHost("b", "cellb0", "10.42.0.10/24", "10.42.0.1");
    const { instance, hostNetns } = site;
    const { name, runDir, stateDir, netnsPrefix } = instance;
    const guardCommand = [process.execPath, kit, name, runDir, stateDir, netnsPrefix, hostNetns];
    const clock = { now: Date.UTC(2026, 10, 22, 12, 0) };
    const options = { clock: () => clock.now, guardCommand };
    const place = { instance, hostNetns, oneEngine: false };
    const make = (): Promise<Enforcement> =>
      engines === undefined
        ? openEnforcement(place, options)
        : Enforcement.open({ ...options, rooms: new RoomSet(instance, engines(site), hostNetns) });
    const gateway = new Gateway(site, clock, await make(), make);
    const legs = smallPlant([service(sessions)]);
    const request = { legs, policy: new Uint8Array(), approvals: [], approvalIds: [] };
    const applied = await gateway.enforcement.apply(request, { confirmWithinSeconds: 60 });
    await gateway.enforcement.confirm(applied.generation);
    return gateway;
  }

  /** As after a kill of the enforcer: the rooms stand. */
  async reopened(): Promise<Enforcement> {
    this.enforcement = await this.#make();
    await this.enforcement.boot();
    return this.enforcement;
  }

  number(grant: string): number {
    return this.enforcement.numbers().find((named) => named.grant === grant)?.id ?? 0;
  }

  get #slot(): number {
    return this.enforcement.status().confirmed?.slot ?? 0;
  }

  /** `table` without its slot. */
  async nft(point: "outer" | "inner", verb: string, table: string, element: string): Promise<void> {
    const place = ["ip", point === "outer" ? "sallyport" : "sallyport_gates"];
    const command = [verb, "element", ...place, `${table}_${this.#slot}`, `{ ${element} }`];
    await run("nft", command, { netns: this.site.room(point) });
  }

  async openOutside(): Promise<Map<number, number>> {
    const set = ["ip", "sallyport", `granted_live_${this.#slot}`];
    const text = await run("nft", ["list", "set", ...set], { netns: this.site.room("outer") });
    const found = text.matchAll(/(0x[0-9a-f]+) timeout (?:(\d+)m)?(?:(\d+)s)? expires/g);
    return new Map(
      [...found].map(([, id, minutes = "0", seconds = "0"]) => [
        Number(id),
        Number(minutes) * 60 + Number(seconds),
      ]),
    );
  }

  /** Key and value of the grant's entry in a map, as bpftool takes them. */
  async newest(map: string): Promise<[readonly string[], readonly string[]]> {
    const dump = await run("bpftool", ["-j", "map", "dump", "pinned", await this.#pin(map)]);
    type Entry = { readonly key: readonly string[]; readonly value: readonly string[] };
    const hex = (bytes: readonly string[]): string[] => bytes.map((byte) => byte.slice(2));
    const number = this.number("g-1").toString(16).padStart(2, "0");
    const entries = (JSON.parse(dump) as readonly Entry[])
      .map(({ key, value }) => [hex(key), hex(value)] as [string[], string[]])
      .filter(([key]) => map === "grants" || key[4] === number)
      .toSorted(([a], [b]) => (a.slice(0, 4).join() < b.slice(0, 4).join() ? -1 : 1));
    const last = entries.at(-1);
    assert.ok(last !== undefined, `${map} has the grant`);
    return last;
  }

  async map(verb: string, map: string, key: readonly string[], ...rest: string[]): Promise<void> {
    await run("bpftool", [
      "map",
      verb,
      "pinned",
      await this.#pin(map),
      "key",
      "hex",
      ...key,
      ...rest,
    ]);
  }

  async #pin(map: string): Promise<string> {
    const home = path.join(this.site.instance.runDir, "bpf");
    const [object = ""] = await readdir(home);
    return path.join(home, object, "maps", map);
  }

  async isFound(sentence: string, what: string): Promise<void> {
    const found = (await this.enforcement.drift()).map((difference) => difference.what);
    assert.deepEqual(found, [sentence], what);
  }

  async isFoundAndUndone(sentence: string, what: string): Promise<void> {
    const found = (await this.enforcement.repair()).map((difference) => difference.what);
    assert.deepEqual(found, [sentence], what);
    assert.deepEqual(await this.enforcement.drift(), [], what);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.enforcement.down().catch(() => {});
    await this.site[Symbol.asyncDispose]();
  }
}

/** A session conduit from IT through the gate to the PLC of cell-a. */
function service(sessions: number): Conduit {
  const slots = Array.from({ length: sessions }, (_, slot) => slot);
  const terms: SessionTerms = {
    people: ["tech"],
    maxSeconds: 60,
    approvals: 1,
    attended: false,
    localEnable: false,
    device: "any",
    record: false,
    mode: "read-only",
    slots: sessions,
  };
  const listeners = slots.map(
    (slot): Listener => ({
      room: "gate",
      listenAddress: ip("10.30.0.10"),
      listenPort: 5020 + slot,
      slot,
      asset: "plc",
      l7: { protocol: "tcp" },
      egressAddress: ip("10.31.0.10") + slot,
      targetAddress: ip(PLC),
      targetPort: 503,
      connections: { max: 4, idleSeconds: 60, connectSeconds: 5 },
    }),
  );
  const redirects = listeners.map(({ room, listenAddress, listenPort, slot }) => ({
    ...{ room, listenAddress, listenPort, slot },
    ...{ address: ip(PLC), port: 503 },
  }));
  const egress = [{ first: ip("10.31.0.10"), last: ip("10.31.0.10") + sessions - 1 }];
  const legs = [
    { ...leg("outer", "10.10.0.10", PLC, "tcp", 503), redirects },
    { ...leg("inner", "10.31.0.10", PLC, "tcp", 503), from: egress },
  ];
  const zones = { fromZones: ["enterprise"], toZones: ["cell-a"] };
  return conduit("service-a", legs, { via: "session", session: terms, listeners, ...zones });
}
