import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { parseKey } from "./api-keys.ts";
import { causeOf, DAY_MS, Desk, MINUTE_MS, SOURCE } from "./desk.test-kit.ts";
import { API_KEY_LIFE_MAX_MS, API_KEYS_OF_PERSON_MAX } from "./limits.ts";
import type { Person } from "./records.ts";
import { PERMISSIONS, termsOf, type Permission } from "./people/roles.ts";

async function made(): Promise<{ desk: Desk; person: Person; text: string; id: string }> {
  const desk = new Desk();
  const person = await desk.person("eva", "engineer");
  const terms = {
    label: "scada export",
    scope: ["plant.read", "evidence.read"],
    expiresAtMs: desk.clock.nowMs() + DAY_MS,
  };
  const key = await desk.apiKeys.make(person, terms, "root");
  assert.ok(key.kind === "made");
  return { desk, person, text: key.text, id: key.key.id };
}

test("a key does what its scope names, and nothing else", async () => {
  const { desk, text } = await made();
  const present = await desk.apiKeys.check(text, SOURCE);
  assert.ok(present.kind === "key");
  assert.equal(await desk.apiKeys.authorize(present, "plant.read"), undefined);
  assert.equal((await desk.apiKeys.authorize(present, "asset.change"))?.cause, "not-permitted");
  assert.equal((await desk.apiKeys.authorize(present, "policy.apply"))?.cause, "not-permitted");
  assert.equal(desk.events.of("permission-refused").length, 2);
});

test("a key loses what its owner loses, at once", async () => {
  const { desk, person, text } = await made();
  await desk.store.people.replace(person, { ...person, revision: 2, roles: ["viewer"] });
  const present = await desk.apiKeys.check(text, SOURCE);
  assert.ok(present.kind === "key");
  assert.equal(await desk.apiKeys.authorize(present, "plant.read"), undefined);
  assert.equal((await desk.apiKeys.authorize(present, "evidence.read"))?.cause, "not-permitted");
});

test("nothing that opens, approves, is dangerous or manages can be in a key's scope", () => {
  const byKey = (Object.keys(PERMISSIONS) as Permission[]).filter(
    (name) => termsOf(name).byKey === true,
  );
  assert.ok(byKey.length > 5);
  for (const name of byKey) assert.equal(termsOf(name).isDangerous, undefined, name);
  for (const name of [
    "path.approve",
    "path.request",
    "policy.apply",
    "policy.propose",
    "person.manage",
    "api-key.manage",
  ] as const) {
    assert.ok(!byKey.includes(name), name);
  }
});

test("the store holds no key, only its hash", async () => {
  const { desk, text, id } = await made();
  const kept = JSON.stringify([...desk.store.apiKeys.kept]);
  assert.ok(kept.includes(id));
  assert.ok(!kept.includes(text.slice(-43)));
});

test("a wrong, unknown, revoked or expired key is refused alike, and recorded apart", async () => {
  const { desk, text, id } = await made();
  const flipped = text.slice(0, -1) + (text.endsWith("A") ? "E" : "A");
  const unknown = text.replace(id, "0".repeat(16));
  const check = async (value: unknown): Promise<string> => {
    const refusal = await desk.apiKeys.check(value, SOURCE);
    assert.ok(refusal.kind === "refused" && refusal.code === "api-key-invalid");
    return refusal.cause;
  };
  assert.equal(await check(flipped), "api-key-wrong");
  assert.equal(await check(unknown), "api-key-unknown");
  assert.equal(await check("sp_x"), "api-key-malformed");
  desk.clock.advance(DAY_MS - 1);
  assert.equal((await desk.apiKeys.check(text, SOURCE)).kind, "key");
  desk.clock.advance(1);
  assert.equal(await check(text), "api-key-expired");
  assert.equal(await desk.apiKeys.revoke(id, "root"), true);
  assert.equal(await desk.apiKeys.revoke(id, "root"), false);
  assert.equal(await check(text), "api-key-unknown");
  assert.equal(desk.events.of("api-key-refused").length, 5);
  assert.ok(!JSON.stringify(desk.events.events).includes(text.slice(-43)));
});

test("a disabled owner's key is refused", async () => {
  const { desk, person, text } = await made();
  await desk.store.people.replace(person, { ...person, revision: 2, state: "disabled" });
  assert.equal(causeOf(await desk.apiKeys.check(text, SOURCE)), "api-key-owner");
});

