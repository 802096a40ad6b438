#!/usr/bin/env node

// Made by tools/one-file.ts of packages/ledger/src/merkle.ts, packages/ledger/src/note.ts, packages/ledger/src/checkpoint.ts, packages/ledger/src/tlog-proof.ts, packages/ledger/src/checkpoint-line.ts, packages/ledger/src/leaf.ts, packages/ledger/src/tiles.ts, packages/ledger/src/verify-export.ts, packages/ledger/one-file/verify.main.ts.

// SPDX-License-Identifier: Apache-2.0

import * as crypto from "node:crypto";

import * as fs from "node:fs";

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
 * One record's proof in one file: c2sp.org/tlog-proof@v1. Our files carry the record itself as extra data;
 * a verifier hashes it and believes nothing else of it. Part of the one-file scripts, so it runs on Node 18
 * and imports built-ins only.
 */

const HEADER = "c2sp.org/tlog-proof@v1";
/** A checkpoint, the largest record in base64, and 63 hashes. */
const PROOF_FILE_MAX_BYTES = NOTE_MAX_BYTES + 96 * 1024;

function formatProof({ index, hashes, checkpoint, extra }) {
  const extraLine = extra === undefined ? [] : [`extra ${toBase64(extra)}`];
  return [HEADER, ...extraLine, `index ${index}`, ...hashes.map(toBase64), "", checkpoint].join(
    "\n",
  );
}

function parseProof(text) {
  if (text.length > PROOF_FILE_MAX_BYTES) return malformed("is longer than any proof");
  const blank = text.indexOf("\n\n");
  if (blank < 0) return malformed("has no empty line before a checkpoint");
  const [header, ...lines] = text.slice(0, blank).split("\n");
  if (header !== HEADER) return malformed(`does not begin with ${HEADER}`);
  const encoded = lines[0]?.startsWith("extra ") === true ? lines.shift()?.slice(6) : undefined;
  const extra = encoded === undefined ? undefined : fromBase64(encoded);
  if (encoded !== undefined && extra === undefined) return malformed("its extra line is no base64");
  const indexLine = lines.shift() ?? "";
  const index = indexLine.startsWith("index ") ? parseSize(indexLine.slice(6)) : undefined;
  if (index === undefined) return malformed("has no index line");
  if (lines.length > PROOF_MAX_HASHES) return malformed(`has over ${PROOF_MAX_HASHES} hashes`);
  const hashes = [];
  for (const line of lines) {
    const hash = fromBase64(line);
    if (hash?.length !== HASH_BYTES) return malformed("has a line that is no SHA-256 in base64");
    hashes.push(hash);
  }
  const checkpoint = text.slice(blank + 2);
  const value = { index, hashes, checkpoint };
  return { kind: "parsed", value: extra === undefined ? value : { ...value, extra } };
}

/** Checks a proof file; `record` is the leaf where the file does not carry it. */
function checkProof(text, trust, record) {
  const parsed = parseProof(text);
  if (parsed.kind === "malformed") return bad("proof-malformed", `the proof ${parsed.why}`);
  const { index, hashes, checkpoint, extra } = parsed.value;
  const leaf = record ?? extra;
  if (leaf === undefined) return bad("record-missing", "the proof carries no record", index);
  if (leaf.length > LEAF_MAX_BYTES)
    return bad("record-too-long", `over ${LEAF_MAX_BYTES} bytes`, index);
  const checked = checkCheckpoint(checkpoint, trust);
  if (checked.kind === "bad") return checked;
  const { size, root } = checked.value.head;
  if (index >= size) {
    return bad("index-outside", `the checkpoint is of ${size} records`, index);
  }
  if (!isIncluded(index, size, leafHash(leaf), hashes, root)) {
    return bad(
      "proof-wrong",
      "the record and its proof do not lead to the checkpoint's root",
      index,
    );
  }
  return { kind: "good", value: { ...checked.value, index, leaf } };
}

