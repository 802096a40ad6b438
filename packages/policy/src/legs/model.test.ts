import assert from "node:assert/strict";
import { test } from "node:test";
import {
  type FrameSpec,
  quoteOf,
  TCP_FLAG,
  writeArp,
  writeFrame,
  writeIpv6,
} from "@sallyport/wire";
import fc from "fast-check";
import {
  demoLegs,
  GRANT,
  HOST,
  HOUR,
  ip,
  NOW,
  plain,
  SUNDAY,
  withConduit,
  without,
} from "./fixture.test-data.ts";
import { Model, type Verdict } from "./model.ts";
import type { Circumstances } from "./model-table.ts";
import type { Legs, Point } from "./types.ts";

const { syn, ack, fin, rst } = TCP_FLAG;
const LISTENER = { address: ip("10.31.0.20"), port: 5001 };

/** A model at one point with a clock that only the test moves. */
class Bench {
  readonly model: Model;
  now = NOW;

  constructor(point: Point = "inner", legs: Legs = demoLegs(), circumstances: Circumstances = {}) {
    this.model = new Model({ point });
    this.model.load(legs, circumstances);
  }

  send(device: string, spec: FrameSpec): Verdict {
    return this.model.step({ interface: device, bytes: writeFrame(spec) }, this.now);
  }
}

/** `allow new`, `deny no-conduit`, … */
function said({ verdict, reason, state }: Verdict): string {
  return [verdict, reason, state === "none" ? undefined : state].filter(Boolean).join(" ");
}

function tcp(source: number, destination: number, change: Partial<FrameSpec> = {}): FrameSpec {
  const ports = { sourcePort: 40_000, destinationPort: 502 };
  return { protocol: "tcp", source, destination, ...ports, ...change };
}

const HMI_TO_TANK = tcp(HOST.hmi, HOST.tankPlc);
/** As tc ingress sees it: from the gate's listener, before the translation is undone. */
const TANK_TO_HMI = tcp(LISTENER.address, HOST.hmi, {
  sourcePort: LISTENER.port,
  destinationPort: 40_000,
});
const EGRESS_TO_TANK = tcp(ip("10.31.0.21"), HOST.tankPlc);
const TANK_TO_EGRESS = tcp(HOST.tankPlc, ip("10.31.0.21"), {
  sourcePort: 502,
  destinationPort: 40_000,
});
const STATUS: FrameSpec = {
  protocol: "udp",
  source: HOST.sis,
  destination: HOST.hmi,
  sourcePort: 5140,
  destinationPort: 514,
};

test("ARP is marked on interfaces of the room and on no others", () => {
  const { model } = new Bench();
  const bytes = writeArp(HOST.hmi, HOST.engWs);
  assert.equal(model.step({ interface: "sup0", bytes }, NOW).mark, "arp");
  assert.equal(model.step({ interface: "eth9", bytes }, NOW).mark, undefined);
  assert.equal(model.step({ interface: "it0", bytes }, NOW).verdict, "deny");
});

test("without legs nothing passes, not even ARP", () => {
  const model = new Model({ point: "inner" });
  const bytes = writeArp(HOST.hmi, HOST.engWs);
  assert.equal(said(model.step({ interface: "sup0", bytes }, NOW)), "deny engine-detached");
});

test("frames that are not whole IPv4 packets name their own reason", () => {
  const bench = new Bench();
  const reasonOf = (change: Partial<FrameSpec>): string =>
    said(bench.send("sup0", { ...HMI_TO_TANK, ...change }));
  assert.equal(reasonOf({ vlan: 3 }), "deny not-ipv4");
  assert.equal(reasonOf({ badChecksum: true }), "deny short");
  assert.equal(reasonOf({ moreFragments: true }), "deny fragment");
  assert.equal(reasonOf({ options: Uint8Array.of(1, 1, 1, 0) }), "deny ip-options");
  const ipv6 = bench.model.step({ interface: "sup0", bytes: writeIpv6() }, NOW);
  assert.equal(said(ipv6), "deny not-ipv4");
});

