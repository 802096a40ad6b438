import assert from "node:assert/strict";
import fs from "node:fs";
import { test } from "node:test";
import fc from "fast-check";
import {
  isConsistent,
  isIncluded,
  leafHash,
  leafHashOfText,
  nodeHash,
  treeHash,
} from "./merkle.ts";
import { consistencyProof, inclusionProof, type ReadTile, rootAt } from "./proofs.ts";
import { TILE_WIDTH } from "./tiles.ts";

interface Vector {
  readonly kind: "inclusion" | "consistency";
  readonly file: string;
  readonly wantErr: boolean;
  readonly proof: readonly string[] | null;
  readonly leafIdx: number;
  readonly treeSize: number;
  readonly leafHash: string;
  readonly root: string;
  readonly size1: number;
  readonly size2: number;
  readonly root1: string;
  readonly root2: string;
}

const VECTORS = JSON.parse(
  fs.readFileSync(new URL("../testdata/rfc6962-proofs.json", import.meta.url), "utf8"),
) as Vector[];
const bytes = (text: string | null): Buffer => Buffer.from(text ?? "", "base64");

test("all 196 public vectors of RFC 6962 proofs are taken or refused as they are labeled", () => {
  assert.equal(VECTORS.length, 196);
  for (const one of VECTORS) {
    const proof = (one.proof ?? []).map(bytes);
    const isGood =
      one.kind === "inclusion"
        ? isIncluded(one.leafIdx, one.treeSize, bytes(one.leafHash), proof, bytes(one.root))
        : isConsistent(one.size1, one.size2, bytes(one.root1), bytes(one.root2), proof);
    assert.equal(isGood, !one.wantErr, one.file);
  }
});

test("the reference tree of eight leaves has the root that everybody else finds", () => {
  const leaves = ["", "00", "10", "2021", "3031", "40414243", "5051525354555657"];
  leaves.push("606162636465666768696a6b6c6d6e6f");
  const root = treeHash(leaves.map((hex) => leafHash(Buffer.from(hex, "hex"))));
  const expected = "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328";
  assert.equal(Buffer.from(root).toString("hex"), expected);
});

/** Tiles of a tree over these leaf hashes, made by the definition and not as the ledger makes them. */
function tilesOf(hashes: readonly Uint8Array[]): ReadTile {
  const known = new Map<string, Uint8Array[]>();
  return (level, n) => {
    const before = known.get(`${level}/${n}`);
    if (before !== undefined) return before;
    const unit = TILE_WIDTH ** level;
    const tile: Uint8Array[] = [];
    for (
      let at = n * TILE_WIDTH;
      at < (n + 1) * TILE_WIDTH && (at + 1) * unit <= hashes.length;
      at++
    ) {
      tile.push(treeHash(hashes, at * unit, (at + 1) * unit));
    }
    known.set(`${level}/${n}`, tile);
    return tile;
  };
}

const HASHES = Array.from({ length: 70_000 }, (_, at) => leafHashOfText(String(at)));
const LARGE = tilesOf(HASHES);

test("every record of every small tree is proved, and nothing else by the same proof", () => {
  let checked = 0;
  for (let size = 1; size <= 40; size++) {
    const read = tilesOf(HASHES.slice(0, size));
    const root = rootAt(read, size);
    assert.deepEqual(root, treeHash(HASHES, 0, size));
    for (let index = 0; index < size; index++) {
      const proof = inclusionProof(read, index, size);
      const leaf = HASHES[index] ?? new Uint8Array();
      assert.ok(isIncluded(index, size, leaf, proof, root));
      assert.ok(!isIncluded(index, size, HASHES[index + 1] ?? leaf.subarray(1), proof, root));
      assert.ok(!isIncluded(index + 1, size, leaf, proof, root));
      checked++;
    }
    for (let older = 1; older <= size; older++) {
      const proof = consistencyProof(read, older, size);
      assert.ok(isConsistent(older, size, rootAt(read, older), root, proof));
      if (older < size) assert.ok(!isConsistent(older, size, root, root, proof));
    }
  }
  assert.equal(checked, 820);
});

test("proofs lead over the edges of tiles of three levels", () => {
  const indexes = fc.tuple(fc.nat(HASHES.length - 1), fc.nat(HASHES.length - 1));
  const edges = [255, 256, 257, 511, 512, 65_535, 65_536, 65_537, 69_999];
  const property = (a: number, b: number): void => {
    const [index, last] = a < b ? [a, b] : [b, a];
    const size = last + 1;
    const root = treeHash(HASHES, 0, size);
    const leaf = HASHES[index] ?? new Uint8Array();
    assert.ok(isIncluded(index, size, leaf, inclusionProof(LARGE, index, size), root));
    const older = index + 1;
    const proof = consistencyProof(LARGE, older, size);
    assert.ok(proof.length <= 21, `${proof.length} hashes`);
    assert.ok(isConsistent(older, size, treeHash(HASHES, 0, older), root, proof));
  };
  for (const edge of edges) property(edge, edges[2] ?? 0);
  fc.assert(
    fc.property(indexes, ([a, b]) => property(a, b)),
    { numRuns: 6 },
  );
});

test("random bytes are no proof, of whatever sizes they claim to be", () => {
  const hash = fc.uint8Array({ minLength: 0, maxLength: 40 });
  const size = fc.oneof(fc.nat(300), fc.maxSafeNat(), fc.double());
  fc.assert(
    fc.property(
      size,
      size,
      hash,
      fc.array(hash, { maxLength: 70 }),
      hash,
      (a, b, leaf, proof, root) => {
        assert.ok(!isIncluded(a, b, leaf, proof, root));
        if (a !== b) assert.ok(!isConsistent(a, b, leaf, root, proof));
      },
    ),
  );
});

test("a proof that is longer than the tree is high is refused, even when a root was made to match", () => {
  const [leaf, extra] = [leafHashOfText("a"), leafHashOfText("b")];
  assert.ok(!isIncluded(0, 1, leaf, [extra], nodeHash(extra, leaf)));
  const two = nodeHash(leaf, extra);
  assert.ok(isConsistent(1, 2, leaf, two, [extra]));
  const longer = nodeHash(leaf, two);
  assert.ok(!isConsistent(1, 2, nodeHash(leaf, leaf), longer, [extra, leaf]));
  assert.ok(!isConsistent(1, 2, leaf, longer, [extra, leaf]));
});

test("a leaf is never a node: no record passes for the hash of two others", () => {
  const [left, right] = [leafHashOfText("a"), leafHashOfText("b")];
  assert.notDeepEqual(leafHash(Buffer.concat([left, right])), nodeHash(left, right));
});

test("a leaf of 65,535 bytes has a hash, one more byte has none", () => {
  assert.equal(leafHash(new Uint8Array(65_535)).length, 32);
  assert.throws(() => leafHash(new Uint8Array(65_536)), RangeError);
});
