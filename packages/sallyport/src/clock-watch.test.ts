import assert from "node:assert/strict";
import { test } from "node:test";
import { ClockWatch } from "./clock-watch.ts";

test("a clock that runs evenly has not stepped, however long between looks", () => {
  const watch = new ClockWatch(1_000_000, 0);
  assert.equal(watch.tick(1_060_000, 60_000), undefined);
  assert.equal(watch.tick(1_065_000 + 60_000, 120_000), undefined, "five seconds is not over five");
});

test("a step over five seconds either way is seen, once, with its size", () => {
  for (const stepMs of [5001, -5001]) {
    const watch = new ClockWatch(1_000_000, 0);
    assert.equal(watch.tick(1_001_000 + stepMs, 1000), stepMs);
    assert.equal(watch.tick(1_002_000 + stepMs, 2000), undefined);
  }
});