/**
 * A signed checkpoint on one line, for a QR code, a printed page or a syslog message: who holds such a line
 * holds a head that the log cannot take back. Part of the one-file scripts, so it runs on Node 18 and
 * imports built-ins only.
 */

const MARK = "sallyport-checkpoint/1";
/** Eight hex digits tell apart a line that was mistyped; the signature tells apart a forged one. */
const CHECK_DIGITS = 8;
/** Longer lines are no checkpoint of ours, whatever they begin with. */
const LINE_MAX_CHARACTERS = 2048;

function checkOf(text) {
  return sha256(Buffer.from(text)).toString("hex").slice(0, CHECK_DIGITS);
}

/** `sallyport-checkpoint/1 ORIGIN SIZE ROOT SIGNATURE CHECK`: the log's own signature, no cosignatures. */
function checkpointLine(checkpoint) {
  const parsed = parseCheckpoint(checkpoint);
  if (parsed.kind === "malformed") throw new RangeError(`the checkpoint ${parsed.why}`);
  const { head, note } = parsed.value;
  const own = note.signatures.find(({ name }) => name === head.origin);
  if (own === undefined) throw new RangeError(`${head.origin} did not sign the checkpoint`);
  const encoded = own.line.slice(own.line.lastIndexOf(" ") + 1);
  const text = `${MARK} ${head.origin} ${head.size} ${toBase64(head.root)} ${encoded}`;
  return `${text} ${checkOf(text)}`;
}

/** Finds such a line in a text, also behind a syslog header, and gives the checkpoint back. */
function parseCheckpointLine(text) {
  const start = text.indexOf(`${MARK} `);
  if (start < 0 || text.length > LINE_MAX_CHARACTERS) return malformed(`has no ${MARK}`);
  const [line = ""] = text.slice(start).split(/[\r\n]/);
  const [, origin = "", size = "", root = "", encoded = "", check, ...rest] = line
    .trimEnd()
    .split(" ");
  if (rest.length > 0 || check === undefined) return malformed("does not have six words");
  if (check !== checkOf([MARK, origin, size, root, encoded].join(" "))) {
    return malformed("was mistyped: its check digits do not match");
  }
  const [sizeNumber, rootBytes] = [parseSize(size), fromBase64(root)];
  const signature = parseSignature(`\u2014 ${origin} ${encoded}`);
  if (sizeNumber === undefined || rootBytes?.length !== HASH_BYTES || signature === undefined) {
    return malformed("holds no checkpoint");
  }
  if (!isKeyName(origin)) return malformed("has no origin");
  const head = formatHead({ origin, size: sizeNumber, root: rootBytes });
  return { kind: "parsed", value: `${head}\n${signature.line}\n` };
}

/** RFC 5424 §6.2.1: facility 13, log audit; severity 5, notice. */
const PRIORITY = 13 * 8 + 5;

/** The same as an RFC 5424 message. `host` is a host name without spaces, or `-`. */
function syslogLine(checkpoint, host, atMs) {
  const at = new Date(atMs).toISOString();
  return `<${PRIORITY}>1 ${at} ${host} sallyport - checkpoint - ${checkpointLine(checkpoint)}`;
}

/**
 * What a verifier wants of a leaf: one JSON object in the one way that RFC 8785 writes it, so that nobody
 * can read it in two ways, and commitments that a disclosed value must match. Written apart from the writer
 * in `core` on purpose: a mistake there does not vouch for itself here. Part of the one-file scripts, so it
 * runs on Node 18 and imports built-ins only.
 */

/** As in the writer. */
const LEAF_MAX_DEPTH = 64;
/** A salt is 128 bits: nobody tries them all, however few values there are to guess. */
const SALT_BYTES = 16;

