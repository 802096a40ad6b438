import assert from "node:assert/strict";
import { test } from "node:test";
import type { Conduit, Flow, Zone } from "../../api/queries.ts";
import { attention, type AttentionFacts } from "./attention.ts";
import { layoutOf, overlap } from "./layout.ts";
import { readDenial, withLive } from "./live-denials.ts";
import { countedOf, plantMap, zoneFacts } from "./model.ts";
import { boundaries } from "./strip.ts";

const NOW = Date.UTC(2026, 0, 15, 10);
const zone = (name: string, side: string, island = false): Zone => {
  return { name, side, level: "", island, approvals: 1 };
};
const conduit = (name: string, from: string, to: string, more: Partial<Conduit> = {}): Conduit => {
  return { name, via: "proxy", from, to, open: true, packets: 10, bytes: 1000, ...more };
};
const denial = (more: Partial<Flow>): Flow => ({
  ...{ start: new Date(NOW - 60_000).toISOString(), point: "outer", conduit: "", protocol: "tcp" },
  ...{ source: "10.20.0.10", destination: "10.41.0.10", sourceZone: "vendor", port: 502 },
  ...{ destinationZone: "cell-a", function: "", reason: "no-conduit", accepted: 0, refused: 3 },
  ...{ sampled: 0, ...more },
});
const ZONES = [zone("office", "it"), zone("vendor", "it"), zone("ops", "ot"), zone("cell-a", "ot")];
const FACTS = zoneFacts([
  "zones:\n  dmz: { kind: dmz, level: 3.5 }\n  ops: { kind: control, level: 3 }\n  cell-a: { kind: control, level: 1 }\n",
  "this is: [not yaml",
]);
const map = (more: Partial<Parameters<typeof plantMap>[0]> = {}) =>
  plantMap({
    ...{ zones: ZONES, conduits: [conduit("reads", "office", "cell-a")], denials: [] },
    ...{ facts: FACTS, before: undefined, atMs: NOW, ...more },
  });

test("zones lie in the band of their side, and of their level where the policy's text is known", () => {
  const bands = Object.fromEntries(map().nodes.map(({ name, band }) => [name, band]));
  assert.deepEqual(bands, { office: "it", vendor: "it", ops: "inner", "cell-a": "cells" });
  const unknown = map({ facts: new Map() }).nodes.find(({ name }) => name === "ops");
  assert.equal(unknown?.band, "cells");
});

test("a refusal is drawn on the line between the two zones, also where no conduit joins them", () => {
  const { edges } = map({ denials: [denial({}), denial({ refused: 4, reason: "expired" })] });
  const line = edges.find(({ from, to }) => from === "vendor" && to === "cell-a");
  assert.deepEqual([line?.refused, line?.conduits.length], [7, 0]);
  assert.deepEqual(line?.reasons, ["no-conduit", "expired"]);
  const other = edges.find(({ from }) => from === "office");
  assert.equal(other?.refused, 0);
  const inside = map({
    denials: [denial({ conduit: "reads", sourceZone: "", destinationZone: "" })],
  });
  assert.equal(inside.edges.find(({ from }) => from === "office")?.refused, 3);
});

test("a rate is unknown until counters were read twice, and when they began anew", () => {
  const now = [conduit("reads", "office", "cell-a", { bytes: 3000 })];
  const rate = (bytes: number): number | undefined =>
    map({
      conduits: now,
      before: countedOf([conduit("reads", "office", "cell-a", { bytes })], NOW - 2000),
    }).edges[0]?.bytesPerSecond;
  assert.equal(rate(1000), 1000);
  assert.equal(rate(3000), 0);
  assert.equal(rate(9000), undefined);
  assert.equal(map().edges[0]?.bytesPerSecond, undefined);
});

/** Numbers from a seed, so that a failure comes again. */
function random(seed: number): () => number {
  let state = seed;
  return () => {
    state = (state * 1_103_515_245 + 12_345) % 2_147_483_648;
    return state / 2_147_483_648;
  };
}

