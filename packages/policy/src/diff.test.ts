import assert from "node:assert/strict";
import { test } from "node:test";
import { type Interval, formatIpv4 } from "@sallyport/core";
import { writeFrame } from "@sallyport/wire";
import fc from "fast-check";
import { type CellChange, diff, formatDiff } from "./diff.ts";
import {
  demoLegs,
  GRANT,
  HOST,
  HOUR,
  NOW,
  plain,
  SUNDAY,
  withConduit,
  without,
} from "./legs/fixture.test-data.ts";
import { Model, type Verdict } from "./legs/model.ts";
import type { Conduit, L7, Legs, ModbusLimits, Point } from "./legs/types.ts";

const NAMES = new Map([
  [HOST.engWs, "eng-ws"],
  [HOST.hmi, "hmi"],
  [HOST.erp, "erp"],
]);

function modbus(change: Partial<ModbusLimits>): Legs {
  const legs = demoLegs();
  const listeners = legs.conduits
    .find((conduit) => conduit.name === "erp-reads-tank")
    ?.listeners.map((listener) => {
      assert.equal(listener.l7.protocol, "modbus");
      const l7: L7 = { ...listener.l7, ...change };
      return { ...listener, l7 };
    });
  return withConduit("erp-reads-tank", { listeners: listeners ?? [] });
}

test("a policy does not differ from itself", () => {
  for (const at of [undefined, NOW, SUNDAY]) {
    const same = diff(demoLegs(), demoLegs(), at === undefined ? {} : { at });
    assert.deepEqual(same, { cells: [], lines: [], other: [], widens: false });
  }
  assert.equal(formatDiff(diff(demoLegs(), demoLegs())), "no packet is answered otherwise");
});

test("a new conduit is one line in the plant's own words, and an opening act", () => {
  const change = diff(without("engineering-tunes-tank"), demoLegs(), { names: NAMES });
  assert.deepEqual(change.lines, [
    "+ eng-ws → tank-plc tcp/502 via inspect (engineering-tunes-tank)",
  ]);
  assert.equal(change.widens, true);
  // Both legs, the gate's own one too, are among the exact cells.
  assert.equal(change.cells.length, 2);
});

test("a removed conduit lets nothing more pass", () => {
  const change = diff(demoLegs(), without("sis-status"));
  assert.deepEqual(change.lines, [
    "- safety/10.43.0.10 → supervisory/10.40.0.10 udp/514 via diode (sis-status)",
  ]);
  assert.equal(change.widens, false);
});

test("before the first policy nothing was open", () => {
  const change = diff(undefined, demoLegs());
  assert.equal(change.lines.length, 8);
  assert.ok(change.lines.every((line) => line.startsWith("+ ")));
  assert.equal(change.widens, true);
});

test("a new order of a gate's egress addresses is not an opening act", () => {
  const legs = demoLegs();
  const swapped: Record<string, number> = { "erp-reads-tank": 1, "historian-reads-press": -1 };
  const conduits = legs.conduits.map((conduit) => {
    const by = swapped[conduit.name] ?? 0;
    const listeners = conduit.listeners.map((l) => ({ ...l, egressAddress: l.egressAddress + by }));
    const legsOf = conduit.legs.map((leg) =>
      leg.point === "inner" ? { ...leg, from: leg.from.map((i) => shifted(i, by)) } : leg,
    );
    return { ...conduit, listeners, legs: legsOf };
  });
  const change = diff(legs, { ...legs, conduits });
  assert.ok(change.cells.length > 0);
  assert.deepEqual([change.lines, change.widens], [[], false]);
});

function shifted({ first, last }: Interval, by: number): Interval {
  return { first: first + by, last: last + by };
}