/** The canonical text of a parsed JSON value; undefined where it nests too deep or is not Unicode. */
function canonicalText(value, depth = 0) {
  if (depth > LEAF_MAX_DEPTH) return undefined;
  if (typeof value === "string") return stringText(value);
  if (typeof value !== "object" || value === null) return JSON.stringify(value);
  const parts = [];
  if (Array.isArray(value)) {
    for (const item of value) {
      const part = canonicalText(item, depth + 1);
      if (part === undefined) return undefined;
      parts.push(part);
    }
    return `[${parts.join(",")}]`;
  }
  // Strings compare by UTF-16 code units, as §3.2.3 asks.
  for (const [name, member] of Object.entries(value).sort(([a], [b]) => (a < b ? -1 : 1))) {
    const [key, part] = [stringText(name), canonicalText(member, depth + 1)];
    if (key === undefined || part === undefined) return undefined;
    parts.push(`${key}:${part}`);
  }
  return `{${parts.join(",")}}`;
}

/** JSON.parse lets half of a surrogate pair through; no Unicode text holds one. */
function stringText(text) {
  return /\p{Surrogate}/u.test(text) ? undefined : JSON.stringify(text);
}

function parseLeaf(bytes) {
  const text = decodeText(bytes, bytes.length);
  if (text === undefined) return malformed("is not UTF-8");
  let value;
  try {
    value = JSON.parse(text);
  } catch {
    return malformed("is not JSON");
  }
  if (!isLeaf(value))
    return malformed("is no record: it needs a type, a time and commitments as text");
  if (canonicalText(value) !== text) return malformed("is not written canonically");
  return { kind: "parsed", value };
}

function isLeaf(value) {
  if (typeof value !== "object" || value === null || Array.isArray(value)) return false;
  const { type, at, commit } = value;
  if (typeof type !== "string" || !Number.isSafeInteger(at)) return false;
  if (commit === undefined) return true;
  if (typeof commit !== "object" || commit === null || Array.isArray(commit)) return false;
  return Object.values(commit).every((one) => typeof one === "string");
}

/** A value is a name or an address; larger things are recordings. */
const VALUE_MAX_BYTES = 65_535;

/** Used by one call at a time, since none waits. */
const COMMITMENT_INPUT = Buffer.alloc(SALT_BYTES + VALUE_MAX_BYTES);

/**
 * H(salt ‖ value), the value in canonical JSON of at most `VALUE_MAX_BYTES`. The salt's length is fixed, so
 * no two pairs are alike.
 */
function commitmentOf(salt, canonicalValue) {
  COMMITMENT_INPUT.set(salt);
  const end = SALT_BYTES + COMMITMENT_INPUT.write(canonicalValue, SALT_BYTES);
  return sha256Base64(COMMITMENT_INPUT.subarray(0, end));
}

function isDisclosure(value) {
  if (typeof value !== "object" || value === null) return false;
  const { index, name, salt } = value;
  return (
    Number.isSafeInteger(index) &&
    typeof name === "string" &&
    typeof salt === "string" &&
    Buffer.from(salt, "base64").length === SALT_BYTES
  );
}

/** Whether the disclosed value is the one that the record was made with. */
function isDisclosed(leaf, { name, salt, value }) {
  const commit = leaf.commit ?? {};
  const text = canonicalText(value);
  if (text === undefined || Buffer.byteLength(text) > VALUE_MAX_BYTES) return false;
  if (!Object.hasOwn(commit, name)) return false;
  return commit[name] === commitmentOf(Buffer.from(salt, "base64"), text);
}

/**
 * Paths and bundles of c2sp.org/tlog-tiles. Part of the one-file scripts, so it runs on Node 18 and imports
 * built-ins only.
 */

/** Hashes of a full tile, entries of a full bundle. */
const TILE_WIDTH = 256;
const LENGTH_BYTES = 2;

/** Hashes at a level of a tree: each stands for 256^level records. */
function hashesAtLevel(size, level) {
  return Math.floor(size / TILE_WIDTH ** level);
}

/** How many levels of tiles a tree has; none when it is empty. */
function levelsOf(size) {
  let levels = 0;
  while (hashesAtLevel(size, levels) > 0) levels++;
  return levels;
}

