#!/usr/bin/env node

// Made by tools/one-file.ts of packages/ledger/src/merkle.ts, packages/ledger/src/note.ts, packages/ledger/src/signer.ts, packages/ledger/src/checkpoint.ts, packages/ledger/src/witness.ts, packages/ledger/src/durable-file.ts, packages/ledger/src/witness-memory.ts, packages/ledger/one-file/witness.main.ts.

// SPDX-License-Identifier: Apache-2.0

import * as crypto from "node:crypto";

import * as fs from "node:fs";

import * as http from "node:http";

import * as path from "node:path";

/**
 * The Merkle tree of RFC 6962 §2.1 with SHA-256, and the checks of its two proofs as RFC 9162 §2.1.3.2 and
 * §2.1.4.2 word them. Part of the one-file scripts, so it runs on Node 18 and imports built-ins only.
 */

const HASH_BYTES = 32;
/** A tree of 2^53 records, the largest size a number tells exactly, is 53 high; C2SP allows 63 lines. */
const PROOF_MAX_HASHES = 63;
/** An entry's length is a uint16 in tlog-tiles, so a leaf is no longer. */
const LEAF_MAX_BYTES = 65_535;

const LEAF = 0x00;
const NODE = 0x01;

/**
 * `hash` came with Node 20.12. Made a text of one character a byte first, a hash costs it a third of what it
 * costs as a buffer at once, and a fifth of `createHash`.
 */
const hashText =
  typeof crypto.hash === "function"
    ? (bytes, encoding) => crypto.hash("sha256", bytes, encoding)
    : (bytes, encoding) => crypto.createHash("sha256").update(bytes).digest(encoding);

function sha256(bytes) {
  return Buffer.from(hashText(bytes, "binary"), "binary");
}

function sha256Base64(bytes) {
  return hashText(bytes, "base64");
}

/** MTH of no record at all. */
const EMPTY_ROOT = sha256(new Uint8Array(0));

/** Used by one call at a time, since none waits. */
const LEAF_INPUT = Buffer.alloc(1 + LEAF_MAX_BYTES);
LEAF_INPUT[0] = LEAF;
const NODE_INPUT = Buffer.alloc(1 + 2 * HASH_BYTES);
NODE_INPUT[0] = NODE;

/** Leaves over 65,535 bytes have no place in the log and are a mistake of the caller. */
function leafHash(leaf) {
  if (leaf.length > LEAF_MAX_BYTES) throw new RangeError(`a leaf of ${leaf.length} bytes`);
  LEAF_INPUT.set(leaf, 1);
  return sha256(LEAF_INPUT.subarray(0, 1 + leaf.length));
}

/** The same of a leaf's text, which is at most `LEAF_MAX_BYTES` long in UTF-8. */
function leafHashOfText(leaf) {
  return sha256(LEAF_INPUT.subarray(0, 1 + LEAF_INPUT.write(leaf, 1)));
}

function nodeHash(left, right) {
  NODE_INPUT.set(left, 1);
  NODE_INPUT.set(right, 1 + HASH_BYTES);
  return sha256(NODE_INPUT);
}

/** Largest power of two below `size`, which is 2 or more: where RFC 6962 splits a tree. */
function splitOf(size) {
  let split = 1;
  while (split * 2 < size) split *= 2;
  return split;
}

/**
 * MTH over subtrees of one size, from left to right; the last one may be smaller, as at the right edge of
 * a tree. At least one.
 */
function treeHash(hashes, from = 0, to = hashes.length) {
  const first = hashes[from];
  if (first === undefined || to <= from) throw new RangeError("a tree of no hashes");
  if (to - from === 1) return first;
  const split = from + splitOf(to - from);
  return nodeHash(treeHash(hashes, from, split), treeHash(hashes, split, to));
}

