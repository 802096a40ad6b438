/**
 * Challenges that need no memory: random, an end, and an HMAC over both and what they are for. Only
 * one that was answered well is kept, as used, until its end. So nobody fills a store by asking.
 */
import { createHmac, timingSafeEqual } from "node:crypto";
import { CHALLENGE_MS } from "../limits.ts";
import type { Means } from "../ports.ts";
import { type Refusal, refuse } from "../refusals.ts";
import { base64url, sha256Hex } from "../secrets.ts";

export type Purpose = "register" | "sign-in" | "step-up";

// A challenge, base64url of 32 bytes:
//   0         12       16     32
//   | random   | end, s | HMAC |
const RANDOM_BYTES = 12;
const END = 12;
const MAC = 16;
const SIZE = 32;

export class Challenges {
  readonly #means: Means;
  readonly #key: Uint8Array;

  /** A key per start of the process will do: what was asked before it must be asked again. */
  constructor(means: Means, key: Uint8Array) {
    this.#means = means;
    this.#key = key;
  }

  /** `subject` is the person or the sign-in that it is for, empty when nobody is known yet. */
  make(purpose: Purpose, subject: string): Buffer {
    const challenge = Buffer.alloc(SIZE);
    challenge.set(this.#means.random.bytes(RANDOM_BYTES));
    const endMs = this.#means.clock.nowMs() + CHALLENGE_MS;
    challenge.writeUInt32BE(Math.floor(endMs / 1000), END);
    this.#mac(challenge, purpose, subject).copy(challenge, MAC);
    return challenge;
  }

  check(text: unknown, purpose: Purpose, subject: string): Buffer | Refusal {
    const challenge = typeof text === "string" ? Buffer.from(text, "base64url") : Buffer.alloc(0);
    if (challenge.length !== SIZE || base64url(challenge) !== text) {
      return refuse("challenge-unknown");
    }
    const isOurs = timingSafeEqual(challenge.subarray(MAC), this.#mac(challenge, purpose, subject));
    if (!isOurs) return refuse("challenge-unknown");
    const leftMs = challenge.readUInt32BE(END) * 1000 - this.#means.clock.nowMs();
    // More than was given is left only when the clock went back.
    const isAlive = leftMs > 0 && leftMs <= CHALLENGE_MS;
    return isAlive ? challenge : refuse("challenge-expired");
  }

  /** Of two answers to one challenge, the first serves. */
  async spend(challenge: Buffer): Promise<Refusal | undefined> {
    const isFirst = await this.#means.store.used.add({
      id: `challenge:${sha256Hex(challenge)}`,
      revision: 1,
      expiresAtMs: challenge.readUInt32BE(END) * 1000,
    });
    return isFirst ? undefined : refuse("challenge-used");
  }

  #mac(challenge: Buffer, purpose: Purpose, subject: string): Buffer {
    return createHmac("sha256", this.#key)
      .update(`sallyport-challenge/v1\n${purpose}\n${subject}\n`)
      .update(challenge.subarray(0, MAC))
      .digest()
      .subarray(0, SIZE - MAC);
  }
}