/** Width of tile `n` when its level holds `count` hashes. */
function widthOf(count, n) {
  return Math.max(0, Math.min(TILE_WIDTH, count - n * TILE_WIDTH));
}

/** `tile/0/x001/234.p/17`: index 1234, 17 wide; full tiles have no `.p`. */
function tilePath(level, n, width = TILE_WIDTH) {
  const groups = [String(n % 1000).padStart(3, "0")];
  for (let rest = Math.floor(n / 1000); rest > 0; rest = Math.floor(rest / 1000)) {
    groups.unshift(`x${String(rest % 1000).padStart(3, "0")}`);
  }
  const partial = width === TILE_WIDTH ? "" : `.p/${width}`;
  return `tile/${level}/${groups.join("/")}${partial}`;
}

/** Each entry after its length as a big-endian uint16. Entries are at most 65,535 bytes. */
function formatBundle(entries) {
  const parts = entries.flatMap((entry) => {
    const length = Buffer.alloc(LENGTH_BYTES);
    length.writeUInt16BE(entry.length);
    return [length, entry];
  });
  return Buffer.concat(parts);
}

/** A bundle of `width` entries is at most so long. */
function bundleMaxBytes(width) {
  return width * (LENGTH_BYTES + LEAF_MAX_BYTES);
}

/** Exactly `width` entries and nothing after them; on failure `at` is the entry's number in the bundle. */
function parseBundle(bytes, width) {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
  const entries = [];
  let offset = 0;
  while (entries.length < width) {
    const start = offset + LENGTH_BYTES;
    const end = start > bytes.length ? undefined : start + view.getUint16(offset);
    if (end === undefined || end > bytes.length) {
      return { ...malformed("ends within an entry"), at: entries.length };
    }
    entries.push(bytes.subarray(start, end));
    offset = end;
  }
  if (offset < bytes.length) return { ...malformed("goes on after its last entry"), at: width };
  return { kind: "parsed", value: entries };
}

/**
 * Checks an export against a signed checkpoint: each record against its tile, each tile against the level
 * above, all of them against the root, and the root against heads that somebody held before. Part of the
 * one-file scripts, so it runs on Node 18 and imports built-ins only.
 */

/** 256 records with all their personal values, many times over. */
const DISCLOSURES_MAX_BYTES = 64 * 1024 * 1024;

/** Path of the personal values that go with an entry bundle. */
function disclosuresPath(n) {
  return `${tilePath("entries", n).replace(/^tile\/entries/, "personal")}.jsonl`;
}

function readFile(file, maxBytes) {
  try {
    return fs.statSync(file).size > maxBytes ? undefined : fs.readFileSync(file);
  } catch {
    return undefined;
  }
}

/** Tiles of one tree, read from files; the one last read of each level is kept. */
class Tiles {
  directory;
  size;
  #last = new Map();

  constructor(directory, size) {
    this.directory = directory;
    this.size = size;
  }

  /** The first record that a hash of the tile stands for. */
  firstRecord(level, n) {
    return n * TILE_WIDTH ** (level + 1);
  }

  read(level, n) {
    const last = this.#last.get(level);
    if (last?.n === n) return { kind: "good", value: last.hashes };
    const width = widthOf(hashesAtLevel(this.size, level), n);
    const name = tilePath(level, n, width);
    const bytes = readFile(path.join(this.directory, name), TILE_WIDTH * HASH_BYTES);
    const record = this.firstRecord(level, n);
    if (bytes === undefined) return bad("tile-missing", `${name} is not there`, record);
    if (bytes.length !== width * HASH_BYTES) {
      return bad(
        "tile-truncated",
        `${name} has ${bytes.length} bytes, not ${width * HASH_BYTES}`,
        record,
      );
    }
    const hashes = hashesOf(bytes);
    this.#last.set(level, { n, hashes });
    return { kind: "good", value: hashes };
  }

