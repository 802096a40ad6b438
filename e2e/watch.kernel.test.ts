/**
 * Who watches the gateway from outside, with all processes real: a client made from openapi.json by other hands drives a change,
 * live streams tell of it, rsyslog on an office machine gets each record over a conduit of the policy, an auditor takes an export.
 */
import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { createHash, createHmac, generateKeyPairSync, type KeyObject, sign } from "node:crypto";
import fs from "node:fs";
import http from "node:http";
import os from "node:os";
import path from "node:path";
import process from "node:process";
import { after, before, test } from "node:test";
import { pathToFileURL } from "node:url";
import type { Json } from "@sallyport/core";
import { apiSocket, ask, askApi, fields, listOf, word } from "sallyport";
import { whyNoNamespaces } from "../lab/namespaces.ts";
import { buildSite, plantPolicy, type Site } from "../lab/site.ts";
import { Person, type ServerEvent } from "./hands/people.ts";

const SWAGGER = path.join(import.meta.dirname, "swagger/node_modules/swagger-client/lib/index.js");
const why =
  (process.getuid?.() === 0 ? await whyNoNamespaces() : "needs root: rooms, eBPF and uids") ??
  (fs.existsSync("/usr/sbin/rsyslogd") ? undefined : "needs rsyslog and rsyslog-gnutls") ??
  (fs.existsSync(SWAGGER) ? undefined : "needs `npm ci` in e2e/swagger");
const skip = why ?? false;
const CLI = path.join(import.meta.dirname, "../packages/sallyport/bin/sallyport.mjs");
const SIEM = "10.10.0.11";
const WITHIN_MS = 40_000;

let site: Site | undefined;
let home = "";
let olgasKey: KeyObject;
let anna: Person;
let erin: Person;
let ada: Person;
let olga: Person;

before(async () => {
  if (why !== undefined) return;
  home = fs.mkdtempSync(path.join(os.tmpdir(), "sallyport-watch-"));
  site = await buildSite({
    ...{ name: `w${process.pid}`, mode: "kernel", devices: false },
    policy: { name: "site.yaml", text: policyText() },
  });
});
after(async () => {
  await site?.destroy();
  if (home !== "") fs.rmSync(home, { recursive: true, force: true });
});

/** The plant's, with a room for `control` and a conduit from it to the SIEM: an ordinary one, of the system. */
function policyText(): string {
  const records = `  records:
    from: dmz/control
    to: historian
    service: syslog-tls
    via: direct
    system: true
    reason: records leave the box as they are made
    owner: it-ops
    why: evidence that the gateway cannot take back
    expires: 2027-06-30
`;
  return plantPolicy()
    .text.replace(/^components:\n/m, "components:\n  control: { kind: control }\n")
    .replace(/^conduits:\n/m, `conduits:\n${records}`);
}

function onSite(): Site {
  assert.ok(site, "the plant was built");
  return site;
}

type Fields = ReturnType<typeof fields>;

function cli(...args: readonly string[]): Fields {
  const argv = [CLI, ...args, "--json", "--instance", onSite().instance.name];
  const { status, stdout, stderr } = spawnSync(process.execPath, argv, { encoding: "utf8" });
  assert.ok(status === 0 || args[0] === "doctor", stderr);
  return fields(
    stdout.startsWith("[") ? { items: JSON.parse(stdout) as Json } : (JSON.parse(stdout) as Json),
  );
}

async function until<Value>(
  read: () => Promise<Value> | Value,
  isGood: (value: Value) => boolean,
): Promise<Value> {
  const endMs = Date.now() + WITHIN_MS;
  for (;;) {
    const value = await read();
    if (isGood(value)) return value;
    if (Date.now() > endMs) assert.fail(`not in time: ${JSON.stringify(value)?.slice(0, 2000)}`);
    await new Promise((go) => setTimeout(go, 250));
  }
}

