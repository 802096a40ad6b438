/** People at the running services: lost factors, sealed accounts, lockout, and who may do what. */
import assert from "node:assert/strict";
import { generateKeyPairSync } from "node:crypto";
import fs from "node:fs";
import process from "node:process";
import { after, test } from "node:test";
import type { Json } from "@sallyport/core";
import { askApi, signInByUid } from "../cli/api-client.ts";
import { fields, listOf, word } from "../cli/enforcer-client.ts";
import { Control, PASSWORD, Person } from "./control.test-kit.ts";

const uid = process.getuid?.() ?? 0;
const control = await Control.start({ accounts: `erin:x:${uid}:0::/:/bin/sh\n` });
after(() => control.close());

const anna = new Person("anna", control);
const { publicKey } = generateKeyPairSync("ed25519");
await control.firstAdmin(anna, {
  ...{ kind: "ed25519", person: "anna", credentialId: "", rpId: "", origin: "" },
  spki: publicKey.export({ type: "spki", format: "der" }).toString("base64"),
});
const erin = await control.add(anna, "erin", "engineer");
const ada = await control.add(anna, "ada", "auditor");
await control.add(anna, "ben", "operator");

/** As `sallyport admin recover` does it. */
async function recover(
  person: string,
  door: string = control.rootSocket,
): Promise<Readonly<Record<string, unknown>>> {
  const body = JSON.stringify({ person, reason: "lost the phone" });
  const answer = await askApi(door, { method: "POST", path: "/v1/local-root/recover", body });
  return { status: answer.status, ...fields(answer.body ?? null) };
}

test("local root lets an administrator in again who lost all: old sign-ins, factors and keys are gone", async () => {
  await anna.stepUp();
  const { secret: key } = await anna.done("POST", "/v1/keys", {
    ...{ name: "nagios", scopes: ["plant.read"], days: 1 },
  });
  const withKey = async (): Promise<number> => {
    const headers = { authorization: `Bearer ${word(key)}` };
    return (await askApi(control.socket, { method: "GET", path: "/v1/status", headers })).status;
  };
  assert.notEqual(await withKey(), 401);
  const { status, secret } = await recover("anna");
  assert.equal(status, 201);
  assert.deepEqual(await anna.refused("GET", "/v1/session"), [401, "sign-in-needed"]);
  assert.equal(await withKey(), 401, "a program's key may be a thief's too");
  const old = { person: "anna", password: PASSWORD, totp: anna.code() };
  const thief = new Person("anna", control);
  assert.deepEqual(await thief.refused("POST", "/v1/sign-in/password", old), [
    401,
    "sign-in-failed",
  ]);
  anna.cookie = "";
  await anna.done("POST", "/v1/sign-in/link", { secret: String(secret) });
  const used = { secret: String(secret) };
  assert.deepEqual(await thief.refused("POST", "/v1/sign-in/link", used), [401, "link-invalid"]);
  await anna.enroll();
  assert.deepEqual((await anna.done("GET", "/v1/session"))["roles"], ["admin", "approver"]);
  assert.equal(await control.recorded(ada, "control.admin-recovered"), 1);
});

test("nobody but root recovers anybody, and an auditor does not become an administrator", async () => {
  const other = await recover("erin", control.socket);
  assert.deepEqual([other["status"], other["code"]], [403, "denied"]);
  const auditor = await recover("ada");
  assert.deepEqual([auditor["status"], auditor["code"]], [409, "roles-conflict"]);
  assert.equal((await recover("nobody"))["code"], "no-such-person");
});

