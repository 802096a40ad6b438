/**
 * The first change of a plant through the API: the link that root prints, the first approver's key, sign-ins with two factors,
 * draft, plan, signature, apply, confirm. All processes are real, each with its uid, and the acts are in the ledger.
 */
import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { createHash, createHmac, generateKeyPairSync, type KeyObject, sign } from "node:crypto";
import fs from "node:fs";
import os from "node:os";
import path from "node:path";
import process from "node:process";
import { after, before, test } from "node:test";
import { formatIpv4, type Json } from "@sallyport/core";
import {
  type ApiAnswer,
  apiSocket,
  archivistSocket,
  ask,
  askApi,
  askSocket,
  fields,
  listOf,
  word,
} from "sallyport";
import { whyNoNamespaces } from "../lab/namespaces.ts";
import { buildSite, plantPolicy, type Site } from "../lab/site.ts";

const why = process.getuid?.() === 0 ? await whyNoNamespaces() : "needs root: rooms, eBPF and uids";
const skip = why ?? false;
const CLI = path.join(import.meta.dirname, "../packages/sallyport/bin/sallyport.mjs");
const PASSWORD = "a barrel rolls downhill 7";
const STEP_MS = 30_000;
const STARTED_WITHIN_MS = 30_000;

let site: Site | undefined;
let home = "";

before(async () => {
  if (why !== undefined) return;
  home = fs.mkdtempSync(path.join(os.tmpdir(), "sallyport-control-"));
  site = await buildSite({
    ...{ name: `k${process.pid}`, mode: "kernel", devices: false },
    policy: { name: "site.yaml", text: policyText() },
  });
});
after(async () => {
  await site?.destroy();
  if (home !== "") fs.rmSync(home, { recursive: true, force: true });
});

/** The plant's, with `control` in a room of its own that one office machine reaches on one port. */
function policyText(): string {
  const console = `  console:
    from: erp
    to: dmz/control
    service: console
    via: direct
    system: true
    reason: people use the console from their desks
    owner: it-ops
    why: sign-in and approvals
    expires: 2027-06-30
`;
  return plantPolicy()
    .text.replace(/^components:\n/m, "components:\n  control: { kind: control }\n")
    .replace(/^services:\n/m, "services:\n  console: { tcp: [8443] }\n")
    .replace(/^conduits:\n/m, `conduits:\n${console}`);
}

function onSite(): Site {
  assert.ok(site, "the plant was built");
  return site;
}

function cli(...args: readonly string[]): Fields {
  const argv = [CLI, ...args, "--json", "--instance", onSite().instance.name];
  const { status, stdout, stderr } = spawnSync(process.execPath, argv, { encoding: "utf8" });
  assert.equal(status, 0, stderr);
  return fields(JSON.parse(stdout) as Json);
}

type Fields = ReturnType<typeof fields>;

/** RFC 6238 with SHA-1 and six digits, written here so that it is not the product's own. */
function totp(secret: Buffer, atMs: number): string {
  const step = Buffer.alloc(8);
  step.writeBigUInt64BE(BigInt(Math.floor(atMs / STEP_MS)));
  const mac = createHmac("sha1", secret).update(step).digest();
  const code = mac.readUInt32BE((mac.at(-1) ?? 0) & 15) & 0x7fffffff;
  return String(code % 1_000_000).padStart(6, "0");
}

function fromBase32(text: string): Buffer {
  const bits = Array.from(text)
    .map((letter) => "ABCDEFGHIJKLMNOPQRSTUVWXYZ234567".indexOf(letter))
    .map((value) => value.toString(2).padStart(5, "0"))
    .join("");
  return Buffer.from((bits.match(/.{8}/g) ?? []).map((byte) => Number.parseInt(byte, 2)));
}

class Person {
  readonly #name: string;
  #cookie = "";
  #seed: Buffer = Buffer.alloc(0);
  #lastStep = 0;

  constructor(name: string) {
    this.#name = name;
  }

  async ask(method: string, where: string, body?: Json, more = {}): Promise<ApiAnswer> {
    const session = this.#cookie === "" ? {} : { cookie: this.#cookie, "sallyport-request": "1" };
    const answer = await askApi(apiSocket(onSite().instance), {
      ...{ method, path: where, headers: { ...session, ...more } },
      ...(body === undefined ? {} : { body: JSON.stringify(body) }),
    });
    const [set] = answer.headers["set-cookie"] ?? [];
    if (set !== undefined) this.#cookie = set.split(";", 1)[0] ?? "";
    return answer;
  }

