import assert from "node:assert/strict";
import { test } from "node:test";
import { RateLimiter, sourceOf } from "./rate.ts";

test("lets a burst pass, then so many a second, and says how long to wait", () => {
  const limiter = new RateLimiter({ burst: 3, perSecond: 0.5 });
  for (let i = 0; i < 3; i++) assert.equal(limiter.take("a", 0), undefined);
  assert.equal(limiter.take("a", 0), 2);
  assert.equal(limiter.take("b", 0), undefined);
  assert.equal(limiter.take("a", 2000), undefined);
  assert.equal(limiter.take("a", 2000), 2);
});

test("a clock that goes back gives nothing", () => {
  const limiter = new RateLimiter({ burst: 1, perSecond: 1 });
  assert.equal(limiter.take("a", 10_000), undefined);
  assert.equal(limiter.take("a", 0), 1);
});

test("a flood of sources stays within its memory and takes nothing from those known", () => {
  const limiter = new RateLimiter({ burst: 2, perSecond: 0.001 }, 100);
  for (let i = 0; i < 100; i++) limiter.take(`known-${i}`, 0);
  let passed = 0;
  for (let i = 0; i < 10_000; i++) if (limiter.take(`flood-${i}`, 0) === undefined) passed += 1;
  assert.equal(limiter.size, 100);
  assert.equal(passed, 2, "newcomers share one bucket");
  assert.equal(limiter.take("known-50", 0), undefined);
  assert.notEqual(limiter.take("known-50", 0), undefined);
});

test("forgets whoever has been quiet, so that a newcomer is told apart again", () => {
  const limiter = new RateLimiter({ burst: 1, perSecond: 1 }, 2);
  limiter.take("a", 0);
  limiter.take("b", 0);
  assert.equal(limiter.take("c", 5000), undefined);
  assert.equal(limiter.take("d", 5000), undefined);
  assert.equal(limiter.size, 2);
});

test("counts an IPv6 source by its /64 and an IPv4-mapped one as IPv4", () => {
  assert.equal(sourceOf("10.0.0.1"), "10.0.0.1");
  assert.equal(sourceOf("::ffff:10.0.0.1"), "10.0.0.1");
  assert.equal(sourceOf("2001:db8:1:2:3:4:5:6"), "2001:db8:1:2::/64");
  assert.equal(sourceOf("2001:db8:1:2::9"), sourceOf("2001:db8:1:2:ffff::1"));
  assert.notEqual(sourceOf("2001:db8:1:3::9"), sourceOf("2001:db8:1:2::9"));
  assert.equal(sourceOf("fe80::1%eth0"), "fe80:0:0:0::/64");
  assert.equal(sourceOf("local"), "local");
});
