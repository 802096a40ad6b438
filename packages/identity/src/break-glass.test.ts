import assert from "node:assert/strict";
import { test } from "node:test";
import { causeOf, Desk, MINUTE_MS, SOURCE } from "./desk.test-kit.ts";
import { BREAK_GLASS_SIGN_IN_MS } from "./limits.ts";
import type { Present } from "./sign-in/sign-ins.ts";

interface Sealed {
  readonly desk: Desk;
  readonly root: Present;
  readonly halves: readonly [string, string];
}

const TERMS = { holders: ["ines", "otto"], roles: ["admin", "engineer"] } as const;

async function sealed(): Promise<Sealed> {
  const desk = new Desk();
  const root = await desk.somebody("root", "admin");
  await desk.person("ines", "approver");
  await desk.person("otto", "operator");
  const account = await desk.breakGlass.seal(root, "glass", TERMS);
  assert.ok(account.kind === "sealed", JSON.stringify(account));
  return { desk, root, halves: account.halves };
}

function open(halves: readonly string[], more: object = {}): object {
  return { account: "glass", halves, reason: "fire in the server room", ...more };
}

test("two halves open the account: an alarm first, then two hours", async () => {
  const { desk, halves } = await sealed();
  const signedIn = await desk.breakGlass.open(open(halves), SOURCE);
  assert.ok(signedIn.kind === "signed-in");
  assert.deepEqual(signedIn.person.roles, ["admin", "engineer"]);
  assert.equal(signedIn.signIn.expiresAtMs - signedIn.signIn.createdAtMs, BREAK_GLASS_SIGN_IN_MS);
  const expected = {
    person: "glass",
    holders: ["ines", "otto"],
    reason: "fire in the server room",
    source: SOURCE,
  };
  assert.deepEqual(desk.events.alarms, [expected]);
  assert.deepEqual(desk.events.of("break-glass-opened"), [expected]);
  const order = desk.events.events.map((event) => event.type);
  assert.ok(order.indexOf("break-glass-opened") < order.lastIndexOf("sign-in"));
  // It has no second factor to show again, and may still do what is dangerous.
  desk.clock.advance(10 * MINUTE_MS);
  const present = { ...signedIn, kind: "present" as const };
  assert.equal((await desk.signIns.authorize(present, "person.manage")).kind, "present");
});

test("the halves serve in either order, typed in small letters", async () => {
  const { desk, halves } = await sealed();
  const typed = [...halves].reverse().map((half) => ` ${half.toLowerCase().replaceAll("-", " ")}`);
  assert.equal((await desk.breakGlass.open(open(typed), SOURCE)).kind, "signed-in");
});

test("one half, twice, opens nothing; nor does a mistyped one", async () => {
  const { desk, halves } = await sealed();
  const [one, other] = halves;
  const mistyped = one.replace(/^./, (letter) => (letter === "7" ? "8" : "7"));
  for (const pair of [
    [one, one],
    [other, other],
    [mistyped, other],
    [one, ""],
    ["", ""],
  ]) {
    assert.equal(causeOf(await desk.breakGlass.open(open(pair), SOURCE)), "break-glass-half");
  }
  assert.equal(desk.events.alarms.length, 0);
  assert.equal(desk.events.of("break-glass-refused").length, 5);
});

test("the halves are kept nowhere, and each alone says nothing of the secret", async () => {
  const { desk, halves } = await sealed();
  const kept = JSON.stringify([
    ...desk.store.breakGlass.kept,
    ...desk.store.people.kept,
    ...desk.events.events,
  ]);
  for (const half of halves) {
    assert.match(half, /^([0-9A-HJKMNP-TV-Z]{5}-){10}[0-9A-HJKMNP-TV-Z]{5}$/);
    assert.ok(!kept.includes(half));
  }
});

