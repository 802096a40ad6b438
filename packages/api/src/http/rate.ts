/** Token buckets with bounded memory. The clock is handed in. */
import { BUCKETS_MAX } from "./limits.ts";

export interface Rate {
  /** Tokens a full bucket holds. */
  readonly burst: number;
  readonly perSecond: number;
}

interface Bucket {
  tokens: number;
  atMs: number;
}

/**
 * One bucket a name. When there are too many names, those whose bucket is full again are forgotten; if
 * none is, newcomers share one bucket, so that a flood of names cannot empty anybody's history.
 */
export class RateLimiter {
  readonly #rate: Rate;
  readonly #max: number;
  readonly #buckets = new Map<string, Bucket>();
  readonly #shared: Bucket;

  constructor(rate: Rate, max: number = BUCKETS_MAX) {
    this.#rate = rate;
    this.#max = max;
    this.#shared = { tokens: rate.burst, atMs: Number.NEGATIVE_INFINITY };
  }

  get size(): number {
    return this.#buckets.size;
  }

  /** Takes a token; otherwise the seconds to wait, at least 1. */
  take(name: string, nowMs: number): number | undefined {
    const bucket = this.#bucketOf(name, nowMs);
    this.#refill(bucket, nowMs);
    if (bucket.tokens < 1) return Math.ceil((1 - bucket.tokens) / this.#rate.perSecond) || 1;
    bucket.tokens -= 1;
    return undefined;
  }

  /** The seconds to wait if nothing is left, without taking. */
  wait(name: string, nowMs: number): number | undefined {
    const bucket = this.#buckets.get(name);
    if (bucket === undefined) return undefined;
    this.#refill(bucket, nowMs);
    return bucket.tokens < 1
      ? Math.ceil((1 - bucket.tokens) / this.#rate.perSecond) || 1
      : undefined;
  }

  #refill(bucket: Bucket, nowMs: number): void {
    // A clock that steps back gives nothing and takes nothing.
    const seconds = Math.max(0, nowMs - bucket.atMs) / 1000;
    bucket.tokens = Math.min(this.#rate.burst, bucket.tokens + seconds * this.#rate.perSecond);
    bucket.atMs = nowMs;
  }

  #bucketOf(name: string, nowMs: number): Bucket {
    const known = this.#buckets.get(name);
    if (known !== undefined) {
      // Re-inserted, so that the map's order is that of last use.
      this.#buckets.delete(name);
      this.#buckets.set(name, known);
      return known;
    }
    if (this.#buckets.size >= this.#max && !this.#forgetOldest(nowMs)) return this.#shared;
    const bucket = { tokens: this.#rate.burst, atMs: nowMs };
    this.#buckets.set(name, bucket);
    return bucket;
  }

  #forgetOldest(nowMs: number): boolean {
    const [oldest] = this.#buckets;
    if (oldest === undefined) return true;
    const [name, bucket] = oldest;
    this.#refill(bucket, nowMs);
    if (bucket.tokens < this.#rate.burst) return false;
    return this.#buckets.delete(name);
  }
}

/** IPv6 hosts own a /64, so the source is that; an IPv4-mapped address is the IPv4 one. */
export function sourceOf(peer: string): string {
  const mapped = /^::ffff:(\d+\.\d+\.\d+\.\d+)$/i.exec(peer)?.[1];
  if (mapped !== undefined) return mapped;
  if (!peer.includes(":")) return peer;
  const [left = "", right] = (peer.split("%")[0] ?? "").split("::");
  const head = left === "" ? [] : left.split(":");
  const tail = right === undefined || right === "" ? [] : right.split(":");
  const zeros = right === undefined ? 0 : Math.max(0, 8 - head.length - tail.length);
  const groups = [...head, ...new Array<string>(zeros).fill("0"), ...tail];
  return `${groups.slice(0, 4).join(":")}::/64`;
}
