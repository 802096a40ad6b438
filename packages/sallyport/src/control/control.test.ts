/** The whole way of a first change through the API, over the box's socket and over TLS, with no kernel behind it. */
import assert from "node:assert/strict";
import { createHash, generateKeyPairSync, type KeyObject, sign } from "node:crypto";
import fs from "node:fs";
import https from "node:https";
import process from "node:process";
import { after, test } from "node:test";
import type { Json } from "@sallyport/core";
import { approvalMessage, firstAdminToken, firstApproverHmac } from "@sallyport/identity/approval";
import { type ApiAnswer, askApi, signInByUid } from "../cli/api-client.ts";
import { fields, listOf, word } from "../cli/enforcer-client.ts";
import { Control, PASSWORD, Person } from "./control.test-kit.ts";

const control = await Control.start({
  accounts: `erin:x:${process.getuid?.() ?? 0}:0::/:/bin/sh\n`,
});
const { enforcer } = control;
after(() => control.close());

const POLICY = `version: 1
site: { name: plant, timezone: UTC, nodes: [gw1], transit: { outer: 10.30.0.0/24, inner: 10.31.0.0/24 } }
zones:
  office: { kind: business, level: 4, networks: [10.10.0.0/24], attach: { nic: it0, address: 10.10.0.1/24 }, owner: it, sl-t: 1 }
  dmz: { kind: dmz, level: 3.5, owner: ot, sl-t: 2 }
  cell-a: { kind: control, level: 1, networks: [10.41.0.0/24], attach: { nic: a0, address: 10.41.0.1/24 }, owner: ot, sl-t: 2, approvals: 1 }
components: { gate: { kind: gate } }
assets:
  erp: { zone: office, address: 10.10.0.10 }
  plc-a: { zone: cell-a, address: 10.41.0.10 }
conduits:
  reads-a: { from: erp, to: plc-a, service: modbus, via: proxy, through: gate, owner: ot, why: levels, expires: 2027-06-30,
    l7: { modbus: { functions: [read-holding-registers], units: [1], holding-registers: [0-99] } } }
`;

const anna = new Person("anna", control);
const erin = new Person("erin", control);
const olga = new Person("olga", control);
let annasKey: KeyObject;
let olgasKey: KeyObject;

function signed(signable: Json | undefined, name: string, key: KeyObject): Json {
  const { bytes, sha256 } = fields(signable ?? null);
  const digest = createHash("sha256").update(word(bytes)).digest();
  assert.equal(digest.toString("hex"), word(sha256), "the bytes are what is signed");
  const signature = sign(null, approvalMessage(digest), key).toString("base64url");
  return { kind: "ed25519", key: name, signature };
}

test("the first link makes an administrator whose own key is the first approver's", async () => {
  const secret = await enforcer.firstSecret();
  const first = { id: "anna", name: "Anna" };
  const wrong = await anna.ask("POST", "/v1/sign-in/link", { secret: "A".repeat(43), first });
  assert.equal(fields(wrong.body ?? null)["code"], "link-invalid");
  await anna.done("POST", "/v1/sign-in/link", { secret: firstAdminToken(secret), first });
  const again = await new Person("eve", control).ask("POST", "/v1/sign-in/link", {
    ...{ secret: firstAdminToken(secret), first: { id: "eve", name: "Eve" } },
  });
  assert.equal(fields(again.body ?? null)["code"], "link-invalid");
  assert.equal((await anna.ask("GET", "/v1/people")).status, 403, "a link only adds factors");

  const { publicKey, privateKey } = generateKeyPairSync("ed25519");
  annasKey = privateKey;
  const key = {
    kind: "ed25519" as const,
    ...{ person: "anna", credentialId: "", rpId: "", origin: "" },
    spki: publicKey.export({ type: "spki", format: "der" }).toString("base64"),
  };
  const unproved = await anna.ask("POST", "/v1/approvers/first", { key, proof: "AA" });
  assert.equal(fields(unproved.body ?? null)["code"], "approval-refused");
  const proof = firstApproverHmac(secret, key).toString("base64url");
  assert.deepEqual(await anna.done("POST", "/v1/approvers/first", { key, proof }), {
    id: "first-anna",
  });
  await anna.enroll();
  const { person, roles } = await anna.done("GET", "/v1/session");
  assert.deepEqual([person, roles], ["anna", ["admin", "approver"]]);
});

