import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { redactor } from "./redact.ts";
import { BUNDLE_MAX_CHARS, supportBundle, TEXT_MAX_CHARS } from "./support-bundle.ts";

const SECRET = "hunter2-Xq9";
const PEM = `-----BEGIN PRIVATE KEY-----\nMC4CAQAwBQYDK2VwBCIEI${SECRET}\n-----END PRIVATE KEY-----`;

const WITH_SECRETS: readonly string[] = [
  `password: ${SECRET}`,
  `db_password=${SECRET}`,
  `PGPASSWORD=${SECRET} psql`,
  `{"apiKey":"${SECRET}","conduit":"erp-reads-tank"}`,
  `{"token": "a\\"${SECRET}"}`,
  `{'client_secret': '${SECRET}'`,
  `"recoveryCode" : "${SECRET}`,
  `totp-seed:\n  ${SECRET}`,
  `--token ${SECRET} --verbose`,
  `sallyport sign-in --password-file-secret ${SECRET}`,
  `Authorization: Bearer ${SECRET}`,
  `curl -H 'X-Thing: Bearer ${SECRET}'`,
  `Cookie: a=b; sid=${SECRET}`,
  `Set-Cookie: __Host-sallyport=${SECRET}; Path=/`,
  `postgres://sallyport:${SECRET}@10.0.0.5/state`,
  `https://${SECRET}@example.org/`,
  `eyJhbGciOiJFZERTQSJ9.${SECRET}.${SECRET}`,
  `anna $argon2id$v=19$m=65536,t=3,p=4$c2FsdA$${SECRET}`,
  `root:$6$salt$${SECRET}:19000:0`,
  `PRIVATE+KEY+brewery+1234abcd+${SECRET}`,
  PEM,
  PEM.split("-----END")[0] ?? "",
  `{"key":${JSON.stringify(PEM)}}`,
  `passphrase = ${SECRET} with words, and more ${SECRET}`,
  `my_very_long_name_${"x".repeat(500)}_password_${"y".repeat(200)}=${SECRET}`,
];

test("no key, token or password is left, however it is written down", () => {
  const redact = redactor();
  for (const text of WITH_SECRETS) {
    for (const around of [text, `line before\n${text}\nline after`, `${text}\r\n`, `\t${text}`]) {
      assert.ok(!redact(around).includes(SECRET), around);
      assert.ok(redact(around).includes("[redacted]"), around);
    }
  }
  assert.ok(redact("a\npassword: x\nb").startsWith("a\n"));
  assert.ok(redact("a\npassword: x\nb").endsWith("\nb"), "only that line");
});

test("what helps to find a fault stays as it is", () => {
  const redact = redactor();
  for (const text of [
    '{"at":"2026-11-18T12:00:00Z","type":"refused","reason":"no-conduit","source":"10.10.0.66","port":502}',
    'plant/site.yaml:14:9: error[unknown-zone]: conduit "historian-to-cell-3" ends in zone "cel-3"',
    "nft list table ip sallyport { chain prerouting { type filter hook prerouting priority -300; } }",
    "generation 14 confirmed, SHA-256 9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08",
    "Sallyport 0.1.0 on Linux 6.1.0, node v24.21.0",
  ]) {
    assert.equal(redact(text), text);
  }
});

test("addresses go when asked, and the same one keeps its number in all texts", () => {
  const { texts } = supportBundle(
    [
      {
        name: "a",
        text: "10.10.0.66 > 10.41.0.10:502, 10.10.0.66/24; fe80::1%eth0 at 2001:DB8::7",
      },
      {
        name: "b",
        text: "10.41.0.10 is at 02:42:ac:11:00:02, version 1.2.3, at 12:30:05, 2001:db8::7",
      },
    ],
    { addresses: true },
  );
  assert.deepEqual(
    texts.map(({ text }) => text),
    [
      "address-1 > address-2:502, address-1/24; address-3%eth0 at address-4",
      "address-2 is at address-5, version 1.2.3, at 12:30:05, address-4",
    ],
  );
  const [kept] = supportBundle([{ name: "a", text: "10.10.0.66" }]).texts;
  assert.equal(kept?.text, "10.10.0.66");
});

test("no text hides a secret that has a name, and redacting again changes nothing", () => {
  const redact = redactor();
  fc.assert(
    fc.property(fc.string({ maxLength: 200 }), fc.string({ maxLength: 50 }), (before, after) => {
      const once = redact(`${before}\npassword=${SECRET}${after.replaceAll("\n", "")}\n`);
      assert.ok(!once.includes(SECRET));
      assert.equal(redact(once), once);
    }),
    { numRuns: 500, seed: 7 },
  );
});

test("a text of a mebibyte that is made to be slow is redacted in time", () => {
  const redact = redactor({ addresses: true });
  for (const part of [
    "pass",
    "a",
    "--",
    "1.",
    "f:",
    "::",
    '"',
    'password="\\',
    "-----BEGIN A-----",
    "eyJaaaaa.",
    "x://",
    "$1$",
  ]) {
    const text = part.repeat(Math.ceil(TEXT_MAX_CHARS / part.length));
    const start = performance.now();
    redact(text);
    const tookMs = performance.now() - start;
    assert.ok(tookMs < 15_000, `${part}: ${Math.round(tookMs)} ms`);
  }
});

test("of a long text the end is kept, and what has no room is named", () => {
  const long = {
    name: "long",
    text: `password=${SECRET}${"x".repeat(10)}\n${"y\n".repeat(TEXT_MAX_CHARS)}end`,
  };
  const bundle = supportBundle([long]);
  assert.deepEqual(bundle.cut, ["long"]);
  assert.ok(bundle.texts[0]?.text.endsWith("end"));
  assert.equal(bundle.texts[0]?.text.length, TEXT_MAX_CHARS);
  const full = "y".repeat(TEXT_MAX_CHARS);
  const many = Array.from({ length: BUNDLE_MAX_CHARS / TEXT_MAX_CHARS + 1 }, (_, n) => `t${n}`);
  const { texts, leftOut } = supportBundle(many.map((name) => ({ name, text: full })));
  assert.equal(texts.length, many.length - 1);
  assert.deepEqual(leftOut, [many.at(-1)]);
});
