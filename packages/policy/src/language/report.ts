import type { Diagnostic } from "@sallyport/core";
import { CODES, type Code } from "./codes.ts";
import { DIAGNOSTICS } from "./limits.ts";

/** A policy file's text, and where its lines begin. */
export class SourceFile {
  readonly name: string;
  readonly text: string;
  readonly #lineStarts: number[] = [0];

  constructor(name: string, text: string) {
    this.name = name;
    this.text = text;
    for (let at = text.indexOf("\n"); at >= 0; at = text.indexOf("\n", at + 1)) {
      this.#lineStarts.push(at + 1);
    }
  }

  /** 1-based; the column counts characters, so one outside the basic plane is one. */
  position(offset: number): { readonly line: number; readonly column: number } {
    let low = 0;
    let high = this.#lineStarts.length - 1;
    while (low < high) {
      const middle = (low + high + 1) >> 1;
      if ((this.#lineStarts[middle] ?? 0) <= offset) low = middle;
      else high = middle - 1;
    }
    const start = this.#lineStarts[low] ?? 0;
    const inLine = this.text.slice(start, Math.min(offset, start + COLUMN_SCAN));
    const beyond = Math.max(0, offset - start - COLUMN_SCAN);
    return { line: low + 1, column: Array.from(inLine).length + beyond + 1 };
  }
}
/** Further right a column counts UTF-16 units: a diagnostic must not cost a megabyte's walk. */
const COLUMN_SCAN = 1000;

/** A place in a file, by UTF-16 offset into its text. */
export interface Place {
  readonly file: SourceFile;
  readonly offset: number;
}

/** `site.yaml:41` */
export function lineOf(place: Place): string {
  return `${place.file.name}:${place.file.position(place.offset).line}`;
}

interface Found {
  readonly code: Code;
  readonly place: Place;
  readonly message: string;
  readonly hint: string | undefined;
}

/** Collects all mistakes of a policy, so that they are shown at once. */
export class Reporter {
  readonly #found: Found[] = [];
  readonly #seen = new Set<string>();
  #errors = 0;
  #shownErrors = 0;
  #suppressed = 0;

  report(code: Code, place: Place, message: string, hint?: string): void {
    const isError = CODES[code] === "error";
    if (isError) this.#errors++;
    const identity = `${code}\n${place.file.name}\n${place.offset}\n${message}`;
    // The same mistake seen twice, through an alias or by two checks, is told once.
    if (this.#seen.has(identity)) return;
    // Each kind on its own, so that lints never crowd out what keeps the policy from compiling.
    if ((isError ? this.#shownErrors : this.#found.length - this.#shownErrors) >= DIAGNOSTICS) {
      this.#suppressed++;
      return;
    }
    if (isError) this.#shownErrors++;
    this.#seen.add(identity);
    this.#found.push({ code, place, message, hint });
  }

  get failed(): boolean {
    return this.#errors > 0;
  }

  /** In the order of the files' names and lines. */
  diagnostics(): Diagnostic[] {
    const all = this.#found.map(({ code, place, message, hint }): Diagnostic => {
      const position = place.file.position(place.offset);
      const base = { code, severity: CODES[code], file: place.file.name, ...position, message };
      return hint === undefined ? base : { ...base, hint };
    });
    all.sort(
      (a, b) =>
        compareText(a.file, b.file) ||
        a.line - b.line ||
        a.column - b.column ||
        compareText(a.code, b.code) ||
        compareText(a.message, b.message),
    );
    const last = all.at(-1);
    if (last !== undefined && this.#suppressed > 0) {
      const message = `${this.#suppressed} more are not shown`;
      all.push({
        ...last,
        code: "not-all-shown",
        severity: "note",
        message,
        hint: "fix these first",
      });
    }
    return all;
  }
}

/** By UTF-16 code units: the same on every machine, whatever its locale. */
export function compareText(a: string, b: string): number {
  if (a === b) return 0;
  return a < b ? -1 : 1;
}