test("a change goes from draft to plan, signature, apply and confirm, and each step is on record", async () => {
  const { secret } = await anna.done("POST", "/v1/people", {
    ...{ id: "erin", name: "Erin", roles: ["engineer"] },
  });
  await erin.done("POST", "/v1/sign-in/link", { secret: word(secret) });
  await erin.enroll();
  const { sha256: none } = await erin.done("GET", "/v1/policy/draft");
  const draft = await erin.done(
    ...(["PUT", "/v1/policy/draft", { files: [{ name: "site.yaml", text: POLICY }] }] as const),
    { "if-match": `"${word(none)}"` },
  );
  const draftSha256 = word(draft["sha256"]);
  const change = await erin.done("POST", "/v1/changes", { reason: "first", draftSha256 });
  const where = `/v1/changes/${word(change["id"])}`;
  const order = {
    sha256: word(fields(change["signable"] ?? null)["sha256"]),
    confirmWithinSeconds: 60,
  };
  const early = await erin.ask("POST", `${where}/apply`, order);
  assert.equal(fields(early.body ?? null)["code"], "approval-missing");

  const byAnna = signed(change["signable"], "first-anna", annasKey);
  const own = await erin.ask("POST", `${where}/approvals`, byAnna);
  assert.equal(own.status, 403, "an engineer approves nothing");
  const alone = await anna.done("POST", `${where}/approvals`, byAnna);
  assert.equal(alone["state"], "planned", "an administrator never counts alone");
  const tooEarly = await erin.ask("POST", `${where}/apply`, order);
  const { code, detail } = fields(tooEarly.body ?? null);
  assert.deepEqual([tooEarly.status, code], [403, "second-approver-needed"]);
  assert.match(word(detail), /administrators-alone/);

  const { secret: olgas } = await anna.done("POST", "/v1/people", {
    ...{ id: "olga", name: "Olga", roles: ["approver"] },
  });
  await olga.done("POST", "/v1/sign-in/link", { secret: word(olgas) });
  await olga.enroll();
  const { publicKey, privateKey } = generateKeyPairSync("ed25519");
  olgasKey = privateKey;
  const spki = publicKey.export({ type: "spki", format: "der" }).toString("base64");
  await enforcer.addKey("olga", "olga", spki);
  const byOlga = signed(change["signable"], "olga", olgasKey);
  const stolen = await anna.ask("POST", `${where}/approvals`, byOlga);
  assert.equal(fields(stolen.body ?? null)["code"], "approver-unknown", "it is no key of anna's");
  const approved = await olga.done("POST", `${where}/approvals`, byOlga);
  assert.equal(approved["state"], "approved");
  await erin.stepUp();
  assert.equal((await erin.done("POST", `${where}/apply`, order))["state"], "applied");
  assert.equal((await erin.done("POST", `${where}/confirm`, {}))["state"], "confirmed");
  assert.equal(enforcer.confirmed?.number, 1);
  const running = await erin.done("GET", "/v1/policy/running");
  assert.deepEqual([running["generation"], running["site"]], [1, "plant"]);

  const { items } = await erin.done("GET", "/v1/ledger/records?limit=200");
  const types = listOf(items).map((item) => word(fields(item)["type"]));
  for (const type of ["link-used", "sign-in", "change-planned", "change-approved"]) {
    assert.ok(types.includes(`control.${type}`), `${type} in ${types.join(" ")}`);
  }
  for (const type of ["change-apply-asked", "change-confirm-asked", "totp-enrolled"]) {
    assert.ok(types.includes(`control.${type}`), type);
  }
  const planned = listOf(items).find((item) => fields(item)["type"] === "control.change-planned");
  assert.equal(fields(fields(planned ?? null)["fields"] ?? null)["author"], undefined, "no name");
});

test("over TLS the site's authority vouches for the door, and a session is the same there", async () => {
  const answer = await new Promise<{ status: number; text: string }>((resolve, reject) => {
    const options = {
      ...{ host: "127.0.0.1", port: control.port, path: "/v1/session", servername: "localhost" },
      ...{ ca: control.caPem, headers: { host: "localhost", cookie: erin.cookie } },
    };
    https
      .get(options, (response) => {
        response.setEncoding("utf8");
        let text = "";
        response.on("data", (chunk: string) => (text += chunk));
        response.on("end", () => resolve({ status: response.statusCode ?? 0, text }));
      })
      .on("error", reject);
  });
  assert.equal(answer.status, 200, answer.text);
  assert.equal(fields(JSON.parse(answer.text) as Json)["person"], "erin");
});

test("whoever has the account of a person of the box signs in without a password, and opens nothing", async () => {
  const token = await signInByUid(control.socket, process.getuid?.() ?? 0);
  const headers = { authorization: `Bearer ${token}` };
  const ask = async (method: string, where: string, body?: string): Promise<ApiAnswer> =>
    await askApi(control.socket, {
      ...{ method, path: where, headers },
      ...(body === undefined ? {} : { body }),
    });
  const me = fields((await ask("GET", "/v1/session")).body ?? null);
  assert.deepEqual([me["person"], me["kind"]], ["erin", "uid"]);
  const order = JSON.stringify({ sha256: "a".repeat(64), confirmWithinSeconds: 60 });
  const refused = fields((await ask("POST", "/v1/changes/c-1/apply", order)).body ?? null);
  assert.equal(refused["code"], "step-up-needed");
  await assert.rejects(signInByUid(control.socket, 12_345), { code: "sign-in-failed" });
  assert.deepEqual(fs.readdirSync(control.at("proof")), [], "nothing is left behind");
});

test("nobody gets in, and nothing is planned, that the ledger does not take", async () => {
  control.isRecorded = false;
  try {
    const totp = erin.code();
    const refused = await new Person("erin", control).ask("POST", "/v1/sign-in/password", {
      ...{ person: "erin", password: PASSWORD, totp },
    });
    assert.ok(refused.status >= 400, JSON.stringify(refused.body));
    const { sha256 } = await erin.done("GET", "/v1/policy/draft");
    const order = { reason: "unseen", draftSha256: word(sha256) };
    const plan = await erin.ask("POST", "/v1/changes", order);
    assert.equal(fields(plan.body ?? null)["code"], "not-recorded");
    assert.equal(plan.status, 503);
  } finally {
    control.isRecorded = true;
  }
});

test("what cannot be done yet says so, and nothing is done", async () => {
  const answer = await erin.ask("POST", "/v1/grant-requests", {
    ...{ conduit: "reads-a", asset: "plc-a", source: "10.10.0.10", seconds: 600 },
    ...{ reason: "service on Sunday", notBefore: "2027-01-03T02:00:00Z" },
  });
  const { code } = fields(answer.body ?? null);
  assert.deepEqual([answer.status, code], [501, "not-built-yet"]);
  const { items } = await erin.done("GET", "/v1/grant-requests");
  assert.deepEqual(items, []);
});
