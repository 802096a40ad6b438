import assert from "node:assert/strict";
import { test } from "node:test";
import type { Interval } from "@sallyport/core";
import {
  conduit,
  CONDUITS,
  GRANT,
  leg,
  lowering,
  plant,
  port,
  span,
} from "../ebpf/plant.test-kit.ts";
import { atoms, classify } from "./classes.ts";
import type { Document } from "./json.ts";
import { addGrant, fillSlot, removeGrant, select, setLive } from "./lower.ts";
import { zoneNumbers } from "./places.ts";
import { rulesDigest } from "./read.ts";
import { skeleton } from "./skeleton.ts";

const HMI = span("10.40.0.10");
const PLC = span("10.41.0.10");

/** What a document puts into one set or map. */
function elementsOf(document: Document, name: string): unknown[] {
  return document.nftables.flatMap((command) => {
    const { element } = (command["add"] ?? {}) as { element?: { name: string; elem: unknown[] } };
    return element?.name === name ? element.elem : [];
  });
}

function ruleCount(document: Document): number {
  return document.nftables.filter((command) => JSON.stringify(command).startsWith('{"add":{"rule"'))
    .length;
}

test("the number of rules does not depend on the policy", () => {
  const few = ruleCount(fillSlot(lowering(plant([]))));
  const many = Array.from({ length: 200 }, (_, index) =>
    conduit(`c${index}`, [leg(HMI, PLC, { ports: [port(index * 100 + 1)] })]),
  );
  assert.ok(few > 100);
  assert.equal(ruleCount(fillSlot(lowering(plant(many)))), few);
  assert.equal(elementsOf(fillSlot(lowering(plant(many))), "exact_0").length, 200);
});

test("addresses that the same conduits name share a class, however many there are", () => {
  const wide = [{ first: 100, last: 199 }];
  const one = [{ first: 150, last: 150 }];
  const classes = classify([wide, one, wide], 16, () => true);
  assert.deepEqual(classes.nets, [
    { first: 100, last: 149, number: 16 },
    { first: 151, last: 199, number: 16 },
  ]);
  assert.deepEqual(classes.hosts, [{ address: 150, number: 17 }]);
  assert.deepEqual(classes.of(0), [16, 17]);
  assert.deepEqual(classes.of(1), [17]);
});

test("a line is cut at both ends of every interval, up to the last address there is", () => {
  const last = 0xffffffff;
  assert.deepEqual(atoms([[{ first: 0, last }], [{ first: last, last }]]), [
    { first: 0, last: last - 1, items: [0] },
    { first: last, last, items: [0, 1] },
  ]);
});

test("a few ports are exact cells, many are one range, and overlaps split both", () => {
  const document = fillSlot(
    lowering(
      plant([
        conduit("a", [leg(HMI, PLC, { ports: [port(10, 12), port(100, 999)] })]),
        conduit("b", [leg(HMI, PLC, { ports: [port(500)] })]),
      ]),
    ),
  );
  assert.equal(elementsOf(document, "exact_0").length, 4);
  assert.equal(elementsOf(document, "ranges_0").length, 2);
  assert.deepEqual(elementsOf(document, "first_0"), [[1, 1]]);
  assert.equal(elementsOf(document, "next_0").length, 1);
});

test("few named hosts are rows of their own; many, or a network, are cells of classes", () => {
  const sizes = (from: Interval, to: Interval): number[] => {
    const document = fillSlot(
      lowering(plant([conduit("a", [leg(from, to, { ports: [port(502)] })])])),
    );
    return ["exact_0", "cells_0"].map((name) => elementsOf(document, name).length);
  };
  assert.deepEqual(sizes(HMI, PLC), [1, 0]);
  assert.deepEqual(sizes(span("10.40.0.10", "10.40.0.99"), PLC), [0, 1]);
  assert.deepEqual(sizes(HMI, span("10.41.0.10", "10.41.0.99")), [0, 1]);
});

test("a row of named hosts says where its source arrives: elsewhere it does not match", () => {
  const document = fillSlot(
    lowering(plant([conduit("a", [leg(HMI, PLC, { ports: [port(502)] })])])),
  );
  const concat = ["10.40.0.10", "10.41.0.10", "sup0", "tcp", 502];
  assert.deepEqual(elementsOf(document, "exact_0"), [[{ concat }, 1]]);
});