/** Cuts concatenated hashes, as in a tile, apart. */
function hashesOf(bytes) {
  const hashes = [];
  for (let at = 0; at + HASH_BYTES <= bytes.length; at += HASH_BYTES) {
    hashes.push(bytes.subarray(at, at + HASH_BYTES));
  }
  return hashes;
}

function isSameHash(one, other) {
  return Buffer.compare(one, other) === 0;
}

function areHashes(hashes) {
  return hashes.length <= PROOF_MAX_HASHES && hashes.every(({ length }) => length === HASH_BYTES);
}

/** Whether the leaf hash stands at `index` in the tree of `size` leaves with that root. */
function isIncluded(index, size, leaf, proof, root) {
  if (!Number.isSafeInteger(index) || !Number.isSafeInteger(size)) return false;
  if (index < 0 || index >= size || !areHashes([leaf, root]) || !areHashes(proof)) return false;
  // Shifts of JavaScript work on 32 bits; sizes have 53.
  let [at, last] = [index, size - 1];
  let hash = leaf;
  for (const sibling of proof) {
    if (last === 0) return false;
    if (at % 2 === 1 || at === last) {
      hash = nodeHash(sibling, hash);
      while (at % 2 === 0 && at !== 0) [at, last] = [at / 2, Math.floor(last / 2)];
    } else {
      hash = nodeHash(hash, sibling);
    }
    [at, last] = [Math.floor(at / 2), Math.floor(last / 2)];
  }
  return last === 0 && isSameHash(hash, root);
}

/**
 * Whether the tree of `newSize` leaves is the one of `oldSize` with leaves added. Nothing is consistent
 * with an empty tree: a witness that never saw the log takes that path apart.
 */
function isConsistent(oldSize, newSize, oldRoot, newRoot, proof) {
  if (!Number.isSafeInteger(oldSize) || !Number.isSafeInteger(newSize)) return false;
  if (oldSize < 1 || newSize < oldSize) return false;
  if (oldSize === newSize) return proof.length === 0 && isSameHash(oldRoot, newRoot);
  if (proof.length === 0 || !areHashes([oldRoot, newRoot]) || !areHashes(proof)) return false;
  let [at, last] = [oldSize - 1, newSize - 1];
  while (at % 2 === 1) [at, last] = [(at - 1) / 2, Math.floor(last / 2)];
  // Of a power of two the old root is itself the first node, and the proof leaves it out.
  const path = at === 0 ? [oldRoot, ...proof] : proof;
  const [first, ...rest] = path;
  if (first === undefined) return false;
  let [older, newer] = [first, first];
  for (const hash of rest) {
    if (last === 0) return false;
    if (at % 2 === 1 || at === last) {
      older = nodeHash(hash, older);
      newer = nodeHash(hash, newer);
      while (at % 2 === 0 && at !== 0) [at, last] = [at / 2, Math.floor(last / 2)];
    } else {
      newer = nodeHash(newer, hash);
    }
    [at, last] = [Math.floor(at / 2), Math.floor(last / 2)];
  }
  return last === 0 && isSameHash(older, oldRoot) && isSameHash(newer, newRoot);
}

/**
 * Signed notes: c2sp.org/signed-note, with Ed25519 signatures (type 0x01) and witness cosignatures
 * (c2sp.org/tlog-cosignature, type 0x04). Other types are kept and ignored, as the specification demands.
 * Part of the one-file scripts, so it runs on Node 18 and imports built-ins only.
 */

/** 16 signatures must be accepted, and one of ML-DSA-44 is 2.5 kB; four times as many are a mistake. */
const NOTE_MAX_SIGNATURES = 64;
/** 64 Ed25519 signatures or 32 of ML-DSA-44, with names. */
const NOTE_MAX_BYTES = 128 * 1024;

