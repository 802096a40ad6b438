import { HASH_QUEUE_MAX, HASH_WORKERS } from "../limits.ts";
import type { HashCost, PasswordHasher } from "../ports.ts";
import { type Refusal, refuse } from "../refusals.ts";

/**
 * At most two hashes at once and 32 waiting; what comes beyond is refused before any work, so that
 * sign-ins cannot take the machine from the traffic. `run` is synchronous up to that decision.
 */
export class HashPool {
  readonly #hasher: PasswordHasher;
  readonly #waiting: (() => void)[] = [];
  #running = 0;

  constructor(hasher: PasswordHasher) {
    this.#hasher = hasher;
  }

  get hasRoom(): boolean {
    return this.#running < HASH_WORKERS || this.#waiting.length < HASH_QUEUE_MAX;
  }

  async run(password: Uint8Array, salt: Uint8Array, cost: HashCost): Promise<Uint8Array | Refusal> {
    if (!this.hasRoom) return refuse("hash-queue-full", { retryAfterMs: 1000 });
    if (this.#running >= HASH_WORKERS) {
      // Whoever finishes hands over its place, so `#running` does not change between.
      await new Promise<void>((resolve) => void this.#waiting.push(resolve));
    } else {
      this.#running++;
    }
    try {
      return await this.#hasher.hash(password, salt, cost);
    } finally {
      const next = this.#waiting.shift();
      if (next === undefined) this.#running--;
      else next();
    }
  }
}