test("a zone's budget begins anew with another limit, its denials go on being counted", () => {
  const numbers = (sessionsPerZone: number, name: string): Set<unknown> => {
    const legs = plant([]);
    const limited = { ...legs, limits: { ...legs.limits, sessionsPerZone } };
    const rows = elementsOf(fillSlot(lowering(limited)), name) as [unknown, unknown][];
    return new Set(rows.map(([, number]) => number));
  };
  assert.deepEqual(numbers(3, "zone_0"), numbers(3, "zone_0"));
  assert.equal(numbers(3, "zone_0").intersection(numbers(4, "zone_0")).size, 1);
  assert.deepEqual(numbers(3, "zone_mac_0"), numbers(4, "zone_mac_0"));
});

test("more conduits over one packet than the rules ask are an error, not a guess", () => {
  const crowd = (count: number): Document =>
    fillSlot(
      lowering(
        plant(
          Array.from({ length: count }, (_, index) =>
            conduit(`c${index}`, [leg(HMI, PLC, { ports: [port(1)] })]),
          ),
        ),
      ),
    );
  assert.equal(elementsOf(crowd(32), "next_0").length, 31);
  assert.throws(() => crowd(33), { code: "too-many-overlaps" });
});

test("an end is never loaded late: whole seconds, rounded down, and none at all when it is past", () => {
  const mine = lowering(plant());
  const at = (until: number): unknown[] => {
    const liveness = { open: true, until: mine.now + until, closedReason: "expired" } as const;
    const document = setLive(mine, [{ id: 5, liveness, audit: false, diode: false }]);
    // The first two commands name the element to take it out; the last puts it in again.
    return elementsOf(document, "live_0").slice(1);
  };
  assert.deepEqual(at(2999), [{ elem: { val: 5, timeout: 2 } }]);
  assert.deepEqual(at(999), []);
  assert.deepEqual(at(-1), []);
});

test("zones have the same numbers whatever else is in the policy", () => {
  const legs = plant();
  const fewer = { ...legs, zones: legs.zones.slice(1) };
  const numbers = [...zoneNumbers(legs)];
  for (const [number, name] of zoneNumbers(fewer)) {
    assert.ok(numbers.some(([other, same]) => other === number && same === name));
  }
  assert.equal(numbers.length, legs.zones.length);
});

test("a digest does not see which slot is confirmed, but sees anything beside it", () => {
  const digest = (commands: Document["nftables"]): string =>
    rulesDigest({
      nftables: commands.flatMap((command) =>
        command["add"] === undefined ? [] : [command["add"]],
      ),
    });
  const whole = (slot: 0 | 1): Document["nftables"] => [
    ...skeleton().nftables,
    ...fillSlot(lowering(plant(CONDUITS))).nftables,
    ...select({ confirmed: slot }).nftables,
  ];
  assert.equal(digest(whole(0)), digest(whole(1)));
  const accept = {
    add: {
      rule: { family: "ip", table: "sallyport", chain: "judge", expr: [{ accept: null }] },
    },
  };
  assert.notEqual(digest([...whole(0), accept]), digest(whole(0)));
});

test("a grant is written without a command for elements alone, which makes nft read every interval", () => {
  const liveness = { open: true, until: GRANT.notAfter, closedReason: "grant-expired" } as const;
  const row = { grant: GRANT, entry: { id: 77, liveness, audit: false, diode: false } };
  const granted = { ...lowering(plant()), grants: [row] };
  const written = { add: addGrant(granted, row), remove: removeGrant(lowering(plant())) };
  const verbs = (document: Document): string[] =>
    document.nftables.map((command) => {
      const [[verb, what] = ["", {}]] = Object.entries(command);
      return `${verb} ${Object.keys(what ?? {}).join()}`;
    });
  const allowed = new Set(["flush set", "flush map", "add set", "add map"]);
  for (const document of Object.values(written)) {
    assert.ok(verbs(document).length >= 6);
    assert.deepEqual(
      verbs(document).filter((verb) => !allowed.has(verb)),
      [],
    );
  }
  assert.ok(JSON.stringify(written.add).includes("77"));
  assert.ok(!JSON.stringify(written.remove).includes("77"));
  // The size of the policy shows nowhere.
  const many = Array.from({ length: 200 }, (_, index) =>
    conduit(`c${index}`, [leg(HMI, PLC, { ports: [port(index * 100 + 1)] })]),
  );
  const large = { ...lowering(plant([...CONDUITS, ...many])), grants: [row] };
  assert.equal(addGrant(large, row).nftables.length, written.add.nftables.length);
});
