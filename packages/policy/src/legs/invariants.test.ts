import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { demoLegs, GRANT, gated, HOST, host, ip, NOW, plain } from "./fixture.test-data.ts";
import { checkInvariants } from "./invariants.ts";
import { Model } from "./model.ts";
import type { Conduit, Leg, Legs } from "./types.ts";

function violationsOf(legs: unknown): string {
  const answer = checkInvariants(legs);
  return answer.ok ? "" : answer.violations.join("\n");
}

function conduit(name: string, legs: Legs = demoLegs()): Conduit {
  const found = legs.conduits.find((candidate) => candidate.name === name);
  assert.ok(found !== undefined);
  return found;
}

/** The demo plant with one conduit replaced by what `change` makes of it. */
function changed(name: string, change: (conduit: Conduit) => Conduit): Legs {
  const legs = demoLegs();
  const conduits = legs.conduits.map((each) => (each.name === name ? change(each) : each));
  return { ...legs, conduits };
}

function changedLeg(name: string, index: number, change: Partial<Leg>): Legs {
  return changed(name, (each) => ({
    ...each,
    legs: each.legs.map((leg, at) => (at === index ? { ...leg, ...change } : leg)),
  }));
}

function omit<Item extends object>(item: Item, name: keyof Item): Item {
  const copy = { ...item };
  delete copy[name];
  return copy;
}

function refuses(legs: unknown, pattern: RegExp): void {
  assert.match(violationsOf(legs), pattern);
}

test("the demo plant's legs hold every invariant, also after a trip through JSON", () => {
  assert.equal(violationsOf(JSON.parse(JSON.stringify(demoLegs()))), "");
});

test("nothing is forwarded across: a leg to the other side needs a gate", () => {
  refuses(changedLeg("erp-reads-tank", 0, { redirects: [] }), /crosses to the other side/);
  refuses(
    changedLeg("ping-press", 0, { to: host("10.10.0.10") }),
    /crosses to the other side without a gate/,
  );
});

test("IT zones live at outer and OT zones at inner, so direct never joins them", () => {
  const legs = demoLegs();
  const zones = legs.zones.map((zone) =>
    zone.name === "cell-b" ? { ...zone, kind: "business" as const } : zone,
  );
  const answer = violationsOf({ ...legs, zones });
  assert.match(answer, /cell-b: is business but not at outer/);
  assert.match(answer, /ping-press.*forwards between IT and OT/);
});

test("no address is in two zones, and none of the box's own in any", () => {
  const legs = demoLegs();
  const grown = (name: string, last: string): Legs => ({
    ...legs,
    zones: legs.zones.map((zone) =>
      zone.name === name
        ? { ...zone, addresses: [{ first: ip("10.40.0.2"), last: ip(last) }] }
        : zone,
    ),
  });
  assert.equal(violationsOf(grown("supervisory", "10.40.0.254")), "");
  refuses(grown("supervisory", "10.40.0.255"), /supervisory: holds 10.40.0.255 of the box itself/);
  refuses(grown("supervisory", "10.41.0.2"), /supervisory: shares 10.41.0.2 with cell-a/);
});

test("a source must be a zone's at the very point of the leg", () => {
  refuses(changedLeg("ping-press", 0, { from: host("192.0.2.1") }), /sources that are in no zone/);
  refuses(
    changedLeg("ping-press", 0, { from: host("10.10.0.10") }),
    /sources that are in no zone at inner/,
  );
  refuses(changedLeg("ping-press", 0, { to: host("192.0.2.1") }), /targets in no zone/);
});

test("interface names fit the kernel and no tool's options, and name one place", () => {
  const legs = demoLegs();
  const named = (device: string): Legs => ({
    ...legs,
    zones: legs.zones.map((z) => (z.name === "cell-b" ? { ...z, interface: device } : z)),
    attachments: legs.attachments.map((a) =>
      a.zone === "cell-b" ? { ...a, nic: device, interface: device } : a,
    ),
  });
  assert.equal(violationsOf(named("abcdefghijklmno")), "");
  for (const bad of ["abcdefghijklmnop", "-eth0", "eth 0", "eth/0", "", "ETH0"]) {
    refuses(named(bad), /interface: is not/);
  }
  refuses(named("gate-cells"), /gate-cells: shares gate-cells at inner/);
  refuses(named("it0"), /needs it0 in both rooms|it0/);
});

