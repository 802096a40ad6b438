import assert from "node:assert/strict";
import fs from "node:fs";
import { test } from "node:test";
import fc from "fast-check";
import { checkpointLine, parseCheckpointLine, syslogLine } from "./checkpoint-line.ts";
import { canonicalText, parseLeaf } from "./leaf.ts";
import { canonicalJson, type Json } from "@sallyport/core";
import {
  acts,
  Folder,
  LOG_KEY,
  LOG_VKEY,
  runScript,
  SIGNER,
  START_MS,
  VERIFY_SCRIPT,
} from "./ledger.test-kit.ts";
import { checkProof, formatProof, parseProof, PROOF_FILE_MAX_BYTES } from "./tlog-proof.ts";

const TRUST = { logKeys: [LOG_KEY], witnessKeys: [], threshold: 0 };

async function signedProof(folder: Folder, count: number, index: number): Promise<string> {
  const ledger = folder.open();
  await ledger.append(acts(count));
  await ledger.checkpoint();
  const proof = ledger.prove(index);
  await ledger.close();
  return proof;
}

test("a proof file reads as the specification draws it", async () => {
  using folder = new Folder();
  const [header, extra, index, ...rest] = (await signedProof(folder, 5, 4)).split("\n");
  assert.equal(header, "c2sp.org/tlog-proof@v1");
  assert.match(extra ?? "", /^extra [A-Za-z0-9+/]+=*$/);
  assert.equal(index, "index 4");
  const hash = /^[A-Za-z0-9+/]{43}=$/;
  assert.match(rest[0] ?? "", hash);
  assert.deepEqual(rest.slice(1, 4), ["", SIGNER.name, "5"]);
  assert.match(rest[6] ?? "", /^— sallyport.example\/brewery\/audit /);
});

test("a proof that was changed anywhere does not hold, and no prefix of it does", async () => {
  using folder = new Folder();
  const proof = await signedProof(folder, 300, 257);
  assert.equal(checkProof(proof, TRUST).kind, "good");
  for (let at = 0; at < proof.length; at += 7) {
    const other = proof[at] === "A" ? "B" : "A";
    const changed = proof.slice(0, at) + other + proof.slice(at + 1);
    assert.equal(checkProof(changed, TRUST).kind, "bad", `character ${at}`);
    assert.equal(checkProof(proof.slice(0, at), TRUST).kind, "bad", `cut at ${at}`);
  }
  const codeOf = (text: string): string => {
    const checked = checkProof(text, TRUST);
    return checked.kind === "bad" ? checked.fault.code : "good";
  };
  assert.equal(codeOf(proof.replace("index 257", "index 256")), "proof-wrong");
  assert.equal(codeOf(proof.replace("index 257", "index 300")), "index-outside");
  assert.equal(codeOf(proof.replace("index 257", "index 0257")), "proof-malformed");
  assert.equal(codeOf(proof.replace(/extra .*\n/, "")), "record-missing");
});

test("parsing gives back what was formatted, and no text makes it throw", () => {
  const hash = fc.uint8Array({ minLength: 32, maxLength: 32 });
  fc.assert(
    fc.property(
      fc.maxSafeNat(),
      fc.array(hash, { maxLength: 63 }),
      fc.uint8Array(),
      (index, hashes, extra) => {
        const text = formatProof({ index, hashes, extra, checkpoint: "x\n" });
        const parsed = parseProof(text);
        assert.ok(parsed.kind === "parsed");
        assert.equal(formatProof(parsed.value), text);
      },
    ),
  );
  const part = fc.constantFrom(
    "c2sp.org/tlog-proof@v1\n",
    "extra ",
    "index 0",
    "\n",
    "AAAA",
    "\n\n",
  );
  const texts = fc.oneof(
    fc.string({ unit: "binary" }),
    fc.array(part).map((parts) => parts.join("")),
  );
  fc.assert(fc.property(texts, (text) => assert.equal(checkProof(text, TRUST).kind, "bad")));
  const long = formatProof({
    index: 0,
    hashes: Array.from({ length: 64 }, () => new Uint8Array(32)),
    checkpoint: "x\n",
  });
  assert.equal(parseProof(long).kind, "malformed", "64 hashes");
  assert.equal(parseProof("x".repeat(PROOF_FILE_MAX_BYTES + 1)).kind, "malformed");
});