test("a source speaks only from its own interface and point", () => {
  const bench = new Bench();
  assert.equal(said(bench.send("sup0", HMI_TO_TANK)), "allow new");
  assert.equal(said(bench.send("cellb0", HMI_TO_TANK)), "deny wrong-interface");
  assert.equal(said(bench.send("it0", tcp(HOST.erp, HOST.tankPlc))), "deny wrong-interface");
  assert.equal(said(bench.send("gate-cells", HMI_TO_TANK)), "deny wrong-interface");
  assert.equal(said(bench.send("cella0", EGRESS_TO_TANK)), "deny wrong-interface");
  assert.equal(said(bench.send("sup0", tcp(ip("192.0.2.1"), HOST.tankPlc))), "deny no-src-zone");
  // The box's own address is in no zone, so nobody can speak as the box.
  assert.equal(said(bench.send("sup0", tcp(ip("10.40.0.1"), HOST.tankPlc))), "deny no-src-zone");
});

test("the edges of a zone belong to it, its network and broadcast addresses do not", () => {
  const bench = new Bench();
  for (const [last, verdict] of [
    ["10.40.0.0", "deny no-src-zone"],
    ["10.40.0.2", "deny no-conduit"],
    ["10.40.0.254", "deny no-conduit"],
    ["10.40.0.255", "deny no-src-zone"],
  ] as const) {
    assert.equal(said(bench.send("sup0", tcp(ip(last), HOST.tankPlc))), verdict, last);
  }
});

test("a destination is named for what it is, before any conduit is asked", () => {
  const bench = new Bench();
  const to = (address: string): string => said(bench.send("sup0", tcp(HOST.hmi, ip(address))));
  assert.equal(to("10.40.0.1"), "deny to-gateway");
  assert.equal(to("10.31.0.1"), "deny to-gateway");
  assert.equal(to("10.30.0.1"), "deny to-gateway");
  assert.equal(to("10.41.0.255"), "deny multicast");
  assert.equal(to("10.41.0.0"), "deny multicast");
  assert.equal(to("223.255.255.255"), "deny no-dst-zone");
  assert.equal(to("224.0.0.0"), "deny multicast");
  assert.equal(to("239.255.255.255"), "deny multicast");
  assert.equal(to("240.0.0.0"), "deny no-dst-zone");
  assert.equal(to("255.255.255.255"), "deny multicast");
  // In a zone of the other point: known, but no conduit.
  assert.equal(to("10.10.0.10"), "deny no-conduit");
});

test("only the conduit's source, target and port get through, one to either side does not", () => {
  const bench = new Bench();
  const verdict = (change: Partial<FrameSpec>): string =>
    said(bench.send("sup0", { ...HMI_TO_TANK, ...change }));
  for (const destinationPort of [501, 503]) {
    assert.equal(verdict({ destinationPort }), "deny no-conduit");
  }
  assert.equal(verdict({ source: HOST.hmi + 1 }), "deny no-conduit");
  assert.equal(verdict({ destination: HOST.tankPlc + 1 }), "deny no-conduit");
  assert.equal(verdict({ protocol: "udp" }), "deny no-conduit");
  assert.equal(verdict({ protocol: 47 }), "deny no-conduit");
  assert.equal(verdict({}), "allow new");
});

test("a session begins with a SYN and nothing else; refused packets open none", () => {
  const { fin: f, syn: s, rst: r, ack: a, psh, urg } = TCP_FLAG;
  for (let flags = 0; flags < 64; flags++) {
    const bench = new Bench();
    const control = flags & (f | s | r | a);
    const verdict = bench.send("sup0", { ...HMI_TO_TANK, flags });
    assert.equal(said(verdict), control === s ? "allow new" : "deny not-syn", `flags ${flags}`);
    assert.equal(bench.model.sessionCount(NOW), control === s ? 1 : 0);
  }
  const bench = new Bench();
  const broken = { ...HMI_TO_TANK, dataOffset: 4, flags: s | psh | urg };
  assert.equal(said(bench.send("sup0", broken)), "deny invalid-state");
  assert.equal(said(bench.send("sup0", { ...broken, flags: s | a })), "deny not-syn");
});

test("packets to a gate carry its mark, answers from its listener belong to the session", () => {
  const bench = new Bench();
  const opened = bench.send("sup0", HMI_TO_TANK);
  assert.deepEqual(opened.mark, { inspect: "gate-cells" });
  assert.equal(opened.conduit, "hmi-operates-tank");
  const answer = bench.send("gate-cells", { ...TANK_TO_HMI, flags: syn | ack });
  assert.equal(said(answer), "allow session");
  assert.equal(answer.mark, "pass");
  const more = bench.send("sup0", { ...HMI_TO_TANK, flags: ack });
  assert.deepEqual([said(more), more.mark], ["allow session", { inspect: "gate-cells" }]);
});

