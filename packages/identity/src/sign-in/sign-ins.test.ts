import assert from "node:assert/strict";
import { test } from "node:test";
import { causeOf, Desk, HOUR_MS, MINUTE_MS, SOURCE } from "../desk.test-kit.ts";
import {
  CLOCK_BACK_MS,
  SIGN_IN_ABSOLUTE_MS,
  SIGN_IN_IDLE_MS,
  SIGN_INS_MAX,
  STEP_UP_MS,
} from "../limits.ts";
import type { Factor } from "../records.ts";

async function signedIn(desk: Desk, ...factors: Factor[]): Promise<string> {
  const person = await desk.person("ines", "engineer");
  const begun = await desk.signIns.begin({ person, factors, source: SOURCE });
  return begun.token;
}

test("a sign-in lasts while it is used, at most 12 hours", async () => {
  const desk = new Desk();
  const token = await signedIn(desk, "passkey");
  for (let ms = 0; ms < SIGN_IN_ABSOLUTE_MS - 10 * MINUTE_MS; ms += 10 * MINUTE_MS) {
    assert.equal((await desk.signIns.check(token)).kind, "present");
    desk.clock.advance(10 * MINUTE_MS);
  }
  assert.equal((await desk.signIns.check(token)).kind, "present");
  desk.clock.advance(10 * MINUTE_MS - 1);
  assert.equal((await desk.signIns.check(token)).kind, "present");
  desk.clock.advance(1);
  assert.equal(causeOf(await desk.signIns.check(token)), "sign-in-over");
  assert.equal(causeOf(await desk.signIns.check(token)), "sign-in-unknown", "and is gone");
});

test("15 minutes without use end a sign-in; one millisecond less does not", async () => {
  const desk = new Desk();
  const token = await signedIn(desk, "passkey");
  desk.clock.advance(SIGN_IN_IDLE_MS - 1);
  assert.equal((await desk.signIns.check(token)).kind, "present");
  desk.clock.advance(SIGN_IN_IDLE_MS);
  assert.equal(causeOf(await desk.signIns.check(token)), "sign-in-idle");
});

test("a clock that goes back stretches no sign-in", async () => {
  const desk = new Desk();
  const token = await signedIn(desk, "passkey");
  desk.clock.advance(-CLOCK_BACK_MS);
  assert.equal((await desk.signIns.check(token)).kind, "present");
  desk.clock.advance(-1);
  assert.equal(causeOf(await desk.signIns.check(token)), "clock-went-back");
});

test("the store holds no token, only its hash", async () => {
  const desk = new Desk();
  const token = await signedIn(desk, "passkey");
  assert.match(token, /^[A-Za-z0-9_-]{43}$/);
  assert.ok(!JSON.stringify([...desk.store.signIns.kept]).includes(token));
  const [id = ""] = [...desk.store.signIns.kept.keys()];
  assert.equal(causeOf(await desk.signIns.check(id)), "sign-in-unknown");
});

test("no other text is a token", async () => {
  const desk = new Desk();
  const token = await signedIn(desk, "passkey");
  const bad = [
    undefined,
    null,
    7,
    {},
    [token],
    "",
    token.slice(1),
    `${token}A`,
    token.replace(/^./, "!"),
  ];
  for (const value of bad) {
    const refusal = await desk.signIns.check(value);
    assert.equal(causeOf(refusal), "sign-in-unknown");
    assert.ok(refusal.kind === "refused" && refusal.code === "sign-in-ended");
  }
});

test("ending all of a person's sign-ins counts at their next request", async () => {
  const desk = new Desk();
  const person = await desk.person("ines", "engineer");
  const tokens: string[] = [];
  for (let index = 0; index < 3; index++) {
    tokens.push((await desk.signIns.begin({ person, factors: ["passkey"], source: SOURCE })).token);
  }
  assert.equal(await desk.signIns.revokeAll("ines", "lost phone"), 3);
  for (const token of tokens)
    assert.equal(causeOf(await desk.signIns.check(token)), "sign-in-unknown");
  assert.deepEqual(desk.events.of("sign-ins-revoked"), [
    { person: "ines", count: 3, because: "lost phone" },
  ]);
});

test("one sign-in can be ended by its id, by its owner's list only", async () => {
  const desk = new Desk();
  const ines = await desk.somebody("ines", "engineer");
  assert.equal(await desk.signIns.revoke("otto", ines.signIn.id, "x"), false);
  assert.equal(await desk.signIns.revoke("ines", ines.signIn.id, "own list"), true);
  assert.equal(await desk.signIns.revoke("ines", ines.signIn.id, "x"), false);
});

test("signing out ends it", async () => {
  const desk = new Desk();
  const token = await signedIn(desk, "passkey");
  const present = await desk.signIns.check(token);
  assert.ok(present.kind === "present");
  await desk.signIns.end(present);
  assert.equal(causeOf(await desk.signIns.check(token)), "sign-in-unknown");
});