test("no label covers another, and every part lies on the map, for plants of up to 60 zones", () => {
  let labels = 0;
  for (let seed = 1; seed <= 12; seed += 1) {
    const next = random(seed);
    const count = 2 + Math.floor(next() * 58);
    const zones = Array.from({ length: count }, (_, index) =>
      zone(`${"zone-".repeat(1 + Math.floor(next() * 8))}${index}`, next() < 0.4 ? "it" : "ot"),
    );
    const pick = (): string => zones[Math.floor(next() * count)]?.name ?? "";
    const conduits = Array.from({ length: count * 3 }, (_, index) =>
      conduit(`conduit-${index}`, pick(), pick()),
    ).filter(({ from, to }) => from !== to);
    const layout = layoutOf(map({ zones, conduits, facts: new Map() }), ({ id }) => id);
    for (const [index, { label }] of layout.edges.entries()) {
      for (const other of layout.edges.slice(index + 1))
        assert.ok(!overlap(label, other.label), `seed ${seed}`);
      for (const node of layout.nodes) assert.ok(!overlap(label, node), `seed ${seed}`);
      assert.ok(
        label.x >= 0 &&
          label.x + label.width <= layout.width &&
          label.y + label.height <= layout.height,
      );
      labels += 1;
    }
    for (const [index, node] of layout.nodes.entries()) {
      for (const other of layout.nodes.slice(index + 1)) assert.ok(!overlap(node, other));
    }
  }
  assert.ok(labels > 200, `${labels} labels`);
});

test("names in other scripts and of 200 letters do not break the map", () => {
  const names = ["منطقة-التحكم", "x".repeat(200), "区域"];
  const zones = names.map((name) => zone(name, "ot"));
  const conduits = [conduit("a".repeat(200), names[0] ?? "", names[1] ?? "")];
  const layout = layoutOf(map({ zones, conduits }), () => "label");
  assert.equal(layout.nodes.length, 3);
  assert.ok(layout.width < 3000);
});

const QUIET: AttentionFacts = {
  status: {
    ...{ instance: "main", degraded: [], timeTrusted: true, islands: [] },
    ...{ conduits: 1, open: 1, grants: 0, refused: 0 },
  },
  drift: { at: "", differences: [] },
  ...{ changes: [], requests: [], conduits: [], denials: [], person: "anna", nowMs: NOW },
};

test("a quiet plant needs nobody", () => {
  assert.deepEqual(attention(QUIET), []);
});

test("what is most urgent stands first: drift and refusals of now before what can wait", () => {
  const cards = attention({
    ...QUIET,
    status: { ...QUIET.status, degraded: ["one engine"], timeTrusted: true } as never,
    drift: { at: "", differences: ["a rule is gone"] },
    denials: [
      denial({}),
      denial({ source: "10.9.9.9", start: new Date(NOW - 3_600_000).toISOString() }),
    ],
    conduits: [
      conduit("ends", "office", "cell-a", { until: new Date(NOW + 86_400_000).toISOString() }),
    ],
  });
  assert.deepEqual(
    cards.map(({ kind, priority }) => `${priority} ${kind}`),
    ["urgent denied", "urgent drift", "high degraded", "low denied", "low ends"],
  );
});

test("refusals of the same kind are one card with their sum", () => {
  const cards = attention({ ...QUIET, denials: [denial({}), denial({ refused: 9 })] });
  assert.equal(cards.length, 1);
  assert.ok(cards[0]?.kind === "denied" && cards[0].refused === 12);
});

test("the strip has an hour a bar, and counts let through and refused at each boundary", () => {
  const flows = [
    denial({ accepted: 5, refused: 0 }),
    denial({ start: new Date(NOW - 3 * 3_600_000).toISOString() }),
    denial({ point: "inner", refused: 1 }),
  ];
  const [inner, outer] = boundaries(flows, NOW);
  assert.deepEqual([inner?.point, inner?.refused], ["inner", 1]);
  assert.deepEqual([outer?.accepted, outer?.refused, outer?.hours.length], [5, 3, 24]);
  assert.equal(outer?.hours.filter(({ refused }) => refused > 0).length, 1);
});

test("a refusal that is told live is drawn at once, and counted once when the list has it", () => {
  const data = {
    sourceZone: "vendor",
    destinationZone: "cell-a",
    reason: "no-conduit",
    packets: 3,
  };
  const told = readDenial(JSON.stringify({ at: new Date(NOW).toISOString(), data }));
  assert.ok(told);
  const line = map({ denials: withLive([], [told]) }).edges.find(({ from }) => from === "vendor");
  assert.equal(line?.refused, 3);
  assert.deepEqual(withLive([denial({})], [told]), [denial({})]);
  for (const broken of ["", "null", "[]", '{"at":1}', '{"at":"x","data":{"packets":"3"}}']) {
    assert.equal(readDenial(broken), undefined);
  }
});
