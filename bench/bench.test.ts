import assert from "node:assert/strict";
import { test } from "node:test";
import { isMet, judge, table } from "./bench.ts";

const GOALS = [{ id: "decode", what: "decode beside a bare loop", goal: "<= 1.6" }];

test("a goal is met at its limit, on the side that it names", () => {
  assert.equal(isMet("<= 1.6", 1.6), true);
  assert.equal(isMet("<= 1.6", 1.61), false);
  assert.equal(isMet(">= 0.9", 0.9), true);
  assert.equal(isMet(">= 0.9", 0.89), false);
  assert.throws(() => isMet("fast", 1), TypeError);
});

test("only a measured ratio meets a goal", () => {
  const verdict = (result: { ratio: number | null; skipped?: string }): string | undefined =>
    judge("x", GOALS, [{ id: "decode", ...result }])[0]?.verdict;
  assert.equal(verdict({ ratio: 1 }), "met");
  assert.equal(verdict({ ratio: 2 }), "missed");
  assert.equal(verdict({ ratio: null }), "missed");
  assert.equal(verdict({ ratio: Number.NaN }), "missed");
  assert.equal(verdict({ ratio: 1, skipped: "haproxy is not installed" }), "skipped");
  assert.equal(judge("x", GOALS, [])[0]?.verdict, "missed");
});

test("prints a ratio beside its goal", () => {
  const rows = judge("x", GOALS, [{ id: "decode", ratio: 1.234 }]);
  assert.match(table(rows), /\| x \| decode beside a bare loop \| 1\.23 \| <= 1\.6 \| met \|  \|/);
});