test("use is recorded: the first, each new source, and again after a minute", async () => {
  const { desk, text } = await made();
  for (let index = 0; index < 5; index++) await desk.apiKeys.check(text, SOURCE);
  assert.equal(desk.events.of("api-key-used").length, 1);
  await desk.apiKeys.check(text, "10.9.9.9");
  assert.equal(desk.events.of("api-key-used").length, 2);
  desk.clock.advance(MINUTE_MS);
  await desk.apiKeys.check(text, "10.9.9.9");
  assert.equal(desk.events.of("api-key-used").length, 3);
});

test("guessing keys slows the source down; good use is never counted", async () => {
  const { desk, text } = await made();
  for (let index = 0; index < 100; index++) await desk.apiKeys.check(text, SOURCE);
  for (let index = 0; index < 21; index++)
    assert.equal(causeOf(await desk.apiKeys.check("sp_", SOURCE)), "api-key-malformed");
  assert.equal(causeOf(await desk.apiKeys.check(text, SOURCE)), "sign-in-later");
});

test("a key ends within a year, and has a label and a scope", async () => {
  const desk = new Desk();
  const person = await desk.person("eva", "engineer");
  const nowMs = desk.clock.nowMs();
  const good = { label: "x", scope: ["plant.read"], expiresAtMs: nowMs + API_KEY_LIFE_MAX_MS };
  const make = (more: object): Promise<unknown> =>
    desk.apiKeys.make(person, { ...good, ...more }, "root");
  assert.equal(((await make({})) as { kind: string }).kind, "made");
  assert.equal(((await make({ expiresAtMs: nowMs + 1 })) as { kind: string }).kind, "made");
  const bad: object[] = [
    { expiresAtMs: nowMs + API_KEY_LIFE_MAX_MS + 1 },
    { expiresAtMs: nowMs },
    { expiresAtMs: undefined },
    { expiresAtMs: Infinity },
    { expiresAtMs: "2027-01-01" },
    { label: "" },
    { label: "x".repeat(65) },
    { label: 1 },
    { scope: [] },
    { scope: "plant.read" },
    { scope: ["everything"] },
    { scope: ["toString"] },
    { scope: ["policy.apply"] },
    { scope: ["evidence.export"] },
  ];
  for (const more of bad)
    assert.equal(causeOf(await make(more)), "api-key-terms", JSON.stringify(more));
  for (const value of [null, 1, undefined])
    assert.equal(causeOf(await desk.apiKeys.make(person, value, "root")), "api-key-terms");
});

test("a person has at most twenty keys", async () => {
  const desk = new Desk();
  const person = await desk.person("eva", "engineer");
  const terms = { label: "x", scope: ["plant.read"], expiresAtMs: desk.clock.nowMs() + DAY_MS };
  for (let index = 0; index < API_KEYS_OF_PERSON_MAX; index++) {
    assert.equal((await desk.apiKeys.make(person, terms, "root")).kind, "made");
  }
  assert.equal(causeOf(await desk.apiKeys.make(person, terms, "root")), "api-keys-at-limit");
});

test("a key that cannot be recorded is not made", async () => {
  const desk = new Desk();
  const person = await desk.person("eva", "engineer");
  desk.events.isRecorderBroken = true;
  const terms = { label: "x", scope: ["plant.read"], expiresAtMs: desk.clock.nowMs() + DAY_MS };
  await assert.rejects(desk.apiKeys.make(person, terms, "root"));
  assert.equal(desk.store.apiKeys.kept.size, 0);
});

test("only text that is written as keys are is read as one", async () => {
  const { text, id } = await made();
  assert.deepEqual(parseKey(text), { id, secret: text.slice(-43) });
  for (let size = 0; size < text.length; size++)
    assert.equal(parseKey(text.slice(0, size)), undefined);
  for (const value of [
    `${text}A`,
    ` ${text}`,
    `${text}\n`,
    text.toUpperCase(),
    1,
    null,
    undefined,
    [text],
  ]) {
    assert.equal(parseKey(value), undefined);
  }
  fc.assert(fc.property(fc.string(), (any) => assert.equal(parseKey(any), undefined)));
});