const ED25519 = 0x01;
const COSIGNATURE = 0x04;
const PUBLIC_KEY_BYTES = 32;
const SIGNATURE_BYTES = 64;
const KEY_ID_BYTES = 4;
const TIMESTAMP_BYTES = 8;
/** RFC 8410 §4: what stands before the 32 bytes of an Ed25519 key in SubjectPublicKeyInfo. */
const SPKI_PREFIX = Buffer.from("302a300506032b6570032100", "hex");
const EM_DASH = "\u2014";

function malformed(why) {
  return { kind: "malformed", why };
}

/** Base 64 in the one way that RFC 4648 §4 writes it; undefined for any other. */
function fromBase64(text) {
  const bytes = Buffer.from(text, "base64");
  return bytes.toString("base64") === text ? bytes : undefined;
}

function toBase64(bytes) {
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length).toString("base64");
}

function keyId(name, type, publicKey) {
  return sha256(
    Buffer.concat([Buffer.from(`${name}\n`), Buffer.of(type), publicKey]),
  ).readUInt32BE();
}

/** A key from its parts; the bytes must be 32. */
function verifierKey(name, type, publicKey) {
  const der = Buffer.concat([SPKI_PREFIX, publicKey]);
  const key = crypto.createPublicKey({ key: der, format: "der", type: "spki" });
  return { name, id: keyId(name, type, publicKey), type, publicKey, key };
}

/** `name+hex id+base64(type, key)`: signed-note, "Verifier keys". */
function parseVerifierKey(text) {
  const match = /^([^+]+)\+([0-9a-f]{8})\+([A-Za-z0-9+/=]+)$/.exec(text);
  const [, name = "", id = "", encoded = ""] = match ?? [];
  if (match === null || !isKeyName(name)) return malformed("a key is written name+id+base64");
  const bytes = fromBase64(encoded);
  const type = bytes?.[0];
  if (bytes === undefined || bytes.length !== 1 + PUBLIC_KEY_BYTES) {
    return malformed(`key ${name} does not hold a type and 32 bytes`);
  }
  if (type !== ED25519 && type !== COSIGNATURE) {
    return malformed(
      `key ${name} is of type ${type ?? 0}; Ed25519 (1) and its cosignature (4) are known`,
    );
  }
  const key = verifierKey(name, type, bytes.subarray(1));
  if (key.id !== Number.parseInt(id, 16)) return malformed(`key ${name} has another id than ${id}`);
  return { kind: "parsed", value: key };
}

function formatVerifierKey({ name, type, publicKey }) {
  const id = keyId(name, type, publicKey).toString(16).padStart(8, "0");
  return `${name}+${id}+${toBase64(Buffer.concat([Buffer.of(type), publicKey]))}`;
}

/** No Unicode space, no plus, not empty; control characters have no place in a note at all. */
function isKeyName(name) {
  return name !== "" && !/[\s\u0085+]/u.test(name) && !hasControl(name);
}

function hasControl(text) {
  for (let at = 0; at < text.length; at++) {
    const code = text.charCodeAt(at);
    if (code < 0x20 && code !== 0x0a) return true;
  }
  return false;
}

/** UTF-8 or nothing; undefined also for what is longer than any note. */
function decodeText(bytes, maxBytes) {
  if (bytes.length > maxBytes) return undefined;
  try {
    return new TextDecoder("utf-8", { fatal: true, ignoreBOM: true }).decode(bytes);
  } catch {
    return undefined;
  }
}

function parseNote(note) {
  if (note.length > NOTE_MAX_BYTES) return malformed(`longer than ${NOTE_MAX_BYTES} bytes`);
  if (hasControl(note)) return malformed("holds a control character");
  // The text may have empty lines; the last one of the note stands before the signatures.
  const blank = note.lastIndexOf("\n\n");
  if (blank < 0 || !note.endsWith("\n")) return malformed("has no signatures after an empty line");
  const lines = note.slice(blank + 2, -1).split("\n");
  if (lines.length > NOTE_MAX_SIGNATURES) {
    return malformed(`has over ${NOTE_MAX_SIGNATURES} signatures`);
  }
  const signatures = [];
  for (const line of lines) {
    const signature = parseSignature(line);
    if (signature === undefined) return malformed("has a line that is no signature");
    signatures.push(signature);
  }
  return { kind: "parsed", value: { text: note.slice(0, blank + 1), signatures } };
}