test("whoever is disabled is out, with a token in hand", async () => {
  const desk = new Desk();
  const token = await signedIn(desk, "passkey");
  const kept = await desk.store.people.get("ines");
  assert.ok(kept);
  await desk.store.people.replace(kept, { ...kept, revision: 2, state: "disabled" });
  assert.equal(causeOf(await desk.signIns.check(token)), "sign-in-unknown");
});

test("the eleventh sign-in ends the one that was unused for longest", async () => {
  const desk = new Desk();
  const person = await desk.person("ines", "engineer");
  const tokens: string[] = [];
  for (let index = 0; index <= SIGN_INS_MAX; index++) {
    tokens.push((await desk.signIns.begin({ person, factors: ["passkey"], source: SOURCE })).token);
    desk.clock.advance(1000);
  }
  assert.equal(desk.store.signIns.kept.size, SIGN_INS_MAX);
  assert.equal(causeOf(await desk.signIns.check(tokens[0])), "sign-in-unknown");
  assert.equal((await desk.signIns.check(tokens[1])).kind, "present");
});

test("nobody gets in while sign-ins cannot be recorded", async () => {
  const desk = new Desk();
  const person = await desk.person("ines", "engineer");
  desk.events.isRecorderBroken = true;
  await assert.rejects(desk.signIns.begin({ person, factors: ["passkey"], source: SOURCE }));
  assert.equal(desk.store.signIns.kept.size, 0);
});

test("a closing act is done although it cannot be recorded", async () => {
  const desk = new Desk();
  const token = await signedIn(desk, "passkey");
  desk.events.isRecorderBroken = true;
  await assert.rejects(desk.signIns.revokeAll("ines", "lost"));
  assert.equal(causeOf(await desk.signIns.check(token)), "sign-in-unknown");
});

test("a dangerous act wants a second factor of the last five minutes", async () => {
  const desk = new Desk();
  const ines = await desk.somebody("ines", "engineer");
  desk.clock.advance(STEP_UP_MS - 1);
  assert.equal((await desk.signIns.authorize(ines, "policy.apply")).kind, "present");
  desk.clock.advance(1);
  assert.equal(causeOf(await desk.signIns.authorize(ines, "policy.apply")), "step-up-needed");
  assert.equal((await desk.signIns.authorize(ines, "policy.propose")).kind, "present");
  const again = await desk.signIns.stepUp(ines, "passkey");
  assert.ok(again.kind === "present");
  assert.equal((await desk.signIns.authorize(again, "policy.apply")).kind, "present");
  assert.equal(causeOf(await desk.signIns.authorize(ines, "person.manage")), "not-permitted");
  assert.equal(desk.events.of("permission-refused").length, 2);
});

test("a sign-in that was ended meanwhile is not stepped up", async () => {
  const desk = new Desk();
  const ines = await desk.somebody("ines", "engineer");
  await desk.signIns.revokeAll("ines", "x");
  assert.equal(causeOf(await desk.signIns.stepUp(ines, "passkey")), "sign-in-unknown");
});

test("a recovery code gets in, but not to what is dangerous", async () => {
  const desk = new Desk();
  const ines = await desk.present(
    await desk.person("ines", "engineer"),
    "password",
    "recovery-code",
  );
  assert.equal((await desk.signIns.authorize(ines, "policy.propose")).kind, "present");
  assert.equal(causeOf(await desk.signIns.authorize(ines, "policy.apply")), "step-up-needed");
  assert.equal(
    (await desk.signIns.authorize(ines, "own.factors")).kind,
    "present",
    "to enroll another",
  );
  desk.clock.advance(STEP_UP_MS);
  assert.equal(causeOf(await desk.signIns.authorize(ines, "own.factors")), "step-up-needed");
});

test("a sign-in left open gives a thief no passkey of their own", async () => {
  const desk = new Desk();
  const ines = await desk.somebody("ines", "viewer");
  assert.equal((await desk.signIns.authorize(ines, "own.factors")).kind, "present");
  desk.clock.advance(STEP_UP_MS);
  assert.equal(causeOf(await desk.signIns.authorize(ines, "own.factors")), "step-up-needed");
});

test("a link lets its holder enroll factors for a quarter of an hour, and nothing else", async () => {
  const desk = new Desk();
  const ines = await desk.present(await desk.person("ines", "admin"), "link");
  assert.equal((await desk.signIns.authorize(ines, "own.factors")).kind, "present");
  assert.equal(causeOf(await desk.signIns.authorize(ines, "plant.read")), "not-permitted");
  assert.equal(causeOf(await desk.signIns.authorize(ines, "person.manage")), "not-permitted");
  assert.equal(ines.signIn.expiresAtMs - ines.signIn.createdAtMs, 15 * MINUTE_MS);
  assert.ok(ines.signIn.expiresAtMs < desk.clock.nowMs() + HOUR_MS);
});