test("the device's own address does not answer for its gate", () => {
  const bench = new Bench();
  bench.send("sup0", HMI_TO_TANK);
  const forged = tcp(HOST.tankPlc, HOST.hmi, {
    sourcePort: 502,
    destinationPort: 40_000,
    flags: syn | ack,
  });
  assert.equal(said(bench.send("cella0", forged)), "deny no-conduit");
});

test("a listener that is dialled directly has no conduit, session or not", () => {
  const bench = new Bench();
  const direct = tcp(HOST.hmi, LISTENER.address, { destinationPort: LISTENER.port });
  assert.equal(said(bench.send("sup0", direct)), "deny no-conduit");
  bench.send("sup0", HMI_TO_TANK);
  assert.equal(said(bench.send("sup0", direct)), "deny no-conduit");
});

test("a gate dials with the address of its conduit, and with no other", () => {
  const bench = new Bench();
  const dialled = bench.send("gate-cells", EGRESS_TO_TANK);
  assert.deepEqual(
    [said(dialled), dialled.conduit, dialled.mark],
    ["allow new", "hmi-operates-tank", "pass"],
  );
  const answer = bench.send("cella0", { ...TANK_TO_EGRESS, flags: syn | ack });
  assert.equal(said(answer), "allow session");
  const stray = { ...EGRESS_TO_TANK, source: ip("10.31.0.22") };
  assert.equal(said(bench.send("gate-cells", stray)), "deny no-conduit");
});

test("a connection follows the table from SYN to the end of closing", () => {
  const bench = new Bench();
  const out = (flags: number): string =>
    said(bench.send("gate-cells", { ...EGRESS_TO_TANK, flags }));
  const back = (flags: number): string => said(bench.send("cella0", { ...TANK_TO_EGRESS, flags }));
  assert.equal(out(syn), "allow new");
  assert.equal(out(ack), "deny not-syn");
  assert.equal(out(fin | ack), "deny not-syn");
  assert.equal(out(syn), "allow session");
  assert.equal(back(fin | ack), "deny no-conduit");
  assert.equal(back(syn), "deny no-conduit");
  assert.equal(back(ack), "allow session");
  assert.equal(back(syn | ack), "allow session");
  assert.equal(out(syn | ack), "deny not-syn");
  assert.equal(out(ack), "allow session");
  assert.equal(back(syn), "deny no-conduit");
  assert.equal(back(fin | ack), "allow session");
  assert.equal(out(ack), "allow session");
  bench.now += 999;
  assert.equal(out(fin | ack), "allow session");
  bench.now += 1000;
  assert.equal(out(ack), "deny not-syn");
  assert.equal(bench.model.sessionCount(bench.now), 0);
});

test("a reset by the opener before any answer ends the session at once", () => {
  const bench = new Bench();
  bench.send("gate-cells", EGRESS_TO_TANK);
  assert.equal(said(bench.send("gate-cells", { ...EGRESS_TO_TANK, flags: rst })), "allow session");
  assert.equal(bench.model.sessionCount(NOW), 0);
  const late = bench.send("cella0", { ...TANK_TO_EGRESS, flags: syn | ack });
  assert.equal(said(late), "deny no-conduit");
});

test("each state has its own time-out, restarted by every packet that belongs", () => {
  const open = new Bench();
  open.send("gate-cells", EGRESS_TO_TANK);
  open.send("cella0", { ...TANK_TO_EGRESS, flags: syn | ack });
  open.send("gate-cells", { ...EGRESS_TO_TANK, flags: ack });
  open.now += 59_999;
  assert.equal(said(open.send("cella0", { ...TANK_TO_EGRESS, flags: ack })), "allow session");
  open.now += 60_000;
  assert.equal(said(open.send("cella0", { ...TANK_TO_EGRESS, flags: ack })), "deny no-conduit");
  const opening = new Bench();
  opening.send("gate-cells", EGRESS_TO_TANK);
  opening.now += 2000;
  const late = opening.send("cella0", { ...TANK_TO_EGRESS, flags: syn | ack });
  assert.equal(said(late), "deny no-conduit");
});

