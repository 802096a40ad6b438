import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import { readFileSync } from "node:fs";
import { test } from "node:test";
import { canonicalJson, contains, formatIpv4, type Json, parseIpv4 } from "@sallyport/core";
import type { Conduit, Legs } from "../legs/types.ts";
import { compilePolicy } from "./compile.ts";

const NOW = Date.parse("2026-11-22T12:00:00Z");
const PLANT = readFileSync(new URL("../../../../lab/plant/site.yaml", import.meta.url), "utf8");

function compile(...texts: readonly string[]): ReturnType<typeof compilePolicy> {
  const files = texts.map((text, index) => ({
    name: index === 0 ? "site.yaml" : `more-${index}.yaml`,
    bytes: new TextEncoder().encode(text),
  }));
  return compilePolicy(files, { now: NOW });
}

function legsOf(...texts: readonly string[]): Legs {
  const { legs, diagnostics } = compile(...texts);
  assert.ok(legs, JSON.stringify(diagnostics.filter(({ severity }) => severity === "error")));
  return legs;
}

function conduit(legs: Legs, name: string): Conduit {
  const found = legs.conduits.find((one) => one.name === name);
  assert.ok(found, `no conduit ${name}`);
  return found;
}

const address = (text: string): number => {
  const parsed = parseIpv4(text);
  assert.notEqual(parsed, undefined, text);
  return parsed ?? 0;
};
const single = (text: string): { first: number; last: number } => ({
  first: address(text),
  last: address(text),
});
/** Everything but where in the file it stands. */
const meaning = (legs: Legs): unknown => ({
  ...legs,
  policySha256: "",
  conduits: legs.conduits.map((one) => ({ ...one, source: "" })),
});

const plant = legsOf(PLANT);

test("the demo plant compiles without an error or a warning", () => {
  const { diagnostics } = compile(PLANT);
  assert.deepEqual(
    diagnostics.filter(({ severity }) => severity !== "note"),
    [],
  );
  assert.equal(plant.conduits.length, 7);
});

test("ERP reaches the tank only by the gate's listener, and the gate only from the conduit's own address", () => {
  const { legs, listeners } = conduit(plant, "erp-reads-tank");
  const gate = plant.rooms.find(({ name }) => name === "gate-erp");
  const [listener] = listeners;
  assert.ok(gate?.outer && gate.inner && listener);
  assert.deepEqual(legs, [
    {
      point: "outer",
      from: [single("10.10.0.10")],
      to: [single("10.41.0.10")],
      protocol: "tcp",
      ports: [{ first: 502, last: 502 }],
      replies: true,
      redirects: [
        {
          address: address("10.41.0.10"),
          port: 502,
          room: "gate-erp",
          listenAddress: gate.outer.addresses[0],
          listenPort: listener.listenPort,
          slot: 0,
        },
      ],
    },
    {
      point: "inner",
      from: [{ first: listener.egressAddress, last: listener.egressAddress }],
      to: [single("10.41.0.10")],
      protocol: "tcp",
      ports: [{ first: 502, last: 502 }],
      replies: true,
      redirects: [],
    },
  ]);
  assert.ok(gate.inner.addresses.includes(listener.egressAddress));
  assert.notEqual(listener.egressAddress, gate.inner.addresses[0], "not the gate's own address");
  assert.deepEqual(listener.l7, {
    protocol: "modbus",
    functions: ["read-holding-registers", "read-input-registers"],
    units: [{ first: 1, last: 1 }],
    coils: [],
    discreteInputs: [],
    holdingRegisters: [{ first: 0, last: 99 }],
    inputRegisters: [{ first: 0, last: 15 }],
    writeValues: [],
    maxQuantity: 20,
    requestsPerSecond: 50,
  });
  assert.deepEqual(listener.connections, { max: 64, idleSeconds: 300, connectSeconds: 5 });
});