test("an opened account opens no second time until it is sealed anew, and old halves never again", async () => {
  const { desk, root, halves } = await sealed();
  const signedIn = await desk.breakGlass.open(open(halves), SOURCE);
  assert.ok(signedIn.kind === "signed-in");
  assert.equal(
    causeOf(await desk.breakGlass.open(open(halves), SOURCE)),
    "break-glass-opened-before",
  );
  const again = await desk.breakGlass.seal(root, "glass", TERMS);
  assert.ok(again.kind === "sealed");
  assert.equal(
    causeOf(await desk.signIns.check(signedIn.token)),
    "sign-in-unknown",
    "sealing ends its use",
  );
  assert.equal(causeOf(await desk.breakGlass.open(open(halves), SOURCE)), "break-glass-wrong");
  assert.equal((await desk.breakGlass.open(open(again.halves), SOURCE)).kind, "signed-in");
});

test("opened twice at the same moment, it lets one in", async () => {
  const { desk, halves } = await sealed();
  const outcomes = await Promise.all([1, 2].map(() => desk.breakGlass.open(open(halves), SOURCE)));
  assert.equal(outcomes.filter((outcome) => outcome.kind === "signed-in").length, 1);
});

test("it opens while nothing can be recorded, if the alarm sounds; unseen it never opens", async () => {
  const { desk, halves } = await sealed();
  desk.events.areAlarmsBroken = true;
  desk.events.isRecorderBroken = true;
  const record = desk.events.record.bind(desk.events);
  // The refusal itself can be written again: only the opening could not.
  desk.events.record = async (type, fields) => {
    if (type !== "break-glass-refused") await record(type, fields);
  };
  assert.equal(causeOf(await desk.breakGlass.open(open(halves), SOURCE)), "break-glass-unseen");
  desk.events.areAlarmsBroken = false;
  assert.equal((await desk.breakGlass.open(open(halves), SOURCE)).kind, "signed-in");
  assert.equal(desk.events.alarms.length, 1);
});

test("it opens without the alarm when the record can be made", async () => {
  const { desk, halves } = await sealed();
  desk.events.areAlarmsBroken = true;
  assert.equal((await desk.breakGlass.open(open(halves), SOURCE)).kind, "signed-in");
});

test("guessing halves slows the source down", async () => {
  const { desk, halves } = await sealed();
  for (let index = 0; index < 21; index++) await desk.breakGlass.open(open(["A", "B"]), SOURCE);
  assert.equal(causeOf(await desk.breakGlass.open(open(halves), SOURCE)), "sign-in-later");
});

test("wrong types are refused as malformed; an account that is not there is not told apart", async () => {
  const { desk, halves } = await sealed();
  const bad: unknown[] = [
    null,
    1,
    {},
    open(halves, { account: 1 }),
    open([halves[0]]),
    open([...halves, "x"]),
    open([1, 2] as unknown as string[]),
    open(["x".repeat(101), "y"]),
    open(halves, { reason: "" }),
    open(halves, { reason: "x".repeat(501) }),
  ];
  for (const value of bad)
    assert.equal(causeOf(await desk.breakGlass.open(value, SOURCE)), "request-malformed");
  const refusal = await desk.breakGlass.open(open(halves, { account: "root" }), "10.9.9.9");
  assert.equal(causeOf(refusal), "break-glass-unknown");
  assert.ok(refusal.kind === "refused" && refusal.code === "break-glass-refused");
});

test("only an administrator seals, for two different people who are there", async () => {
  const { desk, root } = await sealed();
  const eva = await desk.somebody("eva", "engineer");
  assert.equal(causeOf(await desk.breakGlass.seal(eva, "glass", TERMS)), "not-permitted");
  const seal = async (
    account: string,
    more: Partial<Parameters<typeof desk.breakGlass.seal>[2]>,
  ): Promise<string> => causeOf(await desk.breakGlass.seal(root, account, { ...TERMS, ...more }));
  assert.equal(await seal("glass", { holders: ["ines", "ines"] }), "break-glass-holders");
  assert.equal(await seal("glass", { holders: ["ines", "nobody"] }), "no-such-person");
  assert.equal(await seal("Glass", {}), "person-name-invalid");
  assert.equal(await seal("ines", {}), "person-exists");
  assert.equal(await seal("glass", { roles: [] }), "roles-conflict");
  assert.equal(await seal("glass", { roles: ["auditor", "admin"] }), "roles-conflict");
});
