import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { demoLegs, GRANT, HOUR, NOW } from "./fixture.test-data.ts";
import { grantLiveness, livenessOf, nextChange } from "./schedule.ts";
import type { Conduit, Window } from "./types.ts";

const NONE: ReadonlySet<string> = new Set();
const EXPIRES = Date.UTC(2030, 0, 1);

function conduitOf(change: Partial<Conduit> = {}): Conduit {
  const [first] = demoLegs().conduits;
  assert.ok(first !== undefined);
  return { ...first, expires: EXPIRES, ...change };
}

function weekly(days: number[], from: string, to: string, timezone = "Europe/Vienna"): Conduit {
  const minute = (text: string): number => Number(text.slice(0, 2)) * 60 + Number(text.slice(3));
  const window: Window = { days, fromMinute: minute(from), toMinute: minute(to), timezone };
  return conduitOf({ windows: [window] });
}

/** The openings between two moments, each as its first and last minute in UTC. */
function openings(conduit: Conduit, from: string, to: string): string[] {
  const out: string[] = [];
  let now = Date.parse(from);
  const end = Date.parse(to);
  for (let step = 0; step < 100 && now < end; step++) {
    const { open, until } = livenessOf(conduit, now, NONE);
    if (open) {
      assert.ok(until !== null && until > now);
      const minute = (moment: number): string => new Date(moment).toISOString().slice(0, 16);
      out.push(`${minute(now)} ${minute(until)}`);
    }
    now = nextChange(conduit, now) ?? end;
  }
  return out;
}

test("a conduit is open up to the moment it expires, and closed at it", () => {
  const conduit = conduitOf({ expires: NOW });
  assert.deepEqual(livenessOf(conduit, NOW - 1, NONE), {
    open: true,
    until: NOW,
    closedReason: "expired",
  });
  assert.deepEqual(livenessOf(conduit, NOW, NONE), {
    open: false,
    until: null,
    closedReason: "expired",
  });
  assert.equal(nextChange(conduit, NOW - 1), NOW);
  assert.equal(nextChange(conduit, NOW), null);
});

test("a session conduit without a grant is never open", () => {
  const conduit = demoLegs().conduits.find((candidate) => candidate.via === "session");
  assert.ok(conduit !== undefined);
  assert.equal(livenessOf(conduit, NOW, NONE).closedReason, "no-grant");
});

test("an island closes what may drop and leaves what must be kept", () => {
  const drop = conduitOf({ island: "drop", fromZones: ["supervisory"], toZones: ["cell-a"] });
  for (const zone of ["supervisory", "cell-a"]) {
    assert.equal(livenessOf(drop, NOW, new Set([zone])).closedReason, "island");
  }
  assert.equal(livenessOf(drop, NOW, new Set(["cell-b"])).open, true);
  assert.equal(livenessOf({ ...drop, island: "keep" }, NOW, new Set(["cell-a"])).open, true);
});

test("a window opens at its first minute and closes at its last one, local time", () => {
  const sunday = weekly([0], "02:00", "06:00");
  assert.deepEqual(openings(sunday, "2026-11-16T00:00Z", "2026-11-23T00:00Z"), [
    "2026-11-22T01:00 2026-11-22T05:00",
  ]);
  const at = (text: string): boolean => livenessOf(sunday, Date.parse(text), NONE).open;
  assert.equal(at("2026-11-22T00:59:59.999Z"), false);
  assert.equal(at("2026-11-22T01:00:00.000Z"), true);
  assert.equal(at("2026-11-22T04:59:59.999Z"), true);
  assert.equal(at("2026-11-22T05:00:00.000Z"), false);
});

test("on the Sunday in March the window 02:00 to 06:00 is an hour shorter", () => {
  // Clocks go from 02:00 to 03:00 at 01:00 UTC: 02:00 does not exist and means the change.
  assert.deepEqual(
    openings(weekly([0], "02:00", "06:00"), "2026-03-28T00:00Z", "2026-03-30T00:00Z"),
    ["2026-03-29T01:00 2026-03-29T04:00"],
  );
});

test("on the Sunday in October the window 02:00 to 06:00 is an hour longer", () => {
  // Clocks go from 03:00 back to 02:00 at 01:00 UTC: the first 02:00 opens.
  assert.deepEqual(
    openings(weekly([0], "02:00", "06:00"), "2026-10-24T00:00Z", "2026-10-26T00:00Z"),
    ["2026-10-25T00:00 2026-10-25T05:00"],
  );
});

test("02:30 that does not exist is the moment of the change; a window in the lost hour stays shut", () => {
  const march = ["2026-03-28T00:00Z", "2026-03-30T00:00Z"] as const;
  assert.deepEqual(openings(weekly([0], "02:30", "04:00"), ...march), [
    "2026-03-29T01:00 2026-03-29T02:00",
  ]);
  assert.deepEqual(openings(weekly([0], "01:00", "02:30"), ...march), [
    "2026-03-29T00:00 2026-03-29T01:00",
  ]);
  assert.deepEqual(openings(weekly([0], "02:15", "02:45"), ...march), []);
});

test("02:30 that exists twice is the first: one line of policy opens once", () => {
  const october = ["2026-10-24T00:00Z", "2026-10-26T00:00Z"] as const;
  assert.deepEqual(openings(weekly([0], "02:30", "02:45"), ...october), [
    "2026-10-25T00:30 2026-10-25T00:45",
  ]);
  assert.deepEqual(openings(weekly([0], "01:00", "02:30"), ...october), [
    "2026-10-24T23:00 2026-10-25T00:30",
  ]);
});

