import assert from "node:assert/strict";
import { generateKeyPairSync, randomBytes, X509Certificate } from "node:crypto";
import fs from "node:fs";
import os from "node:os";
import path from "node:path";
import { after, test } from "node:test";
import { SallyportError } from "@sallyport/core";
import type { SiteCa } from "@sallyport/identity/keyholder";
import { openStateStore } from "@sallyport/store";
import { Secret, TOTP } from "otpauth";
import { fields, word } from "../cli/enforcer-client.ts";
import type { Recorder, RecordFields } from "../recorder.ts";
import { sealingKeys, siteCa } from "./keyholder-home.ts";
import { type KeyholderRequest, readKeyholderRequest } from "./keyholder-messages.ts";
import { KeyholderService } from "./keyholder-service.ts";

const NOW = Date.UTC(2026, 10, 18, 11, 0);
const DAY_MS = 24 * 3600 * 1000;
const random = { bytes: (size: number): Uint8Array => randomBytes(size) };
const home = fs.mkdtempSync(path.join(os.tmpdir(), "sallyport-keyholder-"));
after(() => fs.rmSync(home, { recursive: true }));

class Book implements Recorder {
  readonly records: { readonly type: string; readonly fields: RecordFields }[] = [];
  isBroken = false;
  async record(type: string, told: RecordFields): Promise<void> {
    if (this.isBroken) throw new SallyportError("not-recorded", "no archivist");
    this.records.push({ type, fields: told });
  }
}

async function keyholder(directory: string): Promise<{
  service: KeyholderService;
  book: Book;
  clock: { now: number };
  ca: SiteCa;
}> {
  fs.mkdirSync(directory, { recursive: true });
  const keys = sealingKeys(directory, random);
  const ca = await siteCa(directory, "brewery-7", { keys, nowMs: NOW, random });
  const book = new Book();
  const clock = { now: NOW };
  const file = path.join(directory, "seeds.sqlite");
  const seeds = await openStateStore({ kind: "sqlite", file });
  after(() => seeds.close());
  const service = new KeyholderService({
    ...{ seeds: seeds.records("totp-seed"), keys, ca, random, recorder: book },
    secrets: seeds.records("secret"),
    ownNames: async () => new Set(["localhost", "gateway.plant.example", "10.30.0.9"]),
    ...{ issuer: "brewery-7", clock: { nowMs: () => clock.now } },
  });
  return { service, book, clock, ca };
}

const code = (secret: string, atMs: number): string =>
  new TOTP({ secret: Secret.fromBase32(secret) }).generate({ timestamp: atMs });

test("a one-time code is good once, also after the keyholder was started again", async () => {
  const directory = path.join(home, "totp");
  const first = await keyholder(directory);
  const person = "anna";
  const made = fields(await first.service.answer({ type: "totp-enroll", person }));
  const secret = word(made["secret"]);
  const confirm = await first.service.answer({
    ...{ type: "totp-confirm", person, code: code(secret, NOW) },
  });
  assert.deepEqual(confirm, { kind: "verified" });
  const again = await keyholder(directory);
  const ask = async (text: string): Promise<unknown> =>
    await again.service.answer({ type: "totp-verify", person, code: text });
  assert.deepEqual(await ask(code(secret, NOW)), { kind: "refused", code: "totp-used" });
  again.clock.now = NOW + 60_000;
  assert.deepEqual(await ask(code(secret, again.clock.now)), { kind: "verified" });
  assert.deepEqual(
    again.book.records.map(({ type, fields: told }) => [type, told["because"]]),
    [
      ["totp-refused", "totp-used"],
      ["totp-accepted", undefined],
    ],
  );
  const disk = fs.readFileSync(path.join(directory, "seeds.sqlite"));
  assert.equal(disk.includes(Buffer.from(Secret.fromBase32(secret).bytes)), false, "sealed");
});

test("signs a certificate of the asked names that lives for a week", async () => {
  const { service, book, ca } = await keyholder(path.join(home, "tls"));
  const { publicKey } = generateKeyPairSync("ec", { namedCurve: "prime256v1" });
  const spki = publicKey.export({ type: "spki", format: "der" }).toString("base64");
  const names = ["gateway.plant.example", "10.30.0.9"];
  const answer = fields(await service.answer({ type: "tls-issue", key: { spki }, names }));
  const certificate = new X509Certificate(word(answer["certificate"]));
  assert.ok(certificate.verify(new X509Certificate(ca.certificatePem).publicKey));
  assert.ok(certificate.checkHost("gateway.plant.example") && certificate.checkIP("10.30.0.9"));
  assert.equal(certificate.validToDate.getTime() - NOW, 7 * DAY_MS);
  assert.deepEqual(
    book.records.map(({ type, fields: told }) => [type, told["names"]]),
    [["certificate-issued", names]],
  );
  await assert.rejects(service.answer({ type: "tls-issue", key: { spki }, names: ["*.example"] }), {
    code: "certificate-foreign-name",
  });
  const status = fields(await service.answer({ type: "status" }));
  assert.equal(fields(status["issued"] ?? null)["state"], "good");
});