test("the first people get in, and root has tried the machine", { skip }, async () => {
  const { instance } = onSite();
  const socket = apiSocket(instance);
  await until(
    async () =>
      (await askApi(socket, { method: "GET", path: "/readyz" }).catch(() => undefined))?.status,
    (status) => status === 200,
  );
  anna = new Person(instance, "anna");
  const { secret, token } = cli("admin", "link");
  const first = { id: "anna", name: "Anna" };
  await anna.done("POST", "/v1/sign-in/link", { secret: word(token), first });
  const { publicKey } = generateKeyPairSync("ed25519");
  const spki = publicKey.export({ type: "spki", format: "der" }).toString("base64");
  const key = { kind: "ed25519", person: "anna", spki, credentialId: "", rpId: "", origin: "" };
  const proof = createHmac("sha256", Buffer.from(word(secret), "base64url"))
    .update(`sallyport-first-approver/v1\nanna\ned25519\n${spki}\n\n\n\n`)
    .digest("base64url");
  await anna.done("POST", "/v1/approvers/first", { key, proof });
  await anna.enroll();
  erin = await added("erin", "engineer");
  olga = await added("olga", "approver");
  const second = generateKeyPairSync("ed25519");
  olgasKey = second.privateKey;
  // An administrator's key never counts alone; root enrolls the second one.
  const own = second.publicKey.export({ type: "spki", format: "der" }).toString("base64");
  cli("approver", "add", "olga", "--person", "olga", "--key", own);
  ada = await added("ada", "auditor");
  cli("doctor");
});

async function added(id: string, role: string): Promise<Person> {
  const { secret } = await anna.done("POST", "/v1/people", { id, name: id, roles: [role] });
  const person = new Person(onSite().instance, id);
  await person.done("POST", "/v1/sign-in/link", { secret: word(secret) });
  await person.enroll();
  return person;
}

interface Client {
  execute(call: {
    readonly operationId: string;
    readonly userFetch: unknown;
    readonly parameters?: Readonly<Record<string, string>>;
    readonly requestBody?: unknown;
    readonly requestInterceptor?: (request: Sent) => Sent;
  }): Promise<{ readonly status: number; readonly body: Json }>;
}

interface Sent {
  headers: Record<string, string>;
}

/** The published document and nothing of ours, over the box's socket. */
async function clientOf(
  person: Person,
): Promise<(id: string, ...rest: readonly unknown[]) => Promise<Fields>> {
  const { default: SwaggerClient } = (await import(pathToFileURL(SWAGGER).href)) as {
    default: { default?: unknown } & ((options: object) => Promise<Client>);
  };
  const make = (SwaggerClient.default ?? SwaggerClient) as (options: object) => Promise<Client>;
  const spec = (await person.done("GET", "/v1/openapi.json")) as Json;
  const userFetch = async (
    url: string,
    request: { method?: string; headers?: object; body?: string },
  ) => {
    const { pathname, search } = new URL(url);
    const answer = await askApi(apiSocket(onSite().instance), {
      ...{ method: request.method ?? "GET", path: pathname + search },
      headers: { ...request.headers, ...person.headers },
      ...(request.body === undefined ? {} : { body: request.body }),
    });
    const headers = {
      "content-type": answer.headers["content-type"] ?? "application/json",
    };
    return new Response(JSON.stringify(answer.body ?? null), { status: answer.status, headers });
  };
  const client = await make({ spec, url: "http://localhost/v1/openapi.json", userFetch });
  return async (operationId, parameters = {}, requestBody, headers = {}) => {
    const answer = await client.execute({
      userFetch,
      ...{ operationId, parameters: parameters as Record<string, string> },
      ...(requestBody === undefined ? {} : { requestBody }),
      requestInterceptor: (request) => {
        Object.assign(request.headers, headers);
        return request;
      },
    });
    return fields(answer.body);
  };
}

