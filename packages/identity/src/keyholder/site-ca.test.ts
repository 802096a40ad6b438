import "reflect-metadata";
import assert from "node:assert/strict";
import { generateKeyPairSync, webcrypto, X509Certificate } from "node:crypto";
import https from "node:https";
import type { AddressInfo } from "node:net";
import { test } from "node:test";
import * as x509 from "@peculiar/x509";
import fc from "fast-check";
import { DAY_MS, TestRandom } from "../desk.test-kit.ts";
import { certificateState, isServerName, issueServer, makeSiteCa, type SiteCa } from "./site-ca.ts";

const NOW_MS = Date.UTC(2026, 2, 2);
const random = new TestRandom();
const MOMENT = { nowMs: NOW_MS, random };
const PAIR = generateKeyPairSync("ec", { namedCurve: "P-256" });
const SPKI = PAIR.publicKey.export({ format: "der", type: "spki" }).toString("base64");

async function issued(
  ca: SiteCa,
  names: string[],
  nowMs = NOW_MS,
  spki = SPKI,
): Promise<X509Certificate> {
  const answer = await issueServer(ca, { key: { spki }, names }, { nowMs, random });
  assert.ok(answer.kind === "issued", JSON.stringify(answer));
  return new X509Certificate(answer.certificatePem);
}

async function refusal(
  ca: SiteCa,
  ...rest: [Parameters<typeof issueServer>[1], number?]
): Promise<string> {
  const [request, nowMs = NOW_MS] = rest;
  const answer = await issueServer(ca, request, { nowMs, random });
  return answer.kind === "refused" ? answer.code : answer.kind;
}

test("the site's CA signs servers and no CA below it", async () => {
  const ca = new X509Certificate((await makeSiteCa("bottling", MOMENT)).certificatePem);
  assert.ok(ca.ca);
  assert.ok(ca.verify(ca.publicKey));
  assert.equal(ca.subject, "O=Sallyport\nCN=bottling site CA");
  const parsed = new x509.X509Certificate(ca.toString());
  const basic = parsed.getExtension(x509.BasicConstraintsExtension);
  assert.deepEqual([basic?.ca, basic?.pathLength, basic?.critical], [true, 0, true]);
  assert.equal(ca.validToDate.getTime() - NOW_MS, 3650 * DAY_MS);
});

test("a server's certificate holds its names, is signed by the CA, and lives 90 days", async () => {
  const ca = await makeSiteCa("bottling", MOMENT);
  const server = await issued(ca, ["gate.plant.example", "gate", "10.1.0.1"]);
  const authority = new X509Certificate(ca.certificatePem);
  assert.ok(server.checkIssued(authority));
  assert.ok(server.verify(authority.publicKey));
  assert.equal(server.ca, false);
  assert.equal(server.subjectAltName, "DNS:gate.plant.example, DNS:gate, IP Address:10.1.0.1");
  assert.deepEqual(server.keyUsage, ["1.3.6.1.5.5.7.3.1"]);
  assert.equal(server.validToDate.getTime() - NOW_MS, 90 * DAY_MS);
  assert.ok(server.validFromDate.getTime() < NOW_MS, "clocks of a plant run late");
  const next = await issued(ca, ["gate"]);
  assert.notEqual(next.serialNumber, server.serialNumber);
  assert.match(server.serialNumber, /^[4-7][0-9A-F]{31}$/);
});

test("a TLS client that trusts the CA connects to a server with its certificate", async () => {
  // By the machine's clock, as the client's TLS library reads it.
  const nowMs = Date.now();
  const ca = await makeSiteCa("bottling", { nowMs, random });
  const answer = await issueServer(
    ca,
    { key: { spki: SPKI }, names: ["localhost"] },
    { nowMs, random },
  );
  assert.ok(answer.kind === "issued");
  const key = PAIR.privateKey.export({ format: "pem", type: "pkcs8" });
  const server = https.createServer({ key, cert: answer.chainPem }, (_request, response) =>
    response.end("in"),
  );
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const { port } = server.address() as AddressInfo;
  const get = (options: https.RequestOptions): Promise<string> =>
    new Promise((resolve, reject) => {
      const to = { host: "127.0.0.1", port, agent: false, ...options };
      const request = https.get(to, (response) => {
        response.resume().on("end", () => resolve(String(response.statusCode)));
      });
      request.on("error", (error) => reject(error));
    });
  try {
    assert.equal(await get({ ca: ca.certificatePem, servername: "localhost" }), "200");
    await assert.rejects(get({ ca: ca.certificatePem, servername: "gate" }), /altnames/);
    await assert.rejects(get({ servername: "localhost" }), /self-signed|issuer|verify/);
  } finally {
    await new Promise((resolve) => server.close(resolve));
  }
});

async function requestPem(): Promise<string> {
  const algorithm = { name: "ECDSA", namedCurve: "P-256", hash: "SHA-256" };
  const keys = await webcrypto.subtle.generateKey(algorithm, true, ["sign", "verify"]);
  const request = await x509.Pkcs10CertificateRequestGenerator.create({
    name: "CN=evil.example",
    keys,
    signingAlgorithm: algorithm,
    extensions: [new x509.BasicConstraintsExtension(true, 2, true)],
  });
  return request.toString("pem");
}