test("inspection between segments stays off outer: both legs at inner, and its gate has no outer link", () => {
  const { legs, listeners, island } = conduit(plant, "hmi-operates-cells");
  assert.deepEqual(
    legs.map(({ point }) => point),
    ["inner", "inner"],
  );
  assert.equal(listeners.length, 2);
  assert.equal(island, "keep");
  const gate = plant.rooms.find(({ name }) => name === "gate-cells");
  assert.equal(gate?.outer, undefined);
  assert.ok(gate?.inner);
});

test("a session conduit carries its terms, and a listener and an egress address for each slot", () => {
  const vendor = conduit(plant, "vendor-services-press");
  assert.deepEqual(vendor.session, {
    people: ["vendor-tech"],
    maxSeconds: 7200,
    approvals: 1,
    attended: false,
    localEnable: false,
    device: "any",
    record: true,
    mode: "write-approved",
    slots: 2,
  });
  assert.deepEqual(
    vendor.listeners.map(({ slot }) => slot),
    [0, 1],
  );
  assert.equal(new Set(vendor.listeners.map(({ egressAddress }) => egressAddress)).size, 2);
});

test("a diode lets nothing back, and a window is in the site's time zone", () => {
  assert.equal(conduit(plant, "sis-status").legs[0]?.replies, false);
  assert.equal(conduit(plant, "sis-status").legs[0]?.protocol, "udp");
  assert.deepEqual(conduit(plant, "press-diagnosis").windows, [
    { days: [0], fromMinute: 120, toMinute: 360, timezone: "Europe/Vienna" },
  ]);
});

test("a date is the last day a conduit is open: it closes at the next midnight in the plant", () => {
  const end = conduit(plant, "erp-reads-tank").expires;
  assert.equal(new Date(end).toISOString(), "2027-06-30T22:00:00.000Z");
  const winter = conduit(plant, "press-diagnosis").expires;
  assert.equal(new Date(winter).toISOString(), "2027-01-31T23:00:00.000Z");
});

test("a component has a link only to the side that one of its conduits needs", () => {
  const portal = plant.rooms.find(({ name }) => name === "portal");
  assert.deepEqual(portal, { name: "portal", kind: "portal" });
  assert.deepEqual(
    plant.zones.filter(({ name }) => name === "dmz/gate-cells").map(({ point }) => point),
    ["inner"],
  );
});

test("no zone holds an address of the box, of a network or its broadcast, and none is in two zones", () => {
  const seen: { first: number; last: number; zone: string }[] = [];
  for (const zone of plant.zones) {
    for (const taken of [...plant.own, ...plant.broadcast]) {
      assert.ok(!contains(zone.addresses, taken), `${zone.name} holds ${formatIpv4(taken)}`);
    }
    for (const interval of zone.addresses) seen.push({ ...interval, zone: zone.name });
  }
  seen.sort((a, b) => a.first - b.first);
  for (const [index, interval] of seen.entries()) {
    const next = seen[index + 1];
    assert.ok(
      next === undefined || interval.last < next.first,
      `${interval.zone} ${next?.zone ?? ""}`,
    );
  }
});

test("the digest is what sha256sum says of the file, and keys are digests of the canonical legs", () => {
  assert.equal(plant.policySha256, createHash("sha256").update(PLANT).digest("hex"));
  for (const { name, key, legs } of plant.conduits) {
    const text = canonicalJson(legs as unknown as Json);
    const digest = createHash("sha256").update(text).digest("hex");
    assert.equal(key, `${name}#${digest.slice(0, 12)}`);
  }
});

test("the same bytes give the same legs, and the order of sections and names changes none of them", () => {
  assert.deepEqual(legsOf(PLANT), plant);
  // Sections begin at the left edge, conduits two columns in.
  const sections = PLANT.split(/^(?=[a-z]+:)/m);
  const [head = "", ...rest] = sections;
  const turned = rest.reverse().map((section) => {
    const [title = "", ...members] = section.split(/^(?=\s{2}[a-z][a-z0-9-]*:)/m);
    return /^(conduits|zones|assets|components)/.test(title)
      ? title + members.reverse().join("")
      : section;
  });
  const other = legsOf(head + turned.join(""));
  assert.notEqual(other.policySha256, plant.policySha256);
  assert.deepEqual(meaning(other), meaning(plant));
});