  /** MTH of the first `size` records, from the tiles at their right edge. */
  rootAt(size) {
    let root;
    for (let level = 0; level < levelsOf(size); level++) {
      const count = hashesAtLevel(size, level);
      const width = count % TILE_WIDTH;
      if (width === 0) continue;
      const tile = this.read(level, Math.floor(count / TILE_WIDTH));
      if (tile.kind === "bad") return tile;
      const hashes = tile.value.slice(0, width);
      root = treeHash(root === undefined ? hashes : [...hashes, root]);
    }
    return { kind: "good", value: root ?? EMPTY_ROOT };
  }
}

function verifyExport(question) {
  const checkpoint = readCheckpoint(question.directory, question.trust);
  if (checkpoint.kind === "bad") return checkpoint;
  const { head } = checkpoint.value;
  const { from, to } = question.range ?? { from: 0, to: head.size };
  if (from > to || to > head.size) {
    return bad(
      "range-outside",
      `records ${from} to ${to} are asked for; there are ${head.size}`,
      to,
    );
  }
  const tiles = new Tiles(question.directory, head.size);
  const heads = checkHeads(question, tiles, head);
  // What an older copy tells apart is said first: it names records that are gone or replaced.
  if (heads.kind === "bad") return heads;
  const entries = checkEntries(tiles, from, to);
  if (entries.kind === "bad") return entries;
  const levels = checkLevels(tiles, from, to);
  if (levels.kind === "bad") return levels;
  const root = tiles.rootAt(head.size);
  if (root.kind === "bad") return root;
  if (!isSameHash(root.value, head.root)) {
    const why = `the tiles do not lead to the root of the checkpoint: records were replaced together with their hashes, or the checkpoint is of another history`;
    return bad("root-wrong", why, 0);
  }
  const value = {
    checkpoint: checkpoint.value,
    records: to - from,
    disclosed: entries.value,
    extended: heads.value,
  };
  return { kind: "good", value };
}

function readCheckpoint(directory, trust) {
  const bytes = readFile(path.join(directory, "checkpoint"), NOTE_MAX_BYTES);
  const text = bytes === undefined ? undefined : decodeText(bytes, NOTE_MAX_BYTES);
  if (text === undefined) return bad("checkpoint-missing", "there is no readable checkpoint file");
  return checkCheckpoint(text, trust);
}

/** A head held before: by whom it was cosigned does not matter, only that the log signed it. */
function olderHead(text, trust) {
  const line = parseCheckpointLine(text);
  const checkpoint = line.kind === "parsed" ? line.value : text;
  const checked = checkCheckpoint(checkpoint, { ...trust, threshold: 0 });
  if (checked.kind === "good") return { kind: "good", value: checked.value.head };
  const why =
    line.kind === "malformed" && text.startsWith("sallyport-") ? line.why : checked.fault.why;
  return bad("older-head-refused", `the head from before is not believed: ${why}`);
}

function checkHeads(question, tiles, head) {
  const { heads, olderDirectory, trust } = question;
  if (olderDirectory !== undefined) {
    const older = readCheckpoint(olderDirectory, { ...trust, threshold: 0 });
    if (older.kind === "bad") return older;
    const checked = compareTiles(tiles, new Tiles(olderDirectory, older.value.head.size));
    if (checked.kind === "bad") return checked;
  }
  for (const text of heads) {
    const older = olderHead(text, trust);
    if (older.kind === "bad") return older;
    const { size, root } = older.value;
    if (size > head.size) return rolledBack(size, head.size);
    const now = tiles.rootAt(size);
    if (now.kind === "bad") return now;
    if (isSameHash(now.value, root)) continue;
    const why = `of the ${size} records of the head from before, at least one was replaced or taken out: the log signed two histories`;
    return bad("forked", why, 0);
  }
  return { kind: "good", value: heads.length + (olderDirectory === undefined ? 0 : 1) };
}