test("a client made from openapi.json drives draft, plan, approval, apply and confirm; streams tell of it", {
  skip,
}, async () => {
  const asErin = await clientOf(erin);
  const asOlga = await clientOf(olga);
  const stream = erin.listen();
  const text = policyText().replace("holding-registers: [0-99]", "holding-registers: [0-98]");
  assert.notEqual(text, policyText());
  const { sha256: none } = await asErin("getPolicyDraft");
  const draft = await asErin(
    ...(["putPolicyDraft", { "If-Match": `"${word(none)}"` }] as const),
    { files: [{ name: "site.yaml", text }] },
    { "if-match": `"${word(none)}"` },
  );
  const change = await asErin("postChanges", {}, { reason: "fewer", draftSha256: draft["sha256"] });
  const id = { change: word(change["id"]) };
  const signable = fields(change["signable"] ?? null);
  const digest = createHash("sha256").update(word(signable["bytes"])).digest();
  const message = Buffer.from(`sallyport-approval/v1\n${digest.toString("hex")}\n`);
  const signature = sign(null, message, olgasKey).toString("base64url");
  await asOlga("postChangesApprovals", id, { kind: "ed25519", key: "olga", signature });
  const order = { sha256: signable["sha256"], confirmWithinSeconds: 60 };
  assert.equal((await asErin("postChangesApply", id, order))["state"], "applied");
  assert.equal((await asErin("postChangesConfirm", id, {}))["state"], "confirmed");
  const told = (): readonly ServerEvent[] => stream.seen.filter(({ type }) => type === "change");
  const types = (): string[] =>
    told().map(({ data }) => word(fields(data["data"] ?? null)["type"]));
  await until(types, (seen) => seen.includes("enforcer.confirmed"));
  stream.end();
  const last = stream.seen.at(-1)?.id ?? 0;
  await erin.done("POST", "/v1/zones/cell-b/island", { reason: "a drill" });
  const again = erin.listen(last);
  const island = await until(
    () => again.seen.find(({ type }) => type === "island"),
    (event) => event !== undefined,
  );
  assert.ok((island?.id ?? 0) > last && !again.seen.some(({ type }) => type === "gap"));
  assert.deepEqual(
    again.seen.map((event) => event.id),
    Array.from({ length: again.seen.length }, (_, n) => last + 1 + n),
    "each event once, from the one after the last that was seen",
  );
  again.end();
});

test("rsyslog on an office machine gets every record, by a conduit of the policy alone", {
  skip,
}, async () => {
  const keys = makeKeys();
  const { plant } = onSite();
  fs.writeFileSync(path.join(home, "rsyslog.conf"), rsyslogConfig());
  const receiver = plant.spawn(
    ...([
      "historian",
      ["/usr/sbin/rsyslogd", "-n", "-f", `${home}/rsyslog.conf`, "-i", `${home}/pid`],
    ] as const),
    () => undefined,
  );
  const { sha256 } = await anna.done("GET", "/v1/forwarding");
  const target = {
    ...{ name: "siem", to: `${SIEM}:6514`, transport: "tls", format: "rfc5424", people: false },
    ...keys,
  };
  const match = { "if-match": `"${word(sha256)}"` };
  const kept = await anna.done("PUT", "/v1/forwarding", { targets: [target] }, match);
  assert.ok(!JSON.stringify(kept).includes("PRIVATE KEY"), "the key is never shown");
  const states = async (): Promise<Fields | undefined> => {
    const { items } = await ada.done("GET", "/v1/forwarding/state");
    return listOf(items).map(fields).at(0);
  };
  const state = await until(states, (one) => Number(one?.["sentThrough"]) > 20);
  const file = path.join(home, "seen");
  const text = fs.readFileSync(file, "utf8");
  const indexes = [...text.matchAll(/ index="(\d+)"/g)].map(([, index]) => Number(index));
  for (let index = 0; index < Number(state?.["sentThrough"]); index++) {
    assert.ok(indexes.includes(index), `record ${index}`);
  }
  await until(
    () => fs.readFileSync(file, "utf8"),
    (all) => all.includes("sallyport-checkpoint/1 "),
  );
  assert.ok(!text.includes("a drill"), "no reasons, which are about people");
  const metrics = word((await ada.ask("GET", "/metrics")).body);
  assert.match(metrics, /^sallyport_forwarding_behind_records\{destination="siem"\} \d+$/m);
  assert.match(metrics, /^sallyport_generation \d+$/m);
  assert.match(metrics, /^sallyport_process_ready\{process="archivist"\} 1$/m);
  await receiver.stop();
});