test("a sealed account opens once, with both halves of two people, is alarmed, and stays in the status", async () => {
  await anna.stepUp();
  const terms = { holders: ["erin", "ben"], roles: ["admin"] };
  assert.deepEqual(await erin.refused("PUT", "/v1/break-glass/red", terms), [403, "not-permitted"]);
  const made = await anna.done("PUT", "/v1/break-glass/red", terms);
  const [one, two] = listOf(made["halves"]).map(word);
  assert.ok(one !== undefined && two !== undefined);
  const breaker = new Person("red", control);
  const order = { account: "red", reason: "the identity provider burned down" };
  const open = "/v1/sign-in/break-glass";
  for (const halves of [
    [one, one],
    [one, two.replace(/[A-Z2-7]/, "A")],
  ]) {
    const [status, code] = await breaker.refused("POST", open, { ...order, halves });
    assert.deepEqual([status, code], [401, "break-glass-refused"]);
  }
  const before = await anna.done("GET", "/v1/break-glass");
  assert.equal(fields(listOf(before["items"])[0] ?? null)["openedAt"], undefined);
  // The ledger is down on the day when it is needed: the alarm alone is enough.
  control.isRecorded = false;
  try {
    await breaker.done("POST", open, { ...order, halves: [one, two] });
  } finally {
    control.isRecorded = true;
  }
  const alarms = fs.readFileSync(control.at("alarms.ndjson"), "utf8");
  assert.match(alarms, /"alarm":"break-glass-opened".*"person":"red"/);
  assert.deepEqual((await breaker.done("GET", "/v1/session"))["roles"], ["admin"]);
  await breaker.done("POST", "/v1/people", { id: "carl", name: "Carl", roles: ["admin"] });
  const again = { ...order, halves: [one, two] };
  const second = new Person("red", control);
  assert.deepEqual(await second.refused("POST", open, again), [401, "break-glass-refused"]);
  const after2h = control.nowMs + 2 * 3600 * 1000;
  control.nowMs = after2h;
  assert.deepEqual(await breaker.refused("GET", "/v1/session"), [401, "sign-in-needed"]);
});

test("an administrator takes a password away, and it is good no more", async () => {
  await anna.signIn();
  await anna.done("DELETE", "/v1/people/ben/credentials/password");
  assert.deepEqual(await anna.refused("DELETE", "/v1/people/ben/credentials/password"), [
    ...[404, "no-such-thing"],
  ] as unknown as readonly [number, string]);
  const ben = new Person("ben", control);
  const answer = { person: "ben", password: PASSWORD, totp: "123456" };
  assert.deepEqual(await ben.refused("POST", "/v1/sign-in/password", answer), [
    401,
    "sign-in-failed",
  ]);
});

test("an auditor proves and changes nothing; an engineer approves no change; a key opens nothing", async () => {
  for (const person of [ada, erin, anna]) await person.signIn();
  const body: Readonly<Record<string, Json>> = {
    "PUT /v1/policy/draft": { files: [{ name: "site.yaml", text: "version: 1" }] },
    "POST /v1/changes": { reason: "mine", draftSha256: "a".repeat(64) },
    "POST /v1/changes/c-1/apply": { sha256: "a".repeat(64), confirmWithinSeconds: 60 },
    "POST /v1/changes/c-1/confirm": {},
    "POST /v1/changes/c-1/approvals": { kind: "ed25519", key: "ada", signature: "AA" },
    "POST /v1/people": { id: "eve", name: "Eve", roles: ["admin"] },
    "PUT /v1/people/ada/roles": { roles: ["admin"] },
    "PUT /v1/break-glass/blue": { holders: ["ada", "erin"], roles: ["admin"] },
    "POST /v1/keys": { name: "mine", scopes: ["plant.read"], days: 1 },
    "POST /v1/zones/cell-a/island": { reason: "mine" },
    "POST /v1/grants/revoke-all": { reason: "mine" },
  };
  const asked = async (person: Person, route: string): Promise<string> => {
    const [method = "", where = ""] = route.split(" ");
    return (await person.refused(method, where, body[route]))[1];
  };
  for (const route of Object.keys(body)) {
    const headers = route.startsWith("PUT /v1/policy") ? { "if-match": '"x"' } : {};
    const [method = "", where = ""] = route.split(" ");
    const answer = await ada.ask(method, where, body[route], headers);
    assert.equal(fields(answer.body ?? null)["code"], "not-permitted", `auditor: ${route}`);
  }
  for (const route of ["POST /v1/changes/c-1/approvals", "POST /v1/people", "POST /v1/keys"]) {
    assert.equal(await asked(erin, route), "not-permitted", `engineer: ${route}`);
  }
  assert.equal((await ada.ask("GET", "/v1/ledger/head")).status, 200);

  const scopes = ["plant.read", "evidence.read"];
  await anna.stepUp();
  const { secret } = await anna.done("POST", "/v1/keys", { name: "scada", scopes, days: 1 });
  const authorization = { authorization: `Bearer ${word(secret)}` };
  for (const [route, sent] of Object.entries(body)) {
    const [method = "", path = ""] = route.split(" ");
    const headers = { ...authorization, "if-match": '"x"' };
    const request = { method, path, headers, body: JSON.stringify(sent) };
    const answer = await askApi(control.socket, request);
    assert.equal(answer.status, 403, `key: ${route} ${JSON.stringify(answer.body)}`);
  }
});

