/** From what a caller wants recorded to a leaf: canonical JSON, personal values as commitments. */
import { canonicalJson, type Json, SallyportError } from "@sallyport/core";
import { commitmentOf, SALT_BYTES, VALUE_MAX_BYTES } from "./leaf.ts";
import { LEAF_MAX_BYTES, leafHashOfText } from "./merkle.ts";

/** What happened, in the caller's words. All but `personal` is in the leaf for ever. */
export interface NewRecord {
  /** Dotted lower-case words, such as `grant.approved`. */
  readonly type: string;
  /** When it happened: milliseconds since 1970, UTC. */
  readonly at: number;
  /**
   * Values about a person, by name. The leaf has a commitment in place of each, under `commit`; value and
   * salt stand beside it and can be erased, and every proof holds after that.
   */
  readonly personal?: { readonly [name: string]: Json };
  readonly [field: string]: Json | undefined;
}

/** Random bytes, as many as asked for. */
export type Randomness = (sizeBytes: number) => Uint8Array;

/** Asking the kernel for each salt costs more than all else of a record. */
const POOL_BYTES = 4096;

/** The same randomness, drawn in larger portions. No byte is given twice. */
export function pooled(randomness: Randomness): Randomness {
  let [pool, used] = [new Uint8Array(0), 0];
  return (sizeBytes) => {
    if (used + sizeBytes > pool.length) {
      const wanted = Math.max(POOL_BYTES, sizeBytes);
      [pool, used] = [Uint8Array.from(randomness(wanted)), 0];
      if (pool.length !== wanted) throw new RangeError("randomness fell short");
    }
    const bytes = pool.slice(used, used + sizeBytes);
    // What is erased later must not stand in memory until then.
    pool.fill(0, used, used + sizeBytes);
    used += sizeBytes;
    return bytes;
  };
}

export interface PersonalValue {
  readonly name: string;
  readonly salt: Uint8Array;
  /** Canonical JSON. */
  readonly value: string;
}

export interface EncodedRecord {
  readonly type: string;
  readonly at: number;
  readonly leaf: string;
  readonly hash: Uint8Array;
  readonly personal: readonly PersonalValue[];
}

/** Types are words that people filter by. */
const TYPE = /^[a-z][a-z0-9-]*(\.[a-z0-9-]+)*$/;
const TYPE_MAX_CHARACTERS = 64;
const NAME = /^[a-zA-Z][a-zA-Z0-9_-]{0,63}$/;
/** People, devices and addresses that one act concerns. */
const PERSONAL_MAX = 64;
/** A text of so many UTF-16 units is not too long, whatever its characters. */
const SURELY_SHORT = Math.floor(LEAF_MAX_BYTES / 3);

function refused(why: string): SallyportError {
  return new SallyportError("record-refused", `the record was not taken: ${why}`);
}

export function encodeRecord(record: NewRecord, randomness: Randomness): EncodedRecord {
  const { type, at, personal } = record;
  if (typeof type !== "string" || type.length > TYPE_MAX_CHARACTERS || !TYPE.test(type)) {
    throw refused("its type is not made of dotted lower-case words");
  }
  if (!Number.isSafeInteger(at)) throw refused("its time is no whole number of milliseconds");
  if (Object.hasOwn(record, "commit")) throw refused('the name "commit" is for commitments');
  const values = personal === undefined ? [] : personalValues(personal, randomness);
  const leaf = canonicalJson(values.length === 0 ? record : withCommitments(record, values));
  if (leaf.length > SURELY_SHORT && Buffer.byteLength(leaf) > LEAF_MAX_BYTES) {
    const message = `the record has ${Buffer.byteLength(leaf)} bytes; a leaf holds ${LEAF_MAX_BYTES}`;
    const hint = "Record the hash, size and place of what is large.";
    throw new SallyportError("record-too-long", message, { hint });
  }
  return { type, at, leaf, hash: leafHashOfText(leaf), personal: values };
}

function personalValues(
  personal: { readonly [name: string]: Json },
  randomness: Randomness,
): PersonalValue[] {
  const entries = Object.entries(personal);
  if (entries.length > PERSONAL_MAX) throw refused(`it has over ${PERSONAL_MAX} personal values`);
  if (entries.length === 0) throw refused("its personal part is empty");
  const salts = randomness(entries.length * SALT_BYTES);
  return entries.map(([name, member], at) => {
    if (!NAME.test(name)) throw refused(`"${name}" is no name of a personal value`);
    const value = canonicalJson(member);
    if (Buffer.byteLength(value) > VALUE_MAX_BYTES)
      throw refused(`the value of "${name}" is too long`);
    return { name, value, salt: salts.slice(at * SALT_BYTES, (at + 1) * SALT_BYTES) };
  });
}

function withCommitments(record: NewRecord, values: readonly PersonalValue[]): Json {
  const { personal: _hidden, ...plain } = record;
  const commit: Record<string, string> = {};
  for (const { name, salt, value } of values) commit[name] = commitmentOf(salt, value);
  return { ...plain, commit };
}
