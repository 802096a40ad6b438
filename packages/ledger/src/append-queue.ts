/** Group commit: what is appended in one turn of the event loop shares one transaction and one fdatasync. */
import { SallyportError } from "@sallyport/core";
import { diskFull, isDiskFull } from "./database.ts";
import type { Appended, FollowedPlace } from "./ledger.ts";
import type { LogStore, Staged } from "./log-store.ts";
import type { EncodedRecord } from "./new-record.ts";

/** A commit of so many takes about 50 ms; the next ones wait that long at most. */
const GROUP_MAX_RECORDS = 4096;
/** Followers read in pages; somebody who queues more does not wait for answers. */
const QUEUE_MAX_RECORDS = 65_536;

interface Waiting {
  readonly records: readonly EncodedRecord[];
  readonly place: FollowedPlace | undefined;
  readonly also: (() => void) | undefined;
  readonly resolve: (appended: Appended) => void;
  readonly reject: (error: SallyportError) => void;
}

type Outcome = Appended | SallyportError;

export class AppendQueue {
  readonly #store: LogStore;
  readonly #waiting: Waiting[] = [];
  #records = 0;
  #isScheduled = false;
  /** After an error that tells not what reached the disk, nothing is added until it is opened again. */
  #failure: SallyportError | undefined;

  constructor(store: LogStore) {
    this.#store = store;
  }

  /** `also` runs in the same transaction. */
  add(
    records: readonly EncodedRecord[],
    place?: FollowedPlace,
    also?: () => void,
  ): Promise<Appended> {
    if (this.#failure !== undefined) return Promise.reject(this.#failure);
    if (this.#records > 0 && this.#records + records.length > QUEUE_MAX_RECORDS) {
      const message = `${this.#records} records wait already`;
      return Promise.reject(new SallyportError("ledger-overloaded", message));
    }
    return new Promise((resolve, reject) => {
      this.#waiting.push({ records, place, also, resolve, reject });
      this.#records += records.length;
      this.#schedule();
    });
  }

  #schedule(): void {
    if (this.#isScheduled) return;
    this.#isScheduled = true;
    setImmediate(() => {
      this.#isScheduled = false;
      this.#flush();
    });
  }

  /** Commits all that waits, at once. */
  drain(): void {
    while (this.#waiting.length > 0) this.#flush();
  }

  /** Commits one group; the rest follow in later turns. */
  #flush(): void {
    const group = this.#takeGroup();
    if (group.length === 0) return;
    if (this.#waiting.length > 0) this.#schedule();
    if (this.#failure !== undefined) {
      for (const { reject } of group) reject(this.#failure);
      return;
    }
    try {
      const outcomes = this.#store.write((staged) => group.map((one) => stage(staged, one)));
      for (const [at, { resolve, reject }] of group.entries()) {
        const outcome = outcomes[at];
        if (outcome instanceof SallyportError) reject(outcome);
        else if (outcome !== undefined) resolve(outcome);
      }
    } catch (error) {
      const refusal = this.#refusalOf(error);
      for (const { reject } of group) reject(refusal);
    }
  }

  #takeGroup(): Waiting[] {
    let [count, records] = [0, 0];
    for (const one of this.#waiting) {
      if (count > 0 && records + one.records.length > GROUP_MAX_RECORDS) break;
      records += one.records.length;
      count++;
    }
    this.#records -= records;
    return this.#waiting.splice(0, count);
  }

  #refusalOf(error: unknown): SallyportError {
    if (isDiskFull(error)) return diskFull("nothing of this was recorded", error);
    const isOurs = error instanceof SallyportError;
    const message = "the ledger could not be written; nothing is added until it is opened again";
    this.#failure = isOurs ? error : new SallyportError("ledger-failed", message, { cause: error });
    return this.#failure;
  }
}

function stage(staged: Staged, { records, place, also }: Waiting): Outcome {
  if (place !== undefined && !staged.move(place)) {
    const message = `the follower of "${place.source}" is not at "${place.after ?? ""}" any more`;
    return new SallyportError("place-moved", message);
  }
  const first = staged.frontier.size;
  for (const record of records) staged.add(record);
  also?.();
  return { first, count: records.length };
}