function parseSignature(line) {
  const [dash, name = "", encoded = "", ...rest] = line.split(" ");
  if (dash !== EM_DASH || rest.length > 0 || !isKeyName(name)) return undefined;
  const bytes = fromBase64(encoded);
  if (bytes === undefined || bytes.length <= KEY_ID_BYTES) return undefined;
  return { name, id: bytes.readUInt32BE(), bytes: bytes.subarray(KEY_ID_BYTES), line };
}

function formatSignature(name, id, signature) {
  const bytes = Buffer.alloc(KEY_ID_BYTES);
  bytes.writeUInt32BE(id);
  return `${EM_DASH} ${name} ${toBase64(Buffer.concat([bytes, signature]))}`;
}

function formatNote(text, lines) {
  return `${text}\n${lines.map((line) => `${line}\n`).join("")}`;
}

/** What a witness signs (tlog-cosignature, "Ed25519 signed message"). */
function cosignedText(text, timeSeconds) {
  return Buffer.from(`cosignature/v1\ntime ${timeSeconds}\n${text}`);
}

/** A cosignature as it follows the key id: the time, big-endian, and the signature. */
function cosignatureBytes(timeSeconds, signature) {
  const time = Buffer.alloc(TIMESTAMP_BYTES);
  time.writeBigUInt64BE(BigInt(timeSeconds));
  return Buffer.concat([time, signature]);
}

/** When a cosignature was made, in seconds since 1970; only of one that verifies is it worth anything. */
function cosignedAtSeconds({ bytes }) {
  return Number(Buffer.from(bytes).readBigUInt64BE());
}

/** Whether the key made the signature of exactly this text. */
function isSignedBy(key, text, { bytes }) {
  if (key.type === ED25519) {
    return (
      bytes.length === SIGNATURE_BYTES && crypto.verify(null, Buffer.from(text), key.key, bytes)
    );
  }
  if (bytes.length !== TIMESTAMP_BYTES + SIGNATURE_BYTES) return false;
  const time = Buffer.from(bytes).readBigUInt64BE();
  if (time > 0x7fff_ffff_ffff_ffffn) return false;
  return crypto.verify(null, cosignedText(text, time), key.key, bytes.subarray(TIMESTAMP_BYTES));
}

/** A signature belongs to a key by name and id together; an equal name or id alone means nothing. */
function isFrom(key, { name, id }) {
  return key.name === name && key.id === id;
}

/** Keys that sign. Part of the one-file scripts, so it runs on Node 18 and imports built-ins only. */

/** An Ed25519 key as PKCS #8 in PEM, as `openssl genpkey -algorithm ed25519` writes it. */
function signerFromPem(name, pem) {
  return signerOfKey(name, crypto.createPrivateKey(pem));
}

/** RFC 8410 §7: what stands before the 32 bytes of a private key in PKCS #8. */
const PKCS8_PREFIX = Buffer.from("302e020100300506032b657004220420", "hex");

/** A key from 32 random bytes. */
function signerFromSeed(name, seed) {
  const der = Buffer.concat([PKCS8_PREFIX, seed]);
  return signerOfKey(name, crypto.createPrivateKey({ key: der, format: "der", type: "pkcs8" }));
}

function signerOfKey(name, key) {
  if (key.asymmetricKeyType !== "ed25519") throw new TypeError("the key is not an Ed25519 key");
  const spki = crypto.createPublicKey(key).export({ format: "der", type: "spki" });
  return {
    name,
    publicKey: spki.subarray(-32),
    sign: (message) => crypto.sign(null, message, key),
  };
}

