/** What one connection, or one request of a webhook, carries: lines from a place in the ledger on. */
import type { Sender } from "@sallyport/api";
import type { Destination } from "./destination.ts";
import { headLine, recordLine } from "./lines.ts";
import type { LedgerHead, RecordSource } from "./source.ts";

/** Records asked for at once. Each has at most 64 KiB, so no more than 7 MiB are in memory for a destination. */
export const PAGE_RECORDS = 100;
/** How often the ledger is asked whether it has grown. */
export const POLL_MS = 1000;

export interface Bounds {
  /** Lines after which the receiver is asked for its word. */
  readonly linesMax: number;
  readonly bytesMax: number;
  /** How long more records are waited for; 0 sends what is there. */
  readonly lingerMs: number;
}

export interface StretchMeans {
  readonly source: RecordSource;
  readonly to: Destination;
  readonly sender: Sender;
  readonly nowMs: () => number;
  readonly wait: (ms: number) => Promise<void>;
  readonly isOver: () => boolean;
}

export class Stretch {
  readonly #means: StretchMeans;
  readonly #bounds: Bounds;
  readonly first: number;
  /** The first record that was not handed out. */
  next: number;
  /** Records that the last checkpoint in it covers. */
  checkpoint: number;
  linesSent = 0;
  #bytes = 0;

  constructor(means: StretchMeans, bounds: Bounds, first: number, checkpoint: number) {
    this.#means = means;
    this.#bounds = bounds;
    this.first = first;
    this.next = first;
    this.checkpoint = checkpoint;
  }

  /** Ends when the bounds are reached; with nothing to send, at once. */
  async *lines(head: LedgerHead): AsyncGenerator<string> {
    const { source, wait, nowMs, isOver } = this.#means;
    let [seen, endMs] = [head, nowMs() + this.#bounds.lingerMs];
    for (;;) {
      yield* this.#records(seen);
      if (this.#isFull || isOver()) return;
      if (this.next >= seen.size) {
        yield* this.#head(seen);
        if (this.linesSent === 0 || this.#bounds.lingerMs === 0) return;
        const leftMs = endMs - nowMs();
        if (leftMs <= 0) return;
        await wait(Math.min(POLL_MS, leftMs));
        // A clock that was set back must not keep a connection open for ever.
        endMs = Math.min(endMs, nowMs() + this.#bounds.lingerMs);
      }
      seen = await source.head();
    }
  }

  get #isFull(): boolean {
    const { linesMax, bytesMax } = this.#bounds;
    return this.linesSent >= linesMax || this.#bytes >= bytesMax;
  }

  async *#records(head: LedgerHead): AsyncGenerator<string> {
    const { source, to, sender, isOver } = this.#means;
    const types = to.types === undefined ? undefined : new Set(to.types);
    while (this.next < head.size && !this.#isFull && !isOver()) {
      const page = await source.records(this.next, Math.min(PAGE_RECORDS, this.#bounds.linesMax));
      if (page.length === 0) return;
      for (const record of page) {
        this.next = record.index + 1;
        if (types?.has(record.type) === false) continue;
        yield this.#counted(recordLine(record, to, sender));
        if (this.#isFull) return;
      }
    }
  }

  /** Only over records that were handed out already, so that a receiver can check it. */
  *#head({ signed, signedSize }: LedgerHead): Generator<string> {
    if (signedSize <= this.checkpoint || signedSize > this.next) return;
    const { to, sender, nowMs } = this.#means;
    this.checkpoint = signedSize;
    yield this.#counted(headLine(signed, nowMs(), to, sender));
  }

  #counted(line: string): string {
    this.linesSent += 1;
    this.#bytes += Buffer.byteLength(line);
    return line;
  }
}
