import type { Finding } from "@sallyport/enforce";

export interface DriftEvent {
  readonly type: "drift" | "drift-gone";
  readonly fields: { readonly differences?: readonly string[] };
}

/** One record holds this many sentences; the first say what happened. */
const SENTENCES_MAX = 50;

/** What of each look at drift is worth a record: what is new, what changed, and that it is gone. */
export class DriftNews {
  #last = "";

  of(found: readonly Finding[]): DriftEvent | undefined {
    const differences = found.map(({ what }) => what);
    const last = this.#last;
    this.#last = differences.toSorted().join("\n");
    // The same sentence about what was undone in between is another finding.
    if (this.#last === last && found.every(({ isKnown }) => isKnown)) return undefined;
    if (found.length === 0) return { type: "drift-gone", fields: {} };
    return { type: "drift", fields: { differences: differences.slice(0, SENTENCES_MAX) } };
  }
}