test("malformed packets do not belong to the session whose ports they carry", () => {
  const bench = new Bench();
  bench.send("sup0", HMI_TO_TANK);
  assert.equal(said(bench.send("sup0", { ...HMI_TO_TANK, dataOffset: 4 })), "deny invalid-state");
  assert.equal(said(bench.send("sup0", { ...HMI_TO_TANK, flags: fin })), "deny not-syn");
  bench.send("sis0", STATUS);
  assert.equal(said(bench.send("sis0", { ...STATUS, udpLength: 7 })), "deny invalid-state");
});

test("over a diode nothing comes back, not even an ICMP error", () => {
  const bench = new Bench();
  assert.equal(said(bench.send("sis0", STATUS)), "allow new");
  assert.equal(said(bench.send("sis0", STATUS)), "allow session");
  const reply = {
    ...STATUS,
    source: HOST.hmi,
    destination: HOST.sis,
    sourcePort: 514,
    destinationPort: 5140,
  };
  assert.equal(said(bench.send("sup0", reply)), "deny no-conduit");
  const error = icmpError(HOST.hmi, HOST.sis, writeFrame(STATUS));
  assert.equal(said(bench.send("sup0", error)), "deny no-conduit");
});

function icmpError(source: number, destination: number, about: Uint8Array, type = 3): FrameSpec {
  return { protocol: "icmp", source, destination, icmp: { type }, payload: quoteOf(about) };
}

test("an ICMP error passes if it quotes a session and goes back to the quoted sender", () => {
  const bench = new Bench();
  const about = writeFrame(EGRESS_TO_TANK);
  const error = icmpError(HOST.tankPlc, ip("10.31.0.21"), about);
  assert.equal(said(bench.send("cella0", error)), "deny no-conduit");
  bench.send("gate-cells", EGRESS_TO_TANK);
  for (const type of [3, 11, 12]) {
    const verdict = bench.send("cella0", icmpError(HOST.tankPlc, ip("10.31.0.21"), about, type));
    assert.equal(said(verdict), "allow related");
    assert.equal(verdict.mark, "pass");
  }
  const redirect = icmpError(HOST.tankPlc, ip("10.31.0.21"), about, 5);
  assert.equal(said(bench.send("cella0", redirect)), "deny no-conduit");
  const elsewhere = icmpError(HOST.tankPlc, HOST.hmi, about);
  assert.equal(said(bench.send("cella0", elsewhere)), "deny no-conduit");
  const router = icmpError(HOST.tankPlc + 1, ip("10.31.0.21"), about);
  assert.equal(said(bench.send("cella0", router)), "allow related");
  bench.now += 2000;
  assert.equal(said(bench.send("cella0", error)), "deny no-conduit", "errors keep nothing alive");
});

test("behind a gate an ICMP error quotes what the gate saw", () => {
  const bench = new Bench();
  bench.send("sup0", HMI_TO_TANK);
  const translated = { destination: LISTENER.address, destinationPort: LISTENER.port };
  const seen = writeFrame({ ...HMI_TO_TANK, ...translated });
  assert.equal(
    said(bench.send("gate-cells", icmpError(LISTENER.address, HOST.hmi, seen))),
    "allow related",
  );
  const dialled = writeFrame(HMI_TO_TANK);
  const verdict = bench.send("gate-cells", icmpError(LISTENER.address, HOST.hmi, dialled));
  assert.equal(said(verdict), "deny no-conduit");
});

test("a ping is answered by its own reply: same identifier, other direction, code 0", () => {
  const bench = new Bench();
  const ping = (type: number, identifier: number, code = 0): FrameSpec => ({
    protocol: "icmp",
    source: HOST.engWs,
    destination: HOST.pressPlc,
    icmp: { type, code, identifier },
  });
  const pong = (identifier: number, code = 0): FrameSpec => ({
    ...ping(0, identifier, code),
    source: HOST.pressPlc,
    destination: HOST.engWs,
  });
  assert.equal(said(bench.send("sup0", ping(0, 7))), "deny invalid-state");
  assert.equal(said(bench.send("sup0", ping(8, 7, 1))), "deny invalid-state");
  assert.equal(said(bench.send("sup0", ping(13, 7))), "deny invalid-state");
  assert.equal(said(bench.send("sup0", ping(8, 7))), "allow new");
  assert.equal(said(bench.send("cellb0", pong(8))), "deny no-conduit");
  assert.equal(said(bench.send("cellb0", pong(7, 1))), "deny no-conduit");
  assert.equal(said(bench.send("cellb0", pong(7))), "allow session");
  assert.equal(said(bench.send("sup0", ping(0, 7))), "deny invalid-state");
  const asked = { ...pong(7), icmp: { type: 8, identifier: 7 } };
  assert.equal(said(bench.send("cellb0", asked)), "deny no-conduit");
});