/**
 * Checkpoints: c2sp.org/tlog-checkpoint, and whom to believe one. Part of the one-file scripts, so it runs
 * on Node 18 and imports built-ins only.
 */

function bad(code, why, record) {
  return { kind: "bad", fault: record === undefined ? { code, why } : { code, record, why } };
}

/** Decimal without leading zeros, up to what a number tells exactly; undefined otherwise. */
function parseSize(text) {
  if (!/^(0|[1-9][0-9]{0,15})$/.test(text)) return undefined;
  const size = Number(text);
  return Number.isSafeInteger(size) ? size : undefined;
}

function parseHead(text) {
  const [origin = "", sizeText = "", rootText = "", ...extensions] = text.slice(0, -1).split("\n");
  const size = parseSize(sizeText);
  const root = fromBase64(rootText);
  if (!text.endsWith("\n") || origin === "") return malformed("has no origin line");
  if (size === undefined) return malformed("its second line is no tree size");
  if (root?.length !== HASH_BYTES) return malformed("its third line is no SHA-256 in base64");
  if (extensions.includes("")) return malformed("has an empty line among its extension lines");
  return { kind: "parsed", value: { origin, size, root } };
}

function formatHead({ origin, size, root }) {
  return `${origin}\n${size}\n${toBase64(root)}\n`;
}

/** A checkpoint that nobody vouched for yet. */
function parseCheckpoint(text) {
  const note = parseNote(text);
  if (note.kind === "malformed") return note;
  const head = parseHead(note.value.text);
  if (head.kind === "malformed") return head;
  return { kind: "parsed", value: { head: head.value, note: note.value } };
}

/** Whether the log signed it and enough witnesses cosigned. One bad signature of a known key spoils it. */
function checkCheckpoint(text, trust) {
  const parsed = parseCheckpoint(text);
  if (parsed.kind === "malformed")
    return bad("checkpoint-malformed", `the checkpoint ${parsed.why}`);
  const { head, note } = parsed.value;
  const signer = signerOf(note, trust.logKeys);
  if (signer.kind === "bad") return signer;
  const origin = trust.origin ?? signer.value.name;
  if (head.origin !== origin) {
    return bad("wrong-origin", `the checkpoint is of "${head.origin}", not of "${origin}"`);
  }
  const cosigned = cosignersOf(note, trust);
  if (cosigned.kind === "bad") return cosigned;
  return { kind: "good", value: { head, note, cosigned: cosigned.value } };
}

function signerOf(note, keys) {
  let signer;
  for (const signature of note.signatures) {
    const key = keys.find((one) => one.type === ED25519 && isFrom(one, signature));
    if (key === undefined) continue;
    if (!isSignedBy(key, note.text, signature)) {
      return bad("signature-wrong", `the signature of ${key.name} is not of this checkpoint`);
    }
    signer ??= key;
  }
  if (signer !== undefined) return { kind: "good", value: signer };
  return bad("not-signed", "no key of the log that is believed signed the checkpoint");
}

function cosignersOf(note, trust) {
  const known = trust.witnessKeys.filter(({ type }) => type === COSIGNATURE);
  // The message names no cosigner, so one key under two names is one witness; and no log is its own.
  const seen = new Set(trust.logKeys.map(({ publicKey }) => toBase64(publicKey)));
  const cosigned = [];
  for (const signature of note.signatures) {
    const key = known.find((one) => isFrom(one, signature));
    if (key === undefined) continue;
    if (!isSignedBy(key, note.text, signature)) {
      return bad("cosignature-wrong", `the cosignature of ${key.name} is not of this checkpoint`);
    }
    const publicKey = toBase64(key.publicKey);
    if (seen.has(publicKey)) continue;
    seen.add(publicKey);
    cosigned.push({ name: key.name, atSeconds: cosignedAtSeconds(signature) });
  }
  if (cosigned.length >= trust.threshold) return { kind: "good", value: cosigned };
  return bad(
    "too-few-witnesses",
    `${cosigned.length} of the ${known.length} witnesses cosigned the checkpoint; ${trust.threshold} must have`,
  );
}

