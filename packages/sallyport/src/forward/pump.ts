/**
 * One destination: sends the ledger on in order, and moves its place in the state store only when the receiver took
 * what was sent. What fails is tried again, later each time, until it is taken.
 */
import type { Sender } from "@sallyport/api";
import type { Clock, Records, Stored } from "@sallyport/identity";
import { SallyportError } from "@sallyport/core";
import type { Destination } from "./destination.ts";
import type { LedgerHead, RecordSource } from "./source.ts";
import { type Bounds, POLL_MS, Stretch } from "./stretch.ts";

/** How far a destination has got. Its id is the destination's name. */
export interface Cursor extends Stored {
  readonly origin: string;
  /** Records before this one were taken. */
  readonly settled: number;
  /** Where it begins again after something broke: records that were taken on the last connections, once more. */
  readonly before: number;
  /** Records that the last checkpoint covers that was taken. */
  readonly checkpoint: number;
  readonly sentAtMs?: number;
}

export interface Receiver {
  readonly bounds: Bounds;
  /** How many records before the settled place are sent again after something broke; 0 where there are real receipts. */
  readonly overlap: number;
  /** Resolves when the receiver took all lines; rejects when it may not have. Reads nothing ahead. */
  send(lines: AsyncIterable<string>): Promise<void>;
  /** Breaks off what is under way. */
  close(): void;
}

export interface PumpMeans {
  readonly source: RecordSource;
  readonly cursors: Records<Cursor>;
  readonly clock: Clock;
  /** Ends early, without a word, when the process or the destination does. */
  readonly wait: (ms: number) => Promise<void>;
  readonly sender: Sender;
}

export interface PumpState {
  readonly name: string;
  readonly state: "connected" | "waiting" | "failed";
  readonly settled: number;
  readonly behind: number;
  readonly failures: number;
  readonly sentAtMs?: number;
  readonly why?: string;
}

const BACK_OFF_FIRST_MS = 1000;
/** A receiver that is back after hours waits no longer than this. */
const BACK_OFF_MAX_MS = 60_000;

/** 1 s, 2 s, 4 s … 1 min. */
export function backOffMs(failures: number): number {
  return Math.min(BACK_OFF_FIRST_MS * 2 ** Math.min(failures - 1, 10), BACK_OFF_MAX_MS);
}

export class Pump {
  readonly #to: Destination;
  readonly #receiver: Receiver;
  readonly #means: PumpMeans;
  #cursor: Cursor | undefined;
  #size = 0;
  #failures = 0;
  #why: string | undefined;
  #isSending = false;
  #isOver = false;
  /** What the last run of this process sent may have been lost on its way, so a start is as a break. */
  #isAfterBreak = true;

  constructor(to: Destination, receiver: Receiver, means: PumpMeans) {
    this.#to = to;
    this.#receiver = receiver;
    this.#means = means;
  }

  state(): PumpState {
    const { settled = 0, sentAtMs } = this.#cursor ?? {};
    const isFailed = this.#why !== undefined;
    return {
      name: this.#to.name,
      state: isFailed ? "failed" : this.#isSending ? "connected" : "waiting",
      settled,
      behind: Math.max(0, this.#size - settled),
      failures: this.#failures,
      ...(sentAtMs === undefined ? {} : { sentAtMs }),
      ...(this.#why === undefined ? {} : { why: this.#why }),
    };
  }

  /** At once: what was under way is sent again by whoever comes after. */
  stop(): void {
    this.#isOver = true;
    this.#receiver.close();
  }

  async run(): Promise<void> {
    while (!this.#isOver) {
      try {
        if (!(await this.turn())) await this.#means.wait(POLL_MS);
      } catch (error) {
        this.#failures += 1;
        this.#isAfterBreak = true;
        this.#why = sentenceOf(error);
        await this.#means.wait(backOffMs(this.#failures));
      }
    }
  }

  /** Sends what there is; answers whether anything was sent. */
  async turn(): Promise<boolean> {
    const { source, clock, sender, wait } = this.#means;
    const head = await source.head();
    this.#size = head.size;
    const cursor = await this.#load(head);
    const stretch = new Stretch(
      {
        ...{ source, sender, wait, to: this.#to, nowMs: () => clock.nowMs() },
        isOver: () => this.#isOver,
      },
      this.#receiver.bounds,
      this.#isAfterBreak ? cursor.before : cursor.settled,
      cursor.checkpoint,
    );
    await this.#receiver.send(this.#noted(stretch.lines(head)));
    this.#isSending = false;
    this.#failures = 0;
    this.#why = undefined;
    if (stretch.linesSent > 0) this.#isAfterBreak = false;
    await this.#settle(cursor, stretch);
    return stretch.linesSent > 0;
  }

  async *#noted(lines: AsyncIterable<string>): AsyncGenerator<string> {
    try {
      for await (const line of lines) {
        this.#isSending = true;
        yield line;
      }
    } finally {
      this.#isSending = false;
    }
  }

  async #settle(before: Cursor, { first, next, checkpoint, linesSent }: Stretch): Promise<void> {
    if (next === before.settled && checkpoint === before.checkpoint && linesSent === 0) return;
    const nowMs = this.#means.clock.nowMs();
    const after: Cursor = {
      ...before,
      revision: before.revision + 1,
      settled: Math.max(next, before.settled),
      before: Math.max(0, first, next - this.#receiver.overlap),
      checkpoint,
      ...(linesSent === 0 ? {} : { sentAtMs: nowMs }),
    };
    if (!(await this.#means.cursors.replace(before, after))) {
      throw new SallyportError("forwarding-place-moved", `somebody else moved ${before.id}`);
    }
    this.#cursor = after;
  }

  /** The place on record; a ledger that begins anew is sent from its first record. */
  async #load({ origin, size }: LedgerHead): Promise<Cursor> {
    const { cursors } = this.#means;
    const { name, begin } = this.#to;
    const kept = await cursors.get(name);
    if (kept !== undefined && kept.origin === origin) {
      this.#cursor = kept;
      if (size >= kept.settled) return kept;
      const message = `the ledger has ${size} records, and ${kept.settled} were sent already`;
      throw new SallyportError("forwarding-ledger-shorter", message);
    }
    const place = kept === undefined && begin === "next" ? size : 0;
    const made: Cursor = {
      ...{ id: name, revision: (kept?.revision ?? 0) + 1, origin },
      ...{ settled: place, before: place, checkpoint: 0 },
    };
    const isKept = kept === undefined ? await cursors.add(made) : await cursors.replace(kept, made);
    if (!isKept) throw new SallyportError("forwarding-place-moved", `somebody else moved ${name}`);
    this.#cursor = made;
    return made;
  }
}

/** Of an error what an operator reads; a system's error has its code in front. */
function sentenceOf(error: unknown): string {
  if (!(error instanceof Error)) return String(error);
  return error.message === "" ? error.name : error.message.slice(0, 500);
}