function makeKeys(): {
  readonly trust: string;
  readonly clientCertificate: string;
  readonly clientKey: string;
} {
  const run = (...args: readonly string[]): void => {
    const done = spawnSync("openssl", args, { cwd: home, encoding: "utf8" });
    assert.equal(done.status, 0, done.stderr);
  };
  const key = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"];
  run(
    "req",
    "-x509",
    ...key,
    "-keyout",
    "ca.key",
    "-out",
    "ca.pem",
    "-days",
    "2",
    "-subj",
    "/CN=ca",
  );
  for (const [name, alt] of [
    ["server", `IP:${SIEM}`],
    ["gateway", "DNS:gateway"],
  ] as const) {
    run("req", ...key, "-keyout", `${name}.key`, "-out", `${name}.csr`, "-subj", `/CN=${name}`);
    fs.writeFileSync(path.join(home, "alt"), `subjectAltName=${alt}\n`);
    run(
      ...["x509", "-req", "-in", `${name}.csr`, "-CA", "ca.pem", "-CAkey", "ca.key", "-days", "2"],
      ...["-CAcreateserial", "-extfile", "alt", "-out", `${name}.pem`],
    );
  }
  const read = (name: string): string => fs.readFileSync(path.join(home, name), "utf8");
  return {
    trust: read("ca.pem"),
    clientCertificate: read("gateway.pem"),
    clientKey: read("gateway.key"),
  };
}

function rsyslogConfig(): string {
  return `global(workDirectory="${home}" maxMessageSize="16k" DefaultNetstreamDriverCAFile="${home}/ca.pem"
  DefaultNetstreamDriverCertFile="${home}/server.pem" DefaultNetstreamDriverKeyFile="${home}/server.key")
module(load="imtcp" StreamDriver.Name="gtls" StreamDriver.Mode="1" StreamDriver.Authmode="x509/name" PermittedPeer=["gateway"])
template(name="raw" type="list") { property(name="rawmsg") constant(value="\\n") }
ruleset(name="all") { action(type="omfile" file="${home}/seen" template="raw" asyncWriting="off" flushOnTXEnd="on") }
input(type="imtcp" port="6514" address="${SIEM}" ruleset="all")
`;
}

test("an auditor takes an export away that its own verifier finds whole, and sees processes and the machine", {
  skip,
}, async () => {
  const order = { people: false, reason: "audit" };
  const { id } = await ada.done("POST", "/v1/ledger/exports", order);
  const where = `/v1/ledger/exports/${word(id)}`;
  const shown = await until(
    async () => await ada.done("GET", where),
    ({ state }) => state !== "running",
  );
  assert.equal(shown["state"], "ready", JSON.stringify(shown));
  fs.writeFileSync(path.join(home, "export.tar.gz"), await fetched(`${where}/file`));
  assert.equal(spawnSync("tar", ["-xzf", "export.tar.gz"], { cwd: home }).status, 0);
  const { key } = cli("ledger", "status");
  const cwd = path.join(home, "sallyport-ledger");
  const verified = spawnSync(process.execPath, ["verify.mjs", ".", "--key", word(key)], { cwd });
  assert.equal(verified.status, 0, String(verified.stdout) + String(verified.stderr));

  const items = listOf((await ada.done("GET", "/v1/processes"))["items"]).map(fields);
  const running = new Set(items.filter(({ state }) => state === "running").map(({ name }) => name));
  for (const name of ["enforcer", "archivist", "keyholder", "control", "journal", "gate-erp"]) {
    assert.ok(running.has(name), `${name} does not run`);
  }
  const doctor = listOf((await ada.done("GET", "/v1/doctor"))["items"]).map(fields);
  assert.ok(doctor.some(({ check, state }) => check === "nftables engine" && state === "good"));
  const status = fields(await ask(onSite().instance.name, { type: "status" }));
  const log = path.join(onSite().instance.stateDir, "control/access.ndjson");
  assert.ok(status["generation"] !== undefined);
  await until(
    () => fs.readFileSync(log, "utf8"),
    (lines) => lines.includes('"route":"/v1/doctor"'),
  );
});

async function fetched(where: string): Promise<Buffer> {
  return await new Promise((resolve, reject) => {
    const headers = { host: "localhost", ...ada.headers };
    const socketPath = apiSocket(onSite().instance);
    http
      .get({ socketPath, path: where, headers }, (answer) => {
        const chunks: Buffer[] = [];
        answer.on("data", (chunk: Buffer) => chunks.push(chunk));
        answer.on("end", () => resolve(Buffer.concat(chunks)));
      })
      .on("error", reject);
  });
}
