import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import { test } from "node:test";
import { firstAdminToken } from "../approval/index.ts";
import { causeOf, DAY_MS, Desk, HOUR_MS, SOURCE } from "../desk.test-kit.ts";
import { INVITATION_LIFE_MS } from "../limits.ts";

const TOKEN = firstAdminToken(Buffer.alloc(32, 5));
const HASH = createHash("sha256").update(TOKEN).digest("hex");
const INES = { name: "ines", displayName: "Ines" };

async function offered(): Promise<Desk> {
  const desk = new Desk();
  assert.equal(await desk.links.offerFirstAdmin(HASH, desk.clock.nowMs() + HOUR_MS), "offered");
  return desk;
}

test("the printed link makes the first administrator, once", async () => {
  const desk = await offered();
  const ines = await desk.links.redeem(TOKEN, SOURCE, INES);
  assert.ok(ines.kind === "signed-in");
  assert.deepEqual(ines.person.roles, ["admin", "approver"], "or nobody could approve another");
  assert.deepEqual(ines.signIn.factors, ["link"]);
  const again = await desk.links.redeem(TOKEN, SOURCE, { ...INES, name: "eve" });
  assert.equal(causeOf(again), "link-unknown");
  assert.ok(again.kind === "refused" && again.code === "link-invalid");
});

test("of two who redeem the first link at the same moment one becomes administrator", async () => {
  const desk = await offered();
  const outcomes = await Promise.all(
    ["ines", "eve"].map((name) => desk.links.redeem(TOKEN, SOURCE, { ...INES, name })),
  );
  assert.equal(outcomes.filter((outcome) => outcome.kind === "signed-in").length, 1);
  assert.equal(desk.store.people.kept.size, 1);
});

test("a mistyped name does not use the first link up", async () => {
  const desk = await offered();
  assert.equal(
    causeOf(await desk.links.redeem(TOKEN, SOURCE, { ...INES, name: "I" })),
    "person-name-invalid",
  );
  assert.equal(
    causeOf(await desk.links.redeem(TOKEN, SOURCE, { name: "ines" })),
    "request-malformed",
  );
  assert.equal(causeOf(await desk.links.redeem(TOKEN, SOURCE)), "person-name-invalid");
  assert.equal((await desk.links.redeem(TOKEN, SOURCE, INES)).kind, "signed-in");
});

test("where there is an administrator the first link is neither offered nor taken", async () => {
  const desk = await offered();
  await desk.person("root", "admin");
  assert.equal(causeOf(await desk.links.redeem(TOKEN, SOURCE, INES)), "admin-exists");
  assert.equal(
    causeOf(await desk.links.redeem(TOKEN, SOURCE, { ...INES, name: "root" })),
    "person-exists",
  );
  assert.equal(causeOf(await desk.links.offerFirstAdmin("00", 0)), "admin-exists");
});

test("a first link ends in time", async () => {
  const desk = await offered();
  desk.clock.advance(HOUR_MS);
  assert.equal(causeOf(await desk.links.redeem(TOKEN, SOURCE, INES)), "link-expired");
});

test("an invitation lets one person enroll, once, within three days", async () => {
  const desk = new Desk();
  const root = await desk.somebody("root", "admin");
  await desk.person("otto", "operator");
  const link = await desk.links.invite(root, "otto");
  assert.ok(link.kind === "made");
  assert.ok(!JSON.stringify([...desk.store.links.kept]).includes(link.token));
  desk.clock.advance(INVITATION_LIFE_MS - 1);
  const otto = await desk.links.redeem(link.token, SOURCE);
  assert.ok(otto.kind === "signed-in");
  assert.equal(otto.person.id, "otto");
  assert.equal(causeOf(await desk.links.redeem(link.token, SOURCE)), "link-unknown");
});

test("a newer invitation ends the older one; one too old is no good", async () => {
  const desk = new Desk();
  const root = await desk.somebody("root", "admin");
  await desk.person("otto", "operator");
  const [one, two] = [await desk.links.invite(root, "otto"), await desk.links.invite(root, "otto")];
  assert.ok(one.kind === "made" && two.kind === "made");
  assert.equal(causeOf(await desk.links.redeem(one.token, SOURCE)), "link-unknown");
  desk.clock.advance(INVITATION_LIFE_MS);
  assert.equal(causeOf(await desk.links.redeem(two.token, SOURCE)), "link-expired");
});