function rolledBack(older, size) {
  const why = `records ${size} to ${older - 1} are gone: a head of ${older} records was signed before, this one is of ${size}`;
  return bad("rolled-back", why, size);
}

/** Leaf hash by leaf hash, to name the first record that differs. */
function compareTiles(tiles, older) {
  if (older.size > tiles.size) return rolledBack(older.size, tiles.size);
  for (let n = 0; n * TILE_WIDTH < older.size; n++) {
    const before = older.read(0, n);
    if (before.kind === "bad") return before;
    const now = tiles.read(0, n);
    if (now.kind === "bad") return now;
    const differs = before.value.findIndex((hash, at) => {
      const other = now.value[at];
      return other === undefined || !isSameHash(hash, other);
    });
    if (differs >= 0) {
      return bad(
        "forked",
        "the record is another one than in the older copy",
        n * TILE_WIDTH + differs,
      );
    }
  }
  return { kind: "good", value: true };
}

/** Records of the range against their tiles; gives the number of disclosed values that match. */
function checkEntries(tiles, from, to) {
  let disclosed = 0;
  for (let n = Math.floor(from / TILE_WIDTH); n * TILE_WIDTH < to; n++) {
    const tile = tiles.read(0, n);
    if (tile.kind === "bad") return tile;
    const checked = checkBundle(tiles, n, tile.value);
    if (checked.kind === "bad") return checked;
    const shown = checkDisclosures(tiles, n, checked.value);
    if (shown.kind === "bad") return shown;
    disclosed += shown.value;
  }
  return { kind: "good", value: disclosed };
}

function checkBundle(tiles, n, hashes) {
  const first = n * TILE_WIDTH;
  const name = tilePath("entries", n, hashes.length);
  const bytes = readFile(path.join(tiles.directory, name), bundleMaxBytes(hashes.length));
  if (bytes === undefined) return bad("entries-missing", `${name} is not there`, first);
  const entries = parseBundle(bytes, hashes.length);
  if (entries.kind === "malformed") {
    return bad("entries-truncated", `${name} ${entries.why}`, first + (entries.at ?? 0));
  }
  const leaves = [];
  for (const [at, entry] of entries.value.entries()) {
    const hash = hashes[at];
    if (hash === undefined || !isSameHash(leafHash(entry), hash)) {
      return bad("record-altered", "the record is not the one that was hashed", first + at);
    }
    const leaf = parseLeaf(entry);
    if (leaf.kind === "malformed") return bad("record-malformed", `it ${leaf.why}`, first + at);
    leaves.push(leaf.value);
  }
  return { kind: "good", value: leaves };
}

function checkDisclosures(tiles, n, leaves) {
  const first = n * TILE_WIDTH;
  const name = disclosuresPath(n);
  if (!fs.existsSync(path.join(tiles.directory, name))) return { kind: "good", value: 0 };
  const bytes = readFile(path.join(tiles.directory, name), DISCLOSURES_MAX_BYTES);
  const text = bytes === undefined ? undefined : decodeText(bytes, DISCLOSURES_MAX_BYTES);
  if (text === undefined) return bad("personal-malformed", `${name} cannot be read`, first);
  const lines = text.split("\n").filter((line) => line !== "");
  for (const line of lines) {
    const shown = parseDisclosure(line);
    const leaf = shown === undefined ? undefined : leaves[shown.index - first];
    if (shown === undefined || leaf === undefined) {
      return bad(
        "personal-malformed",
        `${name} has a line that belongs to none of its records`,
        first,
      );
    }
    if (!isDisclosed(leaf, shown)) {
      const why = `the value shown for "${shown.name}" is not the one that the record was made with`;
      return bad("personal-altered", why, shown.index);
    }
  }
  return { kind: "good", value: lines.length };
}

function parseDisclosure(line) {
  try {
    const value = JSON.parse(line);
    return isDisclosure(value) ? value : undefined;
  } catch {
    return undefined;
  }
}

