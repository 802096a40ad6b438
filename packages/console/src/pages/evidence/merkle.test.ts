/** Against trees that are built here by the definition, RFC 6962 §2.1, with Node's own hash. */
import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import { test } from "node:test";
import { isConsistent, leafHash, rootFromInclusion } from "./merkle.ts";

const hash = (...parts: readonly Uint8Array[]): Buffer => {
  const made = createHash("sha256");
  for (const part of parts) made.update(part);
  return made.digest();
};
const leafOf = (index: number): Buffer => hash(Uint8Array.of(0), Buffer.from(`record ${index}`));
const split = (size: number): number => 2 ** Math.floor(Math.log2(size - 1));

function root(first: number, size: number): Buffer {
  if (size === 1) return leafOf(first);
  const left = split(size);
  return hash(Uint8Array.of(1), root(first, left), root(first + left, size - left));
}

function path(index: number, first: number, size: number): Buffer[] {
  if (size === 1) return [];
  const left = split(size);
  return index < left
    ? [...path(index, first, left), root(first + left, size - left)]
    : [...path(index - left, first + left, size - left), root(first, left)];
}

function growth(from: number, first: number, size: number, isWhole: boolean): Buffer[] {
  if (from === size) return isWhole ? [] : [root(first, size)];
  const left = split(size);
  return from <= left
    ? [...growth(from, first, left, isWhole), root(first + left, size - left)]
    : [...growth(from - left, first + left, size - left, false), root(first, left)];
}

const hex = (bytes: Buffer): string => bytes.toString("hex");
const SIZE_MAX = 20;

test("a record's place is proved for every record of every small ledger, and for no other", async () => {
  let checked = 0;
  for (let size = 1; size <= SIZE_MAX; size += 1) {
    for (let index = 0; index < size; index += 1) {
      const hashes = path(index, 0, size).map(hex);
      const proof = { index, size, leaf: hex(leafOf(index)), hashes };
      assert.equal(await rootFromInclusion(proof), hex(root(0, size)), `${index} of ${size}`);
      const other = { ...proof, leaf: hex(leafOf(index + 1)) };
      assert.notEqual(await rootFromInclusion(other), hex(root(0, size)));
      assert.equal(
        await rootFromInclusion({ ...proof, hashes: [...hashes, hex(leafOf(0))] }),
        undefined,
      );
      checked += 1;
    }
  }
  assert.equal(checked, (SIZE_MAX * (SIZE_MAX + 1)) / 2);
  assert.equal(await leafHash(Buffer.from("record 3")), hex(leafOf(3)));
});

test("a ledger that grew is told from one that was rewritten", async () => {
  for (let to = 1; to <= SIZE_MAX; to += 1) {
    for (let from = 1; from <= to; from += 1) {
      const hashes = growth(from, 0, to, true).map(hex);
      const proof = { from, to, fromRoot: hex(root(0, from)), toRoot: hex(root(0, to)), hashes };
      assert.equal(await isConsistent(proof), true, `${from} in ${to}`);
      assert.equal(await isConsistent({ ...proof, fromRoot: hex(leafOf(99)) }), false);
      if (from < to) assert.equal(await isConsistent({ ...proof, hashes: hashes.slice(1) }), false);
    }
  }
});
