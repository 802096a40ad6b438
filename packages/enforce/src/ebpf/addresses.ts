/**
 * The trie of one slot: for every address the longest prefix around it, found in at most six words.
 * The layout is drawn in `inner.layout.h` above `struct page`.
 */
import type { Prefix } from "@sallyport/core";
import type { Classes } from "./trie.ts";

/** Bits that each step of a walk takes: wide where few nodes are, narrow where they would be empty. */
const STEPS = [8, 8, 4, 4, 4, 4] as const;
const ADDRESS_BITS = 32;
/** A word with this bit is the number of a place, any other one the first word of a node. */
const NODE_PLACE = 0x80000000;

type Entry = Node | number;
interface Node {
  readonly entries: Entry[];
}

export class AddressTrie {
  readonly #root: Node = nodeOf(0, 0);

  /** Sorted: what is around a prefix comes before it. `numbers` are those of their places. */
  constructor(places: Classes["places"], numbers: readonly number[]) {
    places.forEach(({ mark }, index) => this.#put(mark, NODE_PLACE + (numbers[index] ?? 0)));
  }

  get words(): number {
    return sizeOf(this.#root);
  }

  /** Node by node from word `first` on, a node's own before its children's. */
  write(view: DataView, first: number, firstPlace: number): void {
    let free = first;
    const place = ({ entries }: Node): number => {
      const at = free;
      free += entries.length;
      entries.forEach((entry, index) => {
        const child = typeof entry === "number" ? entry && entry + firstPlace : place(entry);
        view.setUint32((at + index) * 4, child, true);
      });
      return at;
    };
    place(this.#root);
  }

  #put({ address, length }: Prefix, leaf: number): void {
    let node = this.#root;
    let bits = 0;
    for (const [step, width] of STEPS.entries()) {
      bits += width;
      const index = Math.floor(address / 2 ** (ADDRESS_BITS - bits)) % 2 ** width;
      if (length <= bits) {
        node.entries.fill(leaf, index, index + 2 ** (bits - length));
        return;
      }
      const entry = node.entries[index] ?? 0;
      const child = typeof entry === "number" ? nodeOf(step + 1, entry) : entry;
      node.entries[index] = child;
      node = child;
    }
  }
}

function nodeOf(step: number, around: number): Node {
  return { entries: new Array<Entry>(2 ** (STEPS[step] ?? 0)).fill(around) };
}

function sizeOf({ entries }: Node): number {
  return entries.reduce<number>(
    (sum, entry) => sum + (typeof entry === "number" ? 0 : sizeOf(entry)),
    entries.length,
  );
}
