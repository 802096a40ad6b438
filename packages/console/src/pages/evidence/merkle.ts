/** RFC 6962 §2.1 in a browser: whether a record is in the tree, and whether an older tree is the begin of a newer one. */

const LEAF = 0;
const NODE = 1;
const HASH_BYTES = 32;

export async function leafHash(leaf: Uint8Array): Promise<string> {
  return toHex(await sha256(concat(Uint8Array.of(LEAF), leaf)));
}

async function nodeHash(left: string, right: string): Promise<string> {
  return toHex(await sha256(concat(Uint8Array.of(NODE), fromHex(left), fromHex(right))));
}

/** The root that the proof leads to; undefined when it has too few or too many hashes. */
export async function rootFromInclusion(proof: {
  readonly index: number;
  readonly size: number;
  readonly leaf: string;
  readonly hashes: readonly string[];
}): Promise<string | undefined> {
  let { index, leaf: root } = proof;
  let last = proof.size - 1;
  if (index < 0 || index > last) return undefined;
  for (const hash of proof.hashes) {
    if (last === 0) return undefined;
    if (index % 2 === 1 || index === last) {
      root = await nodeHash(hash, root);
      while (index % 2 === 0 && index !== 0) [index, last] = [half(index), half(last)];
    } else {
      root = await nodeHash(root, hash);
    }
    [index, last] = [half(index), half(last)];
  }
  return last === 0 ? root : undefined;
}

/** Whether the tree of `from` records with `fromRoot` is the begin of that of `to` records with `toRoot`. */
export async function isConsistent(proof: {
  readonly from: number;
  readonly to: number;
  readonly fromRoot: string;
  readonly toRoot: string;
  readonly hashes: readonly string[];
}): Promise<boolean> {
  const { from, to, fromRoot, toRoot, hashes } = proof;
  if (from > to) return false;
  if (from === 0) return hashes.length === 0;
  if (from === to) return hashes.length === 0 && fromRoot === toRoot;
  let [node, last] = [from - 1, to - 1];
  while (node % 2 === 1) [node, last] = [half(node), half(last)];
  const rest = [...hashes];
  const seed = node === 0 ? fromRoot : rest.shift();
  if (seed === undefined) return false;
  let [older, newer] = [seed, seed];
  for (const hash of rest) {
    if (last === 0) return false;
    if (node % 2 === 1 || node === last) {
      [older, newer] = [await nodeHash(hash, older), await nodeHash(hash, newer)];
      while (node % 2 === 0 && node !== 0) [node, last] = [half(node), half(last)];
    } else {
      newer = await nodeHash(newer, hash);
    }
    [node, last] = [half(node), half(last)];
  }
  return last === 0 && older === fromRoot && newer === toRoot;
}

function half(value: number): number {
  return Math.floor(value / 2);
}

async function sha256(bytes: Uint8Array<ArrayBuffer>): Promise<Uint8Array> {
  return new Uint8Array(await crypto.subtle.digest("SHA-256", bytes));
}

function concat(...parts: readonly Uint8Array[]): Uint8Array<ArrayBuffer> {
  const all = new Uint8Array(parts.reduce((sum, { length }) => sum + length, 0));
  let at = 0;
  for (const part of parts) {
    all.set(part, at);
    at += part.length;
  }
  return all;
}

function toHex(bytes: Uint8Array): string {
  return Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join("");
}

function fromHex(text: string): Uint8Array {
  const bytes = new Uint8Array(HASH_BYTES);
  for (let at = 0; at < HASH_BYTES; at += 1) {
    bytes[at] = Number.parseInt(text.slice(2 * at, 2 * at + 2), 16);
  }
  return bytes;
}
