/** An auditor proves and exports through the API, with files that need no gateway, and changes nothing. */
import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { createHash } from "node:crypto";
import fs from "node:fs";
import http from "node:http";
import path from "node:path";
import process from "node:process";
import { after, before, test } from "node:test";
import { ROUTES } from "@sallyport/api";
import { checkProof, isConsistent, isIncluded, parseVerifierKey } from "@sallyport/ledger";
import { fields, listOf, word } from "../cli/enforcer-client.ts";
import { type Ask, WatchBench } from "./watch.test-kit.ts";

/** The public key of some witness; nobody here has its other half. */
const WITNESS = parseVerifierKey(
  "witness.example+" +
    createHash("sha256")
      .update(Buffer.concat([Buffer.from("witness.example\n"), Buffer.of(4), Buffer.alloc(32, 7)]))
      .digest("hex")
      .slice(0, 8) +
    `+${Buffer.concat([Buffer.of(4), Buffer.alloc(32, 7)]).toString("base64")}`,
);
let bench: WatchBench;
let ada: Ask;

before(async () => {
  bench = await WatchBench.start(
    async () => ({}),
    WITNESS.kind === "parsed" ? [WITNESS.value] : [],
  );
  await bench.ledger.append(
    Array.from({ length: 600 }, (_, index) => ({
      ...{ type: "enforcer.grant-added", at: Date.UTC(2026, 0, 1) + index * 1000, n: index },
      personal: { person: index % 2 === 0 ? "vic" : "eve" },
    })),
  );
  ada = await bench.person("ada", ["auditor"]);
});
after(async () => await bench.close());

const bytes = (hex: string): Buffer => Buffer.from(hex, "hex");

test("a record is proved to be in the ledger, in the newest head and in an older one", async () => {
  const { status, body } = await ada("GET", "/v1/ledger/records/300/proof");
  assert.equal(status, 200, JSON.stringify(body));
  const proof = fields(body ?? null);
  const hashes = listOf(proof["hashes"]).map((hash) => bytes(word(hash)));
  const leaf = bytes(word(proof["leaf"]));
  const at = { root: bytes(word(proof["root"])), size: Number(proof["size"]) };
  assert.ok(isIncluded(300, at.size, leaf, hashes, at.root));
  assert.ok(!isIncluded(301, at.size, leaf, hashes, at.root));
  const key = parseVerifierKey(bench.key);
  assert.ok(key.kind === "parsed");
  const trust = { logKeys: [key.value], witnessKeys: [], threshold: 0 };
  assert.equal(checkProof(word(proof["file"]), trust).kind, "good");

  const older = fields((await ada("GET", "/v1/ledger/records/300/proof?size=400")).body ?? null);
  const root = bytes(word(older["root"]));
  const way = listOf(older["hashes"]).map((hash) => bytes(word(hash)));
  assert.ok(isIncluded(300, 400, leaf, way, root));
  const between = `/v1/ledger/consistency?from=400&to=${at.size}`;
  const consistency = fields((await ada("GET", between)).body ?? null);
  const steps = listOf(consistency["hashes"]).map((hash) => bytes(word(hash)));
  assert.ok(isConsistent(400, at.size, root, at.root, steps));
  assert.equal((await ada("GET", "/v1/ledger/records/999999/proof")).status, 404);
});

test("an export is made, says its hash, and its own verifier finds it whole", async () => {
  const order = { people: true, reason: "yearly audit" };
  const started = await ada("POST", "/v1/ledger/exports", order);
  assert.equal(started.status, 202, JSON.stringify(started.body));
  const where = `/v1/ledger/exports/${word(fields(started.body ?? null)["id"])}`;
  let shown = fields(started.body ?? null);
  for (let tries = 0; shown["state"] === "running" && tries < 200; tries++) {
    await new Promise((go) => setTimeout(go, 20));
    shown = fields((await ada("GET", where)).body ?? null);
  }
  assert.equal(shown["state"], "ready", JSON.stringify(shown));
  const archive = await fetched(`${where}/file`);
  assert.equal(createHash("sha256").update(archive).digest("hex"), shown["sha256"]);
  assert.equal(archive.length, shown["bytes"]);
  fs.writeFileSync(bench.at("export.tar.gz"), archive);
  const opened = spawnSync("tar", ["-xzf", "export.tar.gz"], { cwd: bench.home, encoding: "utf8" });
  assert.equal(opened.status, 0, opened.stderr);
  const verify = ["verify.mjs", ".", "--key", bench.key];
  const cwd = path.join(bench.home, "sallyport-ledger");
  const good = spawnSync(process.execPath, verify, { cwd, encoding: "utf8" });
  assert.equal(good.status, 0, good.stdout + good.stderr);
  const entries = path.join(cwd, "tile/entries/000");
  const spoiled = fs.readFileSync(entries);
  spoiled.writeUInt8(spoiled.readUInt8(50) ^ 1, 50);
  fs.writeFileSync(entries, spoiled);
  assert.notEqual(
    spawnSync(process.execPath, verify, { cwd }).status,
    0,
    "a changed byte is found",
  );
  const asked = await ada("GET", "/v1/ledger/records?type=control.export-asked");
  const [record] = listOf(fields(asked.body ?? null)["items"]);
  assert.equal(fields(fields(record ?? null)["fields"] ?? null)["reason"], "yearly audit");
});

