/** The whole way of a first change through the API, over the box's socket and over TLS, with no kernel behind it. */
import assert from "node:assert/strict";
import { createHash, generateKeyPairSync, type KeyObject, randomBytes, sign } from "node:crypto";
import fs from "node:fs";
import https from "node:https";
import os from "node:os";
import path from "node:path";
import process from "node:process";
import { after, before, test } from "node:test";
import { createApi, EventHub, type Listening, serveLocal, serveTls } from "@sallyport/api";
import type { Json } from "@sallyport/core";
import { relyingParty } from "@sallyport/identity";
import { approvalMessage, firstAdminToken, firstApproverHmac } from "@sallyport/identity/approval";
import { openLedger, signerFromSeed } from "@sallyport/ledger";
import { openStateStore } from "@sallyport/store";
import { Secret, TOTP } from "otpauth";
import { readArchivistRequest } from "../archivist/archivist-messages.ts";
import { ArchivistService } from "../archivist/archivist-service.ts";
import { type ApiAnswer, askApi, signInByUid } from "../cli/api-commands.ts";
import { fields, listOf, word } from "../cli/enforcer-client.ts";
import { Forwarder } from "../forward/forwarder.ts";
import { ArchivistSource } from "../forward/source.ts";
import { sealingKeys, siteCa } from "../keyholder/keyholder-home.ts";
import { readKeyholderRequest } from "../keyholder/keyholder-messages.ts";
import { KeyholderService } from "../keyholder/keyholder-service.ts";
import { serveLines } from "../line-socket.ts";
import { replyError } from "../messages.ts";
import { ArchivistRecorder } from "../recorder.ts";
import type { AskKeyholder } from "./ask.ts";
import { TestEnforcer } from "./enforcer.test-kit.ts";
import { LocalProof } from "./local-proof.ts";
import { makeServices } from "./services.ts";
import { newCertificate } from "./tls.ts";

const PASSWORD = "a barrel rolls downhill 7";
const home = fs.mkdtempSync(path.join(os.tmpdir(), "sallyport-control-"));
const at = (name: string): string => path.join(home, name);
// TLS looks at the machine's own clock, so this one begins there.
const clock = { now: Date.now(), nowMs: (): number => clock.now };
const random = { bytes: (size: number): Uint8Array => randomBytes(size) };
const doors: { close(): unknown }[] = [];
const state = await openStateStore({ kind: "sqlite", file: at("state.sqlite") });
let enforcer: TestEnforcer;
let listening: Listening;
let caPem = "";
let isRecorded = true;

before(async () => {
  enforcer = await TestEnforcer.in(home, clock.nowMs);
  const ledger = openLedger({
    directory: at("ledger"),
    signer: signerFromSeed("sallyport/test/audit", createHash("sha256").update("test").digest()),
    nowMs: clock.nowMs,
    randomness: (size) => randomBytes(size),
  });
  const archivist = new ArchivistService({
    ...{
      ledger,
      key: "",
      exportsDirectory: at("exports"),
      addWitness: () => undefined,
      nowMs: clock.nowMs,
    },
  });
  const answer = async (line: string): Promise<string> => {
    try {
      if (!isRecorded) throw new Error("no disk");
      const result = await archivist.answer(readArchivistRequest(line), "control");
      return JSON.stringify({ ok: true, result });
    } catch (error) {
      return JSON.stringify({ ok: false, error: replyError(error) });
    }
  };
  doors.push(await serveLines(at("archivist.sock"), answer));
  const recorder = new ArchivistRecorder(at("archivist.sock"), clock.nowMs);
  const keys = sealingKeys(home, random);
  const ca = await siteCa(home, "plant", { keys, nowMs: clock.now, random });
  caPem = ca.certificatePem;
  const keyholder = new KeyholderService({
    ...{ seeds: state.records("totp-seed"), keys, ca, issuer: "plant", clock, random, recorder },
  });
  const askKeyholder: AskKeyholder = async (request) =>
    await keyholder.answer(readKeyholderRequest(JSON.stringify(request)));
  const rp = relyingParty("https://localhost:8443", "plant");
  assert.ok(!("kind" in rp));
  fs.mkdirSync(at("proof"));
  const services = makeServices({
    ...{ state, recorder, clock, random, rp },
    enforcer: enforcer.ask,
    // Through the readers of the sockets: a message that they don't know is found here.
    archivist: async (request) =>
      await archivist.answer(readArchivistRequest(JSON.stringify(request)), "control"),
    keyholder: askKeyholder,
    proof: new LocalProof(at("proof"), clock, random),
    readFlows: () => undefined,
    forwarder: new Forwarder({
      source: new ArchivistSource(async (request) =>
        archivist.answer(readArchivistRequest(JSON.stringify(request)), "control"),
      ),
      settings: state.records("forwarding"),
      cursors: state.records("forwarding-cursor"),
      ...{ clock, sender: { host: "gw1", version: "0", processId: 1, enterprise: 32_473 } },
    }),
    exportsDirectory: at("exports"),
    hub: new EventHub(1),
    machine: {
      supervisorLines: () => [],
      doctorText: () => undefined,
      bootedAtMs: () => 0,
    },
    accounts: () => `erin:x:${process.getuid?.() ?? 0}:0::/:/bin/sh\n`,
  });
  let requests = 0;
  const api = createApi(services, {
    ...{ authorities: ["localhost"], now: clock.nowMs, log: () => undefined },
    newRequestId: () => `r-${++requests}`,
  });
  doors.push(await serveLocal(api, { socketPath: at("api.sock") }));
  const certificate = await newCertificate(askKeyholder, ["localhost"]);
  listening = await serveTls(api, { certificate, host: "127.0.0.1", port: 0 });
  doors.push(listening);
});
after(async () => {
  for (const door of doors) await door.close();
  await state.close();
  fs.rmSync(home, { recursive: true });
});

