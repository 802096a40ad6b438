import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { test } from "node:test";
import { formatIpv4, parseIpv4 } from "@sallyport/core";
import { explain, formatExplanation } from "../explain.ts";
import { checkInvariants } from "../legs/invariants.ts";
import type { DialledFrom, EngineZone, Legs } from "../legs/types.ts";
import { compilePolicy } from "./compile.ts";

const NOW = Date.parse("2026-11-22T12:00:00Z");
const PLANT = readFileSync(new URL("../../../../lab/plant/site.yaml", import.meta.url), "utf8");
const CELL_A = "attach: { nic: cella0, address: 10.41.0.1/24 }";

function compiled(...edits: readonly (readonly [string, string])[]): Legs {
  let text = PLANT;
  for (const [from, to] of edits) {
    assert.ok(text.includes(from), from);
    text = text.replace(from, to);
  }
  const files = [{ name: "site.yaml", bytes: new TextEncoder().encode(text) }];
  const { legs, diagnostics } = compilePolicy(files, { now: NOW });
  assert.ok(legs !== undefined, JSON.stringify(diagnostics));
  return legs;
}

function zoneOf(legs: Legs, name: string): EngineZone {
  const zone = legs.zones.find((one) => one.name === name);
  assert.ok(zone);
  return zone;
}

const shown = (parts: readonly DialledFrom[] | undefined): unknown =>
  parts?.map(({ to, address }) => [
    formatIpv4(address),
    to.map(({ first, last }) => `${formatIpv4(first)}-${formatIpv4(last)}`),
  ]);

test("a zone with source: gateway is dialled from the gateway's address in it, others are not", () => {
  const legs = compiled([CELL_A, `${CELL_A}\n    source: gateway`]);
  assert.deepEqual(shown(zoneOf(legs, "cell-a").dialledFrom), [
    ["10.41.0.1", ["10.41.0.2-10.41.0.254"]],
  ]);
  assert.equal(zoneOf(legs, "cell-b").dialledFrom, undefined);
  assert.equal(checkInvariants(legs).ok, true);
  const keys = (some: Legs): string[] => some.conduits.map(({ key }) => key);
  assert.deepEqual(keys(legs), keys(compiled()), "who may talk to whom is the same");
});

test("each part of a zone is dialled from the address nearest to it, behind a router too", () => {
  const attach = `attach: { nic: cella0, address: [10.41.0.1/24, 10.41.9.1/24], routes: [{ network: 10.77.0.0/16, via: 10.41.9.254 }] }`;
  const legs = compiled(
    [CELL_A, `${attach}\n    source: gateway`],
    ["networks: [10.41.0.0/24]", "networks: [10.41.0.0/24, 10.41.9.0/24, 10.77.3.0/24]"],
  );
  assert.deepEqual(shown(zoneOf(legs, "cell-a").dialledFrom), [
    ["10.41.0.1", ["10.41.0.2-10.41.0.254"]],
    ["10.41.9.1", ["10.41.9.2-10.41.9.254", "10.77.3.1-10.77.3.254"]],
  ]);
  assert.equal(checkInvariants(legs).ok, true);
});

test("a zone of hosts on another zone's link is dialled from that zone's gateway address", () => {
  const hosts = `zones:
  drives:
    kind: control
    level: 1
    hosts: [10.41.0.99]
    attach: { nic: cella0 }
    source: gateway
    owner: process-engineering
`;
  const legs = compiled(["zones:\n", hosts]);
  assert.deepEqual(shown(zoneOf(legs, "drives").dialledFrom), [
    ["10.41.0.1", ["10.41.0.99-10.41.0.99"]],
  ]);
  assert.equal(zoneOf(legs, "cell-a").dialledFrom, undefined);
});

test("explain says with which address a device sees the request", () => {
  const legs = compiled([CELL_A, `${CELL_A}\n    source: gateway`]);
  const ask = { protocol: "tcp", port: 502, at: NOW } as const;
  const [from, to] = [parseIpv4("10.10.0.10") ?? 0, parseIpv4("10.41.0.10") ?? 0];
  const text = formatExplanation(explain(legs, { ...ask, from, to }));
  assert.match(text, /inner +allow .*→ tank-plc .*502, seen there as 10\.41\.0\.1/);
  assert.doesNotMatch(formatExplanation(explain(compiled(), { ...ask, from, to })), /seen there/);
});

test("legs that would dial from a foreign address, or for a foreign one, are refused", () => {
  const legs = compiled([CELL_A, `${CELL_A}\n    source: gateway`]);
  const withDialling = (dialledFrom: readonly DialledFrom[], name = "cell-a"): unknown => ({
    ...legs,
    zones: legs.zones.map((zone) => (zone.name === name ? { ...zone, dialledFrom } : zone)),
  });
  const all = zoneOf(legs, "cell-a").addresses;
  const good = { to: all, address: parseIpv4("10.41.0.1") ?? 0 };
  const refused = (changed: unknown, why: RegExp): void => {
    const answer = checkInvariants(changed);
    assert.match(answer.ok ? "accepted" : answer.violations.join("; "), why);
  };
  assert.equal(checkInvariants(withDialling([good])).ok, true);
  refused(withDialling([{ ...good, address: parseIpv4("10.42.0.1") ?? 0 }]), /not ours on cella0/);
  refused(withDialling([{ ...good, address: parseIpv4("10.41.0.10") ?? 0 }]), /not ours on cella0/);
  refused(withDialling([]), /other addresses than its own/);
  refused(withDialling([good, good]), /other addresses than its own/);
  const wider = [{ first: (all[0]?.first ?? 0) - 1, last: all[0]?.last ?? 0 }];
  refused(withDialling([{ ...good, to: wider }]), /other addresses than its own/);
  const gate = zoneOf(legs, "dmz/gate-erp").addresses;
  refused(withDialling([{ ...good, to: gate }], "dmz/gate-erp"), /is a component/);
});