/**
 * A witness: c2sp.org/tlog-witness `add-checkpoint`. It remembers one head a log, and cosigns only heads
 * that extend it. The same code is in a gateway that witnesses another one and in the one-file script. Part
 * of the one-file scripts, so it runs on Node 18 and imports built-ins only.
 */

/** A checkpoint, 63 hashes and the first line. */
const REQUEST_MAX_BYTES = NOTE_MAX_BYTES + 4096;

const TEXT = "text/plain; charset=utf-8";
const TLOG_SIZE = "text/x.tlog.size";

function formatAddCheckpoint({ oldSize, proof, checkpoint }) {
  return [`old ${oldSize}`, ...proof.map(toBase64), "", checkpoint].join("\n");
}

function parseAddCheckpoint(body) {
  if (body.length > REQUEST_MAX_BYTES) return malformed("is too long");
  const blank = body.indexOf("\n\n");
  if (blank < 0) return malformed("has no empty line before a checkpoint");
  const [first = "", ...lines] = body.slice(0, blank).split("\n");
  const oldSize = first.startsWith("old ") ? parseSize(first.slice(4)) : undefined;
  if (oldSize === undefined) return malformed("does not begin with an old size");
  if (lines.length > PROOF_MAX_HASHES) return malformed(`has over ${PROOF_MAX_HASHES} hashes`);
  const proof = [];
  for (const line of lines) {
    const hash = fromBase64(line);
    if (hash?.length !== HASH_BYTES) return malformed("has a line that is no SHA-256 in base64");
    proof.push(hash);
  }
  return { kind: "parsed", value: { oldSize, proof, checkpoint: body.slice(blank + 2) } };
}

function refuse(status, why) {
  return { status, contentType: TEXT, body: `${why}\n` };
}

function conflict(size) {
  return { status: 409, contentType: TLOG_SIZE, body: `${size}\n` };
}

/** Answers one request. It must not run beside another one of the same memory. */
function addCheckpoint(witness, body) {
  const request = parseAddCheckpoint(body);
  if (request.kind === "malformed") return refuse(400, `the request ${request.why}`);
  const { oldSize, proof, checkpoint } = request.value;
  const parsed = parseCheckpoint(checkpoint);
  if (parsed.kind === "malformed") return refuse(400, `the checkpoint ${parsed.why}`);
  const { head, note } = parsed.value;
  const keys = witness.logKeys.filter(({ name, type }) => name === head.origin && type === ED25519);
  if (keys.length === 0) return refuse(404, `no log is known by the origin "${head.origin}"`);
  const signed = signatureOf(keys, note);
  if (signed === undefined) return refuse(403, "no key of the log signed the checkpoint");
  if (oldSize > head.size) return refuse(400, "the old size is above the checkpoint's");
  const last = witness.memory.get(head.origin);
  if (oldSize !== (last?.size ?? 0)) return conflict(last?.size ?? 0);
  if (!extendsHead(last, head, proof)) {
    // An equal size with another root is a log with two histories; C2SP has 409 for it.
    if (oldSize > 0 && oldSize === head.size && proof.length === 0) return conflict(oldSize);
    return refuse(422, "the checkpoint does not extend the one that was cosigned last");
  }
  const line = cosign(witness, note.text);
  witness.memory.put(head.origin, {
    size: head.size,
    root: toBase64(head.root),
    checkpoint: formatNote(note.text, [signed, line]),
  });
  return { status: 200, contentType: TEXT, body: `${line}\n` };
}

function signatureOf(keys, note) {
  return note.signatures.find((signature) =>
    keys.some((key) => isFrom(key, signature) && isSignedBy(key, note.text, signature)),
  )?.line;
}