test("refuses invitations by who may not, and of who is not there", async () => {
  const desk = new Desk();
  const eva = await desk.somebody("eva", "engineer");
  assert.equal(causeOf(await desk.links.invite(eva, "eva")), "not-permitted");
  const root = await desk.somebody("root", "admin");
  assert.equal(causeOf(await desk.links.invite(root, "nobody")), "no-such-person");
});

test("no other text is a link's token, and each try is recorded", async () => {
  const desk = await offered();
  const bad = [undefined, 1, {}, "", HASH, TOKEN.slice(1), `${TOKEN}=`];
  for (const value of bad)
    assert.equal(causeOf(await desk.links.redeem(value, SOURCE, INES)), "link-unknown");
  assert.equal(desk.events.of("link-refused").length, bad.length);
});

test("who guesses links is slowed down by source", async () => {
  const desk = await offered();
  for (let index = 0; index < 21; index++) {
    assert.equal(causeOf(await desk.links.redeem("x", SOURCE, INES)), "link-unknown");
  }
  assert.equal(causeOf(await desk.links.redeem(TOKEN, SOURCE, INES)), "sign-in-later");
  assert.equal((await desk.links.redeem(TOKEN, "10.9.9.9", INES)).kind, "signed-in");
});

const WHY = { reason: "lost both keys", keepFactors: false };

test("local root gets an administrator back in, recorded, and old factors are forgotten", async () => {
  const desk = new Desk();
  const person = await desk.person("ines", "viewer");
  await desk.withPasskey(person);
  await desk.passwords.set(person, "correct horse battery");
  await desk.recoveryCodes.make(person);
  const { token } = await desk.signIns.begin({ person, factors: ["passkey"], source: SOURCE });
  const link = await desk.links.recoverAdmin("ines", WHY);
  assert.ok(link.kind === "made");
  assert.equal(causeOf(await desk.signIns.check(token)), "sign-in-unknown");
  const { passkeys, passwords, recoveryCodes } = desk.store;
  assert.deepEqual([passkeys.kept.size, passwords.kept.size, recoveryCodes.kept.size], [0, 0, 0]);
  const ines = await desk.links.redeem(link.token, SOURCE);
  assert.ok(ines.kind === "signed-in");
  assert.deepEqual(ines.person.roles, ["viewer", "admin"]);
  assert.equal(desk.events.of("admin-recovered")[0]?.["reason"], "lost both keys");
});

test("a recovery brings a disabled administrator back, and ends after an hour", async () => {
  const desk = new Desk();
  const root = await desk.somebody("root", "admin");
  const ines = await desk.person("ines", "admin");
  await desk.withPasskey(ines);
  await desk.people.setState(root, "ines", "disabled");
  const link = await desk.links.recoverAdmin("ines", { ...WHY, keepFactors: true });
  assert.ok(link.kind === "made");
  assert.equal(desk.store.passkeys.kept.size, 1);
  assert.equal((await desk.store.people.get("ines"))?.state, "active");
  desk.clock.advance(HOUR_MS);
  assert.equal(causeOf(await desk.links.redeem(link.token, SOURCE)), "link-expired");
});

test("no recovery makes an auditor administrator, or somebody who is not there", async () => {
  const desk = new Desk();
  await desk.person("aud", "auditor");
  assert.equal(causeOf(await desk.links.recoverAdmin("aud", WHY)), "roles-conflict");
  assert.equal(causeOf(await desk.links.recoverAdmin("nobody", WHY)), "no-such-person");
});

test("a recovery that cannot be recorded changes nothing", async () => {
  const desk = new Desk();
  const ines = await desk.person("ines", "admin");
  await desk.withPasskey(ines);
  desk.events.isRecorderBroken = true;
  await assert.rejects(desk.links.recoverAdmin("ines", WHY));
  assert.equal(desk.store.passkeys.kept.size, 1);
  assert.equal(desk.store.links.kept.size, 0);
  desk.clock.advance(DAY_MS);
});