test("whoever may see people finds the records that name one of them; others find none", async () => {
  await ada.signIn();
  const found = await ada.done("GET", "/v1/ledger/records?person=ben&limit=200");
  const items = listOf(found["items"]).map(fields);
  assert.ok(items.length > 3, `${items.length} records name ben`);
  for (const { fields: told } of items) assert.match(JSON.stringify(told), /"ben"/);
  const types = items.map(({ type }) => word(type));
  assert.ok(types.includes("control.password-removed"), types.join(" "));
  const page = await ada.done("GET", "/v1/ledger/records?person=ben&limit=1");
  const next = await ada.done(
    ...(["GET", `/v1/ledger/records?person=ben&limit=1&cursor=${word(page["next"])}`] as const),
  );
  const indexOf = (one: typeof page): unknown => fields(listOf(one["items"])[0] ?? null)["index"];
  assert.deepEqual([indexOf(page), indexOf(next)], [items[0]?.["index"], items[1]?.["index"]]);
  await erin.signIn();
  const [status, code] = await erin.refused("GET", "/v1/ledger/records?person=ben");
  assert.deepEqual([status, code], [403, "not-permitted"]);
});

test("guessing is slowed down, and does not lock the right person out of another place", async () => {
  const answers = new Set<string>();
  for (let tries = 0; tries < 10; tries++) {
    const guess = { person: "erin", password: `a barrel rolls uphill ${tries}`, totp: "000000" };
    const [status, code] = await new Person("x", control).refused(
      "POST",
      "/v1/sign-in/password",
      guess,
    );
    answers.add(`${status} ${code}`);
  }
  assert.deepEqual(answers, new Set(["401 sign-in-failed", "429 sign-in-later"]));
  control.nowMs += 16 * 60_000;
  await erin.signIn();
});

test("a uid of the box is no person unless an administrator added one of that name", async () => {
  const token = await signInByUid(control.socket, uid);
  const headers = { authorization: `Bearer ${token}` };
  const me = await askApi(control.socket, { method: "GET", path: "/v1/session", headers });
  assert.equal(fields(me.body ?? null)["person"], "erin");
  await anna.signIn();
  await anna.done("POST", "/v1/people/erin/disable", { reason: "left the plant" });
  const after = await askApi(control.socket, { method: "GET", path: "/v1/session", headers });
  assert.equal(after.status, 401, "at once");
  await assert.rejects(signInByUid(control.socket, uid), { code: "sign-in-failed" });
});

test("a storm of sign-ins is sent away before it costs a hash, and the rest goes on", async () => {
  control.nowMs += 3600 * 1000;
  const guess = { person: "anna", password: "a barrel rolls sideways 1", totp: "000000" };
  const body = JSON.stringify(guess);
  const storm = Array.from({ length: 80 }, () =>
    askApi(control.socket, { method: "POST", path: "/v1/sign-in/password", body }),
  );
  const startMs = performance.now();
  const ready = await askApi(control.socket, { method: "GET", path: "/healthz" });
  const waitedMs = performance.now() - startMs;
  const counts = new Map<number, number>();
  for (const { status } of await Promise.all(storm)) {
    counts.set(status, (counts.get(status) ?? 0) + 1);
  }
  assert.equal(ready.status, 200);
  assert.ok(waitedMs < 2000, `others wait ${Math.round(waitedMs)} ms`);
  const told = JSON.stringify([...counts]);
  assert.ok((counts.get(429) ?? 0) >= 50, told);
  assert.ok((counts.get(401) ?? 0) <= 20, told);
  assert.deepEqual(
    [...counts.keys()].filter((one) => ![401, 429, 503].includes(one)),
    [],
  );
});