test("a zone's interface is where it is attached, a component's is its own link", () => {
  const legs = demoLegs();
  const moved = (name: string, device: string): Legs => ({
    ...legs,
    zones: legs.zones.map((z) => (z.name === name ? { ...z, interface: device } : z)),
  });
  refuses(moved("cell-b", "sup0"), /cell-b: claims sup0 at inner/);
  refuses(moved("dmz/portal", "it0"), /not in its own zone|not what its room/);
  const wider = legs.zones.map((zone) =>
    zone.name === "dmz/portal"
      ? { ...zone, addresses: [{ first: ip("10.30.0.40"), last: ip("10.30.0.41") }] }
      : zone,
  );
  refuses({ ...legs, zones: wider }, /dmz\/portal: is not what its room's link holds/);
});

test("the room's addresses on a NIC and on transit are known as the box's own", () => {
  const legs = demoLegs();
  const less = (address: string): Legs => ({
    ...legs,
    own: legs.own.filter((a) => a !== ip(address)),
  });
  refuses(less("10.42.0.1"), /cell-b: 10.42.0.1 is not among the own addresses/);
  refuses(less("10.31.0.1"), /transit: 10.31.0.1 is not an own address/);
});

test("no room is there twice", () => {
  const legs = demoLegs();
  refuses(
    { ...legs, rooms: [...legs.rooms, { name: "portal", kind: "portal" }] },
    /portal: is there twice/,
  );
});

test("a listener serves no slot that the session terms do not have", () => {
  const listeners = conduit("vendor-services-press").listeners.map((l) => ({
    ...l,
    slot: l.slot + 2,
  }));
  refuses(
    changed("vendor-services-press", (each) => ({ ...each, listeners })),
    /has no slot 3/,
  );
});

test("a portal has no link to inner", () => {
  const legs = demoLegs();
  const rooms = legs.rooms.map((room) =>
    room.kind === "gate" ? { ...room, kind: "portal" } : room,
  );
  refuses({ ...legs, rooms }, /is a portal and has a link to inner/);
});

test("a redirect ends at a listener of its own conduit, room and target, with none missing", () => {
  const redirects = conduit("erp-reads-tank").legs[0]?.redirects ?? [];
  const [first] = redirects;
  assert.ok(first !== undefined);
  const bent = (change: object): Legs =>
    changedLeg("erp-reads-tank", 0, { redirects: [{ ...first, ...change }] });
  assert.equal(violationsOf(bent({})), "");
  refuses(bent({ listenPort: 5002 }), /is no listener of gate-erp here/);
  refuses(bent({ room: "gate-vendor" }), /is no listener of gate-vendor here/);
  refuses(bent({ room: "nowhere" }), /is no listener of nowhere here/);
  refuses(bent({ port: 503 }), /does not cover|another target/);
  refuses(bent({ address: HOST.pressPlc }), /does not cover/);
  refuses(
    changedLeg("erp-reads-tank", 0, { redirects: [first, first] }),
    /has 2 redirects where 1 are needed/,
  );
  refuses(
    changedLeg("erp-reads-tank", 0, { ports: [{ first: 502, last: 503 }] }),
    /has 1 redirects where 2 are needed/,
  );
});

test("an egress address names one conduit and slot, and only that conduit's legs use it", () => {
  const egress = (name: string, address: string): Legs =>
    changed(name, (each) => ({
      ...each,
      listeners: each.listeners.map((l) => ({ ...l, egressAddress: ip(address) })),
    }));
  refuses(egress("historian-reads-press", "10.31.0.11"), /shares the egress address 10.31.0.11/);
  refuses(egress("erp-reads-tank", "10.31.0.31"), /is not an address of gate-erp/);
  refuses(egress("vendor-services-press", "10.31.0.31"), /shares the egress address/);
  refuses(
    changedLeg("historian-reads-press", 1, { from: host("10.31.0.11") }),
    /uses 10.31.0.11, the egress address of another conduit/,
  );
});

test("two conduits never share a listener", () => {
  refuses(
    changed("historian-reads-press", (each) => ({
      ...each,
      listeners: each.listeners.map((l) => ({ ...l, listenPort: 5001 })),
    })),
    /shares the listener 10.30.0.10:5001/,
  );
});

test("conduits are sorted, names unique, and a key carries its conduit's name", () => {
  const legs = demoLegs();
  refuses({ ...legs, conduits: [...legs.conduits].reverse() }, /does not come after/);
  const [first] = legs.conduits;
  refuses({ ...legs, conduits: [first, ...legs.conduits] }, /does not come after/);
  refuses(
    changed("ping-press", (each) => ({ ...each, key: "sis-status#00000000000a" })),
    /has the key sis-status#00000000000a of another name/,
  );
});

test("a diode is UDP without replies or gates, and nothing else lacks replies", () => {
  refuses(changedLeg("sis-status", 0, { protocol: "tcp" }), /is a diode and not plain udp/);
  refuses(changedLeg("sis-status", 0, { replies: true }), /only a diode has no replies/);
  refuses(changedLeg("ping-press", 0, { replies: false }), /only a diode has no replies/);
});

test("audit holds between OT zones only, and not through a gate", () => {
  const audit = (name: string): Legs => changed(name, (each) => ({ ...each, audit: true }));
  assert.equal(violationsOf(audit("ping-press")), "");
  refuses(audit("erp-reads-tank"), /is audited and not between OT zones/);
  refuses(audit("hmi-operates-tank"), /is audited and handed to a gate/);
});

test("a session conduit has terms and slots, every other has neither", () => {
  const { session } = conduit("vendor-services-press");
  refuses(
    changed("vendor-services-press", (each) => omit(each, "session")),
    /session terms and via do not fit/,
  );
  assert.ok(session !== undefined);
  refuses(
    changed("erp-reads-tank", (each) => ({ ...each, session })),
    /session terms and via/,
  );
  refuses(
    changed("vendor-services-press", (each) => ({ ...each, session: { ...session, slots: 3 } })),
    /has 2 redirects where 3 are needed/,
  );
  refuses(
    changed("vendor-services-press", (each) => ({ ...each, session: { ...session, slots: 0 } })),
    /slots: is not a whole number/,
  );
});

test("a conduit names every zone it touches, so that an island can close it", () => {
  refuses(
    changed("ping-press", (each) => ({ ...each, toZones: [] })),
    /touches cell-b, which it does not name/,
  );
});

test("ports belong to TCP and UDP, and none to ICMP", () => {
  refuses(changedLeg("ping-press", 0, { ports: [{ first: 1, last: 1 }] }), /ports do not fit/);
  refuses(changedLeg("press-diagnosis", 0, { ports: [] }), /ports do not fit/);
  refuses(
    changedLeg("press-diagnosis", 0, { ports: [{ first: 0, last: 1 }] }),
    /whole number from 1/,
  );
  refuses(
    changedLeg("press-diagnosis", 0, { ports: [{ first: 65_535, last: 65_536 }] }),
    /whole number from 1 to 65535/,
  );
});

test("sets that lookups could not search are refused", () => {
  const unsorted = [...host("10.40.0.20"), ...host("10.40.0.10")];
  refuses(changedLeg("ping-press", 0, { from: unsorted }), /not sorted, disjoint and merged/);
  const touching = [...host("10.40.0.20"), ...host("10.40.0.21")];
  refuses(changedLeg("ping-press", 0, { from: touching }), /not sorted, disjoint and merged/);
});

test("an unknown time zone is refused before anything asks the clock of it", () => {
  refuses({ ...demoLegs(), timezone: "Europe/Atlantis" }, /is not a known time zone/);
});

test("more conduits or zones than the limit are refused without looking at each", () => {
  const many = new Array<unknown>(20_001).fill(null);
  refuses({ ...demoLegs(), conduits: many }, /has 20001 entries, at most 20000/);
  refuses({ ...demoLegs(), zones: many.slice(0, 4_097) }, /has 4097 entries, at most 4096/);
});

test("members that nobody knows, and missing ones, are refused", () => {
  refuses({ ...demoLegs(), backdoor: true }, /unknown member "backdoor"/);
  refuses(omit(demoLegs(), "own"), /has no "own"/);
  refuses(JSON.parse('{"__proto__": {"format": 1}}'), /unknown member "__proto__"/);
  for (const value of [null, 1, "legs", [], undefined]) refuses(value, /is not an object/);
});

test("whatever JSON takes the place of any one member, the answer is a list and not an exception", () => {
  let refused = 0;
  fc.assert(
    fc.property(
      fc.array(fc.nat(1000), { minLength: 1, maxLength: 8 }),
      fc.jsonValue(),
      (path, value) => {
        const legs: unknown = JSON.parse(JSON.stringify(demoLegs()));
        let place: unknown = legs;
        for (const [depth, step] of path.entries()) {
          if (typeof place !== "object" || place === null) break;
          const keys = Object.keys(place);
          const key = keys[step % Math.max(keys.length, 1)];
          if (key === undefined) break;
          const inside: unknown = Reflect.get(place, key);
          if (depth === path.length - 1 || typeof inside !== "object")
            Reflect.set(place, key, value);
          place = inside;
        }
        if (!checkInvariants(legs).ok) refused++;
      },
    ),
    { numRuns: 1000 },
  );
  assert.ok(refused > 500, `${refused} refused`);
});

test("legs that pass can be loaded and stepped without an exception", () => {
  const answer = checkInvariants(
    demoLegs([
      ...demoLegs().conduits,
      plain("zz-new", "direct", ["cell-a", HOST.tankPlc], ["cell-b", HOST.pressPlc], {
        protocol: "udp",
        ports: [{ first: 1, last: 2 }],
      }),
    ]),
  );
  assert.ok(answer.ok);
  const model = new Model({ point: "inner" });
  model.load(answer.legs, { grants: [GRANT] });
  assert.equal(model.step({ interface: "sup0", bytes: new Uint8Array(60) }, NOW).verdict, "deny");
});

test("a gate between segments may serve several assets, each by a listener of its own", () => {
  const second = gated({
    name: "hmi-operates-press",
    via: "inspect",
    from: ["supervisory", HOST.hmi],
    to: ["cell-b", HOST.pressPlc],
    room: "gate-cells",
    listen: ["10.31.0.20", 5002],
    egress: "10.31.0.22",
    line: 107,
  });
  assert.equal(violationsOf(demoLegs([...demoLegs().conduits, second])), "");
});
