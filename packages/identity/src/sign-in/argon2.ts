/** argon2id (RFC 9106) of `node:crypto`, and how a hash is written: the PHC string format. */
import { argon2 } from "node:crypto";
import { promisify } from "node:util";
import type { HashCost, PasswordHasher } from "../ports.ts";

/** OWASP Password Storage Cheat Sheet, argon2id: 46 MiB and one pass; two at once stay below 100 MiB. */
export const COST: HashCost = { memoryKib: 47_104, passes: 1, lanes: 1 };
export const SALT_BYTES = 16;
export const HASH_BYTES = 32;
/** A hash in the store that asks for more was not written by us, and could take the machine's memory. */
const COST_MAX: HashCost = { memoryKib: 262_144, passes: 10, lanes: 4 };
const COST_MIN: HashCost = { memoryKib: 1024, passes: 1, lanes: 1 };

const argon2Async = promisify(argon2);

/** Runs in the thread pool of libuv, not in the event loop. */
export const argon2id: PasswordHasher = {
  hash: (password, salt, cost) =>
    argon2Async("argon2id", {
      message: password,
      nonce: salt,
      memory: cost.memoryKib,
      passes: cost.passes,
      parallelism: cost.lanes,
      tagLength: HASH_BYTES,
    }),
};

export interface Phc {
  readonly cost: HashCost;
  readonly salt: Uint8Array;
  readonly hash: Uint8Array;
}

export function writePhc({ cost, salt, hash }: Phc): string {
  const text = (bytes: Uint8Array): string =>
    Buffer.from(bytes).toString("base64").replace(/=+$/, "");
  const costs = `m=${cost.memoryKib},t=${cost.passes},p=${cost.lanes}`;
  return `$argon2id$v=19$${costs}$${text(salt)}$${text(hash)}`;
}

const PHC =
  /^\$argon2id\$v=19\$m=([0-9]{1,6}),t=([0-9]{1,2}),p=([0-9])\$([A-Za-z0-9+/]{22})\$([A-Za-z0-9+/]{43})$/;

export function parsePhc(text: string): Phc | undefined {
  const [, memory = "", passes = "", lanes = "", salt = "", hash = ""] = PHC.exec(text) ?? [];
  const cost = { memoryKib: Number(memory), passes: Number(passes), lanes: Number(lanes) };
  const names = ["memoryKib", "passes", "lanes"] as const;
  if (names.some((name) => cost[name] < COST_MIN[name] || cost[name] > COST_MAX[name])) {
    return undefined;
  }
  return { cost, salt: Buffer.from(salt, "base64"), hash: Buffer.from(hash, "base64") };
}