test("a live session's addresses and ports open no second one, even where a conduit would", () => {
  const both = [
    plain("a-there", "direct", ["supervisory", HOST.hmi], ["safety", HOST.sis], {
      protocol: "udp",
      ports: [{ first: 1, last: 9 }],
    }),
    plain("b-back", "direct", ["safety", HOST.sis], ["supervisory", HOST.hmi], {
      protocol: "tcp",
      ports: [{ first: 1, last: 9 }],
    }),
    plain("c-there", "direct", ["supervisory", HOST.hmi], ["safety", HOST.sis], {
      protocol: "tcp",
      ports: [{ first: 1, last: 9 }],
    }),
  ];
  const bench = new Bench("inner", demoLegs(both));
  const ports = { sourcePort: 5, destinationPort: 6 };
  assert.equal(said(bench.send("sup0", tcp(HOST.hmi, HOST.sis, ports))), "allow new");
  const back = tcp(HOST.sis, HOST.hmi, { sourcePort: 6, destinationPort: 5 });
  assert.equal(said(bench.send("sis0", back)), "deny invalid-state");
});

test("the budget of a zone holds at its limit, evicts nobody and frees what timed out", () => {
  const bench = new Bench();
  const from = (sourcePort: number, spec = EGRESS_TO_TANK): string =>
    said(bench.send("gate-cells", { ...spec, sourcePort }));
  for (const port of [1, 2, 3, 4]) assert.equal(from(port), "allow new");
  assert.equal(from(5), "deny session-limit");
  assert.equal(from(1), "allow session");
  // Another zone has a budget of its own.
  assert.equal(said(bench.send("sup0", HMI_TO_TANK)), "allow new");
  bench.now += 1999;
  assert.equal(from(1), "allow session");
  assert.equal(from(5), "deny session-limit");
  bench.now += 1;
  assert.equal(from(5), "allow new");
  assert.equal(from(6), "allow new");
  assert.equal(from(7), "allow new");
  assert.equal(from(8), "deny session-limit");
});

test("an apply keeps the sessions of conduits whose key stays and ends those of others", () => {
  const bench = new Bench();
  bench.send("sup0", HMI_TO_TANK);
  bench.model.load(without("erp-reads-tank"));
  assert.equal(said(bench.send("sup0", HMI_TO_TANK)), "allow session");
  bench.model.load(withConduit("hmi-operates-tank", { key: "hmi-operates-tank#00000000000b" }));
  const cut = bench.send("sup0", HMI_TO_TANK);
  assert.equal(said(cut), "deny revoked session");
  assert.equal(cut.conduit, "hmi-operates-tank");
  bench.model.load(without("hmi-operates-tank"));
  assert.equal(said(bench.send("sup0", HMI_TO_TANK)), "deny revoked session");
  // Its timer follows refused packets too: once nobody sends any more, a new one may open.
  bench.model.load(withConduit("hmi-operates-tank", { key: "hmi-operates-tank#00000000000b" }));
  bench.now += 2000;
  assert.equal(said(bench.send("sup0", HMI_TO_TANK)), "allow new");
});

