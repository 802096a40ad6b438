/**
 * Checkpoints: c2sp.org/tlog-checkpoint, and whom to believe one. Part of the one-file scripts, so it runs
 * on Node 18 and imports built-ins only.
 */
import { HASH_BYTES } from "./merkle.ts";
import {
  COSIGNATURE,
  cosignedAtSeconds,
  ED25519,
  fromBase64,
  isFrom,
  isSignedBy,
  malformed,
  type Note,
  type Parsed,
  parseNote,
  toBase64,
  type VerifierKey,
} from "./note.ts";

/** A tree head: whose, how many records, and their root. */
export interface Head {
  readonly origin: string;
  readonly size: number;
  /** 32 bytes. */
  readonly root: Uint8Array;
}

/** Why something is not believed: a stable code, the record where one can be named, and a sentence. */
export interface Fault {
  readonly code: string;
  /** 0-based index of the record, or of the first one in doubt. */
  readonly record?: number;
  readonly why: string;
}

export type Checked<Value> =
  | { readonly kind: "good"; readonly value: Value }
  | { readonly kind: "bad"; readonly fault: Fault };

/** Whom a verifier believes. Keys reach it by another way than what it checks. */
export interface Trust {
  /** The origin line to expect; without it, the name of the key that signed. */
  readonly origin?: string;
  /** Keys of the log, type 0x01; more than one while a key is changed. */
  readonly logKeys: readonly VerifierKey[];
  /** Keys of witnesses, type 0x04. */
  readonly witnessKeys: readonly VerifierKey[];
  /** How many of them must have cosigned: k of n. */
  readonly threshold: number;
}

export interface Cosigned {
  readonly name: string;
  readonly atSeconds: number;
}

export interface Checkpoint {
  readonly head: Head;
  readonly note: Note;
  /** Witnesses that are believed and signed, each key once. */
  readonly cosigned: readonly Cosigned[];
}

export function bad(code: string, why: string, record?: number): { kind: "bad"; fault: Fault } {
  return { kind: "bad", fault: record === undefined ? { code, why } : { code, record, why } };
}

/** Decimal without leading zeros, up to what a number tells exactly; undefined otherwise. */
export function parseSize(text: string): number | undefined {
  if (!/^(0|[1-9][0-9]{0,15})$/.test(text)) return undefined;
  const size = Number(text);
  return Number.isSafeInteger(size) ? size : undefined;
}

export function parseHead(text: string): Parsed<Head> {
  const [origin = "", sizeText = "", rootText = "", ...extensions] = text.slice(0, -1).split("\n");
  const size = parseSize(sizeText);
  const root = fromBase64(rootText);
  if (!text.endsWith("\n") || origin === "") return malformed("has no origin line");
  if (size === undefined) return malformed("its second line is no tree size");
  if (root?.length !== HASH_BYTES) return malformed("its third line is no SHA-256 in base64");
  if (extensions.includes("")) return malformed("has an empty line among its extension lines");
  return { kind: "parsed", value: { origin, size, root } };
}

export function formatHead({ origin, size, root }: Head): string {
  return `${origin}\n${size}\n${toBase64(root)}\n`;
}

/** A checkpoint that nobody vouched for yet. */
export function parseCheckpoint(text: string): Parsed<{ head: Head; note: Note }> {
  const note = parseNote(text);
  if (note.kind === "malformed") return note;
  const head = parseHead(note.value.text);
  if (head.kind === "malformed") return head;
  return { kind: "parsed", value: { head: head.value, note: note.value } };
}

/** Whether the log signed it and enough witnesses cosigned. One bad signature of a known key spoils it. */
export function checkCheckpoint(text: string, trust: Trust): Checked<Checkpoint> {
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

function signerOf(note: Note, keys: readonly VerifierKey[]): Checked<VerifierKey> {
  let signer: VerifierKey | undefined;
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

function cosignersOf(note: Note, trust: Trust): Checked<readonly Cosigned[]> {
  const known = trust.witnessKeys.filter(({ type }) => type === COSIGNATURE);
  // The message names no cosigner, so one key under two names is one witness; and no log is its own.
  const seen = new Set(trust.logKeys.map(({ publicKey }) => toBase64(publicKey)));
  const cosigned: Cosigned[] = [];
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
