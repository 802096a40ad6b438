import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import { test } from "node:test";
import { canonicalJson, type Json } from "@sallyport/core";
import { compilePolicy, type Legs } from "@sallyport/policy";
import { type GenerateOptions, generatePolicy } from "./generate-policy.ts";

const NOW = Date.parse("2026-11-22T12:00:00Z");

function legsOf(seed: number, options: GenerateOptions): Legs {
  const files = generatePolicy(seed, options).map(({ name, text }) => ({
    name,
    bytes: new TextEncoder().encode(text),
  }));
  const { legs, diagnostics } = compilePolicy(files, { now: NOW });
  const errors = diagnostics.filter(({ severity }) => severity === "error");
  assert.ok(legs, JSON.stringify(errors.slice(0, 3)));
  return legs;
}

test("20 generated plants compile, each to as many conduits as were asked for", () => {
  for (let seed = 1; seed <= 20; seed++) {
    const legs = legsOf(seed, { conduits: 60, zones: 4 + (seed % 6) });
    assert.equal(legs.conduits.length, 60);
    assert.deepEqual(
      new Set(legs.conduits.map(({ via }) => via)),
      new Set(["proxy", "inspect", "session", "diode", "direct"]),
    );
    const dialled = legs.zones.filter(({ dialledFrom }) => dialledFrom !== undefined);
    assert.ok(dialled.length >= 2 && dialled.length < legs.zones.length);
    const endpoints = legs.conduits.flatMap(({ listeners }) =>
      listeners.map(({ listenAddress, listenPort }) => `${listenAddress}:${listenPort}`),
    );
    assert.equal(new Set(endpoints).size, endpoints.length, "a listener has its port alone");
    const all = legs.rooms.flatMap(({ outer, inner }) =>
      [outer, inner].flatMap((link) => link?.addresses ?? []),
    );
    assert.equal(new Set(all).size, all.length, "an address is on one link");
  }
});

test("every conduit's key is the digest of its canonical legs", () => {
  for (const { name, key, legs } of legsOf(3, { conduits: 300 }).conduits) {
    const text = canonicalJson(legs as unknown as Json);
    const digest = createHash("sha256").update(text).digest("hex");
    assert.equal(key, `${name}#${digest.slice(0, 12)}`);
  }
});

test("one seed is one policy, another is another", () => {
  const options = { conduits: 50 };
  assert.deepEqual(generatePolicy(7, options), generatePolicy(7, options));
  assert.notDeepEqual(generatePolicy(7, options), generatePolicy(8, options));
});

test("10,000 conduits stay under the limit of a file each, and compile", () => {
  for (const mix of ["direct", "proxy"] as const) {
    const options = { conduits: 10_000, zones: 40, assetsPerZone: 50, mix };
    for (const { text } of generatePolicy(1, options)) assert.ok(text.length < 1024 * 1024);
    assert.equal(legsOf(1, options).conduits.length, 10_000);
  }
});
