import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { checkCheckpoint, parseCheckpoint } from "./checkpoint.ts";
import {
  cosignatureBytes,
  cosignedAtSeconds,
  cosignedText,
  decodeText,
  formatNote,
  formatSignature,
  formatVerifierKey,
  isFrom,
  isSignedBy,
  keyId,
  NOTE_MAX_SIGNATURES,
  parseNote,
  parseVerifierKey,
  type VerifierKey,
} from "./note.ts";
import { signerFromSeed } from "./signer.ts";

function keyOf(text: string): VerifierKey {
  const key = parseVerifierKey(text);
  if (key.kind === "malformed") throw new TypeError(key.why);
  return key.value;
}

function isGood(note: string, key: string): boolean {
  const parsed = parseNote(note);
  if (parsed.kind === "malformed") return false;
  const verifier = keyOf(key);
  const { text, signatures } = parsed.value;
  return signatures.some((one) => isFrom(verifier, one) && isSignedBy(verifier, text, one));
}

// c2sp.org/signed-note, "Verifier keys".
const SPEC_KEY = "example.com/foo+530d903a+AekyeRrm56hApGFkyQR4ZCbV54Id2LKaANYcrnKv3U2k";
const SPEC_NOTE =
  "This is an example message.\n\n" +
  "— example.com/foo Uw2QOkn8srV1yJGh2VYRlL1Tnagv1YEq6TfXppzi2ONncAlTgK7Ztg1ERYNZXsYjOBH3mFXmRKuwHjG1Yu72IneyaQM=\n";

// golang.org/x/mod/sumdb/note, documentation: Ed25519 signs the same text in the same way each time.
const GO_KEY = "PeterNeumann+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW";
const GO_PRIVATE = "AYEKFALVFGyNhPJEMzD1QIDr+Y7hfZx09iUvxdXHKDFz";
const GO_NOTE =
  "If you think cryptography is the answer to your problem,\n" +
  "then you don't know what your problem is.\n\n" +
  "— PeterNeumann x08go/ZJkuBS9UG/SffcvIAQxVBtiFupLLr8pAcElZInNIuGUgYN1FFYC2pZSNXgKvqfqdngotpRZb6KE6RyyBwJnAM=\n";

// A head of a public certificate log with cosignatures of public witnesses, as it was published.
const PUBLIC_KEYS = [
  "arche2025h1.staging.ct.transparency.dev+ba2f06c0+AU0vHmlGCS/PdN8b2OaGmKprLI8HKM+dJ472xgFYh15f",
  "remora.n621.de+da77ade7+BOvN63jn/bLvkieywe8R6UYAtVtNbZpXh34x7onlmtw2",
] as const;
const PUBLIC_CHECKPOINT = `arche2025h1.staging.ct.transparency.dev
1432088532
U7WM79jrzyhGZ5/GUBTpM7NzwdyfFx61t3RovgcC4Ro=

— arche2025h1.staging.ct.transparency.dev zTM8sQAAAZ5W0WdjBAMARjBEAiBjW5IQf9pvsYLfQFX6hoGREPMHbdQ3urbllzalApkptQIgIpwtEroeW2BXaHAI4kJXFbon5Ch9MNL5zRNZ55lvGt0=
— arche2025h1.staging.ct.transparency.dev ui8GwCF1+kWqZrxGdhj4aX3gcw7XUlXQQabg/27lefwhUkzbC3NygNI75MdhL1bfTW9g8Ei59RA23oHP7Ry1k3ZFWwQ=
— transparency.dev/DEV:witness-little-garden 2AQqhwAAAABqEiEgzgFIqqhbUoDwjMWE6UP8nd8/KYTzwZ2rhIgcqoXHAwVkjZr4AscylP3v7sEodkRAErumC2q44vdgJY096st5BQ==
— witness1.smartit.nu/witness1 pIyCDwAAAABqEiEghIp82KWebrw7/oHQwlTAm3g2RKS4+eebl8eO0WH+/iEcxZ75W3u5hNI7TOQtmJbqmNWVuE0tgh0XwzdZsDsUAQ==
— remora.n621.de 2net5wAAAABqEiEgPlfF3V06o0Y+fHM+J5J9s27wgxxcOVSpZ/2g/KSiXCg9DEZI+aVCIobWX9sXTynk5XeU/zZ0WBxtqB0DrAWfBw==
— witness.stagemole.eu Z/euoAAAAABqEiEgw0i+7g2ENfDAWHmtRzCfKTHSDwYDJA2NmKeGi9Y8FtEyOUvVr+AJmIY/2TUFucgKi7lI7cUiOvKFYe/TmN9DAg==
`;

test("the example of the signed-note specification verifies, and no other text by its signature", () => {
  assert.ok(isGood(SPEC_NOTE, SPEC_KEY));
  assert.ok(!isGood(SPEC_NOTE.replace("example message", "example massage"), SPEC_KEY));
  assert.equal(formatVerifierKey(keyOf(SPEC_KEY)), SPEC_KEY);
});

