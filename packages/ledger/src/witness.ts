/**
 * A witness: c2sp.org/tlog-witness `add-checkpoint`. It remembers one head a log, and cosigns only heads
 * that extend it. The same code is in a gateway that witnesses another one and in the one-file script. Part
 * of the one-file scripts, so it runs on Node 18 and imports built-ins only.
 */
import { type Head, parseCheckpoint, parseSize } from "./checkpoint.ts";
import { EMPTY_ROOT, HASH_BYTES, isConsistent, isSameHash, PROOF_MAX_HASHES } from "./merkle.ts";
import {
  COSIGNATURE,
  cosignatureBytes,
  cosignedText,
  ED25519,
  formatNote,
  formatSignature,
  fromBase64,
  isFrom,
  isSignedBy,
  keyId,
  malformed,
  type Note,
  NOTE_MAX_BYTES,
  type Parsed,
  toBase64,
  type VerifierKey,
} from "./note.ts";
import type { Signer } from "./signer.ts";

/** A checkpoint, 63 hashes and the first line. */
export const REQUEST_MAX_BYTES: number = NOTE_MAX_BYTES + 4096;

/** The last head of a log that was cosigned. */
export interface WitnessedHead {
  readonly size: number;
  /** Base64. */
  readonly root: string;
  /** With the log's signature and ours: what an auditor holds against the log. */
  readonly checkpoint: string;
}

/** What must survive the witness: `put` returns when the head is on disk, and no call comes between. */
export interface WitnessMemory {
  get(origin: string): WitnessedHead | undefined;
  put(origin: string, head: WitnessedHead): void;
}

export interface Witness {
  readonly signer: Signer;
  /** Keys of the logs, named as their origins. */
  readonly logKeys: readonly VerifierKey[];
  readonly memory: WitnessMemory;
  readonly nowSeconds: () => number;
}

/** What goes back over HTTP. */
export interface WitnessAnswer {
  readonly status: number;
  readonly contentType: string;
  readonly body: string;
}

export interface AddCheckpoint {
  readonly oldSize: number;
  readonly proof: readonly Uint8Array[];
  readonly checkpoint: string;
}

const TEXT = "text/plain; charset=utf-8";
const TLOG_SIZE = "text/x.tlog.size";

export function formatAddCheckpoint({ oldSize, proof, checkpoint }: AddCheckpoint): string {
  return [`old ${oldSize}`, ...proof.map(toBase64), "", checkpoint].join("\n");
}

export function parseAddCheckpoint(body: string): Parsed<AddCheckpoint> {
  if (body.length > REQUEST_MAX_BYTES) return malformed("is too long");
  const blank = body.indexOf("\n\n");
  if (blank < 0) return malformed("has no empty line before a checkpoint");
  const [first = "", ...lines] = body.slice(0, blank).split("\n");
  const oldSize = first.startsWith("old ") ? parseSize(first.slice(4)) : undefined;
  if (oldSize === undefined) return malformed("does not begin with an old size");
  if (lines.length > PROOF_MAX_HASHES) return malformed(`has over ${PROOF_MAX_HASHES} hashes`);
  const proof: Uint8Array[] = [];
  for (const line of lines) {
    const hash = fromBase64(line);
    if (hash?.length !== HASH_BYTES) return malformed("has a line that is no SHA-256 in base64");
    proof.push(hash);
  }
  return { kind: "parsed", value: { oldSize, proof, checkpoint: body.slice(blank + 2) } };
}

function refuse(status: number, why: string): WitnessAnswer {
  return { status, contentType: TEXT, body: `${why}\n` };
}

function conflict(size: number): WitnessAnswer {
  return { status: 409, contentType: TLOG_SIZE, body: `${size}\n` };
}

/** Answers one request. It must not run beside another one of the same memory. */
export function addCheckpoint(witness: Witness, body: string): WitnessAnswer {
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

function signatureOf(keys: readonly VerifierKey[], note: Note): string | undefined {
  return note.signatures.find((signature) =>
    keys.some((key) => isFrom(key, signature) && isSignedBy(key, note.text, signature)),
  )?.line;
}

function extendsHead(
  last: WitnessedHead | undefined,
  head: Head,
  proof: readonly Uint8Array[],
): boolean {
  if (last === undefined || last.size === 0) {
    return proof.length === 0 && (head.size > 0 || isSameHash(head.root, EMPTY_ROOT));
  }
  return isConsistent(last.size, head.size, Buffer.from(last.root, "base64"), head.root, proof);
}

function cosign({ signer, nowSeconds }: Witness, text: string): string {
  const time = Math.floor(nowSeconds());
  const signature = signer.sign(cosignedText(text, BigInt(time)));
  const id = keyId(signer.name, COSIGNATURE, signer.publicKey);
  return formatSignature(signer.name, id, cosignatureBytes(time, signature));
}
