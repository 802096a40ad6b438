import assert from "node:assert/strict";
import { test } from "node:test";
import { causeOf, Desk, MINUTE_MS } from "../desk.test-kit.ts";
import {
  allows,
  countsNeverAlone,
  PERMISSIONS,
  type Permission,
  ROLES,
  type Role,
  rolesConflict,
} from "./roles.ts";

const ALL = Object.keys(PERMISSIONS) as Permission[];
const CHANGES: readonly Permission[] = ALL.filter(
  (name) => !/\.(read|prove|export|play)$/.test(name) && name !== "own.factors",
);

test("an auditor reads, proves and exports, and changes nothing", () => {
  assert.ok(CHANGES.length >= 10);
  for (const permission of CHANGES) assert.ok(!allows(["auditor"], permission), permission);
  for (const permission of ["evidence.read", "evidence.prove", "evidence.export"] as const) {
    assert.ok(allows(["auditor"], permission));
  }
});

test("a viewer sees the plant and no evidence", () => {
  const may = ALL.filter((permission) => allows(["viewer"], permission));
  assert.deepEqual(may, ["plant.read", "policy.read", "own.factors", "telemetry.read"]);
});

test("who approves does not write, who writes does not approve, who manages people does neither", () => {
  const who = (permission: Permission): Role[] =>
    ROLES.filter((role) => allows([role], permission));
  assert.deepEqual(who("path.approve"), ["approver"]);
  assert.deepEqual(who("policy.propose"), ["engineer"]);
  assert.deepEqual(who("policy.apply"), ["engineer"]);
  assert.deepEqual(who("person.manage"), ["admin"]);
  assert.deepEqual(who("evidence.prove"), ["auditor"]);
  assert.deepEqual(who("path.close"), ["operator", "approver", "engineer", "admin"]);
});

test("no role, no permission", () => {
  for (const permission of ALL) assert.ok(!allows([], permission));
});

test("an auditor has no other role that acts", () => {
  for (const role of ROLES) {
    const isFine = role === "auditor" || role === "viewer";
    assert.equal(rolesConflict(["auditor", role]), !isFine, role);
  }
  assert.ok(!rolesConflict(["admin", "approver", "engineer"]));
});

test("an administrator's approval counts only beside another person's", () => {
  assert.ok(countsNeverAlone(["approver", "admin"]));
  assert.ok(!countsNeverAlone(["approver", "engineer"]));
});

const NEW = { name: "otto", displayName: "Otto Ohm", roles: ["operator"] };

test("an administrator adds people, with a name that is theirs for good", async () => {
  const desk = new Desk();
  const root = await desk.somebody("root", "admin");
  const otto = await desk.people.add(root, NEW);
  assert.ok(!("kind" in otto));
  assert.equal(causeOf(await desk.people.add(root, NEW)), "person-exists");
  assert.deepEqual(desk.events.of("person-added"), [
    { person: "otto", roles: ["operator"], by: "root" },
  ]);
});

test("refuses people with a name, a shown name or roles that cannot be", async () => {
  const desk = new Desk();
  const root = await desk.somebody("root", "admin");
  const add = async (more: object): Promise<string> =>
    causeOf(await desk.people.add(root, { ...NEW, ...more }));
  assert.equal(await add({ name: "Otto" }), "person-name-invalid");
  assert.equal(await add({ name: "otto@corp" }), "person-name-invalid");
  assert.equal(await add({ name: "o".repeat(64) }), "person-name-invalid");
  assert.equal(await add({ name: 7 }), "person-name-invalid");
  assert.equal(await add({ displayName: "" }), "request-malformed");
  assert.equal(await add({ displayName: "a\u202eb" }), "request-malformed");
  assert.equal(await add({ displayName: "o".repeat(65) }), "request-malformed");
  assert.equal(await add({ roles: [] }), "request-malformed");
  assert.equal(await add({ roles: ["root"] }), "request-malformed");
  assert.equal(await add({ roles: "admin" }), "request-malformed");
  assert.equal(await add({ roles: ["auditor", "admin"] }), "roles-conflict");
  for (const value of [null, undefined, 1, "x"]) {
    assert.equal(causeOf(await desk.people.add(root, value)), "request-malformed");
  }
  assert.ok(!("kind" in (await desk.people.add(root, { ...NEW, name: "o".repeat(63) }))));
});

