/** The log's side of c2sp.org/tlog-witness: what is asked, and what an answer is worth. */
import { parseSize } from "./checkpoint.ts";
import { formatNote, isFrom, isSignedBy, type Note, parseNote, type VerifierKey } from "./note.ts";

export type WitnessReply =
  /** Signature lines of one of our witnesses, checked. */
  | { readonly kind: "cosigned"; readonly lines: readonly string[] }
  /** The witness holds a head of another size than was told. */
  | { readonly kind: "conflict"; readonly size: number }
  | { readonly kind: "refused"; readonly why: string };

/** Answers are a few lines; what is longer is cut for the message. */
const WHY_MAX_CHARACTERS = 200;

export function readWitnessReply(
  { status, body }: { readonly status: number; readonly body: string },
  checkpointText: string,
  key: VerifierKey,
): WitnessReply {
  const size = parseSize(body.trimEnd());
  if (status === 409 && size !== undefined) return { kind: "conflict", size };
  if (status !== 200) {
    return { kind: "refused", why: `${status} ${body.trim().slice(0, WHY_MAX_CHARACTERS)}` };
  }
  const lines = validLines(checkpointText, body, [key]);
  if (lines.length > 0) return { kind: "cosigned", lines: lines.map(({ line }) => line) };
  return { kind: "refused", why: "its answer holds no valid cosignature of its key" };
}

export interface CosignatureLine {
  readonly key: VerifierKey;
  readonly line: string;
}

/** Lines of an answer that are valid cosignatures of the text, one a key; all others are left out. */
export function validLines(
  text: string,
  lines: string,
  keys: readonly VerifierKey[],
): CosignatureLine[] {
  const parsed = parseNote(formatNote(text, [lines.trimEnd()]));
  if (parsed.kind === "malformed") return [];
  return cosignaturesOf({ ...parsed.value, text }, keys);
}

export function cosignaturesOf(note: Note, keys: readonly VerifierKey[]): CosignatureLine[] {
  return keys.flatMap((key) => {
    const signature = note.signatures.find(
      (one) => isFrom(key, one) && isSignedBy(key, note.text, one),
    );
    return signature === undefined ? [] : [{ key, line: signature.line }];
  });
}