test("signs for no name but the gateway's own, and what it refuses is on record", async () => {
  const { service, book } = await keyholder(path.join(home, "names"));
  const { publicKey } = generateKeyPairSync("ec", { namedCurve: "prime256v1" });
  const key = { spki: publicKey.export({ type: "spki", format: "der" }).toString("base64") };
  for (const foreign of ["historian.plant.example", "10.41.0.10", "gateway.plant.example.evil"]) {
    const names = ["gateway.plant.example", foreign];
    await assert.rejects(service.answer({ type: "tls-issue", key, names }), {
      code: "certificate-foreign-name",
    });
  }
  assert.deepEqual(new Set(book.records.map(({ type }) => type)), new Set(["certificate-refused"]));
  assert.equal(book.records.length, 3);
});

test("a secret of the settings comes back whole, lies sealed on disk, and opens under no other name", async () => {
  const directory = path.join(home, "secrets");
  const { service } = await keyholder(directory);
  const secret = "s3cret-of-the-provider";
  await service.answer({ type: "secret-set", name: "oidc.corp", secret: "an older one" });
  await service.answer({ type: "secret-set", name: "oidc.corp", secret });
  const again = await keyholder(directory);
  const got = await again.service.answer({ type: "secret-get", name: "oidc.corp" });
  assert.deepEqual(got, { secret });
  assert.deepEqual(await again.service.answer({ type: "secret-get", name: "tls" }), {
    secret: null,
  });
  const disk = fs.readdirSync(directory).map((name) => fs.readFileSync(path.join(directory, name)));
  assert.ok(disk.every((bytes) => !bytes.includes(secret)));
  await again.service.answer({ type: "secret-remove", name: "oidc.corp" });
  assert.deepEqual(await service.answer({ type: "secret-get", name: "oidc.corp" }), {
    secret: null,
  });
});

test("nothing is enrolled, verified or signed that the ledger does not take; removing goes on", async () => {
  const { service, book } = await keyholder(path.join(home, "unrecorded"));
  const person = "anna";
  const made = fields(await service.answer({ type: "totp-enroll", person }));
  const secret = word(made["secret"]);
  await service.answer({ type: "totp-confirm", person, code: code(secret, NOW - 30_000) });
  book.isBroken = true;
  const { publicKey } = generateKeyPairSync("ed25519");
  const spki = publicKey.export({ type: "spki", format: "der" }).toString("base64");
  const requests = [
    { type: "totp-enroll", person: "ben" },
    { type: "totp-verify", person, code: code(secret, NOW) },
    { type: "tls-issue", key: { spki }, names: ["localhost"] },
    { type: "totp-remove", person },
  ] as const;
  for (const request of requests) {
    await assert.rejects(service.answer(request), { code: "not-recorded" }, request.type);
  }
  assert.deepEqual(await service.answer({ type: "totp-status", person }), { enrolled: false });
});

test("the site's CA is made once, and never anew when only its key is lost", async () => {
  const directory = path.join(home, "ca");
  const [one, two] = [await keyholder(directory), await keyholder(directory)];
  assert.equal(one.ca.certificatePem, two.ca.certificatePem);
  assert.equal(fs.statSync(path.join(directory, "sealing.key")).mode & 0o777, 0o600);
  fs.rmSync(path.join(directory, "sealing.key"));
  assert.throws(() => sealingKeys(directory, random), { code: "sealing-key-gone" });
});

test("reads from its socket what `control` writes there", () => {
  const requests: readonly KeyholderRequest[] = [
    { type: "totp-enroll", person: "anna" },
    { type: "totp-verify", person: "anna", code: "123456" },
    { type: "tls-issue", key: { spki: "AA" }, names: ["localhost"] },
    { type: "tls-issue", key: { request: "-----BEGIN" }, names: ["localhost"] },
    { type: "ca-certificate" },
  ];
  for (const request of requests) {
    assert.deepEqual(readKeyholderRequest(JSON.stringify(request)), request);
  }
});

test("refuses messages that are not its own, with the field that is wrong", () => {
  const wrong: readonly (readonly [string, RegExp])[] = [
    ["{", /the line/],
    ["[]", /the message/],
    ['{"type":"seeds"}', /type/],
    ['{"type":"totp-verify","person":"anna"}', /code/],
    [`{"type":"totp-enroll","person":"${"a".repeat(128)}"}`, /person/],
    ['{"type":"tls-issue","names":["a"]}', /key/],
    ['{"type":"tls-issue","key":{"spki":"AA","request":"AA"},"names":["a"]}', /key/],
    ['{"type":"tls-issue","key":{"spki":"AA"},"names":[]}', /names/],
  ];
  for (const [line, message] of wrong) {
    assert.throws(() => readKeyholderRequest(line), { code: "bad-message", message }, line);
  }
});
