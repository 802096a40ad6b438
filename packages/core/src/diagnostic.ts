/** A mistake, or a doubtful thing, in a file that a person wrote. */
export interface Diagnostic {
  /** Stable kebab-case id, documented in `docs/diagnostics/<code>.md`. */
  readonly code: string;
  readonly severity: "error" | "warning" | "note";
  readonly file: string;
  /** 1-based. */
  readonly line: number;
  /** 1-based, in characters. */
  readonly column: number;
  readonly message: string;
  /** What to type instead. */
  readonly hint?: string;
}

/** `file:line:column: error[id]: what`, and the hint on a line of its own. */
export function formatDiagnostic(diagnostic: Diagnostic): string {
  const { file, line, column, severity, code, message, hint } = diagnostic;
  const head = `${file}:${line}:${column}: ${severity}[${code}]: ${message}`;
  return hint === undefined ? head : `${head}\n  hint: ${hint}`;
}

/** Names further than this from what was typed are no help. */
const NEAREST_MAX_EDITS = 3;
/** Longer input is not a mistyped name, and the distance costs the product of both lengths. */
const NEAREST_MAX_LENGTH = 64;

/** The candidate with the fewest edits (Levenshtein) to `typed`, if any is near. */
export function nearest(typed: string, candidates: Iterable<string>): string | undefined {
  if (typed.length > NEAREST_MAX_LENGTH) return undefined;
  let best: string | undefined;
  let bestEdits = Math.min(NEAREST_MAX_EDITS, Math.ceil(typed.length / 2)) + 1;
  for (const candidate of candidates) {
    if (candidate.length > NEAREST_MAX_LENGTH) continue;
    const edits = editDistance(typed.toLowerCase(), candidate.toLowerCase());
    if (edits < bestEdits) {
      best = candidate;
      bestEdits = edits;
    }
  }
  return best;
}

function editDistance(a: string, b: string): number {
  let previous = Array.from({ length: b.length + 1 }, (_, index) => index);
  for (let i = 1; i <= a.length; i++) {
    const current = [i];
    for (let j = 1; j <= b.length; j++) {
      const substituted = (previous[j - 1] ?? 0) + (a[i - 1] === b[j - 1] ? 0 : 1);
      current.push(Math.min((previous[j] ?? 0) + 1, (current[j - 1] ?? 0) + 1, substituted));
    }
    previous = current;
  }
  return previous[b.length] ?? 0;
}