test("a checkpoint on a line is the checkpoint, and one mistyped character is told", async () => {
  using folder = new Folder();
  const ledger = folder.open();
  await ledger.append(acts(9));
  const checkpoint = await ledger.checkpoint();
  await ledger.close();
  const line = checkpointLine(checkpoint);
  assert.ok(line.length < 260 && !line.includes("\n"), "fits a QR code of version 11");
  assert.deepEqual(parseCheckpointLine(line), { kind: "parsed", value: checkpoint });
  const logged = syslogLine(checkpoint, "gateway-1", START_MS);
  assert.match(
    logged,
    /^<109>1 2026-05-04T06:00:00.000Z gateway-1 sallyport - checkpoint - sallyport-checkpoint\/1 /,
  );
  assert.deepEqual(parseCheckpointLine(`${logged}\n`), { kind: "parsed", value: checkpoint });
  for (let at = 0; at < line.length; at++) {
    const mistyped = `${line.slice(0, at)}${line[at] === "a" ? "b" : "a"}${line.slice(at + 1)}`;
    assert.equal(parseCheckpointLine(mistyped).kind, "malformed", `character ${at}`);
  }
  fc.assert(
    fc.property(
      fc.string(),
      (text) => parseCheckpointLine(line.slice(0, 40) + text).kind === "malformed",
    ),
  );
});

test("the verifier's own writer of canonical JSON agrees with the ledger's", () => {
  fc.assert(
    fc.property(fc.jsonValue({ maxDepth: 4, stringUnit: "binary" }), (value) => {
      // JSON.parse gives what a record is made of; -0 is 0 there, too.
      const json = JSON.parse(JSON.stringify(value)) as Json;
      if (canonicalText(json) !== undefined) assert.equal(canonicalText(json), canonicalJson(json));
    }),
  );
});

test("a leaf in another spelling than the canonical one is not taken", () => {
  const kind = (text: string): string => parseLeaf(Buffer.from(text)).kind;
  assert.equal(kind('{"10":1,"9":2,"at":1,"type":"a"}'), "parsed");
  for (const text of [
    '{"at":1, "type":"a"}',
    '{"type":"a","at":1}',
    '{"at":1,"at":1,"type":"a"}',
    '{"at":1.0,"type":"a"}',
    '{"at":1,"type":"a","x":"\\u0041"}',
    '{"at":1,"type":"a","x":"\\ud800"}',
    '{"at":1,"commit":{"a":1},"type":"a"}',
    '{"at":1}',
    "[]",
    "",
    `{"at":1,"type":"a","x":${"[".repeat(30_000)}${"]".repeat(30_000)}}`,
  ]) {
    assert.equal(kind(text), "malformed", text.slice(0, 60));
  }
  assert.equal(parseLeaf(Buffer.of(0xff, 0xfe)).kind, "malformed");
  fc.assert(
    fc.property(
      fc.uint8Array({ maxLength: 200 }),
      (bytes) => parseLeaf(bytes).kind === "malformed",
    ),
  );
});

test("the verifier tells a mistake in its command from a ledger that does not hold", async () => {
  using folder = new Folder();
  fs.writeFileSync(folder.path("a.tlog-proof"), await signedProof(folder, 3, 1));
  const run = (...words: string[]) => runScript(VERIFY_SCRIPT, words);
  const proof = folder.path("a.tlog-proof");
  const cases: readonly (readonly [number, readonly string[]])[] = [
    [0, [proof, "--key", LOG_VKEY]],
    [64, []],
    [64, [proof]],
    [64, [proof, "--key", "nonsense"]],
    [64, [proof, "--key"]],
    [64, [proof, "--key", LOG_VKEY, "--colour", "red"]],
    [64, [proof, "--key", LOG_VKEY, "--threshold", "1"]],
    [64, [folder.path("nowhere"), "--key", LOG_VKEY]],
    [64, [proof, "--key", LOG_VKEY, "--range", "0-1"]],
    [1, [proof, "--key", LOG_VKEY, "--origin", "another/origin"]],
    [1, [folder.root, "--key", LOG_VKEY]],
  ];
  for (const [code, words] of cases)
    assert.equal((await run(...words)).code, code, words.join(" "));
});
