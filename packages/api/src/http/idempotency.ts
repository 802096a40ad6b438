/**
 * A POST that is sent again with the same Idempotency-Key gets the first answer again, and creates nothing.
 * Kept in memory: after a restart a repeated request is new, and what it would create a second time is a
 * plan or a request, which opens nothing by itself.
 */
import {
  IDEMPOTENCY_ANSWER_BYTES_MAX,
  IDEMPOTENCY_ENTRIES_MAX,
  IDEMPOTENCY_ENTRIES_PER_PRINCIPAL,
  IDEMPOTENCY_MS,
} from "./limits.ts";
import { HttpError } from "./problem.ts";

const KEY = /^[\x21-\x7e]{1,128}$/;

export interface KeptAnswer {
  readonly status: number;
  readonly text: string;
}

interface Entry {
  readonly bodySha256: string;
  readonly atMs: number;
  /** Absent while the first request is being answered. */
  answer?: KeptAnswer;
}

export class IdempotencyKeys {
  readonly #byPrincipal = new Map<string, Map<string, Entry>>();
  #size = 0;

  get size(): number {
    return this.#size;
  }

  /** The answer to give again, or nothing for a key that is new. Throws `key-reused` for another body. */
  begin(
    principal: string,
    route: string,
    key: string,
    bodySha256: string,
    nowMs: number,
  ): KeptAnswer | undefined {
    if (!KEY.test(key)) {
      const message = "must be 1 to 128 visible ASCII characters";
      throw new HttpError("wrong-fields", `Idempotency-Key ${message}`, {
        errors: [{ field: "Idempotency-Key", message }],
      });
    }
    const own = this.#entriesOf(principal);
    const name = `${route} ${key}`;
    const known = own.get(name);
    if (known !== undefined && nowMs - known.atMs < IDEMPOTENCY_MS) {
      if (known.bodySha256 !== bodySha256) {
        throw new HttpError("key-reused", "this Idempotency-Key came with another body before", {
          hint: "make a new key for a new request",
        });
      }
      if (known.answer !== undefined) return known.answer;
      throw new HttpError("key-reused", "the first request with this key is not answered yet", {
        headers: { "retry-after": "1" },
      });
    }
    if (known !== undefined) this.#remove(own, name);
    this.#makeRoom(own);
    own.set(name, { bodySha256, atMs: nowMs });
    this.#size += 1;
    return undefined;
  }

  /** A refused request may be tried again, so only what was done is kept. */
  end(principal: string, route: string, key: string, answer: KeptAnswer | undefined): void {
    const own = this.#byPrincipal.get(principal);
    const entry = own?.get(`${route} ${key}`);
    if (own === undefined || entry === undefined) return;
    if (answer === undefined || answer.text.length > IDEMPOTENCY_ANSWER_BYTES_MAX) {
      this.#remove(own, `${route} ${key}`);
      if (own.size === 0) this.#byPrincipal.delete(principal);
    } else entry.answer = answer;
  }

  #entriesOf(principal: string): Map<string, Entry> {
    const own = this.#byPrincipal.get(principal) ?? new Map<string, Entry>();
    this.#byPrincipal.set(principal, own);
    return own;
  }

  #makeRoom(own: Map<string, Entry>): void {
    if (own.size >= IDEMPOTENCY_ENTRIES_PER_PRINCIPAL) this.#removeOldest(own);
    if (this.#size < IDEMPOTENCY_ENTRIES_MAX) return;
    for (const [principal, entries] of this.#byPrincipal) {
      if (entries !== own && entries.size === 0) this.#byPrincipal.delete(principal);
      else if (this.#removeOldest(entries)) return;
    }
  }

  #removeOldest(entries: Map<string, Entry>): boolean {
    const [oldest] = entries;
    if (oldest === undefined) return false;
    this.#remove(entries, oldest[0]);
    return true;
  }

  #remove(entries: Map<string, Entry>, name: string): void {
    if (entries.delete(name)) this.#size -= 1;
  }
}