function extendsHead(last, head, proof) {
  if (last === undefined || last.size === 0) {
    return proof.length === 0 && (head.size > 0 || isSameHash(head.root, EMPTY_ROOT));
  }
  return isConsistent(last.size, head.size, Buffer.from(last.root, "base64"), head.root, proof);
}

function cosign({ signer, nowSeconds }, text) {
  const time = Math.floor(nowSeconds());
  const signature = signer.sign(cosignedText(text, BigInt(time)));
  const id = keyId(signer.name, COSIGNATURE, signer.publicKey);
  return formatSignature(signer.name, id, cosignatureBytes(time, signature));
}

/**
 * Small files that are whole after a power cut: the old text or the new one. Part of the one-file scripts,
 * so it runs on Node 18 and imports built-ins only.
 */

function writeDurably(file, text, sync = fs.fsyncSync) {
  const temporary = `${file}.new`;
  const descriptor = fs.openSync(temporary, "w", 0o600);
  try {
    fs.writeFileSync(descriptor, text);
    sync(descriptor);
  } finally {
    fs.closeSync(descriptor);
  }
  fs.renameSync(temporary, file);
  syncDirectory(path.dirname(file), sync);
}

/** A new name is on disk only when its directory is. */
function syncDirectory(directory, sync) {
  const descriptor = fs.openSync(directory, "r");
  try {
    sync(descriptor);
  } finally {
    fs.closeSync(descriptor);
  }
}

/** The file's text; undefined when there is none, or none that short. */
function readText(file, maxBytes) {
  try {
    return fs.statSync(file).size > maxBytes ? undefined : fs.readFileSync(file, "utf8");
  } catch (error) {
    if (error instanceof Error && "code" in error && error.code === "ENOENT") return undefined;
    throw error;
  }
}

/**
 * A witness's memory as one JSON file, written whole and synced before each answer. Part of the one-file
 * scripts, so it runs on Node 18 and imports built-ins only.
 */

/** Thousands of logs; a file beyond it is not ours. */
const MEMORY_MAX_BYTES = 16 * 1024 * 1024;

/** A memory that cannot be read is an error: a witness that forgot would cosign a rollback. */
function openWitnessMemory(file) {
  const text = readText(file, MEMORY_MAX_BYTES);
  const heads = new Map(text === undefined ? [] : parse(text));
  return {
    get: (origin) => heads.get(origin),
    put: (origin, head) => {
      const next = new Map(heads).set(origin, head);
      writeDurably(file, `${JSON.stringify([...next], undefined, 1)}\n`);
      heads.set(origin, head);
    },
  };
}

function parse(text) {
  const value = JSON.parse(text);
  if (Array.isArray(value) && value.every(isEntry)) return value;
  throw new TypeError(
    "the witness's memory is damaged; restore it, or the logs can be rolled back",
  );
}

function isEntry(value) {
  if (!Array.isArray(value) || value.length !== 2 || typeof value[0] !== "string") return false;
  const head = value[1];
  if (typeof head !== "object" || head === null) return false;
  const { size, root, checkpoint } = head;
  return Number.isSafeInteger(size) && typeof root === "string" && typeof checkpoint === "string";
}

/**
 * A witness for ledgers, for any machine with Node 18 or later: keeps the last head of each log, and cosigns
 * only what extends it (c2sp.org/tlog-witness). It needs no package. Put TLS in front of it where the network is not trusted;
 * requests are believed by their signatures alone.
 */

const USAGE = `usage: node witness.mjs new-key KEY-FILE
       node witness.mjs serve NAME KEY-FILE MEMORY-FILE [HOST:]PORT LOG-KEY ...

  NAME         the witness's name, such as witness.example/plant-2, without spaces and plus signs
  KEY-FILE     its private key, PKCS #8 in PEM; new-key makes one
  MEMORY-FILE  where it keeps the last head of each log: without it, rollbacks are not seen
  LOG-KEY      public key of a ledger, name+id+base64

POST /add-checkpoint cosigns. GET /<hex SHA-256 of the origin>/checkpoint gives the last head cosigned.`;