test("more ports, registers, functions, time or people widen; fewer of them do not", () => {
  const window = { days: [0], fromMinute: 120, toMinute: 360, timezone: "Europe/Vienna" };
  const vendor = demoLegs().conduits.find((conduit) => conduit.via === "session")?.session;
  assert.ok(vendor !== undefined);
  const pairs: [string, Legs, Legs][] = [
    [
      "expires",
      withConduit("ping-press", { expires: NOW }),
      withConduit("ping-press", { expires: NOW + 1 }),
    ],
    [
      "windows",
      withConduit("ping-press", { windows: [window] }),
      withConduit("ping-press", { windows: [] }),
    ],
    [
      "windows",
      withConduit("ping-press", { windows: [window] }),
      withConduit("ping-press", { windows: [{ ...window, toMinute: 361 }] }),
    ],
    [
      "island",
      withConduit("ping-press", { island: "drop" }),
      withConduit("ping-press", { island: "keep" }),
    ],
    [
      "audit",
      withConduit("ping-press", { audit: false }),
      withConduit("ping-press", { audit: true }),
    ],
    ["holding-registers", modbus({}), modbus({ holdingRegisters: [{ first: 0, last: 100 }] })],
    [
      "write-single-register",
      modbus({}),
      modbus({ functions: ["read-holding-registers", "write-single-register"] }),
    ],
    ["max-quantity", modbus({ maxQuantity: 20 }), modbus({ maxQuantity: 21 })],
    ["rate", modbus({ requestsPerSecond: 5 }), modbus({})],
    [
      "session.maxSeconds",
      demoLegs(),
      withConduit("vendor-services-press", { session: { ...vendor, maxSeconds: 7201 } }),
    ],
    [
      "session.approvals",
      demoLegs(),
      withConduit("vendor-services-press", { session: { ...vendor, approvals: 0 } }),
    ],
  ];
  for (const [what, narrow, wide] of pairs) {
    const wider = diff(narrow, wide);
    assert.equal(wider.widens, true, what);
    assert.ok(
      wider.other.some((text) => text.includes(what)),
      `${what} in ${wider.other.join()}`,
    );
    const narrower = diff(wide, narrow);
    assert.equal(narrower.widens, false, what);
    assert.equal(narrower.other.length, 1, what);
    assert.ok(formatDiff(narrower).includes(what));
  }
});

test("taking the gate out of a path is an opening act even though the same ports are open", () => {
  const legs = demoLegs();
  const direct = legs.conduits.map((conduit): Conduit => {
    if (conduit.name !== "hmi-operates-tank") return conduit;
    const [client] = conduit.legs;
    assert.ok(client !== undefined);
    return { ...conduit, via: "direct", listeners: [], legs: [{ ...client, redirects: [] }] };
  });
  const change = diff(legs, { ...legs, conduits: direct }, { names: NAMES });
  assert.equal(change.widens, true);
  assert.ok(
    change.lines.includes(
      "~ hmi → tank-plc tcp/502 via inspect (hmi-operates-tank) → via direct (hmi-operates-tank)",
    ),
    change.lines.join("\n"),
  );
});

test("what is asked at a time shows only what is open then, grants included", () => {
  const before = without("press-diagnosis");
  assert.deepEqual(diff(before, demoLegs(), { at: NOW }).cells, []);
  assert.equal(diff(before, demoLegs(), { at: SUNDAY }).cells.length, 1);
  const vendor = without("vendor-services-press");
  assert.deepEqual(diff(vendor, demoLegs(), { at: NOW }).cells, []);
  assert.equal(diff(vendor, demoLegs(), { at: NOW, grants: [GRANT] }).cells.length, 2);
  assert.equal(diff(vendor, demoLegs(), { at: NOW + HOUR, grants: [GRANT] }).cells.length, 0);
});

test("a conduit hidden behind another is still a difference when it goes", () => {
  const ends = [
    ["supervisory", HOST.engWs],
    ["cell-b", HOST.pressPlc],
  ] as const;
  const service = { protocol: "tcp", ports: [{ first: 4700, last: 4800 }] } as const;
  const whole = plain("zz-always", "direct", ...ends, service);
  const both = demoLegs([...demoLegs().conduits, whole]);
  const hidden = diff(both, demoLegs());
  // press-diagnosis is asked first for 4711 to 4713, but only on Sundays.
  assert.ok(hidden.cells.some(({ kind, box }) => kind === "changed" && box.ports.first === 4711));
  assert.equal(hidden.widens, false);
});