  async done(method: string, where: string, body?: Json, more = {}): Promise<Fields> {
    const answer = await this.ask(method, where, body, more);
    assert.ok(answer.status < 300, `${method} ${where}: ${JSON.stringify(answer.body)}`);
    return fields(answer.body ?? null);
  }

  /** A code serves once; the one of the next step counts too, so nobody has to wait long. */
  async #code(): Promise<string> {
    const next = Math.max(this.#lastStep + 1, Math.floor(Date.now() / STEP_MS));
    while (next * STEP_MS > Date.now() + STEP_MS) await new Promise((go) => setTimeout(go, 500));
    this.#lastStep = next;
    return totp(this.#seed, next * STEP_MS);
  }

  /** From a link's session to one with two factors. */
  async enroll(): Promise<void> {
    await this.done("PUT", "/v1/session/password", { password: PASSWORD });
    const { flow, uri } = await this.done("POST", "/v1/session/totp/begin", {});
    this.#seed = fromBase32(new URL(word(uri)).searchParams.get("secret") ?? "");
    await this.done("POST", "/v1/session/totp", { flow: word(flow), totp: await this.#code() });
    this.#cookie = "";
    const answer = { person: this.#name, password: PASSWORD, totp: await this.#code() };
    await this.done("POST", "/v1/sign-in/password", answer);
  }
}

const anna = new Person("anna");
const erin = new Person("erin");
const olga = new Person("olga");
let annasKey: KeyObject;

test("all processes behind the API answer, each with a uid of its own", { skip }, async () => {
  const endMs = Date.now() + STARTED_WITHIN_MS;
  let ready: Fields = {};
  while (ready["ready"] !== true && Date.now() < endMs) {
    await new Promise((go) => setTimeout(go, 500));
    const socket = apiSocket(onSite().instance);
    const asked = askApi(socket, { method: "GET", path: "/readyz" });
    ready = fields((await asked.catch(() => undefined))?.body ?? null);
  }
  assert.equal(ready["ready"], true, JSON.stringify(ready));
  const uids = JSON.parse(
    fs.readFileSync(path.join(onSite().instance.stateDir, "uids.json"), "utf8"),
  ) as Readonly<Record<string, number>>;
  for (const name of ["control", "keyholder"]) {
    const { uid } = fs.statSync(path.join(onSite().instance.stateDir, name));
    assert.ok(uid > 0 && uid === uids[name], name);
  }
  assert.equal(new Set(Object.values(uids)).size, Object.keys(uids).length, "no uid serves two");
});

test("root's link lets the first administrator in, once, and their key is the first approver's", {
  skip,
}, async () => {
  const { secret, token } = cli("admin", "link");
  const first = { id: "anna", name: "Anna" };
  await anna.done("POST", "/v1/sign-in/link", { secret: word(token), first });
  const { publicKey, privateKey } = generateKeyPairSync("ed25519");
  annasKey = privateKey;
  const spki = publicKey.export({ type: "spki", format: "der" }).toString("base64");
  const key = { kind: "ed25519", person: "anna", spki, credentialId: "", rpId: "", origin: "" };
  // As the page at the link does it; the secret never reaches a server.
  const proof = createHmac("sha256", Buffer.from(word(secret), "base64url"))
    .update(`sallyport-first-approver/v1\nanna\ned25519\n${spki}\n\n\n\n`)
    .digest("base64url");
  await anna.done("POST", "/v1/approvers/first", { key, proof });
  const held = listOf(await ask(onSite().instance.name, { type: "approver-list" })).map(fields);
  assert.deepEqual(
    held.map(({ id, person }) => [id, person]),
    [["first-anna", "anna"]],
  );
  const again = { secret: word(token), first: { id: "eve", name: "Eve" } };
  assert.equal((await new Person("eve").ask("POST", "/v1/sign-in/link", again)).status, 401);
  await anna.enroll();
});

/** A second approver, who is no administrator; root enrolls their key. */
async function enrollOlga(): Promise<KeyObject> {
  const person = { id: "olga", name: "Olga", roles: ["approver"] };
  const { secret } = await anna.done("POST", "/v1/people", person);
  await olga.done("POST", "/v1/sign-in/link", { secret: word(secret) });
  await olga.enroll();
  const { publicKey, privateKey } = generateKeyPairSync("ed25519");
  const spki = publicKey.export({ type: "spki", format: "der" }).toString("base64");
  cli("approver", "add", "olga", "--person", "olga", "--key", spki);
  return privateKey;
}

test("an engineer's draft is planned, signed by somebody else, applied, confirmed, and on record", {
  skip,
}, async () => {
  const { name } = onSite().instance;
  const person = { id: "erin", name: "Erin", roles: ["engineer"] };
  const { secret } = await anna.done("POST", "/v1/people", person);
  await erin.done("POST", "/v1/sign-in/link", { secret: word(secret) });
  await erin.enroll();
  const text = policyText().replace("holding-registers: [20-39]", "holding-registers: [20-49]");
  assert.notEqual(text, policyText());
  const { sha256: none } = await erin.done("GET", "/v1/policy/draft");
  const files = [{ name: "site.yaml", text }];
  const match = { "if-match": `"${word(none)}"` };
  const { sha256 } = await erin.done("PUT", "/v1/policy/draft", { files }, match);
  const draft = { reason: "recipes need more registers", draftSha256: word(sha256) };
  const change = await erin.done("POST", "/v1/changes", draft);
  const where = `/v1/changes/${word(change["id"])}`;
  const signable = fields(change["signable"] ?? null);
  assert.equal(signable["needed"], 1);
  const order = { sha256: word(signable["sha256"]), confirmWithinSeconds: 60 };
  const early = await erin.ask("POST", `${where}/apply`, order);
  assert.equal(fields(early.body ?? null)["code"], "approval-missing");

  const digest = createHash("sha256").update(word(signable["bytes"])).digest();
  const message = Buffer.from(`sallyport-approval/v1\n${digest.toString("hex")}\n`);
  const by = (key: string, privateKey: KeyObject): Json => {
    const signature = sign(null, message, privateKey).toString("base64url");
    return { kind: "ed25519", key, signature };
  };
  const alone = await anna.done("POST", `${where}/approvals`, by("first-anna", annasKey));
  assert.equal(alone["state"], "planned", "an administrator never counts alone");
  const olgas = await enrollOlga();
  const approved = await olga.done("POST", `${where}/approvals`, by("olga", olgas));
  assert.equal(approved["state"], "approved");
  const was = Number(fields(await ask(name, { type: "status" }))["generation"]);
  assert.equal((await erin.done("POST", `${where}/apply`, order))["state"], "applied");
  assert.equal((await erin.done("POST", `${where}/confirm`, {}))["state"], "confirmed");
  const now = fields(await ask(name, { type: "status" }));
  assert.deepEqual([now["generation"], now["pending"]], [was + 1, undefined]);

  const types = await typesInLedger();
  for (const type of ["link-used", "change-planned", "change-approved", "change-confirm-asked"]) {
    assert.ok(types.has(`control.${type}`), `control.${type} in ${[...types].join(" ")}`);
  }
  for (const type of ["keyholder.totp-accepted", "enforcer.approved", "enforcer.confirmed"]) {
    assert.ok(types.has(type), `${type} in ${[...types].join(" ")}`);
  }
  const seen = await erin.done("GET", "/v1/ledger/records?type=control.change-confirm-asked");
  assert.equal(listOf(seen["items"]).length, 1, "and the API lists it");
});

test("from the one machine that the policy names, over TLS that the site's own authority vouches for", {
  skip,
}, async () => {
  const { certificate } = cli("admin", "ca");
  fs.writeFileSync(path.join(home, "ca.pem"), word(certificate));
  const { legs } = fields(await ask(onSite().instance.name, { type: "running" }));
  const room = listOf(fields(legs ?? null)["rooms"])
    .map(fields)
    .find(({ kind }) => kind === "control");
  const [number] = listOf(fields(room?.["outer"] ?? null)["addresses"]);
  assert.ok(typeof number === "number", "the room has an address on the office's side");
  const url = `https://${formatIpv4(number)}:8443/readyz`;
  const curl = ["curl", "-sS", "-m", "10", "--cacert", path.join(home, "ca.pem"), url];
  const answer = await onSite().plant.run("erp", curl);
  assert.equal(answer.code, 0, answer.stderr);
  assert.equal(fields(JSON.parse(answer.stdout) as Json)["ready"], true, answer.stderr);
  const vendor = await onSite().plant.run("vendor-pc", curl);
  assert.notEqual(vendor.code, 0, "nobody else's packets come so far");
  const untrusted = await onSite().plant.run("erp", ["curl", "-sS", "-m", "10", url]);
  assert.match(untrusted.stderr, /certificate/i);
});

/** The archivist follows event files within a second; records over its socket are there at once. */
async function typesInLedger(): Promise<ReadonlySet<string>> {
  await new Promise((go) => setTimeout(go, 2000));
  const request = { type: "list", question: { limit: 1000 } };
  const page = fields(await askSocket(archivistSocket(onSite().instance, "root"), request));
  return new Set(listOf(page["records"]).map((record) => word(fields(record)["type"])));
}
