import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { DAY_MS, MINUTE_MS, TestClock } from "../desk.test-kit.ts";
import {
  FREE_FAILURES_OF_PERSON,
  FREE_FAILURES_OF_SOURCE,
  LOCK_FIRST_MS,
  LOCK_MAX_MS,
  UNKNOWN_NAME_COUNTERS,
} from "../limits.ts";
import { MemoryRecords } from "../memory-store.test-kit.ts";
import type { Attempts } from "../records.ts";
import { Lockout, lockMs, personCounter, sourceCounter } from "./lockout.ts";

const INES = personCounter("ines", true);
const SOURCE = sourceCounter("10.1.0.7");

function make(): { lockout: Lockout; clock: TestClock; kept: MemoryRecords<Attempts> } {
  const clock = new TestClock();
  const kept = new MemoryRecords<Attempts>();
  return { lockout: new Lockout(kept, clock), clock, kept };
}

test("the delay doubles with each failure and never passes a quarter of an hour", () => {
  assert.equal(lockMs(5, 5), 0);
  assert.deepEqual(
    [6, 7, 8].map((failures) => lockMs(failures, 5)),
    [1000, 2000, 4000],
  );
  assert.equal(lockMs(15, 5), 512_000);
  assert.equal(lockMs(16, 5), LOCK_MAX_MS);
  fc.assert(
    fc.property(fc.nat(), (failures) => {
      const ms = lockMs(failures, FREE_FAILURES_OF_PERSON);
      assert.ok(ms <= LOCK_MAX_MS && ms <= lockMs(failures + 1, FREE_FAILURES_OF_PERSON));
    }),
  );
});

test("five typing errors cost nothing, the sixth a second", async () => {
  const { lockout, clock } = make();
  for (let index = 0; index <= FREE_FAILURES_OF_PERSON; index++) {
    assert.equal(await lockout.begin([INES]), undefined);
  }
  const locked = await lockout.begin([INES]);
  assert.equal(locked?.cause, "sign-in-later");
  assert.equal(locked?.retryAfterMs, LOCK_FIRST_MS);
  clock.advance(LOCK_FIRST_MS - 1);
  assert.equal((await lockout.begin([INES]))?.retryAfterMs, 1);
  clock.advance(1);
  assert.equal(await lockout.begin([INES]), undefined);
  assert.equal((await lockout.begin([INES]))?.retryAfterMs, 2 * LOCK_FIRST_MS);
});

test("trying while locked does not make the lock longer", async () => {
  const { lockout, clock } = make();
  for (let index = 0; index <= FREE_FAILURES_OF_PERSON; index++) await lockout.begin([INES]);
  for (let index = 0; index < 1000; index++) await lockout.begin([INES]);
  clock.advance(LOCK_FIRST_MS);
  assert.equal(await lockout.begin([INES]), undefined);
});

test("whoever attacks without end lets the person in every quarter of an hour", async () => {
  const { lockout, clock } = make();
  for (let minute = 0; minute < 24 * 60; minute++) {
    await lockout.begin([INES]);
    clock.advance(MINUTE_MS);
  }
  clock.advance(LOCK_MAX_MS);
  assert.equal(await lockout.begin([INES]), undefined);
});

test("a hundred guesses at the same moment win no more than the free ones", async () => {
  const { lockout } = make();
  const outcomes = await Promise.all(Array.from({ length: 100 }, () => lockout.begin([INES])));
  const tried = outcomes.filter((outcome) => outcome === undefined).length;
  assert.ok(tried >= 1 && tried <= FREE_FAILURES_OF_PERSON + 1, `${tried} were tried`);
});

test("a success forgets the person's failures and keeps the source's earlier ones", async () => {
  const { lockout, kept } = make();
  for (let index = 0; index < 3; index++) await lockout.begin([SOURCE, INES]);
  await lockout.succeed(INES, SOURCE);
  assert.equal(kept.kept.get(INES.id), undefined);
  assert.equal(kept.kept.get(SOURCE.id)?.failures, 2);
});

test("a source that guesses many names is slowed down, another is not", async () => {
  const { lockout } = make();
  for (let index = 0; index <= FREE_FAILURES_OF_SOURCE; index++) {
    assert.equal(await lockout.begin([SOURCE, personCounter(`name-${index}`, true)]), undefined);
  }
  const other = personCounter("fresh", true);
  assert.equal((await lockout.begin([SOURCE, other]))?.detail, SOURCE.id);
  assert.equal(await lockout.begin([sourceCounter("10.1.0.8"), other]), undefined);
});

test("an attempt that one counter refuses is counted by none", async () => {
  const { lockout, kept } = make();
  for (let index = 0; index <= FREE_FAILURES_OF_PERSON; index++) await lockout.begin([INES]);
  await lockout.begin([SOURCE, INES]);
  assert.equal(kept.kept.get(SOURCE.id)?.failures, 0);
});

test("failures are forgotten after a day", async () => {
  const { lockout, clock, kept } = make();
  for (let index = 0; index <= FREE_FAILURES_OF_PERSON; index++) await lockout.begin([INES]);
  clock.advance(DAY_MS);
  await lockout.begin([INES]);
  assert.equal(kept.kept.get(INES.id)?.failures, 1);
});

test("a clock that went back a year locks nobody for a year", async () => {
  const { lockout, clock } = make();
  for (let index = 0; index <= FREE_FAILURES_OF_PERSON; index++) await lockout.begin([INES]);
  clock.advance(-365 * DAY_MS);
  assert.equal((await lockout.begin([INES]))?.retryAfterMs, LOCK_MAX_MS);
});

test("a clock that goes back makes no lock of a free failure", async () => {
  const { lockout, clock } = make();
  await lockout.begin([INES]);
  clock.advance(-DAY_MS);
  assert.equal(await lockout.begin([INES]), undefined);
});

test("names that nobody has share a fixed number of counters", async () => {
  const ids = new Set<string>();
  for (let index = 0; index < 20_000; index++) ids.add(personCounter(`x${index}`, false).id);
  assert.equal(ids.size, UNKNOWN_NAME_COUNTERS);
});