test("our signatures are byte for byte those of Go's note package", () => {
  const seed = Buffer.from(GO_PRIVATE, "base64").subarray(1);
  const signer = signerFromSeed("PeterNeumann", seed);
  const text = GO_NOTE.slice(0, GO_NOTE.lastIndexOf("\n\n") + 1);
  const id = keyId(signer.name, 1, signer.publicKey);
  const line = formatSignature(signer.name, id, signer.sign(Buffer.from(text)));
  assert.equal(formatNote(text, [line]), GO_NOTE);
  assert.ok(isGood(GO_NOTE, GO_KEY));
});

test("a public log's head verifies with its own key and with a public witness's cosignature", () => {
  const [log, witness] = PUBLIC_KEYS;
  const trust = { logKeys: [keyOf(log)], witnessKeys: [keyOf(witness)], threshold: 1 };
  const checked = checkCheckpoint(PUBLIC_CHECKPOINT, trust);
  assert.ok(checked.kind === "good");
  assert.equal(checked.value.head.size, 1_432_088_532);
  assert.equal(checked.value.cosigned[0]?.name, "remora.n621.de");
  const time = cosignedAtSeconds(
    checked.value.note.signatures[4] ?? assert.fail("five signatures"),
  );
  assert.equal(new Date(time * 1000).getUTCFullYear(), 2026);
  const smaller = checkCheckpoint(PUBLIC_CHECKPOINT.replace("1432088532", "1432088531"), trust);
  assert.ok(smaller.kind === "bad");
  assert.equal(smaller.fault.code, "signature-wrong");
});

test("a key whose id is not made of its name and bytes is no key, and any mangling is seen", () => {
  for (let at = 0; at < GO_KEY.length; at++) {
    const mangled = `${GO_KEY.slice(0, at)}!${GO_KEY.slice(at + 1)}`;
    assert.equal(parseVerifierKey(mangled).kind, "malformed", mangled);
    assert.equal(parseVerifierKey(GO_KEY.slice(0, at)).kind, "malformed", "cut");
  }
  assert.equal(parseVerifierKey(`${GO_KEY}=`).kind, "malformed");
});

test("every prefix of a note is malformed, and each shape that the format does not have", () => {
  for (let size = 0; size < SPEC_NOTE.length; size++) {
    assert.equal(parseNote(SPEC_NOTE.slice(0, size)).kind, "malformed", `${size} characters`);
  }
  const line = SPEC_NOTE.slice(SPEC_NOTE.lastIndexOf("—"), -1);
  for (const lines of [
    `${line} `,
    line.replace("— ", "- "),
    line.replace(" ", "  "),
    `${line}\n\n${line.slice(1)}`,
  ]) {
    assert.equal(parseNote(`text\n\n${lines}\n`).kind, "malformed", lines);
  }
  for (const text of ["a\r\n", "a\tb\n", "\u0000\n"]) {
    assert.equal(parseNote(`${text}\n${line}\n`).kind, "malformed");
  }
  assert.equal(decodeText(Buffer.of(0xff), 10), undefined, "not UTF-8");
  assert.equal(decodeText(Buffer.from("long"), 3), undefined);
});

test("64 signatures are read, 65 are not", () => {
  const line = SPEC_NOTE.slice(SPEC_NOTE.lastIndexOf("—"), -1);
  const note = (count: number): string => formatNote("text\n", Array<string>(count).fill(line));
  assert.equal(parseNote(note(NOTE_MAX_SIGNATURES)).kind, "parsed");
  assert.equal(parseNote(note(NOTE_MAX_SIGNATURES + 1)).kind, "malformed");
});

test("a cosignature over a time beyond 2^63 is not taken", () => {
  const signer = signerFromSeed("w.example", Buffer.alloc(32, 7));
  const key = keyOf(
    formatVerifierKey({
      ...keyOf(SPEC_KEY),
      name: signer.name,
      type: 4,
      publicKey: signer.publicKey,
    }),
  );
  const sign = (time: bigint): Uint8Array => {
    const head = Buffer.alloc(8);
    head.writeBigUInt64BE(time);
    return Buffer.concat([head, signer.sign(cosignedText("t\n", time))]);
  };
  const signature = (bytes: Uint8Array) => ({ name: key.name, id: key.id, bytes, line: "" });
  assert.ok(isSignedBy(key, "t\n", signature(sign(2n ** 63n - 1n))));
  assert.ok(!isSignedBy(key, "t\n", signature(sign(2n ** 63n))));
  assert.ok(!isSignedBy(key, "t\n", signature(cosignatureBytes(1, Buffer.alloc(64)))));
});

test("no text makes the parsers throw, and what they accept they wrote alike", () => {
  const part = fc.constantFrom(
    "\n",
    "\n\n",
    "— ",
    " ",
    "a",
    "0",
    "1432",
    SPEC_NOTE,
    "old 1",
    "=",
    "\u{1f512}",
  );
  const texts = fc.oneof(
    fc.string({ unit: "binary" }),
    fc.array(part).map((parts) => parts.join("")),
  );
  fc.assert(
    fc.property(texts, (text) => {
      const note = parseNote(text);
      if (note.kind === "parsed") {
        const lines = note.value.signatures.map(({ line }) => line);
        assert.equal(formatNote(note.value.text, lines), text);
      }
      parseCheckpoint(text);
      parseVerifierKey(text);
    }),
    { numRuns: 500 },
  );
});
