/**
 * The Merkle tree of RFC 6962 §2.1 with SHA-256, and the checks of its two proofs as RFC 9162 §2.1.3.2 and
 * §2.1.4.2 word them. Part of the one-file scripts, so it runs on Node 18 and imports built-ins only.
 */
import * as crypto from "node:crypto";

export const HASH_BYTES = 32;
/** A tree of 2^53 records, the largest size a number tells exactly, is 53 high; C2SP allows 63 lines. */
export const PROOF_MAX_HASHES = 63;
/** An entry's length is a uint16 in tlog-tiles, so a leaf is no longer. */
export const LEAF_MAX_BYTES = 65_535;

const LEAF = 0x00;
const NODE = 0x01;

/**
 * `hash` came with Node 20.12. Made a text of one character a byte first, a hash costs it a third of what it
 * costs as a buffer at once, and a fifth of `createHash`.
 */
const hashText: (bytes: Uint8Array, encoding: "binary" | "base64") => string =
  typeof crypto.hash === "function"
    ? (bytes, encoding) => crypto.hash("sha256", bytes, encoding)
    : (bytes, encoding) => crypto.createHash("sha256").update(bytes).digest(encoding);

export function sha256(bytes: Uint8Array): Buffer {
  return Buffer.from(hashText(bytes, "binary"), "binary");
}

export function sha256Base64(bytes: Uint8Array): string {
  return hashText(bytes, "base64");
}

/** MTH of no record at all. */
export const EMPTY_ROOT: Uint8Array = sha256(new Uint8Array(0));

/** Used by one call at a time, since none waits. */
const LEAF_INPUT = Buffer.alloc(1 + LEAF_MAX_BYTES);
LEAF_INPUT[0] = LEAF;
const NODE_INPUT = Buffer.alloc(1 + 2 * HASH_BYTES);
NODE_INPUT[0] = NODE;

/** Leaves over 65,535 bytes have no place in the log and are a mistake of the caller. */
export function leafHash(leaf: Uint8Array): Uint8Array {
  if (leaf.length > LEAF_MAX_BYTES) throw new RangeError(`a leaf of ${leaf.length} bytes`);
  LEAF_INPUT.set(leaf, 1);
  return sha256(LEAF_INPUT.subarray(0, 1 + leaf.length));
}

/** The same of a leaf's text, which is at most `LEAF_MAX_BYTES` long in UTF-8. */
export function leafHashOfText(leaf: string): Uint8Array {
  return sha256(LEAF_INPUT.subarray(0, 1 + LEAF_INPUT.write(leaf, 1)));
}

export function nodeHash(left: Uint8Array, right: Uint8Array): Uint8Array {
  NODE_INPUT.set(left, 1);
  NODE_INPUT.set(right, 1 + HASH_BYTES);
  return sha256(NODE_INPUT);
}

/** Largest power of two below `size`, which is 2 or more: where RFC 6962 splits a tree. */
export function splitOf(size: number): number {
  let split = 1;
  while (split * 2 < size) split *= 2;
  return split;
}

/**
 * MTH over subtrees of one size, from left to right; the last one may be smaller, as at the right edge of
 * a tree. At least one.
 */
export function treeHash(
  hashes: readonly Uint8Array[],
  from = 0,
  to: number = hashes.length,
): Uint8Array {
  const first = hashes[from];
  if (first === undefined || to <= from) throw new RangeError("a tree of no hashes");
  if (to - from === 1) return first;
  const split = from + splitOf(to - from);
  return nodeHash(treeHash(hashes, from, split), treeHash(hashes, split, to));
}

/** Cuts concatenated hashes, as in a tile, apart. */
export function hashesOf(bytes: Uint8Array): Uint8Array[] {
  const hashes: Uint8Array[] = [];
  for (let at = 0; at + HASH_BYTES <= bytes.length; at += HASH_BYTES) {
    hashes.push(bytes.subarray(at, at + HASH_BYTES));
  }
  return hashes;
}

export function isSameHash(one: Uint8Array, other: Uint8Array): boolean {
  return Buffer.compare(one, other) === 0;
}

function areHashes(hashes: readonly Uint8Array[]): boolean {
  return hashes.length <= PROOF_MAX_HASHES && hashes.every(({ length }) => length === HASH_BYTES);
}

/** Whether the leaf hash stands at `index` in the tree of `size` leaves with that root. */
export function isIncluded(
  index: number,
  size: number,
  leaf: Uint8Array,
  proof: readonly Uint8Array[],
  root: Uint8Array,
): boolean {
  if (!Number.isSafeInteger(index) || !Number.isSafeInteger(size)) return false;
  if (index < 0 || index >= size || !areHashes([leaf, root]) || !areHashes(proof)) return false;
  // Shifts of JavaScript work on 32 bits; sizes have 53.
  let [at, last] = [index, size - 1];
  let hash = leaf;
  for (const sibling of proof) {
    if (last === 0) return false;
    if (at % 2 === 1 || at === last) {
      hash = nodeHash(sibling, hash);
      while (at % 2 === 0 && at !== 0) [at, last] = [at / 2, Math.floor(last / 2)];
    } else {
      hash = nodeHash(hash, sibling);
    }
    [at, last] = [Math.floor(at / 2), Math.floor(last / 2)];
  }
  return last === 0 && isSameHash(hash, root);
}

/**
 * Whether the tree of `newSize` leaves is the one of `oldSize` with leaves added. Nothing is consistent
 * with an empty tree: a witness that never saw the log takes that path apart.
 */
export function isConsistent(
  oldSize: number,
  newSize: number,
  oldRoot: Uint8Array,
  newRoot: Uint8Array,
  proof: readonly Uint8Array[],
): boolean {
  if (!Number.isSafeInteger(oldSize) || !Number.isSafeInteger(newSize)) return false;
  if (oldSize < 1 || newSize < oldSize) return false;
  if (oldSize === newSize) return proof.length === 0 && isSameHash(oldRoot, newRoot);
  if (proof.length === 0 || !areHashes([oldRoot, newRoot]) || !areHashes(proof)) return false;
  let [at, last] = [oldSize - 1, newSize - 1];
  while (at % 2 === 1) [at, last] = [(at - 1) / 2, Math.floor(last / 2)];
  // Of a power of two the old root is itself the first node, and the proof leaves it out.
  const path = at === 0 ? [oldRoot, ...proof] : proof;
  const [first, ...rest] = path;
  if (first === undefined) return false;
  let [older, newer] = [first, first];
  for (const hash of rest) {
    if (last === 0) return false;
    if (at % 2 === 1 || at === last) {
      older = nodeHash(hash, older);
      newer = nodeHash(hash, newer);
      while (at % 2 === 0 && at !== 0) [at, last] = [at / 2, Math.floor(last / 2)];
    } else {
      newer = nodeHash(newer, hash);
    }
    [at, last] = [Math.floor(at / 2), Math.floor(last / 2)];
  }
  return last === 0 && isSameHash(older, oldRoot) && isSameHash(newer, newRoot);
}
