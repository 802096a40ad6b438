import { createHash, timingSafeEqual } from "node:crypto";
import type { Randomness, Records } from "./ports.ts";
import type { Stored } from "./records.ts";
import { CHANGE_ATTEMPTS } from "./limits.ts";

/** 256 bits, so that a fast hash of it keeps it secret and nobody can guess it. */
export const TOKEN_BYTES = 32;
export const TOKEN_PATTERN: RegExp = /^[A-Za-z0-9_-]{43}$/;

export function sha256(data: Uint8Array | string): Buffer {
  return createHash("sha256").update(data).digest();
}

export function sha256Hex(data: Uint8Array | string): string {
  return sha256(data).toString("hex");
}

export function base64url(bytes: Uint8Array): string {
  return Buffer.from(bytes).toString("base64url");
}

export function makeToken(random: Randomness): string {
  return base64url(random.bytes(TOKEN_BYTES));
}

/** In time that does not tell where they differ. */
export function equalText(left: string, right: string): boolean {
  return timingSafeEqual(sha256(left), sha256(right));
}

/** Crockford's alphabet: no letter is taken for another when it is read aloud or typed. */
const LETTERS = "0123456789ABCDEFGHJKMNPQRSTVWXYZ";
const BITS = 5;

/** Letters of 5 bits, most significant first; the last is filled up with zeros. */
export function toLetters(bytes: Uint8Array): string {
  let text = "";
  let bits = 0;
  let value = 0;
  for (const byte of bytes) {
    value = (value << 8) | byte;
    bits += 8;
    while (bits >= BITS) {
      bits -= BITS;
      text += LETTERS[(value >> bits) & 31] ?? "";
      value &= (1 << bits) - 1;
    }
  }
  return bits === 0 ? text : text + (LETTERS[(value << (BITS - bits)) & 31] ?? "");
}

/** Bytes of letters as people type them, or undefined. Spare bits must be zero: one text each. */
export function fromLetters(typed: string, sizeBytes: number): Buffer | undefined {
  const text = cleanLetters(typed);
  if (text.length !== Math.ceil((sizeBytes * 8) / BITS)) return undefined;
  const bytes = Buffer.alloc(sizeBytes);
  let at = 0;
  let bits = 0;
  let value = 0;
  for (const letter of text) {
    const five = LETTERS.indexOf(letter);
    if (five < 0) return undefined;
    value = (value << BITS) | five;
    bits += BITS;
    if (bits < 8) continue;
    bits -= 8;
    bytes[at++] = (value >> bits) & 255;
    value &= (1 << bits) - 1;
  }
  return value === 0 ? bytes : undefined;
}

/** Upper case, without what separates groups, and with the letters that are mistaken for digits. */
export function cleanLetters(typed: string): string {
  return typed.toUpperCase().replaceAll(/[\s-]/g, "").replaceAll("O", "0").replaceAll(/[IL]/g, "1");
}

export function inGroups(letters: string, size: number): string {
  return letters.match(new RegExp(`.{1,${size}}`, "g"))?.join("-") ?? "";
}

/**
 * Changes a record from what it is at that moment. `step` answers what it shall be, or undefined to
 * leave it; it runs again when somebody else changed the record between.
 */
export async function change<T extends Stored>(
  records: Records<T>,
  id: string,
  step: (kept: T) => Omit<T, "revision"> | undefined,
): Promise<T | undefined> {
  for (let attempt = 0; attempt < CHANGE_ATTEMPTS; attempt++) {
    const kept = await records.get(id);
    const next = kept === undefined ? undefined : step(kept);
    if (kept === undefined || next === undefined) return undefined;
    // `next` has all of T but the revision, which is put back here.
    const after = { ...next, revision: kept.revision + 1 } as unknown as T;
    if (await records.replace(kept, after)) return after;
  }
  throw new Error(`record changed ${CHANGE_ATTEMPTS} times while it was being changed`);
}