/** A browser's session: its cookie, and the header that no page of another site can send. */
class Person {
  readonly name: string;
  cookie = "";
  secret = "";

  constructor(name: string) {
    this.name = name;
  }

  async ask(method: string, where: string, body?: Json, more = {}): Promise<ApiAnswer> {
    const headers = {
      ...(this.cookie === "" ? {} : { cookie: this.cookie, "sallyport-request": "1" }),
      ...more,
    };
    const sent = body === undefined ? {} : { body: JSON.stringify(body) };
    const answer = await askApi(at("api.sock"), { method, path: where, headers, ...sent });
    const [set] = answer.headers["set-cookie"] ?? [];
    if (set !== undefined) this.cookie = set.split(";", 1)[0] ?? "";
    return answer;
  }

  async done(method: string, where: string, body?: Json, more = {}): Promise<Fields> {
    const answer = await this.ask(method, where, body, more);
    assert.ok(answer.status < 300, `${method} ${where}: ${JSON.stringify(answer.body)}`);
    return fields(answer.body ?? null);
  }

  code(): string {
    clock.now += 30_000;
    return new TOTP({ secret: Secret.fromBase32(this.secret) }).generate({ timestamp: clock.now });
  }

  /** From a link's session to one with two factors. */
  async enroll(): Promise<void> {
    await this.done("PUT", "/v1/session/password", { password: PASSWORD });
    const { flow, uri } = await this.done("POST", "/v1/session/totp/begin", {});
    this.secret = new URL(word(uri)).searchParams.get("secret") ?? "";
    await this.done("POST", "/v1/session/totp", { flow: word(flow), totp: this.code() });
    await this.signIn();
  }

  async signIn(): Promise<void> {
    this.cookie = "";
    const answer = { person: this.name, password: PASSWORD, totp: this.code() };
    await this.done("POST", "/v1/sign-in/password", answer);
  }
}
type Fields = ReturnType<typeof fields>;

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

const anna = new Person("anna");
const erin = new Person("erin");
let annasKey: KeyObject;

function signed(signable: Json | undefined): Json {
  const { bytes, sha256 } = fields(signable ?? null);
  const digest = createHash("sha256").update(word(bytes)).digest();
  assert.equal(digest.toString("hex"), word(sha256), "the bytes are what is signed");
  const signature = sign(null, approvalMessage(digest), annasKey).toString("base64url");
  return { kind: "ed25519", key: "first-anna", signature };
}

test("the first link makes an administrator whose own key is the first approver's", async () => {
  const secret = await enforcer.firstSecret();
  const first = { id: "anna", name: "Anna" };
  const wrong = await anna.ask("POST", "/v1/sign-in/link", { secret: "A".repeat(43), first });
  assert.equal(fields(wrong.body ?? null)["code"], "link-invalid");
  await anna.done("POST", "/v1/sign-in/link", { secret: firstAdminToken(secret), first });
  const again = await new Person("eve").ask("POST", "/v1/sign-in/link", {
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

  const own = await erin.ask("POST", `${where}/approvals`, signed(change["signable"]));
  assert.equal(own.status, 403, "an engineer approves nothing");
  const approved = await anna.done("POST", `${where}/approvals`, signed(change["signable"]));
  assert.equal(approved["state"], "approved");
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
      ...{ host: "127.0.0.1", port: listening.port, path: "/v1/session", servername: "localhost" },
      ...{ ca: caPem, headers: { host: "localhost", cookie: erin.cookie } },
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
  const token = await signInByUid(at("api.sock"), process.getuid?.() ?? 0);
  const headers = { authorization: `Bearer ${token}` };
  const ask = async (method: string, where: string, body?: string): Promise<ApiAnswer> =>
    await askApi(at("api.sock"), {
      ...{ method, path: where, headers },
      ...(body === undefined ? {} : { body }),
    });
  const me = fields((await ask("GET", "/v1/session")).body ?? null);
  assert.deepEqual([me["person"], me["kind"]], ["erin", "uid"]);
  const order = JSON.stringify({ sha256: "a".repeat(64), confirmWithinSeconds: 60 });
  const refused = fields((await ask("POST", "/v1/changes/c-1/apply", order)).body ?? null);
  assert.equal(refused["code"], "step-up-needed");
  await assert.rejects(signInByUid(at("api.sock"), 12_345), { code: "sign-in-failed" });
  assert.deepEqual(fs.readdirSync(at("proof")), [], "nothing is left behind");
});

test("nobody gets in, and nothing is planned, that the ledger does not take", async () => {
  isRecorded = false;
  try {
    const totp = erin.code();
    const refused = await new Person("erin").ask("POST", "/v1/sign-in/password", {
      ...{ person: "erin", password: PASSWORD, totp },
    });
    assert.ok(refused.status >= 400, JSON.stringify(refused.body));
    const { sha256 } = await erin.done("GET", "/v1/policy/draft");
    const order = { reason: "unseen", draftSha256: word(sha256) };
    const plan = await erin.ask("POST", "/v1/changes", order);
    assert.equal(fields(plan.body ?? null)["code"], "not-recorded");
    assert.equal(plan.status, 503);
  } finally {
    isRecorded = true;
  }
});

test("what cannot be done yet says so, and a page says what to do instead", async () => {
  const answer = await anna.ask("GET", "/v1/backups");
  const { code } = fields(answer.body ?? null);
  assert.deepEqual([answer.status, code], [501, "not-built-yet"]);
});