test("a window over midnight belongs to the day on which it begins", () => {
  assert.deepEqual(
    openings(weekly([6], "22:00", "02:00"), "2026-11-20T00:00Z", "2026-11-24T00:00Z"),
    ["2026-11-21T21:00 2026-11-22T01:00"],
  );
  // Over midnight and over the change: five hours by the clock, six that pass.
  assert.deepEqual(
    openings(weekly([6], "22:00", "03:00"), "2026-10-23T00:00Z", "2026-10-27T00:00Z"),
    ["2026-10-24T20:00 2026-10-25T02:00"],
  );
});

test("windows that touch are one opening, and the end is the sooner of window and expiry", () => {
  const [first] = weekly([6], "22:00", "24:00").windows;
  const [second] = weekly([0], "00:00", "06:00").windows;
  assert.ok(first !== undefined && second !== undefined);
  const both = conduitOf({ windows: [first, second] });
  const range = ["2026-11-20T00:00Z", "2026-11-24T00:00Z"] as const;
  assert.deepEqual(openings(both, ...range).at(0), "2026-11-21T21:00 2026-11-22T05:00");
  const ending = { ...both, expires: Date.parse("2026-11-22T02:00Z") };
  assert.deepEqual(livenessOf(ending, Date.parse("2026-11-22T01:00Z"), NONE), {
    open: true,
    until: ending.expires,
    closedReason: "expired",
  });
});

test("a window keeps its own time zone, also where clocks change at midnight or by half an hour", () => {
  const range = ["2026-04-22T00:00Z", "2026-04-26T00:00Z"] as const;
  // Egypt: Friday 2026-04-24 begins at 01:00, at 22:00 UTC the day before.
  assert.deepEqual(openings(weekly([5], "00:00", "02:00", "Africa/Cairo"), ...range), [
    "2026-04-23T22:00 2026-04-23T23:00",
  ]);
  // Lord Howe Island: +11:00 to +10:30 at 02:00 on 2026-04-05, so 01:30 to 02:00 is there twice.
  assert.deepEqual(
    openings(
      weekly([0], "01:45", "03:00", "Australia/Lord_Howe"),
      "2026-04-03T00:00Z",
      "2026-04-06T00:00Z",
    ),
    ["2026-04-04T14:45 2026-04-04T16:30"],
  );
});

test("an untrusted clock shuts windows and grants, not conduits that are always open", () => {
  const sunday = Date.parse("2026-11-22T03:00Z");
  const windowed = weekly([0], "02:00", "06:00");
  assert.equal(livenessOf(windowed, sunday, NONE, false).closedReason, "time-untrusted");
  assert.equal(livenessOf(conduitOf(), sunday, NONE, false).open, true);
});

test("a grant is open from its start to before its end, and says why it is not", () => {
  const conduit = demoLegs().conduits.find((candidate) => candidate.name === GRANT.conduit);
  assert.ok(conduit !== undefined);
  const at = (now: number, terms: Conduit | undefined = conduit): string => {
    const { open, closedReason } = grantLiveness(GRANT, terms, now, NONE, NONE);
    return open ? "open" : closedReason;
  };
  assert.equal(at(GRANT.notBefore - 1), "no-grant");
  assert.equal(at(GRANT.notBefore), "open");
  assert.equal(at(GRANT.notAfter - 1), "open");
  assert.equal(at(GRANT.notAfter), "grant-expired");
  const revoked = grantLiveness(GRANT, conduit, NOW, new Set([GRANT.id]), NONE);
  assert.equal(revoked.closedReason, "revoked");
  assert.equal(grantLiveness(GRANT, undefined, NOW, NONE, NONE).closedReason, "revoked");
  assert.equal(
    grantLiveness(GRANT, conduit, NOW, NONE, new Set(["cell-b"])).closedReason,
    "island",
  );
  assert.equal(
    grantLiveness(GRANT, conduit, NOW, NONE, NONE, false).closedReason,
    "time-untrusted",
  );
  assert.deepEqual(grantLiveness(GRANT, { ...conduit, expires: NOW + 1 }, NOW, NONE, NONE), {
    open: true,
    until: NOW + 1,
    closedReason: "expired",
  });
  assert.equal(grantLiveness(GRANT, conduit, NOW, NONE, NONE).until, NOW + HOUR);
});

test("between now and the next change, the answer never changes", () => {
  const zones = [
    "Europe/Vienna",
    "America/New_York",
    "Australia/Lord_Howe",
    "UTC",
    "Asia/Kathmandu",
  ];
  let compared = 0;
  fc.assert(
    fc.property(
      fc.constantFrom(...zones),
      fc.uniqueArray(fc.nat(6), { minLength: 1, maxLength: 7 }),
      fc.nat(1439),
      fc.integer({ min: 1, max: 1440 }),
      fc.integer({ min: Date.UTC(2025, 0, 1), max: Date.UTC(2027, 0, 1) }),
      fc.double({ min: 0, max: 1, maxExcluded: true, noNaN: true }),
      (timezone, days, fromMinute, toMinute, now, part) => {
        const conduit = conduitOf({ windows: [{ days, fromMinute, toMinute, timezone }] });
        const next = nextChange(conduit, now);
        assert.ok(next !== null && next > now);
        const between = now + Math.floor((next - now) * part);
        assert.equal(livenessOf(conduit, between, NONE).open, livenessOf(conduit, now, NONE).open);
        compared++;
      },
    ),
    { numRuns: 300 },
  );
  assert.equal(compared, 300);
});