test("expiry, the end of a window and an island cut live sessions both ways", () => {
  const expiring = new Bench("inner", withConduit("hmi-operates-tank", { expires: NOW + 1000 }));
  expiring.send("sup0", HMI_TO_TANK);
  expiring.now = NOW + 999;
  assert.equal(said(expiring.send("sup0", HMI_TO_TANK)), "allow session");
  expiring.now = NOW + 1000;
  assert.equal(said(expiring.send("sup0", HMI_TO_TANK)), "deny expired session");
  const answer = { ...TANK_TO_HMI, flags: syn | ack };
  assert.equal(said(expiring.send("gate-cells", answer)), "deny expired session");

  const windowed = new Bench();
  const diagnosis = tcp(HOST.engWs, HOST.pressPlc, { destinationPort: 4711 });
  assert.equal(said(windowed.send("sup0", diagnosis)), "deny outside-window");
  windowed.now = SUNDAY + 3 * HOUR - 1;
  assert.equal(said(windowed.send("sup0", diagnosis)), "allow new");
  windowed.now++;
  assert.equal(said(windowed.send("sup0", diagnosis)), "deny outside-window session");

  const island = new Bench();
  const tuning = tcp(HOST.engWs, HOST.tankPlc);
  island.send("sup0", tuning);
  island.send("sup0", HMI_TO_TANK);
  island.model.load(demoLegs(), { islanded: new Set(["cell-a"]) });
  assert.equal(said(island.send("sup0", tuning)), "deny island session");
  assert.equal(said(island.send("sup0", { ...tuning, sourcePort: 9 })), "deny island");
  assert.equal(said(island.send("sup0", HMI_TO_TANK)), "allow session", "island: keep");
});

test("a grant opens its person's row to its slot, and its gate's row behind it, until its end", () => {
  const dial = tcp(HOST.vendorPc, HOST.pressPlc);
  const outer = new Bench("outer");
  assert.equal(said(outer.send("vendor0", dial)), "deny no-grant");
  outer.model.load(demoLegs(), { grants: [GRANT] });
  const opened = outer.send("vendor0", dial);
  assert.deepEqual(
    [said(opened), opened.id, opened.mark],
    ["allow new", "g-1", { inspect: "gate-vendor" }],
  );
  // Slot 1 listens on 5002; slot 0 has not been granted.
  const answer = { sourcePort: 5002, destinationPort: 40_000, flags: syn | ack };
  const back = tcp(ip("10.30.0.30"), HOST.vendorPc, answer);
  assert.equal(said(outer.send("gate-vendor", { ...back, sourcePort: 5001 })), "deny no-conduit");
  assert.equal(said(outer.send("gate-vendor", back)), "allow session");
  assert.equal(
    said(outer.send("vendor0", { ...dial, source: HOST.vendorPc + 1 })),
    "deny no-conduit",
  );

  const inner = new Bench("inner", demoLegs(), { grants: [GRANT] });
  const slot0 = tcp(ip("10.31.0.31"), HOST.pressPlc);
  assert.equal(said(inner.send("gate-vendor", slot0)), "deny no-grant");
  assert.equal(
    said(inner.send("gate-vendor", { ...slot0, source: slot0.source + 1 })),
    "allow new",
  );

  outer.send("vendor0", { ...dial, flags: ack });
  outer.now = GRANT.notAfter;
  assert.equal(said(outer.send("vendor0", dial)), "deny grant-expired");
});

test("each grant is handed to the listener of its own slot", () => {
  for (const slot of [0, 1]) {
    const bench = new Bench("outer", demoLegs(), { grants: [{ ...GRANT, slot }] });
    bench.send("vendor0", tcp(HOST.vendorPc, HOST.pressPlc));
    const answer = { sourcePort: 5001 + slot, destinationPort: 40_000, flags: syn | ack };
    const back = tcp(ip("10.30.0.30"), HOST.vendorPc, answer);
    assert.equal(said(bench.send("gate-vendor", back)), "allow session", `slot ${slot}`);
  }
});

test("an ended, revoked or forgotten grant cuts its live session with its own reason", () => {
  const dial = tcp(HOST.vendorPc, HOST.pressPlc);
  const ending = { ...GRANT, notAfter: NOW + 1000 };
  const bench = new Bench("outer", demoLegs(), { grants: [ending] });
  bench.send("vendor0", dial);
  bench.now = NOW + 1000;
  assert.equal(said(bench.send("vendor0", dial)), "deny grant-expired session");
  bench.model.load(demoLegs(), { grants: [ending], revoked: new Set(["g-1"]) });
  assert.equal(said(bench.send("vendor0", dial)), "deny revoked session");
  bench.model.load(demoLegs());
  assert.equal(said(bench.send("vendor0", dial)), "deny revoked session");
});