test("a policy split over files is the same policy; a name in two of them is an error at the second", () => {
  const at = PLANT.indexOf("conduits:");
  const [first, second] = [PLANT.slice(0, at), PLANT.slice(at)];
  assert.deepEqual(meaning(legsOf(first, second)), meaning(plant));
  const { diagnostics, legs } = compile(
    PLANT,
    "assets:\n  erp: { zone: vendor, address: 10.20.0.9 }\n",
  );
  assert.equal(legs, undefined);
  const [twice] = diagnostics.filter(({ severity }) => severity === "error");
  assert.equal(twice?.code, "duplicate-key");
  assert.deepEqual([twice?.file, twice?.line, twice?.column], ["site.yaml", 68, 3]);
});

test("adding a conduit leaves the keys of the others, so their sessions live on", () => {
  const more = `
  hmi-reads-sis:
    { from: hmi, to: sis, service: modbus, via: inspect, through: gate-cells, owner: o, why: w, expires: 2027-01-31,
      l7: { modbus: { functions: [read-coils], units: [1], coils: [0-1] } } }
invariants:`;
  const text = PLANT.replace("\ninvariants:", more).replace(
    "  - never: { to: { kind: safety } }\n",
    "",
  );
  const wider = legsOf(text);
  assert.equal(wider.conduits.length, plant.conduits.length + 1);
  for (const { name, key } of plant.conduits) assert.equal(conduit(wider, name).key, key);
});

test("a nested network belongs to its own zone alone", () => {
  const text = PLANT.replace(
    "  safety:\n",
    "  cabinet:\n    { kind: control, level: 1, networks: [10.41.0.64/28], attach: { nic: cella0 }, owner: o }\n  safety:\n",
  );
  const legs = legsOf(text);
  const of = (name: string) => legs.zones.find((zone) => zone.name === name)?.addresses ?? [];
  assert.ok(contains(of("cabinet"), address("10.41.0.70")));
  assert.ok(!contains(of("cell-a"), address("10.41.0.70")));
  assert.ok(contains(of("cell-a"), address("10.41.0.80")));
  assert.ok(!contains(of("cabinet"), address("10.41.0.64")), "the network's own address");
  const there = legs.attachments.filter(({ interface: name }) => name === "cella0");
  assert.deepEqual(
    there.map(({ zone, addresses }) => [zone, addresses.length]),
    [
      ["cabinet", 0],
      ["cell-a", 1],
    ],
  );
});

test("an audit mode is a conduit of its own, that allows all between the two and ends by itself", () => {
  const legs = legsOf(
    `${PLANT}modes:\n  - { from: cell-a, to: cell-b, mode: audit, until: 2026-12-20, owner: o, why: w }\n`,
  );
  const last = conduit(legs, "audit:cell-a:cell-b");
  assert.equal(last.audit, true);
  assert.equal(new Date(last.expires).toISOString(), "2026-12-20T23:00:00.000Z");
  assert.deepEqual(
    last.legs.map(({ protocol, point }) => [protocol, point]),
    [
      ["tcp", "inner"],
      ["udp", "inner"],
      ["icmp", "inner"],
    ],
  );
});

test("a portal is reached at its own address by IT, and has no link towards OT", () => {
  const text = PLANT.replace(
    "conduits:\n",
    "conduits:\n  staff-portal: { from: enterprise, to: dmz/portal, service: https, via: proxy, owner: o, why: w, expires: 2027-06-30 }\n",
  );
  const legs = legsOf(text);
  const portal = legs.rooms.find(({ name }) => name === "portal");
  const own = portal?.outer?.addresses[0];
  assert.ok(own);
  assert.equal(portal?.inner, undefined);
  const { legs: parts, listeners } = conduit(legs, "staff-portal");
  assert.deepEqual(parts[0]?.to, [{ first: own, last: own }]);
  assert.deepEqual(parts[0]?.redirects, []);
  assert.deepEqual(listeners, []);
});
