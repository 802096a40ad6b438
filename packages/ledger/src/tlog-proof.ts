/**
 * One record's proof in one file: c2sp.org/tlog-proof@v1. Our files carry the record itself as extra data;
 * a verifier hashes it and believes nothing else of it. Part of the one-file scripts, so it runs on Node 18
 * and imports built-ins only.
 */
import {
  bad,
  type Checked,
  type Checkpoint,
  checkCheckpoint,
  parseSize,
  type Trust,
} from "./checkpoint.ts";
import { HASH_BYTES, isIncluded, LEAF_MAX_BYTES, leafHash, PROOF_MAX_HASHES } from "./merkle.ts";
import { fromBase64, malformed, NOTE_MAX_BYTES, type Parsed, toBase64 } from "./note.ts";

const HEADER = "c2sp.org/tlog-proof@v1";
/** A checkpoint, the largest record in base64, and 63 hashes. */
export const PROOF_FILE_MAX_BYTES: number = NOTE_MAX_BYTES + 96 * 1024;

export interface ProofFile {
  readonly index: number;
  /** From the leaf's sibling up to the root's child. */
  readonly hashes: readonly Uint8Array[];
  /** Signed note, verbatim. */
  readonly checkpoint: string;
  readonly extra?: Uint8Array;
}

export interface Proved extends Checkpoint {
  readonly index: number;
  readonly leaf: Uint8Array;
}

export function formatProof({ index, hashes, checkpoint, extra }: ProofFile): string {
  const extraLine = extra === undefined ? [] : [`extra ${toBase64(extra)}`];
  return [HEADER, ...extraLine, `index ${index}`, ...hashes.map(toBase64), "", checkpoint].join(
    "\n",
  );
}

export function parseProof(text: string): Parsed<ProofFile> {
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
  const hashes: Uint8Array[] = [];
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
export function checkProof(text: string, trust: Trust, record?: Uint8Array): Checked<Proved> {
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
