import assert from "node:assert/strict";
import { test } from "node:test";
import { writeFrame } from "@sallyport/wire";
import { demoLegs, GRANT, HOST, host, NOW, SUNDAY, withConduit } from "./legs/fixture.test-data.ts";
import { Model } from "./legs/model.ts";
import type { Legs } from "./legs/types.ts";
import { formatMatrix, matrix, matrixCsv, reachable } from "./matrix.ts";
import { formatOpenAt, openAt } from "./when.ts";

const NAMES = new Map([[HOST.hmi, "hmi"]]);

function conduitsAt(at: number, context: Parameters<typeof matrix>[2] = {}): string[] {
  return matrix(demoLegs(), at, context)
    .rows.map((row) => row.conduit)
    .sort();
}

test("the matrix is what is open at that moment, through gates and without", () => {
  const always = [
    "engineering-tunes-tank",
    "erp-reads-tank",
    "historian-reads-press",
    "hmi-operates-tank",
    "ping-press",
    "sis-status",
  ];
  assert.deepEqual(conduitsAt(NOW), always);
  assert.deepEqual(conduitsAt(SUNDAY), [...always, "press-diagnosis"].sort());
  assert.deepEqual(conduitsAt(NOW, { grants: [GRANT] }), [...always, "vendor-services-press"]);
  assert.deepEqual(conduitsAt(NOW, { islanded: new Set(["cell-a"]) }), [
    "historian-reads-press",
    "hmi-operates-tank",
    "ping-press",
    "sis-status",
  ]);
});

test("a gate answers for its target, and says when it cannot reach it", () => {
  const rowOf = (legs: Legs): { answeredBy: string; complete: boolean } | undefined =>
    matrix(legs, NOW).rows.find((row) => row.conduit === "erp-reads-tank");
  assert.equal(rowOf(demoLegs())?.answeredBy, "gate");
  assert.equal(rowOf(demoLegs())?.complete, true);
  const [client, second] = demoLegs().conduits.find((c) => c.name === "erp-reads-tank")?.legs ?? [];
  assert.ok(client !== undefined && second !== undefined);
  const cut = withConduit("erp-reads-tank", {
    legs: [client, { ...second, from: host("10.31.0.10") }],
  });
  assert.equal(rowOf(cut)?.complete, false);
  assert.match(formatMatrix(cut, matrix(cut, NOW)), /gate, but not the target/);
});

test("a scan of every port below 600 from every host finds exactly what is reachable", () => {
  const legs = demoLegs();
  let open = 0;
  let asked = 0;
  const sources = [
    ["outer", "it0", HOST.erp],
    ["outer", "it0", HOST.historian],
    ["outer", "vendor0", HOST.vendorPc],
    ["inner", "sup0", HOST.hmi],
    ["inner", "sup0", HOST.engWs],
    ["inner", "cella0", HOST.tankPlc],
    ["inner", "sup0", HOST.tankPlc],
  ] as const;
  for (const [point, device, source] of sources) {
    const promised = reachable(legs, source, device, NOW, { grants: [GRANT] });
    for (const destination of Object.values(HOST)) {
      for (let port = 495; port < 520; port++) {
        const model = new Model({ point });
        model.load(legs, { grants: [GRANT] });
        const bytes = writeFrame({
          protocol: "tcp",
          source,
          destination,
          sourcePort: 9,
          destinationPort: port,
        });
        const answered = model.step({ interface: device, bytes }, NOW).verdict === "allow";
        const expected = promised.some(
          ({ addresses, protocol, ports }) =>
            protocol === "tcp" &&
            addresses.first <= destination &&
            destination <= addresses.last &&
            ports.some(({ first, last }) => first <= port && port <= last),
        );
        assert.equal(answered, expected, `${device} ${source} → ${destination}:${port}`);
        asked++;
        if (answered) open++;
      }
    }
  }
  assert.equal(asked, 7 * 8 * 25);
  assert.equal(open, 5);
});

test("text and CSV name zones, assets, services and policy lines", () => {
  const legs = demoLegs();
  const result = matrix(legs, NOW, { names: NAMES });
  const text = formatMatrix(legs, result, NAMES);
  assert.match(text, /^hmi +tank-plc +tcp\/502 +inspect +gate +hmi-operates-tank +site.yaml:106$/m);
  assert.match(text, /^supervisory +\. +- +inspect +direct +\.$/m);
  const csv = matrixCsv(legs, result, NAMES);
  assert.match(
    csv,
    /^supervisory,cell-a,hmi,tank-plc,tcp\/502,inspect,gate,hmi-operates-tank,site.yaml:106\r$/m,
  );
  assert.equal(csv.split("\r\n").length, result.rows.length + 2);
});

test("the box's own and broadcast addresses are in no row, whatever a leg covers", () => {
  const whole = [{ first: HOST.pressPlc - 10, last: HOST.pressPlc + 245 }];
  const legs = demoLegs();
  const zones = legs.zones.map((zone) =>
    zone.name === "cell-b" ? { ...zone, addresses: whole } : zone,
  );
  const ping = legs.conduits.find((conduit) => conduit.name === "ping-press");
  assert.ok(ping !== undefined);
  const conduits = [{ ...ping, legs: ping.legs.map((leg) => ({ ...leg, to: whole })) }];
  assert.deepEqual(
    matrix({ ...legs, zones, conduits }, NOW).rows.map((row) => row.to),
    [{ first: HOST.pressPlc - 8, last: HOST.pressPlc + 244 }],
  );
});

test("a closed plant says so", () => {
  const legs = demoLegs([]);
  assert.match(formatMatrix(legs, matrix(legs, NOW)), /nothing is open/);
});

test("the question for Sunday 03:00 says what opens, until when, and what stays shut and why", () => {
  const answer = openAt(demoLegs(), SUNDAY);
  const of = (name: string): (typeof answer.conduits)[number] | undefined =>
    answer.conduits.find(({ conduit }) => conduit === name);
  assert.deepEqual(
    [of("press-diagnosis")?.open, of("press-diagnosis")?.until],
    [true, Date.UTC(2026, 10, 22, 5)],
  );
  assert.equal(of("vendor-services-press")?.closedReason, "no-grant");
  assert.ok(answer.matrix.rows.some((row) => row.conduit === "press-diagnosis"));
  assert.equal(
    openAt(demoLegs(), NOW).conduits.find((c) => c.conduit === "press-diagnosis")?.closedReason,
    "outside-window",
  );
  assert.match(formatOpenAt(answer), /^open +press-diagnosis until 2026-11-22T05:00:00Z/m);
});