test("exports are of a span of time when asked, and the oldest give way to newer ones", async () => {
  const span = { since: "2026-01-01T00:01:40Z", until: "2026-01-01T00:03:20Z" };
  const ids: string[] = [];
  for (let n = 0; n < 5; n++) {
    const order = { people: false, reason: "a span", ...span };
    const { id } = fields((await ada("POST", "/v1/ledger/exports", order)).body ?? null);
    ids.push(word(id));
    for (let tries = 0; tries < 200; tries++) {
      const shown = fields((await ada("GET", `/v1/ledger/exports/${word(id)}`)).body ?? null);
      if (shown["state"] === "ready") assert.equal(shown["records"], 100);
      if (shown["state"] === "ready") break;
      await new Promise((go) => setTimeout(go, 20));
    }
  }
  const gone = await ada("GET", `/v1/ledger/exports/${ids[0] ?? ""}/file`);
  assert.equal(fields(gone.body ?? null)["code"], "export-refused");
  assert.ok((await fetched(`/v1/ledger/exports/${ids[4] ?? ""}/file`)).length > 0);
  assert.equal((await ada("GET", "/v1/ledger/exports/api-..%2F..%2Fledger/file")).status, 422);
});

test("records are listed newest first, of one person to whom names may be shown, page by page", async () => {
  const all: number[] = [];
  let where = "/v1/ledger/records?person=vic&limit=100";
  for (;;) {
    const page = fields((await ada("GET", where)).body ?? null);
    for (const item of listOf(page["items"])) {
      assert.equal(fields(item)["person"], "vic");
      all.push(Number(fields(item)["index"]));
    }
    if (page["next"] === undefined) break;
    where = `/v1/ledger/records?person=vic&limit=100&cursor=${word(page["next"])}`;
  }
  assert.equal(all.length, 300);
  assert.deepEqual(
    all,
    [...all].sort((a, b) => b - a),
  );
  const erin = await bench.person("erin", ["engineer"]);
  assert.equal((await erin("GET", "/v1/ledger/records?person=vic")).status, 403);
  const seen = await erin("GET", "/v1/ledger/records?type=enforcer.grant-added&limit=5");
  const items = listOf(fields(seen.body ?? null)["items"]);
  assert.equal(items.length, 5);
  assert.ok(!JSON.stringify(items).includes("vic"), "no name to whom it is not for");
  assert.equal((await erin("GET", "/v1/ledger/records/3/proof")).status, 403);
});

test("witnesses are listed with the head that each is known to hold", async () => {
  const { body } = await ada("GET", "/v1/ledger/witnesses");
  const [one] = listOf(fields(body ?? null)["items"]).map(fields);
  assert.deepEqual([one?.["name"], one?.["seenSize"]], ["witness.example", 0]);
});

test("an auditor changes nothing: every route that does refuses, but own credentials and exports", async () => {
  let refused = 0;
  for (const { method, path: route, access, localOnly } of ROUTES) {
    const isOwn = ["sign-in", "signed-in", "anyone", "own.factors"].includes(access);
    // Checking or explaining a policy that is sent along leaves nothing behind.
    if (access === "policy.read") continue;
    if (method === "GET" || isOwn || localOnly === true || access === "evidence.export") continue;
    const answer = await ada(method, route.replaceAll(/\{\w+\}/g, "x"), {}, { "if-match": '"x"' });
    assert.equal(answer.status, 403, `${method} ${route}: ${JSON.stringify(answer.body)}`);
    refused += 1;
  }
  assert.ok(refused > 20, `${refused} routes`);
});

/** The bytes of a file, which `askApi` would take for text. */
async function fetched(where: string): Promise<Buffer> {
  const token = await bench.token("ada");
  return await new Promise((resolve, reject) => {
    const headers = { host: "localhost", authorization: `Bearer ${token}` };
    http
      .get({ socketPath: bench.at("api.sock"), path: where, headers }, (answer) => {
        const chunks: Buffer[] = [];
        answer.on("data", (chunk: Buffer) => chunks.push(chunk));
        answer.on("end", () => {
          if (answer.statusCode === 200) resolve(Buffer.concat(chunks));
          else reject(new Error(Buffer.concat(chunks).toString("utf8")));
        });
      })
      .on("error", reject);
  });
}
