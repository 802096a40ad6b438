/** The right edge of a growing tree: enough to add records and to tell the root, whatever the size. */
import { SallyportError } from "@sallyport/core";
import { EMPTY_ROOT, HASH_BYTES, hashesOf, nodeHash } from "./merkle.ts";

/** A tile stands for eight heights of the tree. */
const TILE_HEIGHT = 8;

/** The hash of a full tile, as it goes into the tile above. */
export interface FullTile {
  /** Level of the tile that takes it, from 1. */
  readonly level: number;
  readonly hash: Uint8Array;
}

export class Frontier {
  #size: number;
  /** Roots of the full subtrees that the size is the sum of, by height: one for each bit that is set. */
  readonly #roots: (Uint8Array | undefined)[];

  private constructor(size: number, roots: (Uint8Array | undefined)[]) {
    this.#size = size;
    this.#roots = roots;
  }

  static empty(): Frontier {
    return new Frontier(0, []);
  }

  /** From what `toBytes` gave. */
  static fromBytes(size: number, bytes: Uint8Array): Frontier {
    const hashes = hashesOf(bytes);
    const roots: (Uint8Array | undefined)[] = [];
    for (let rest = size; rest > 0; rest = Math.floor(rest / 2)) {
      roots.push(rest % 2 === 1 ? hashes.shift() : undefined);
    }
    const isWhole = hashes.length === 0 && bytes.length % HASH_BYTES === 0;
    const ones = size.toString(2).replaceAll("0", "").length;
    if (!isWhole || roots.filter((root) => root !== undefined).length !== ones) {
      throw new SallyportError("ledger-damaged", "the ledger's frontier does not fit its size");
    }
    return new Frontier(size, roots);
  }

  get size(): number {
    return this.#size;
  }

  /** Roots of full subtrees below the height of a tile: what the tile at the edge adds up to. */
  get tileRoots(): readonly Uint8Array[] {
    return this.#roots
      .slice(0, TILE_HEIGHT)
      .filter((root) => root !== undefined)
      .reverse();
  }

  copy(): Frontier {
    return new Frontier(this.#size, [...this.#roots]);
  }

  /** Adds a leaf's hash; tells the hash of each tile that it filled, from the lowest level up. */
  add(leaf: Uint8Array): readonly FullTile[] {
    let full: FullTile[] | undefined;
    let [height, hash] = [0, leaf];
    for (let left = this.#roots[0]; left !== undefined; left = this.#roots[height]) {
      hash = nodeHash(left, hash);
      this.#roots[height] = undefined;
      height++;
      if (height % TILE_HEIGHT === 0) (full ??= []).push({ level: height / TILE_HEIGHT, hash });
    }
    this.#roots[height] = hash;
    this.#size++;
    return full ?? NONE;
  }

  root(): Uint8Array {
    let root: Uint8Array | undefined;
    for (const left of this.#roots) {
      if (left !== undefined) root = root === undefined ? left : nodeHash(left, root);
    }
    return root ?? EMPTY_ROOT;
  }

  toBytes(): Uint8Array {
    return Buffer.concat(this.#roots.filter((root) => root !== undefined));
  }
}

const NONE: readonly FullTile[] = [];