/** Each full tile against its hash in the level above; level 0 only where it is in the range. */
function checkLevels(tiles, from, to) {
  for (let level = 0; level < levelsOf(tiles.size) - 1; level++) {
    const above = hashesAtLevel(tiles.size, level + 1);
    const begin = level === 0 ? Math.floor(from / TILE_WIDTH) : 0;
    const end = level === 0 ? Math.min(above, Math.ceil(to / TILE_WIDTH)) : above;
    for (let n = begin; n < end; n++) {
      const tile = tiles.read(level, n);
      if (tile.kind === "bad") return tile;
      const parent = tiles.read(level + 1, Math.floor(n / TILE_WIDTH));
      if (parent.kind === "bad") return parent;
      const hash = parent.value[n % TILE_WIDTH];
      if (hash !== undefined && isSameHash(treeHash(tile.value), hash)) continue;
      const first = tiles.firstRecord(level, n);
      const last = tiles.firstRecord(level, n + 1) - 1;
      const why = `a hash of records ${first} to ${last} was replaced: the tile does not lead to the one above`;
      return bad("tile-wrong", why, first);
    }
  }
  return { kind: "good", value: true };
}

/**
 * Checks a ledger that was exported, or one record's proof, with nothing but Node 18 or later: no package, no
 * network, no gateway. Exit status 0: it holds. 1: it does not, and the line says which record and why.
 * 64: the command is not understood.
 */

const USAGE = `usage: node verify.mjs <export directory | file.tlog-proof> --key KEY [option ...]

  --key KEY          public key of the ledger, name+id+base64, or a file with one a line
  --witness KEY      public key of a witness, or a file with one a line; may be repeated
  --threshold K      how many of the witnesses must have cosigned; all of them unless given
  --origin ORIGIN    origin line to expect, when it is not the key's name
  --since HEAD       a head held from before: a checkpoint file, an older export's directory, or the line
                     that was printed or sent to syslog; may be repeated
  --range FROM-TO    records that the export must hold, when it is not all of them
  --record FILE      the record itself, where a proof does not carry it

Keys must come to you by another way than the export.`;

class Usage extends Error {}

const FLAGS = new Set(["key", "witness", "threshold", "origin", "since", "range", "record"]);

function readFlags(words) {
  const flags = new Map();
  const rest = [];
  for (let at = 0; at < words.length; at++) {
    const word = words[at] ?? "";
    if (!word.startsWith("--")) {
      rest.push(word);
      continue;
    }
    const name = word.slice(2);
    const value = words[++at];
    if (!FLAGS.has(name)) throw new Usage(`there is no option ${word}`);
    if (value === undefined) throw new Usage(`${word} needs a value`);
    flags.set(name, [...(flags.get(name) ?? []), value]);
  }
  const [what, ...more] = rest;
  if (what === undefined || more.length > 0) throw new Usage("name one directory or one proof");
  return { what, flags };
}

function readIfFile(text, maxBytes) {
  const stat = fs.statSync(text, { throwIfNoEntry: false });
  if (stat === undefined) return undefined;
  if (!stat.isFile() || stat.size > maxBytes) throw new Usage(`${text} is no file of that kind`);
  return fs.readFileSync(text);
}

function readKeys(texts = []) {
  const lines = texts.flatMap((text) =>
    (readIfFile(text, NOTE_MAX_BYTES)?.toString() ?? text).split("\n"),
  );
  return lines
    .map((line) => line.trim())
    .filter((line) => line !== "" && !line.startsWith("#"))
    .map((line) => {
      const key = parseVerifierKey(line);
      if (key.kind === "malformed") throw new Usage(key.why);
      return key.value;
    });
}

function readNumber(text) {
  const number = parseSize(text);
  if (number === undefined) throw new Usage(`"${text}" is no number`);
  return number;
}

