/**
 * People, at the running product: a browser on the one machine that the policy names goes from the link that root prints to a
 * change that is confirmed, with passkeys alone; people of the organization's provider sign in there; root helps who lost
 * all; certificates. Every process has its uid, the provider is a real one, and the acts are in the ledger.
 */
import assert from "node:assert/strict";
import { execFileSync, spawnSync } from "node:child_process";
import { createHash, X509Certificate } from "node:crypto";
import fs from "node:fs";
import os from "node:os";
import path from "node:path";
import process from "node:process";
import { after, before, test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { formatIpv4, type Json } from "@sallyport/core";
import {
  apiSocket,
  archivistSocket,
  ask,
  askApi,
  askSocket,
  enforcerSocket,
  fields,
  instanceNamed,
  keyholderSocket,
  listOf,
  word,
} from "sallyport";
import type { IdpAccount, IdpOptions } from "../lab/idp.main.ts";
import { whyNoNamespaces } from "../lab/namespaces.ts";
import { buildSite, plantPolicy, type Site } from "../lab/site.ts";
import { Browser, hasChromium, type Page } from "./hands/browser.ts";

const root =
  process.getuid?.() === 0 ? await whyNoNamespaces() : "needs root: rooms, eBPF and uids";
const why = root ?? (hasChromium() ? undefined : "no /usr/bin/chromium here");
const skip = why ?? false;
const CLI = path.join(import.meta.dirname, "../packages/sallyport/bin/sallyport.mjs");
const NAME = "gateway.plant.example";
const ORIGIN = `https://${NAME}:8443`;
const ISSUER = "https://idp.plant.example:9443";
const IDP_ADDRESS = "10.10.0.11";
const CLIENT_SECRET = "a client secret of the corporation";
const STARTED_WITHIN_MS = 60_000;

let site: Site | undefined;
let browser: Browser | undefined;
let address = "";
const home = fs.mkdtempSync(path.join(os.tmpdir(), "sallyport-people-"));
const at = (name: string): string => path.join(home, name);

before(async () => {
  if (why !== undefined) return;
  const instance = instanceNamed(`q${process.pid}`);
  certificate("idp", "idp.plant.example");
  fs.mkdirSync(instance.stateDir, { recursive: true });
  const settings = { names: [NAME], providers: [provider(fs.readFileSync(at("idp.pem"), "utf8"))] };
  fs.writeFileSync(path.join(instance.stateDir, "settings.json"), JSON.stringify(settings));
  site = await buildSite({
    ...{ name: instance.name, mode: "kernel", devices: false },
    policy: { name: "site.yaml", text: policyText() },
  });
  await ready();
  address = await addressOf("control");
});
after(async () => {
  await browser?.close();
  await site?.destroy();
  fs.rmSync(home, { recursive: true, force: true });
});

function provider(ca: string): object {
  return {
    ...{ id: "corp", issuer: ISSUER, clientId: "sallyport", address: IDP_ADDRESS, ca },
    acr: ["urn:plant:mfa"],
    groups: { "ot-engineers": ["engineer"], "ot-approvers": ["approver"] },
  };
}

/** The plant's, with `control` in a room that one office machine reaches, and that reaches the provider. */
function policyText(): string {
  const terms = "owner: it-ops, expires: 2027-06-30";
  const conduits = `  console: { from: erp, to: dmz/control, service: console, via: direct, system: true, reason: desks, why: sign-in, ${terms} }
  provider: { from: dmz/control, to: historian, service: provider, via: direct, system: true, reason: its people, why: sign-in, ${terms} }
`;
  return plantPolicy()
    .text.replace(/^components:\n/m, "components:\n  control: { kind: control }\n")
    .replace(
      /^services:\n/m,
      "services:\n  console: { tcp: [8443] }\n  provider: { tcp: [9443] }\n",
    )
    .replace(/^conduits:\n/m, `conduits:\n${conduits}`);
}

function onSite(): Site {
  assert.ok(site, "the plant was built");
  return site;
}

/** Self-signed, so that it is its own authority. */
function certificate(file: string, name: string): void {
  execFileSync(
    "openssl",
    [
      ...["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"],
      ...[
        "-keyout",
        at(`${file}.key`),
        "-out",
        at(`${file}.pem`),
        "-days",
        "30",
        "-subj",
        `/CN=${name}`,
      ],
      ...["-addext", `subjectAltName=DNS:${name}`],
    ],
    { stdio: "ignore" },
  );
}

function pinOf(pem: string): string {
  const spki = new X509Certificate(pem).publicKey.export({ type: "spki", format: "der" });
  return createHash("sha256").update(spki).digest("base64");
}

type Fields = ReturnType<typeof fields>;

function tryCli(
  args: readonly string[],
  input?: string,
): { readonly status: number | null; readonly out: Fields; readonly err: string } {
  const argv = [CLI, ...args, "--json", "--instance", onSite().instance.name];
  const done = spawnSync(process.execPath, argv, {
    encoding: "utf8",
    ...(input === undefined ? {} : { input }),
  });
  const out = done.stdout === "" ? {} : fields(JSON.parse(done.stdout) as Json);
  return { status: done.status, out, err: done.stderr };
}

function cli(...args: readonly string[]): Fields {
  const { status, out, err } = tryCli(args);
  assert.equal(status, 0, err);
  return out;
}

async function ready(): Promise<void> {
  const endMs = Date.now() + STARTED_WITHIN_MS;
  const socket = apiSocket(onSite().instance);
  while (Date.now() < endMs) {
    const asked = askApi(socket, { method: "GET", path: "/readyz" });
    const answer = fields((await asked.catch(() => undefined))?.body ?? null);
    if (answer["ready"] === true) return;
    await sleep(500);
  }
  throw new Error("the gateway was not ready in time");
}

async function addressOf(kind: string): Promise<string> {
  const { legs } = fields(await ask(onSite().instance.name, { type: "running" }));
  const rooms = listOf(fields(legs ?? null)["rooms"]).map(fields);
  const room = rooms.find((one) => one["kind"] === kind);
  const [number] = listOf(fields(room?.["outer"] ?? null)["addresses"]);
  assert.ok(typeof number === "number", "the room has an address on the office's side");
  return formatIpv4(number);
}

/** What the console's pages do, in a browser's own words. */
const SCRIPT = `
const bytes = (text) => Uint8Array.from(atob(text.replaceAll("-", "+").replaceAll("_", "/")), (c) => c.charCodeAt(0));
const base64 = (data) => btoa(String.fromCharCode(...new Uint8Array(data)));
const base64url = (data) => base64(data).replaceAll("+", "-").replaceAll("/", "_").replaceAll("=", "");
async function hmac(secret, text) {
  const key = await crypto.subtle.importKey("raw", bytes(secret), { name: "HMAC", hash: "SHA-256" }, false, ["sign"]);
  return base64url(await crypto.subtle.sign("HMAC", key, new TextEncoder().encode(text)));
}
async function api(method, path, body, more = {}) {
  const headers = { "sallyport-request": "1", ...(body === undefined ? {} : { "content-type": "application/json" }), ...more };
  const answer = await fetch(path, { method, headers, ...(body === undefined ? {} : { body: JSON.stringify(body) }) });
  const text = await answer.text();
  return { status: answer.status, body: text === "" ? null : JSON.parse(text) };
}
async function done(...request) {
  const { status, body } = await api(...request);
  if (status >= 300) throw new Error(JSON.stringify(body));
  return body;
}
async function makePasskey(name) {
  const { flow, publicKey } = await done("POST", "/v1/session/passkeys/options", {});
  const made = await navigator.credentials.create({ publicKey: PublicKeyCredential.parseCreationOptionsFromJSON(publicKey) });
  await done("POST", "/v1/session/passkeys", { flow, name, credential: made.toJSON() });
  return { id: made.id, spki: base64(made.response.getPublicKey()) };
}
async function assertion(publicKey) {
  const got = await navigator.credentials.get({ publicKey: PublicKeyCredential.parseRequestOptionsFromJSON(publicKey) });
  return got.toJSON();
}
async function signIn() {
  await api("DELETE", "/v1/session");
  const { flow, publicKey } = await done("POST", "/v1/sign-in/passkey/options", {});
  const answer = { flow, credential: await assertion(publicKey) };
  const session = await done("POST", "/v1/sign-in/passkey/finish", answer);
  return { session, again: await api("POST", "/v1/sign-in/passkey/finish", answer) };
}
async function stepUp() {
  const { flow, publicKey } = await done("POST", "/v1/session/step-up/options", {});
  return done("POST", "/v1/session/step-up/finish", { kind: "passkey", flow, credential: await assertion(publicKey) });
}
async function approve(path, key, credential, signed) {
  const digest = Uint8Array.from(signed.match(/../g), (pair) => parseInt(pair, 16));
  const { response } = await assertion({ challenge: base64url(digest), rpId: location.hostname, userVerification: "required", allowCredentials: [{ id: credential, type: "public-key" }] });
  const { clientDataJSON, authenticatorData, signature } = response;
  return api("POST", path, { kind: "passkey", key, credentialId: credential, clientDataJSON, authenticatorData, signature });
}`;

/** A person at the office machine, with a browser and an authenticator of their own. */
class Person {
  readonly page: Page;

  private constructor(page: Page) {
    this.page = page;
  }

  static async at(browserThere: Browser): Promise<Person> {
    const page = await browserThere.page(SCRIPT);
    await page.go(`${ORIGIN}/readyz`);
    return new Person(page);
  }

  async call(name: string, ...args: readonly unknown[]): Promise<Fields> {
    const list = args.map((arg) => (arg === undefined ? "undefined" : JSON.stringify(arg)));
    return fields((await this.page.run(`${name}(${list.join(", ")})`)) as Json);
  }

  async done(method: string, where: string, body?: Json, more = {}): Promise<Fields> {
    return await this.call("done", method, where, body, more);
  }

  /** Status and code of what is refused. */
  async refused(method: string, where: string, body?: Json): Promise<readonly unknown[]> {
    const { status, body: told } = await this.call("api", method, where, body);
    return [status, fields(told ?? null)["code"]];
  }
}

async function people(): Promise<Browser> {
  const ca = word(cli("admin", "ca")["certificate"]);
  fs.writeFileSync(at("ca.pem"), ca);
  browser ??= Browser.start({
    netns: onSite().plant.netns("erp") ?? "",
    hosts: { [NAME]: address, "idp.plant.example": IDP_ADDRESS },
    trusted: [pinOf(ca), pinOf(fs.readFileSync(at("idp.pem"), "utf8"))],
  });
  return browser;
}

let anna: Person;
let erin: Person;

test("in a browser, over TLS: root's link, a passkey, sign-in, step-up; a passkey's answer is good once", {
  skip,
}, async () => {
  anna = await Person.at(await people());
  const { secret } = cli("admin", "link", "--name", `${NAME}:8443`);
  const token = await anna.page.run(
    `hmac(${JSON.stringify(secret)}, "sallyport-first-admin/v1\\n")`,
  );
  const first = { id: "anna", name: "Anna" };
  await anna.done("POST", "/v1/sign-in/link", { secret: String(token), first });
  assert.deepEqual(await anna.refused("GET", "/v1/people"), [403, "not-permitted"]);
  const { id, spki } = await anna.call("makePasskey", "laptop");
  const lines = ["anna", "passkey", spki, id, NAME, ORIGIN]
    .map((part) => `${word(part)}\n`)
    .join("");
  const text = `sallyport-first-approver/v1\n${lines}`;
  const proof = await anna.page.run(`hmac(${JSON.stringify(secret)}, ${JSON.stringify(text)})`);
  const key = {
    ...{ kind: "passkey", person: "anna", spki: word(spki) },
    ...{ credentialId: word(id), rpId: NAME, origin: ORIGIN },
  };
  const forged = { key, proof: "A".repeat(43) };
  assert.deepEqual(await anna.refused("POST", "/v1/approvers/first", forged), [
    ...[409, "approval-refused"],
  ]);
  const enrolment = { key, proof: String(proof) };
  await anna.done("POST", "/v1/approvers/first", enrolment);
  assert.deepEqual(await anna.refused("POST", "/v1/approvers/first", enrolment), [
    ...[409, "approval-refused"],
  ]);
  const [held] = listOf(await ask(onSite().instance.name, { type: "approver-list" })).map(fields);
  assert.deepEqual(
    [held?.["person"], held?.["kind"], held?.["neverAlone"]],
    ["anna", "passkey", true],
  );

  const { session, again } = await anna.call("signIn");
  assert.deepEqual(fields(session ?? null)["roles"], ["admin", "approver"]);
  assert.equal(fields(again ?? null)["status"], 401, "a passkey's answer is good once");
  assert.equal((await anna.call("stepUp"))["person"], "anna");
});

test("a draft is planned, approved by a passkey of somebody who is no administrator, applied and confirmed", {
  skip,
}, async () => {
  const { name } = onSite().instance;
  const add = async (id: string, role: string): Promise<readonly [Person, Fields]> => {
    const { secret } = await anna.done("POST", "/v1/people", { id, name: id, roles: [role] });
    const person = await Person.at(await people());
    await person.done("POST", "/v1/sign-in/link", { secret: word(secret) });
    const passkey = await person.call("makePasskey", "phone");
    await person.call("signIn");
    return [person, passkey];
  };
  const [olga, olgas] = await add("olga", "approver");
  [erin] = await add("erin", "engineer");
  const credential = word(olgas["id"]);
  const about = ["--person", "olga", "--key", word(olgas["spki"]), "--passkey", credential];
  cli("approver", "add", "olga", ...about, "--origin", ORIGIN, "--reason", "the second approver");

  const text = policyText().replace("holding-registers: [20-39]", "holding-registers: [20-49]");
  assert.notEqual(text, policyText());
  const { sha256: none } = await erin.done("GET", "/v1/policy/draft");
  const match = { "if-match": `"${word(none)}"` };
  const files = [{ name: "site.yaml", text }];
  const { sha256 } = await erin.done("PUT", "/v1/policy/draft", { files }, match);
  const reason = "recipes need more registers";
  const change = await erin.done("POST", "/v1/changes", { reason, draftSha256: word(sha256) });
  const where = `/v1/changes/${word(change["id"])}`;
  const signed = word(fields(change["signable"] ?? null)["sha256"]);
  const other = createHash("sha256").update("another plan").digest("hex");
  const wrong = await olga.call("approve", `${where}/approvals`, "olga", credential, other);
  assert.equal(fields(wrong["body"] ?? null)["code"], "approval-refused");
  const right = await olga.call("approve", `${where}/approvals`, "olga", credential, signed);
  assert.equal(fields(right["body"] ?? null)["state"], "approved", JSON.stringify(right));
  const was = Number(fields(await ask(name, { type: "status" }))["generation"]);
  await erin.call("stepUp");
  const order = { sha256: signed, confirmWithinSeconds: 60 };
  assert.equal((await erin.done("POST", `${where}/apply`, order))["state"], "applied");
  assert.equal((await erin.done("POST", `${where}/confirm`, {}))["state"], "confirmed");
  const now = fields(await ask(name, { type: "status" }));
  assert.deepEqual([now["generation"], now["pending"]], [was + 1, undefined]);
});

test("people of the organization's provider sign in there, as their group says; mix-ups, replays and foreign nonces do not", {
  skip,
}, async () => {
  const account: IdpAccount = {
    ...{ sub: "u-1001", username: "Ines.Meyer", name: "Ines Meyer", acr: "urn:plant:mfa" },
    groups: ["ot-engineers"],
  };
  const write = (more: Partial<IdpAccount>): void =>
    fs.writeFileSync(at("account.json"), JSON.stringify({ ...account, ...more }));
  write({});
  /** In a browser that the provider has not seen. */
  const become = async (more: Partial<IdpAccount>): Promise<void> => {
    write(more);
    ines = await Person.at(await people());
  };
  const options: IdpOptions = {
    ...{ issuer: ISSUER, host: IDP_ADDRESS, clientSecret: CLIENT_SECRET },
    ...{ certFile: at("idp.pem"), keyFile: at("idp.key"), accountFile: at("account.json") },
    redirectUri: `${ORIGIN}/sign-in/corp`,
  };
  const main = path.join(import.meta.dirname, "../lab/idp.main.ts");
  const argv = [process.execPath, main, JSON.stringify(options)];
  const started = new Promise<void>((resolve) => {
    onSite().plant.spawn("historian", argv, (line) => line === "listening" && resolve());
  });
  await started;
  let ines = await Person.at(await people());
  assert.deepEqual(await ines.refused("POST", "/v1/sign-in/oidc/start", {}), [
    409,
    "oidc-not-usable",
  ]);
  assert.equal(tryCli(["admin", "oidc-secret", "corp"], `${CLIENT_SECRET}\n`).status, 0);

  interface Begun {
    readonly flow: string;
    readonly url: URL;
  }
  const begin = async (): Promise<Begun> => {
    const { flow, url } = await ines.done("POST", "/v1/sign-in/oidc/start", {});
    return { flow: word(flow), url: new URL(word(url)) };
  };
  /** To the provider and back; what stands in the address then. */
  const come = async ({ url }: Begun): Promise<Record<string, string>> => {
    const href = await ines.page.go(url.href, `${ORIGIN}/sign-in/corp?`);
    return Object.fromEntries(new URL(href).searchParams);
  };
  const finish = (flow: string, answer: Record<string, string>): Promise<readonly unknown[]> =>
    ines.refused("POST", "/v1/sign-in/oidc/finish", { flow, ...answer });
  const refused = [401, "oidc-refused"];

  const one = await begin();
  const answer = await come(one);
  const two = await begin();
  assert.deepEqual(await finish(two.flow, answer), refused, "another browser's answer");
  const { iss: _iss, ...silent } = answer;
  assert.deepEqual(await finish(one.flow, silent), refused, "it does not say who answered");

  const three = await begin();
  const mixed = await come(three);
  const evil = { ...mixed, iss: "https://evil.example" };
  assert.deepEqual(await finish(three.flow, evil), refused, "another provider's answer");

  // A code that was made for another sign-in's nonce, with all else as it should be.
  const [four, five] = [await begin(), await begin()];
  for (const name of ["state", "code_challenge"]) {
    four.url.searchParams.set(name, five.url.searchParams.get(name) ?? "");
  }
  assert.deepEqual(await finish(five.flow, await come(four)), refused, "another's nonce");

  await become({ acr: "urn:plant:pwd" });
  const weak = await begin();
  assert.deepEqual(await finish(weak.flow, await come(weak)), refused, "without a second factor");
  await become({ groups: ["canteen"], sub: "u-2", username: "carl" });
  const stranger = await begin();
  assert.deepEqual(await finish(stranger.flow, await come(stranger)), refused, "no group of ours");

  await become({});
  const good = await begin();
  const right = await come(good);
  const opened = await ines.done("POST", "/v1/sign-in/oidc/finish", { flow: good.flow, ...right });
  assert.deepEqual([opened["person"], opened["roles"]], ["ines.meyer@corp", ["engineer"]]);
  assert.deepEqual(await finish(good.flow, right), refused, "a replay");
  assert.deepEqual(await ines.refused("GET", "/v1/people"), [403, "not-permitted"]);

  const records = await recordsOf("control.sign-in-refused");
  const causes = records.map(
    (record) => fields(JSON.parse(word(record["leaf"])) as Json)["because"],
  );
  for (const cause of [
    ...["oidc-mix-up", "oidc-nonce", "oidc-acr", "oidc-no-role", "oidc-state-used"],
  ]) {
    assert.ok(causes.includes(cause), `${cause} in ${causes.map(String).join(" ")}`);
  }
});

test("at the command line an auditor proves and changes nothing, an engineer approves nothing, and neither reaches a socket", {
  skip,
}, async () => {
  const { instance } = onSite();
  // Two accounts that every Debian has; whoever has one is the person of the same name.
  const [auditor, engineer] = [1, 2].map((uid) => (args: readonly string[]) => {
    const code = path.join(instance.runDir, "code");
    const node = path.join(
      code,
      path.relative(path.join(import.meta.dirname, ".."), process.execPath),
    );
    const drop = [`--reuid=${uid}`, `--regid=${uid}`, "--clear-groups", "--"];
    const cliThere = path.join(code, "packages/sallyport/bin/sallyport.mjs");
    const argv = [...drop, node, cliThere, ...args, "--json", "--instance", instance.name];
    const done = spawnSync("setpriv", argv, { encoding: "utf8", cwd: "/" });
    const error = done.stderr === "" ? undefined : fields(JSON.parse(done.stderr) as Json)["error"];
    return [done.status, error === undefined ? "" : word(fields(error)["code"])];
  });
  assert.ok(auditor && engineer);
  assert.deepEqual(
    auditor(["api", "GET", "/v1/session"]),
    [4, "sign-in-failed"],
    "nobody added it",
  );
  await anna.call("stepUp");
  await anna.done("POST", "/v1/people", { id: "daemon", name: "Ada", roles: ["auditor"] });
  await anna.done("POST", "/v1/people", { id: "bin", name: "Emil", roles: ["engineer"] });

  assert.deepEqual(auditor(["api", "GET", "/v1/ledger/head"]), [0, ""]);
  const head = Number(
    fields(await askSocket(archivistSocket(instance, "root"), { type: "head" }))["size"],
  );
  assert.deepEqual(auditor(["api", "GET", `/v1/ledger/consistency?from=1&to=${head || 2}`]), [
    0,
    "",
  ]);
  const draft = JSON.stringify({ files: [{ name: "site.yaml", text: "version: 1" }] });
  const approval = JSON.stringify({ kind: "ed25519", key: "olga", signature: "AA" });
  const person = JSON.stringify({ id: "eve", name: "Eve", roles: ["admin"] });
  for (const args of [
    ["PUT", "/v1/policy/draft", draft, "--if-match", "x"],
    ["POST", "/v1/changes/c-1/approvals", approval],
    ["POST", "/v1/people", person],
    ["POST", "/v1/grants/revoke-all", '{"reason":"x"}'],
  ]) {
    assert.deepEqual(auditor(["api", ...args]), [5, "not-permitted"], args.join(" "));
  }
  const approve = ["api", "POST", "/v1/changes/c-1/approvals", approval];
  assert.deepEqual(engineer(approve), [5, "not-permitted"]);
  const order = JSON.stringify({ sha256: "a".repeat(64), confirmWithinSeconds: 60 });
  const apply = ["api", "POST", "/v1/changes/c-1/apply", order];
  assert.deepEqual(engineer(apply), [4, "step-up-needed"], "an account of the box is one factor");
  for (const tries of [auditor, engineer]) {
    assert.deepEqual(tries(["status"]), [5, "needs-root"]);
    assert.deepEqual(tries(["admin", "link"]), [5, "needs-root"]);
    assert.deepEqual(tries(["admin", "ca"]), [5, "needs-root"]);
    assert.deepEqual(tries(["approver", "list"]), [5, "needs-root"]);
    assert.deepEqual(tries(["ledger", "status"]), [5, "needs-root"]);
    const recover = ["admin", "recover", "anna", "--reason", "x"];
    assert.deepEqual(tries(recover), [5, "needs-root"]);
    const body = '{"person":"anna","reason":"x"}';
    assert.deepEqual(tries(["api", "POST", "/v1/local-root/recover", body]), [5, "denied"]);
  }
  const change = word(
    listOf((await erin.done("GET", "/v1/changes"))["items"]).map(fields)[0]?.["id"],
  );
  const unsigned = await planned();
  await erin.call("stepUp");
  assert.notEqual(change, unsigned.id);
  const early = await erin.refused("POST", `/v1/changes/${unsigned.id}/apply`, unsigned.order);
  assert.deepEqual(early, [403, "approval-missing"]);

  const scopes = ["plant.read", "policy.read"];
  const { secret } = await anna.done("POST", "/v1/keys", { name: "nagios", scopes, days: 1 });
  const file = at("nagios.key");
  fs.writeFileSync(file, word(secret), { mode: 0o600 });
  const withKey = (...args: readonly string[]): readonly unknown[] => {
    const { status, err } = tryCli(["api", ...args, "--key-file", file]);
    return [
      status,
      err === "" ? "" : word(fields(fields(JSON.parse(err) as Json)["error"] ?? null)["code"]),
    ];
  };
  assert.deepEqual(withKey("GET", "/v1/status"), [0, ""]);
  assert.deepEqual(withKey("GET", "/v1/ledger/head"), [5, "not-permitted"], "not in its scopes");
  assert.deepEqual(withKey("POST", "/v1/people", person), [5, "not-permitted"]);
  fs.writeFileSync(file, `${word(secret).slice(0, -4)}AAAA`);
  assert.deepEqual(withKey("GET", "/v1/status"), [4, "sign-in-needed"]);
  fs.chmodSync(file, 0o644);
  assert.deepEqual(withKey("GET", "/v1/status"), [64, "usage"], "everybody can read it");
});

/** A change of erin's that nobody signed. */
async function planned(): Promise<{ readonly id: string; readonly order: Json }> {
  const text = policyText().replace("holding-registers: [20-39]", "holding-registers: [20-59]");
  const { sha256: was } = await erin.done("GET", "/v1/policy/draft");
  const files = [{ name: "site.yaml", text }];
  const match = { "if-match": `"${word(was)}"` };
  const { sha256 } = await erin.done("PUT", "/v1/policy/draft", { files }, match);
  const change = await erin.done("POST", "/v1/changes", { reason: "x", draftSha256: word(sha256) });
  const signed = word(fields(change["signable"] ?? null)["sha256"]);
  return { id: word(change["id"]), order: { sha256: signed, confirmWithinSeconds: 60 } };
}

test("root lets an administrator in again who lost all; two people open a sealed account, and the status says so", {
  skip,
}, async () => {
  await anna.call("stepUp");
  const terms = { holders: ["erin", "olga"], roles: ["admin"] };
  const { halves } = await anna.done("PUT", "/v1/break-glass/red", terms);
  const { secret } = cli("admin", "recover", "anna", "--reason", "the laptop was stolen");
  assert.deepEqual(await anna.refused("GET", "/v1/session"), [401, "sign-in-needed"]);
  // The stolen passkey is worth nothing.
  await assert.rejects(anna.call("signIn"), /sign-in-failed/);
  const nobody = tryCli(["admin", "recover", "nobody", "--reason", "x"]);
  assert.match(nobody.err, /no-such-person/);
  await anna.done("POST", "/v1/sign-in/link", { secret: word(secret) });
  await anna.call("makePasskey", "new laptop");
  await anna.call("signIn");

  const out = at("red.session");
  const order = ["break-glass", "open", "red", "--reason", "nobody can sign in", "--out", out];
  const half = tryCli(order, `${word(listOf(halves)[0])}\n${word(listOf(halves)[0])}\n`);
  assert.deepEqual(
    [half.status, fields(fields(JSON.parse(half.err) as Json)["error"] ?? null)["code"]],
    [...[4, "break-glass-refused"]],
  );
  const open = tryCli(order, `${listOf(halves).map(word).join("\n")}\n`);
  assert.equal(open.status, 0, open.err);
  const status = cli("api", "GET", "/v1/status", "--session", out);
  assert.match(listOf(status["degraded"]).map(word).join("\n"), /break-glass red was opened/);
  assert.equal((await recordsOf("control.break-glass-opened")).length, 1);
  assert.equal((await recordsOf("control.admin-recovered")).length, 1);
});

test("the keyholder signs for no name but the gateway's own, and asks the enforcer nothing but what is in force", {
  skip,
}, async () => {
  const { instance } = onSite();
  const spki = new X509Certificate(fs.readFileSync(at("idp.pem"))).publicKey
    .export({ type: "spki", format: "der" })
    .toString("base64");
  const issue = (...names: readonly string[]): Promise<Json> =>
    askSocket(keyholderSocket(instance), { type: "tls-issue", key: { spki }, names });
  await issue(NAME, address);
  for (const foreign of ["historian.plant.example", "10.41.0.10"]) {
    await assert.rejects(issue(NAME, foreign), { code: "certificate-foreign-name" });
  }
  const door = enforcerSocket(instance, "keyholder");
  for (const type of ["status", "approver-list", "first-secret", "down"]) {
    await assert.rejects(askSocket(door, { type }), { code: "denied" }, type);
  }
});

test("TLS is 1.3, and a certificate of the plant's own authority takes the place of ours", {
  skip,
}, async () => {
  const curl = (ca: string, ...more: readonly string[]) =>
    onSite().plant.run("erp", [
      ...["curl", "-sS", "-m", "10", "--cacert", at(ca), "--resolve", `${NAME}:8443:${address}`],
      ...[...more, `${ORIGIN}/healthz`],
    ]);
  assert.equal((await curl("ca.pem")).code, 0);
  assert.notEqual((await curl("ca.pem", "--tls-max", "1.2")).code, 0);
  const settingsFile = path.join(onSite().instance.stateDir, "settings.json");
  const settings = JSON.parse(fs.readFileSync(settingsFile, "utf8")) as { names: string[] };
  const other = "console.plant.example";
  const url = `https://${other}:8443/healthz`;
  const there = (): ReturnType<Site["plant"]["run"]> =>
    onSite().plant.run("erp", [
      ...["curl", "-sSf", "-m", "5", "--cacert", at("ca.pem")],
      ...["--resolve", `${other}:8443:${address}`, url],
    ]);
  assert.notEqual((await there()).code, 0, "nobody wrote it down");
  fs.writeFileSync(settingsFile, JSON.stringify({ ...settings, names: [NAME, other] }));
  const untilMs = Date.now() + 30_000;
  while ((await there()).code !== 0 && Date.now() < untilMs) await sleep(1000);
  assert.equal((await there()).code, 0, "root wrote it down, so it is signed and answered");
  assert.equal((await recordsOf("control.settings-changed")).length, 1);

  certificate("plant", NAME);
  const foreignKey = ["--cert", at("plant.pem"), "--key", at("idp.key")];
  assert.match(tryCli(["admin", "certificate", ...foreignKey]).err, /certificate-unusable/);
  cli("admin", "certificate", "--cert", at("plant.pem"), "--key", at("plant.key"));
  const trusted = async (ca: string): Promise<number | null> => {
    const endMs = Date.now() + 40_000;
    let seen = await curl(ca);
    while (seen.code !== 0 && Date.now() < endMs) {
      await sleep(1000);
      seen = await curl(ca);
    }
    return seen.code;
  };
  assert.equal(await trusted("plant.pem"), 0);
  assert.notEqual((await curl("ca.pem")).code, 0, "ours is not in use any more");
  cli("admin", "certificate", "--remove");
  assert.equal(await trusted("ca.pem"), 0, "ours again");
});

test("at the running process a storm of sign-ins is sent away, a guesser waits, and the rest is answered", {
  skip,
}, async () => {
  const socket = apiSocket(onSite().instance);
  const body = JSON.stringify({ person: "anna", password: "a barrel rolls away", totp: "000000" });
  const guess = { method: "POST", path: "/v1/sign-in/password", body };
  const slow: string[] = [];
  for (let tries = 0; tries < 9; tries++) {
    slow.push(word(fields((await askApi(socket, guess)).body ?? null)["code"]));
  }
  assert.deepEqual(new Set(slow), new Set(["sign-in-failed", "sign-in-later"]));
  const storm = Array.from({ length: 100 }, () => askApi(socket, guess));
  const startMs = performance.now();
  const { status } = await askApi(socket, { method: "GET", path: "/healthz" });
  const waitedMs = performance.now() - startMs;
  const answers = (await Promise.all(storm)).map((answer) => answer.status);
  assert.deepEqual([status, waitedMs < 5000], [200, true], `${Math.round(waitedMs)} ms`);
  assert.ok(answers.filter((one) => one === 429).length >= 80, answers.join(" "));
  assert.deepEqual(
    answers.filter((one) => ![401, 429, 503].includes(one)),
    [],
  );
  const office = await Person.at(await people());
  assert.deepEqual(await office.refused("GET", "/v1/session"), [401, "sign-in-needed"]);
});

async function recordsOf(type: string): Promise<readonly Fields[]> {
  const request = { type: "list", question: { limit: 1000, type } };
  const page = fields(await askSocket(archivistSocket(onSite().instance, "root"), request));
  return listOf(page["records"]).map(fields);
}