test("conduits are asked by name, closed ones are passed over, audit ones come last", () => {
  const service = { protocol: "tcp", ports: [{ first: 80, last: 80 }] } as const;
  const ends = [
    ["supervisory", HOST.engWs],
    ["cell-b", HOST.pressPlc],
  ] as const;
  const open = plain("b-open", "direct", ...ends, service);
  const closed = { ...plain("a-closed", "direct", ...ends, service), expires: NOW };
  const audit = { ...plain("0-audit", "direct", ...ends, service), audit: true };
  const dial = tcp(HOST.engWs, HOST.pressPlc, { destinationPort: 80 });
  const carried = (conduits: Parameters<typeof demoLegs>[0]): (string | undefined)[] => {
    const verdict = new Bench("inner", demoLegs(conduits)).send("sup0", dial);
    return [said(verdict), verdict.conduit];
  };
  assert.deepEqual(carried([closed, open, audit]), ["allow new", "b-open"]);
  assert.deepEqual(carried([closed, audit]), ["allow would-deny new", "0-audit"]);
  assert.deepEqual(carried([closed]), ["deny expired", "a-closed"]);
  const alsoClosed = {
    ...open,
    windows: [{ days: [], fromMinute: 0, toMinute: 1, timezone: "UTC" }],
  };
  assert.deepEqual(carried([closed, alsoClosed]), ["deny expired", "a-closed"]);
});

test("random and damaged frames neither throw nor open a session while denied", () => {
  const bench = new Bench("inner", demoLegs(), { grants: [GRANT] });
  const specs = [HMI_TO_TANK, TANK_TO_HMI, EGRESS_TO_TANK, TANK_TO_EGRESS, STATUS];
  const devices = ["sup0", "cella0", "gate-cells", "sis0", "it0", "", "__proto__"];
  let allowed = 0;
  let denied = 0;
  fc.assert(
    fc.property(
      fc.constantFrom(...devices),
      fc.oneof(
        fc.uint8Array({ maxLength: 80 }),
        fc
          .tuple(fc.constantFrom(...specs), fc.nat(255), fc.nat(60), fc.nat(255))
          .map(([spec, flags, offset, value]) => {
            const bytes = writeFrame({ ...spec, flags });
            if (value < 128 && offset < bytes.length) bytes[offset] = value;
            return bytes;
          }),
      ),
      fc.nat(500),
      (device, bytes, passed) => {
        bench.now += passed;
        const before = bench.model.sessionCount(bench.now);
        const verdict = bench.model.step({ interface: device, bytes }, bench.now);
        const after = bench.model.sessionCount(bench.now);
        if (verdict.state === "new") assert.equal(after, before + 1);
        else assert.ok(after <= before);
        assert.equal(verdict.mark !== undefined, verdict.verdict === "allow");
        if (verdict.verdict === "allow") allowed++;
        else denied++;
      },
    ),
    { numRuns: 5000 },
  );
  assert.ok(allowed > 50 && denied > 50, `${allowed} allowed, ${denied} denied`);
});

/** Devices of cell-a know no way back: the gateway dials them from its own address there. */
function dialledLegs(): Legs {
  const legs = demoLegs();
  const address = ip("10.41.0.1");
  const zones = legs.zones.map((zone) =>
    zone.name === "cell-a" ? { ...zone, dialledFrom: [{ to: zone.addresses, address }] } : zone,
  );
  return { ...legs, zones };
}

test("a device that is dialled from the gateway's address answers there and nowhere else", () => {
  const bench = new Bench("inner", dialledLegs());
  const egress = dialledLegs().conduits.find(({ name }) => name === "erp-reads-tank")?.listeners[0]
    ?.egressAddress;
  assert.ok(egress !== undefined);
  const toTank = tcp(egress, HOST.tankPlc, { flags: syn });
  const back = { sourcePort: 502, destinationPort: 40_000 };
  const fromTank = (to: number, flags: number): Verdict =>
    bench.send("cella0", tcp(HOST.tankPlc, to, { ...back, flags }));
  const gateway = ip("10.41.0.1");
  assert.equal(said(fromTank(gateway, syn | ack)), "deny to-gateway");
  assert.equal(said(bench.send("gate-erp", toTank)), "allow new");
  assert.equal(said(fromTank(egress, syn | ack)), "deny no-conduit");
  assert.equal(said(fromTank(gateway, syn)), "deny to-gateway");
  assert.equal(said(fromTank(gateway, syn | ack)), "allow session");
  const stray = { ...back, destinationPort: 40_001, flags: syn | ack };
  assert.equal(said(bench.send("cella0", tcp(HOST.tankPlc, gateway, stray))), "deny to-gateway");
});