test("of a request only its key counts: names and rights are given, not asked", async () => {
  const ca = await makeSiteCa("bottling", MOMENT);
  const answer = await issueServer(
    ca,
    { key: { request: await requestPem() }, names: ["gate"] },
    MOMENT,
  );
  assert.ok(answer.kind === "issued");
  const server = new X509Certificate(answer.certificatePem);
  assert.equal(server.subject, "CN=gate");
  assert.equal(server.subjectAltName, "DNS:gate");
  assert.equal(server.ca, false);
});

test("a request that its key did not sign is refused, as is anything that is none", async () => {
  const ca = await makeSiteCa("bottling", MOMENT);
  const pem = await requestPem();
  const der = Buffer.from(pem.replaceAll(/-----[^-]+-----/g, ""), "base64");
  der[der.length - 1] = (der.at(-1) ?? 0) ^ 1;
  const bent = `-----BEGIN CERTIFICATE REQUEST-----\n${der.toString("base64")}\n-----END CERTIFICATE REQUEST-----`;
  for (const request of [bent, "", "x", "A".repeat(20_000), pem.slice(0, 200)]) {
    assert.equal(
      await refusal(ca, { key: { request }, names: ["gate"] }),
      "certificate-request-malformed",
    );
  }
});

test("keys that are weak or of another kind get no certificate", async () => {
  const ca = await makeSiteCa("bottling", MOMENT);
  const spkiOf = (key: { export: (options: { format: "der"; type: "spki" }) => Buffer }): string =>
    key.export({ format: "der", type: "spki" }).toString("base64");
  const bad = [
    spkiOf(generateKeyPairSync("rsa", { modulusLength: 1024 }).publicKey),
    spkiOf(generateKeyPairSync("ec", { namedCurve: "secp256k1" }).publicKey),
    spkiOf(generateKeyPairSync("x25519").publicKey),
    "AAAA",
  ];
  for (const spki of bad)
    assert.equal(await refusal(ca, { key: { spki }, names: ["gate"] }), "certificate-key-kind");
  const rsa = spkiOf(generateKeyPairSync("rsa", { modulusLength: 2048 }).publicKey);
  assert.equal(await refusal(ca, { key: { spki: rsa }, names: ["gate"] }), "issued");
});

test("names are host names and addresses, one to twenty", async () => {
  const ca = await makeSiteCa("bottling", MOMENT);
  const names = (list: string[]): Promise<string> =>
    refusal(ca, { key: { spki: SPKI }, names: list });
  assert.equal(await names([]), "certificate-names");
  assert.equal(await names(Array<string>(21).fill("gate")), "certificate-names");
  assert.equal(await names(Array<string>(20).fill("gate")), "issued");
  const good = ["gate", "a.b", "x-1.plant", "10.1.0.1", `${"a".repeat(63)}.b`];
  const bad = [
    "",
    "*.plant",
    "-a",
    "a-",
    "a..b",
    ".a",
    "a.",
    "A",
    "a b",
    "a/b",
    "10.1.0",
    "10.1.0.256",
    "1.2.3.4.5",
    `${"a".repeat(64)}.b`,
    "ä",
    "a\n",
    "::1",
    `${"a.".repeat(127)}a`.slice(0, 300),
  ];
  for (const name of good) assert.ok(isServerName(name), name);
  for (const name of bad.slice(0, -1)) assert.ok(!isServerName(name), name);
  assert.ok(isServerName("a.".repeat(126) + "a"));
  assert.ok(!isServerName("a.".repeat(127)));
  fc.assert(fc.property(fc.string(), (any) => void isServerName(any)));
});

test("no certificate outlives its CA, and none is issued after it", async () => {
  const ca = await makeSiteCa("bottling", MOMENT);
  const endMs = NOW_MS + 3650 * DAY_MS;
  const late = await issued(ca, ["gate"], endMs - DAY_MS);
  assert.equal(late.validToDate.getTime(), endMs);
  assert.equal(
    await refusal(ca, { key: { spki: SPKI }, names: ["gate"] }, endMs),
    "certificate-ca-over",
  );
});

test("a certificate is renewed from its last third, and alarms from its last sixth", async () => {
  const ca = await makeSiteCa("bottling", MOMENT);
  const { certificatePem } = (await issueServer(
    ca,
    { key: { spki: SPKI }, names: ["gate"] },
    MOMENT,
  )) as { certificatePem: string };
  const at = (ms: number): string => certificateState(certificatePem, ms).state;
  const { endMs, renewAtMs, alarmAtMs } = certificateState(certificatePem, NOW_MS);
  const lifeMs = endMs - (NOW_MS - 3_600_000);
  assert.equal(endMs - renewAtMs, lifeMs / 3);
  assert.equal(endMs - alarmAtMs, lifeMs / 6);
  assert.equal(at(NOW_MS - 3_600_001), "not-yet");
  assert.equal(at(NOW_MS), "good");
  assert.equal(at(renewAtMs - 1), "good");
  assert.equal(at(renewAtMs), "renew");
  assert.equal(at(alarmAtMs - 1), "renew");
  assert.equal(at(alarmAtMs), "alarm");
  assert.equal(at(endMs - 1), "alarm");
  assert.equal(at(endMs), "expired");
  assert.equal(certificateState("no certificate", NOW_MS).state, "unreadable");
});
