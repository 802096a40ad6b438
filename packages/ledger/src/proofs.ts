/** Proofs of RFC 6962 §2.1.1 and §2.1.2, made from tiles. */
import { EMPTY_ROOT, nodeHash, splitOf, treeHash } from "./merkle.ts";
import { TILE_WIDTH } from "./tiles.ts";

/** Gives the hashes of a tile, as many as there are so far. */
export type ReadTile = (level: number, n: number) => readonly Uint8Array[];

/** One proof asks for a tile more than once; each is read once. */
function remembering(read: ReadTile): ReadTile {
  const known = new Map<string, readonly Uint8Array[]>();
  return (level, n) => {
    const key = `${level}/${n}`;
    const tile = known.get(key) ?? read(level, n);
    known.set(key, tile);
    return tile;
  };
}

/** MTH of records `from` to `to`, where `from` is a multiple of the smallest power of two that holds them. */
function rangeHash(read: ReadTile, from: number, to: number): Uint8Array {
  const size = to - from;
  // Within a tile's height the tile's own hashes do; 256^level records stand behind each.
  let [level, unit] = [0, 1];
  while (unit * TILE_WIDTH <= size) [level, unit] = [level + 1, unit * TILE_WIDTH];
  if (size % unit === 0) {
    const first = from / unit;
    const tile = read(level, Math.floor(first / TILE_WIDTH));
    const at = first % TILE_WIDTH;
    return treeHash(tile, at, at + size / unit);
  }
  const split = from + splitOf(size);
  return nodeHash(rangeHash(read, from, split), rangeHash(read, split, to));
}

export function rootAt(readTile: ReadTile, size: number): Uint8Array {
  return size === 0 ? EMPTY_ROOT : rangeHash(remembering(readTile), 0, size);
}

/** Siblings from the leaf up; `index` is below `size`. */
export function inclusionProof(readTile: ReadTile, index: number, size: number): Uint8Array[] {
  const read = remembering(readTile);
  const proof: Uint8Array[] = [];
  let [from, to] = [0, size];
  while (to - from > 1) {
    const split = from + splitOf(to - from);
    if (index < split) {
      proof.push(rangeHash(read, split, to));
      to = split;
    } else {
      proof.push(rangeHash(read, from, split));
      from = split;
    }
  }
  return proof.reverse();
}

/** Empty from nothing, and between equal sizes. */
export function consistencyProof(
  readTile: ReadTile,
  oldSize: number,
  newSize: number,
): Uint8Array[] {
  if (oldSize === 0 || oldSize === newSize) return [];
  const read = remembering(readTile);
  const proof: Uint8Array[] = [];
  let [from, to] = [0, newSize];
  while (to > oldSize) {
    const split = from + splitOf(to - from);
    if (oldSize <= split) {
      proof.push(rangeHash(read, split, to));
      to = split;
    } else {
      proof.push(rangeHash(read, from, split));
      from = split;
    }
  }
  // The old tree is itself a node of the new one: who checks has its root already.
  if (from > 0) proof.push(rangeHash(read, from, to));
  return proof.reverse();
}