function readTrust(flags) {
  const logKeys = readKeys(flags.get("key"));
  const witnessKeys = readKeys(flags.get("witness"));
  if (logKeys.length === 0) throw new Usage("--key is needed: without a key nothing is proved");
  const threshold = readNumber(flags.get("threshold")?.at(-1) ?? String(witnessKeys.length));
  if (threshold > witnessKeys.length)
    throw new Usage("--threshold is above the number of witnesses");
  const origin = flags.get("origin")?.at(-1);
  return { logKeys, witnessKeys, threshold, ...(origin === undefined ? {} : { origin }) };
}

function readRange(text) {
  const [from = "", to = "", ...rest] = text.split("-");
  if (rest.length > 0) throw new Usage("--range is FROM-TO");
  // People count the last one in.
  return { from: readNumber(from), to: readNumber(to) + 1 };
}

function describeTrust({ threshold, witnessKeys }) {
  if (witnessKeys.length === 0) {
    return "no witness was asked for, so a second history signed with the same key is not excluded";
  }
  return `cosigned by at least ${threshold} of ${witnessKeys.length} witnesses`;
}

function verifyDirectory(directory, flags) {
  const trust = readTrust(flags);
  const since = flags.get("since") ?? [];
  const directories = since.filter((one) =>
    fs.statSync(one, { throwIfNoEntry: false })?.isDirectory(),
  );
  const heads = since
    .filter((one) => !directories.includes(one))
    .map((one) => readIfFile(one, NOTE_MAX_BYTES)?.toString() ?? one);
  if (directories.length > 1) throw new Usage("--since takes one directory");
  const [olderDirectory] = directories;
  const range = flags.get("range")?.at(-1);
  const checked = verifyExport({
    directory,
    trust,
    heads,
    ...(olderDirectory === undefined ? {} : { olderDirectory }),
    ...(range === undefined ? {} : { range: readRange(range) }),
  });
  if (checked.kind === "bad") return checked;
  const { checkpoint, records, disclosed, extended } = checked.value;
  const { origin, size } = checkpoint.head;
  const lines = [
    `${origin}: ${records} of ${size} records are as they were signed; ${describeTrust(trust)}`,
    ...checkpoint.cosigned.map(
      ({ name, atSeconds }) => `cosigned by ${name} at ${new Date(atSeconds * 1000).toISOString()}`,
    ),
    `${extended} heads from before are part of it; ${disclosed} personal values match`,
  ];
  return { kind: "good", value: lines.join("\n") };
}

function verifyFile(file, flags) {
  if (flags.has("since") || flags.has("range"))
    throw new Usage("--since and --range need an export");
  const trust = readTrust(flags);
  const text = readIfFile(file, PROOF_FILE_MAX_BYTES)?.toString() ?? "";
  const recordFile = flags.get("record")?.at(-1);
  const record = recordFile === undefined ? undefined : fs.readFileSync(recordFile);
  const checked = checkProof(text, trust, record);
  if (checked.kind === "bad") return checked;
  const { head, index, leaf } = checked.value;
  const line = `record ${index} of ${head.size} of ${head.origin} is as it was signed; ${describeTrust(trust)}`;
  return { kind: "good", value: `${line}\n${Buffer.from(leaf).toString()}` };
}

function describeFault({ code, record, why }) {
  return `${record === undefined ? "ledger" : `record ${record}`}: [${code}] ${why}`;
}

function main(words) {
  try {
    const { what, flags } = readFlags(words);
    const stat = fs.statSync(what, { throwIfNoEntry: false });
    if (stat === undefined) throw new Usage(`${what} is not there`);
    const checked = stat.isDirectory() ? verifyDirectory(what, flags) : verifyFile(what, flags);
    if (checked.kind === "bad") {
      console.log(describeFault(checked.fault));
      return 1;
    }
    console.log(checked.value);
    return 0;
  } catch (error) {
    if (!(error instanceof Usage)) throw error;
    console.error(`${error.message}\n\n${USAGE}`);
    return 64;
  }
}

process.exitCode = main(process.argv.slice(2));
