/**
 * Signed notes: c2sp.org/signed-note, with Ed25519 signatures (type 0x01) and witness cosignatures
 * (c2sp.org/tlog-cosignature, type 0x04). Other types are kept and ignored, as the specification demands.
 * Part of the one-file scripts, so it runs on Node 18 and imports built-ins only.
 */
import * as crypto from "node:crypto";
import { sha256 } from "./merkle.ts";

/** What became of a text that somebody else wrote. */
export type Parsed<Value> =
  | { readonly kind: "parsed"; readonly value: Value }
  | { readonly kind: "malformed"; readonly why: string };

/** 16 signatures must be accepted, and one of ML-DSA-44 is 2.5 kB; four times as many are a mistake. */
export const NOTE_MAX_SIGNATURES = 64;
/** 64 Ed25519 signatures or 32 of ML-DSA-44, with names. */
export const NOTE_MAX_BYTES: number = 128 * 1024;

export const ED25519 = 0x01;
export const COSIGNATURE = 0x04;
const PUBLIC_KEY_BYTES = 32;
const SIGNATURE_BYTES = 64;
const KEY_ID_BYTES = 4;
const TIMESTAMP_BYTES = 8;
/** RFC 8410 §4: what stands before the 32 bytes of an Ed25519 key in SubjectPublicKeyInfo. */
const SPKI_PREFIX = Buffer.from("302a300506032b6570032100", "hex");
const EM_DASH = "\u2014";

/** A key that signatures are checked against, as its text `name+id+base64` tells it. */
export interface VerifierKey {
  readonly name: string;
  /** First four bytes of a hash over name, type and key, big-endian. */
  readonly id: number;
  readonly type: typeof ED25519 | typeof COSIGNATURE;
  /** 32 bytes of RFC 8032. */
  readonly publicKey: Uint8Array;
  readonly key: crypto.KeyObject;
}

export interface NoteSignature {
  readonly name: string;
  readonly id: number;
  /** What follows the key id. */
  readonly bytes: Uint8Array;
  /** As it stands in the note, without its line break. */
  readonly line: string;
}

export interface Note {
  /** What was signed: ends with a line break. */
  readonly text: string;
  readonly signatures: readonly NoteSignature[];
}

export function malformed(why: string): { readonly kind: "malformed"; readonly why: string } {
  return { kind: "malformed", why };
}

/** Base 64 in the one way that RFC 4648 §4 writes it; undefined for any other. */
export function fromBase64(text: string): Buffer | undefined {
  const bytes = Buffer.from(text, "base64");
  return bytes.toString("base64") === text ? bytes : undefined;
}

export function toBase64(bytes: Uint8Array): string {
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length).toString("base64");
}

export function keyId(name: string, type: number, publicKey: Uint8Array): number {
  return sha256(
    Buffer.concat([Buffer.from(`${name}\n`), Buffer.of(type), publicKey]),
  ).readUInt32BE();
}

/** A key from its parts; the bytes must be 32. */
export function verifierKey(
  name: string,
  type: typeof ED25519 | typeof COSIGNATURE,
  publicKey: Uint8Array,
): VerifierKey {
  const der = Buffer.concat([SPKI_PREFIX, publicKey]);
  const key = crypto.createPublicKey({ key: der, format: "der", type: "spki" });
  return { name, id: keyId(name, type, publicKey), type, publicKey, key };
}

/** `name+hex id+base64(type, key)`: signed-note, "Verifier keys". */
export function parseVerifierKey(text: string): Parsed<VerifierKey> {
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

export function formatVerifierKey({ name, type, publicKey }: VerifierKey): string {
  const id = keyId(name, type, publicKey).toString(16).padStart(8, "0");
  return `${name}+${id}+${toBase64(Buffer.concat([Buffer.of(type), publicKey]))}`;
}

/** No Unicode space, no plus, not empty; control characters have no place in a note at all. */
export function isKeyName(name: string): boolean {
  return name !== "" && !/[\s\u0085+]/u.test(name) && !hasControl(name);
}

function hasControl(text: string): boolean {
  for (let at = 0; at < text.length; at++) {
    const code = text.charCodeAt(at);
    if (code < 0x20 && code !== 0x0a) return true;
  }
  return false;
}

/** UTF-8 or nothing; undefined also for what is longer than any note. */
export function decodeText(bytes: Uint8Array, maxBytes: number): string | undefined {
  if (bytes.length > maxBytes) return undefined;
  try {
    return new TextDecoder("utf-8", { fatal: true, ignoreBOM: true }).decode(bytes);
  } catch {
    return undefined;
  }
}

export function parseNote(note: string): Parsed<Note> {
  if (note.length > NOTE_MAX_BYTES) return malformed(`longer than ${NOTE_MAX_BYTES} bytes`);
  if (hasControl(note)) return malformed("holds a control character");
  // The text may have empty lines; the last one of the note stands before the signatures.
  const blank = note.lastIndexOf("\n\n");
  if (blank < 0 || !note.endsWith("\n")) return malformed("has no signatures after an empty line");
  const lines = note.slice(blank + 2, -1).split("\n");
  if (lines.length > NOTE_MAX_SIGNATURES) {
    return malformed(`has over ${NOTE_MAX_SIGNATURES} signatures`);
  }
  const signatures: NoteSignature[] = [];
  for (const line of lines) {
    const signature = parseSignature(line);
    if (signature === undefined) return malformed("has a line that is no signature");
    signatures.push(signature);
  }
  return { kind: "parsed", value: { text: note.slice(0, blank + 1), signatures } };
}

export function parseSignature(line: string): NoteSignature | undefined {
  const [dash, name = "", encoded = "", ...rest] = line.split(" ");
  if (dash !== EM_DASH || rest.length > 0 || !isKeyName(name)) return undefined;
  const bytes = fromBase64(encoded);
  if (bytes === undefined || bytes.length <= KEY_ID_BYTES) return undefined;
  return { name, id: bytes.readUInt32BE(), bytes: bytes.subarray(KEY_ID_BYTES), line };
}

export function formatSignature(name: string, id: number, signature: Uint8Array): string {
  const bytes = Buffer.alloc(KEY_ID_BYTES);
  bytes.writeUInt32BE(id);
  return `${EM_DASH} ${name} ${toBase64(Buffer.concat([bytes, signature]))}`;
}

export function formatNote(text: string, lines: readonly string[]): string {
  return `${text}\n${lines.map((line) => `${line}\n`).join("")}`;
}

/** What a witness signs (tlog-cosignature, "Ed25519 signed message"). */
export function cosignedText(text: string, timeSeconds: bigint): Buffer {
  return Buffer.from(`cosignature/v1\ntime ${timeSeconds}\n${text}`);
}

/** A cosignature as it follows the key id: the time, big-endian, and the signature. */
export function cosignatureBytes(timeSeconds: number, signature: Uint8Array): Uint8Array {
  const time = Buffer.alloc(TIMESTAMP_BYTES);
  time.writeBigUInt64BE(BigInt(timeSeconds));
  return Buffer.concat([time, signature]);
}

/** When a cosignature was made, in seconds since 1970; only of one that verifies is it worth anything. */
export function cosignedAtSeconds({ bytes }: NoteSignature): number {
  return Number(Buffer.from(bytes).readBigUInt64BE());
}

/** Whether the key made the signature of exactly this text. */
export function isSignedBy(key: VerifierKey, text: string, { bytes }: NoteSignature): boolean {
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
export function isFrom(key: VerifierKey, { name, id }: NoteSignature): boolean {
  return key.name === name && key.id === id;
}