test("only an administrator with a fresh second factor manages people", async () => {
  const desk = new Desk();
  const engineer = await desk.somebody("eva", "engineer");
  assert.equal(causeOf(await desk.people.add(engineer, NEW)), "not-permitted");
  const root = await desk.somebody("root", "admin");
  desk.clock.advance(10 * MINUTE_MS);
  assert.equal(causeOf(await desk.people.add(root, NEW)), "step-up-needed");
  assert.equal(causeOf(await desk.people.setState(root, "eva", "disabled")), "step-up-needed");
});

test("nobody changes their own roles or state", async () => {
  const desk = new Desk();
  const root = await desk.somebody("root", "admin");
  await desk.person("boss", "admin");
  assert.equal(
    causeOf(await desk.people.setRoles(root, "root", ["admin", "approver"])),
    "own-roles",
  );
  assert.equal(causeOf(await desk.people.setState(root, "root", "disabled")), "own-roles");
  assert.equal(desk.events.of("person-refused").length, 2);
});

test("one administrator stays, though two remove each other at the same moment", async () => {
  const desk = new Desk();
  const [root, boss] = [await desk.somebody("root", "admin"), await desk.somebody("boss", "admin")];
  const outcomes = await Promise.all([
    desk.people.setRoles(root, "boss", ["viewer"]),
    desk.people.setState(boss, "root", "disabled"),
  ]);
  const refused = outcomes.filter((outcome) => "kind" in outcome);
  assert.deepEqual(refused.map(causeOf), ["last-admin"]);
});

test("a sealed account is not the administrator that stays", async () => {
  const desk = new Desk();
  const [root, boss] = [await desk.somebody("root", "admin"), await desk.person("boss", "admin")];
  const sealed = { ...boss, id: "glass", origin: "break-glass" };
  await desk.store.people.add(sealed);
  assert.ok(!("kind" in (await desk.people.setRoles(root, "boss", ["viewer"]))));
  const other = await desk.present(sealed);
  assert.equal(causeOf(await desk.people.setRoles(other, "root", ["viewer"])), "last-admin");
});

test("another role counts at once, and disabling ends every sign-in", async () => {
  const desk = new Desk();
  const root = await desk.somebody("root", "admin");
  const person = await desk.person("eva", "engineer");
  const { token } = await desk.signIns.begin({ person, factors: ["passkey"], source: "10.0.0.1" });
  await desk.people.setRoles(root, "eva", ["viewer"]);
  const eva = await desk.signIns.check(token);
  assert.ok(eva.kind === "present");
  assert.equal(causeOf(await desk.signIns.authorize(eva, "policy.propose")), "not-permitted");
  await desk.people.setState(root, "eva", "disabled");
  assert.equal(causeOf(await desk.signIns.check(token)), "sign-in-unknown");
  assert.ok(!("kind" in (await desk.people.setState(root, "eva", "active"))));
});

test("refuses changes of people who are not there, or whom a provider vouches for", async () => {
  const desk = new Desk();
  const root = await desk.somebody("root", "admin");
  assert.equal(causeOf(await desk.people.setRoles(root, "nobody", ["viewer"])), "no-such-person");
  assert.equal(causeOf(await desk.people.setState(root, "nobody", "disabled")), "no-such-person");
  const eva = await desk.person("eva", "viewer");
  await desk.store.people.add({ ...eva, id: "eva@corp", origin: "corp" });
  assert.equal(causeOf(await desk.people.setRoles(root, "eva@corp", ["admin"])), "roles-not-ours");
  assert.equal(causeOf(await desk.people.setRoles(root, "eva", ["x"])), "request-malformed");
  assert.equal(
    causeOf(await desk.people.setRoles(root, "eva", ["auditor", "approver"])),
    "roles-conflict",
  );
});