/** A log asks once in ten seconds; a client that takes longer for a few kilobytes is none. */
const REQUEST_LIMIT_MS = 10_000;
const MAX_CONNECTIONS = 64;

function read(request) {
  return new Promise((resolve, reject) => {
    const parts = [];
    let sizeBytes = 0;
    request.on("data", (part) => {
      sizeBytes += part.length;
      if (sizeBytes <= REQUEST_MAX_BYTES) parts.push(part);
    });
    request.on("end", () => {
      resolve(sizeBytes > REQUEST_MAX_BYTES ? undefined : Buffer.concat(parts).toString("utf8"));
    });
    request.on("error", reject);
  });
}

async function answer(witness, request) {
  const plain = (status, body) => ({
    status,
    contentType: "text/plain; charset=utf-8",
    body,
  });
  if (request.method === "POST" && request.url === "/add-checkpoint") {
    const body = await read(request);
    return body === undefined ? plain(413, "too long\n") : addCheckpoint(witness, body);
  }
  const hash = /^\/([0-9a-f]{64})\/checkpoint$/.exec(request.url ?? "")?.[1];
  if (request.method !== "GET" || hash === undefined) return plain(404, "not found\n");
  const key = witness.logKeys.find(
    ({ name }) => crypto.createHash("sha256").update(name).digest("hex") === hash,
  );
  const head = key === undefined ? undefined : witness.memory.get(key.name);
  return head === undefined
    ? plain(404, "no head was cosigned yet\n")
    : plain(200, head.checkpoint);
}

function serve(witness, place) {
  const server = http.createServer({ requestTimeout: REQUEST_LIMIT_MS }, (request, response) => {
    answer(witness, request)
      .catch((error) => {
        // The head is not on disk, so nothing was cosigned.
        console.error(error);
        return { status: 500, contentType: "text/plain", body: "the witness cannot write\n" };
      })
      .then(({ status, contentType, body }) => {
        response.writeHead(status, { "content-type": contentType }).end(body);
      })
      .catch((error) => console.error(error));
  });
  server.maxConnections = MAX_CONNECTIONS;
  const [port, ...host] = place.split(":").reverse();
  server.listen({ host: host.reverse().join(":") || "127.0.0.1", port: Number(port) }, () => {
    const { signer } = witness;
    const address = server.address();
    const at = typeof address === "object" && address !== null ? address.port : place;
    console.log(formatVerifierKey(verifierKey(signer.name, COSIGNATURE, signer.publicKey)));
    console.log(`listens on port ${at}`);
  });
}

function newKey(file) {
  const { privateKey } = crypto.generateKeyPairSync("ed25519");
  const pem = privateKey.export({ format: "pem", type: "pkcs8" });
  fs.writeFileSync(file, pem, { flag: "wx", mode: 0o600 });
}

function main([verb, ...words]) {
  const [first = "", keyFile = "", memoryFile = "", place = "", ...logs] = words;
  if (verb === "new-key" && words.length === 1) {
    newKey(first);
    return 0;
  }
  if (verb !== "serve" || logs.length === 0) {
    console.error(USAGE);
    return 64;
  }
  const logKeys = logs.map((text) => {
    const key = parseVerifierKey(text);
    if (key.kind === "malformed") throw new TypeError(key.why);
    return key.value;
  });
  const signer = signerFromPem(first, fs.readFileSync(keyFile, "utf8"));
  const memory = openWitnessMemory(memoryFile);
  serve({ signer, logKeys, memory, nowSeconds: () => Date.now() / 1000 }, place);
  return undefined;
}

const exitCode = main(process.argv.slice(2));
if (exitCode !== undefined) process.exitCode = exitCode;