test("a zone that asks fewer signatures than before is a wider policy, one that asks more is not", () => {
  const asking = (approvals: number): Legs => ({
    ...demoLegs([]),
    thresholds: approvals === 0 ? [] : [{ zone: "cell-a", approvals }],
  });
  const fewer = diff(asking(2), asking(0));
  assert.deepEqual(fewer.other, ["zone cell-a: approvals 2 → 0 (wider)"]);
  assert.equal(fewer.widens, true);
  const more = diff(asking(0), asking(1));
  assert.deepEqual(more.other, ["zone cell-a: approvals 0 → 1"]);
  assert.equal(more.widens, false);
});

/** Conduits over few addresses and ports, so that they overlap and touch. */
const anyConduits = fc
  .array(
    fc.record({
      from: fc.integer({ min: 2, max: 9 }),
      fromSize: fc.nat(6),
      to: fc.integer({ min: 2, max: 9 }),
      toSize: fc.nat(6),
      port: fc.integer({ min: 1, max: 4 }),
      portSize: fc.nat(4),
      protocol: fc.constantFrom("tcp" as const, "udp" as const),
      expired: fc.constantFrom(true, false, false),
    }),
    { minLength: 1, maxLength: 5 },
  )
  .map((specs) =>
    specs.map((spec, index): Conduit => {
      const ports = [{ first: spec.port, last: spec.port + spec.portSize }];
      const made = plain(`c-${index}`, "direct", ["supervisory", 0], ["cell-a", 0], {
        protocol: spec.protocol,
        ports,
      });
      const [leg] = made.legs;
      assert.ok(leg !== undefined);
      const from = [
        { first: 0x0a280000 + spec.from, last: 0x0a280000 + spec.from + spec.fromSize },
      ];
      const to = [{ first: 0x0a290000 + spec.to, last: 0x0a290000 + spec.to + spec.toSize }];
      const expires = spec.expired ? NOW : NOW + HOUR;
      return { ...made, expires, legs: [{ ...leg, from, to }] };
    }),
  );

function ask(
  legs: Legs,
  point: Point,
  device: string,
  spec: Parameters<typeof writeFrame>[0],
): Verdict {
  const model = new Model({ point });
  model.load(legs);
  return model.step({ interface: device, bytes: writeFrame(spec) }, NOW);
}

test("a cell is listed exactly where two models answer an opening packet differently", () => {
  let compared = 0;
  let different = 0;
  fc.assert(
    fc.property(
      anyConduits,
      anyConduits,
      fc.array(
        fc.record({
          from: fc.integer({ min: 1, max: 11 }),
          to: fc.integer({ min: 1, max: 11 }),
          port: fc.integer({ min: 1, max: 9 }),
          protocol: fc.constantFrom("tcp" as const, "udp" as const),
        }),
        { minLength: 20, maxLength: 20 },
      ),
      (a, b, packets) => {
        const [before, after] = [demoLegs(a), demoLegs(b)];
        const { cells } = diff(before, after, { at: NOW });
        for (const { from, to, port, protocol } of packets) {
          const ends = { source: 0x0a280000 + from, destination: 0x0a290000 + to };
          const spec = { protocol, ...ends, sourcePort: 9, destinationPort: port };
          const was = ask(before, "inner", "sup0", spec);
          const is = ask(after, "inner", "sup0", spec);
          const differs =
            was.verdict !== is.verdict || (was.verdict === "allow" && was.conduit !== is.conduit);
          const found = cells.filter((cell) => holds(cell, ends, port, protocol));
          const where = `${formatIpv4(ends.source)} ${formatIpv4(ends.destination)} ${protocol}/${port}`;
          assert.equal(found.length, differs ? 1 : 0, where);
          compared++;
          if (differs) different++;
        }
      },
    ),
    { numRuns: 150 },
  );
  assert.ok(compared === 3000 && different > 60, `${different} of ${compared} differ`);
});

function holds(
  { box, protocol: ours, interface: device }: CellChange,
  ends: { source: number; destination: number },
  port: number,
  protocol: string,
): boolean {
  const inside = ({ first, last }: Interval, value: number): boolean =>
    first <= value && value <= last;
  return (
    device === "sup0" &&
    ours === protocol &&
    inside(box.from, ends.source) &&
    inside(box.to, ends.destination) &&
    inside(box.ports, port)
  );
}
