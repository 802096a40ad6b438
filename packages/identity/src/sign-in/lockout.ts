/**
 * Failures of a person and of a source, each with a delay that grows. An attempt is counted before
 * anything is verified and taken back when it succeeds, so that many at once win nothing. A refused
 * attempt counts nothing, and no lock lasts longer than 15 minutes: nobody can lock somebody out
 * for good. Passkeys answer to the source's counter alone, as nobody guesses them.
 */
import {
  CHANGE_ATTEMPTS,
  FAILURES_KEPT_MS,
  FREE_FAILURES_OF_PERSON,
  FREE_FAILURES_OF_SOURCE,
  LOCK_FIRST_MS,
  LOCK_MAX_MS,
  UNKNOWN_NAME_COUNTERS,
} from "../limits.ts";
import type { Clock, Records } from "../ports.ts";
import type { Attempts } from "../records.ts";
import { type Refusal, refuse } from "../refusals.ts";
import { change, sha256 } from "../secrets.ts";

export interface Counter {
  readonly id: string;
  readonly freeFailures: number;
}

export function sourceCounter(source: string): Counter {
  return { id: `source:${source}`, freeFailures: FREE_FAILURES_OF_SOURCE };
}

/** A name that nobody has is locked just as one that somebody has, so locks tell no names. */
export function personCounter(name: string, isKnown: boolean): Counter {
  const bucket = sha256(name).readUInt32BE(0) % UNKNOWN_NAME_COUNTERS;
  return {
    id: isKnown ? `person:${name}` : `unknown:${bucket}`,
    freeFailures: FREE_FAILURES_OF_PERSON,
  };
}

/** How long after this many failures nothing is tried. */
export function lockMs(failures: number, freeFailures: number): number {
  if (failures <= freeFailures) return 0;
  return Math.min(LOCK_FIRST_MS * 2 ** (failures - freeFailures - 1), LOCK_MAX_MS);
}

export class Lockout {
  readonly #attempts: Records<Attempts>;
  readonly #clock: Clock;

  constructor(attempts: Records<Attempts>, clock: Clock) {
    this.#attempts = attempts;
    this.#clock = clock;
  }

  /** Counts an attempt for all of the counters, or for none and says how long to wait. */
  async begin(counters: readonly Counter[]): Promise<Refusal | undefined> {
    for (const [index, counter] of counters.entries()) {
      const retryAfterMs = await this.#count(counter);
      if (retryAfterMs === 0) continue;
      await this.takeBack(counters.slice(0, index));
      return refuse("sign-in-later", { retryAfterMs, detail: counter.id });
    }
    return undefined;
  }

  /** The attempt was no failure: the person's are forgotten, the source keeps its earlier ones. */
  async succeed(person: Counter | undefined, source: Counter): Promise<void> {
    if (person !== undefined) await this.#attempts.take(person.id);
    await this.takeBack([source]);
  }

  async takeBack(counters: readonly Counter[]): Promise<void> {
    for (const { id } of counters) {
      await change(this.#attempts, id, (kept) => ({
        ...kept,
        failures: Math.max(0, kept.failures - 1),
        lockedUntilMs: 0,
      }));
    }
  }

  /** 0 when counted, or how long to wait. */
  async #count({ id, freeFailures }: Counter): Promise<number> {
    for (let attempt = 0; attempt < CHANGE_ATTEMPTS; attempt++) {
      const nowMs = this.#clock.nowMs();
      const kept = await this.#attempts.get(id);
      // A lock set before the clock went back is cut to the longest that there is.
      const lockedMs = Math.min((kept?.lockedUntilMs ?? 0) - nowMs, LOCK_MAX_MS);
      if (lockedMs > 0) return lockedMs;
      const isStale = kept !== undefined && nowMs >= kept.expiresAtMs;
      const failures = (kept === undefined || isStale ? 0 : kept.failures) + 1;
      const lockedForMs = lockMs(failures, freeFailures);
      const after: Attempts = {
        id,
        revision: (kept?.revision ?? 0) + 1,
        failures,
        lastAtMs: nowMs,
        // Not "until now": that would be a lock again when the clock goes back.
        lockedUntilMs: lockedForMs === 0 ? 0 : nowMs + lockedForMs,
        expiresAtMs: nowMs + FAILURES_KEPT_MS,
      };
      const isKept = await (kept === undefined
        ? this.#attempts.add(after)
        : this.#attempts.replace(kept, after));
      if (isKept) return 0;
    }
    // So many attempts of one counter at the same moment are nobody's typing.
    return LOCK_FIRST_MS;
  }
}
