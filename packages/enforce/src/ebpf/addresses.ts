/**
 * The trie of one slot: for every address the longest prefix around it, found in at most six words.
 * The layout is drawn in `inner.layout.h` above `struct page`.
 */
import type { Prefix } from "@sallyport/core";

/** Bits that each step of a walk takes: wide where few nodes are, narrow where they would be empty. */
const STEPS = [8, 8, 4, 4, 4, 4] as const;
const ADDRESS_BITS = 32;
/** A word with this bit is the number of a place, any other one the first word of a node. */
const NODE_PLACE = 0x80000000;

type Entry = number | Entry[];

export class AddressTrie {
  readonly #root: Entry[] = nodeOf(0, 0);

  /** What is around a prefix is put before it. */
  put({ address, length }: Prefix, place: number): void {
    let node = this.#root;
    let bits = 0;
    for (const [step, width] of STEPS.entries()) {
      bits += width;
      const index = Math.floor(address / 2 ** (ADDRESS_BITS - bits)) % 2 ** width;
      if (length <= bits) {
        node.fill(NODE_PLACE + place, index, index + 2 ** (bits - length));
        return;
      }
      const entry = node[index] ?? 0;
      const child = typeof entry === "number" ? nodeOf(step + 1, entry) : entry;
      node[index] = child;
      node = child;
    }
  }

  /** Puts its nodes behind all words; answers the first word of the root. */
  writeTo(words: number[], node: Entry[] = this.#root): number {
    const first = words.length;
    for (const entry of node) words.push(typeof entry === "number" ? entry : 0);
    node.forEach((entry, index) => {
      if (typeof entry !== "number") words[first + index] = this.writeTo(words, entry);
    });
    return first;
  }
}

function nodeOf(step: number, around: number): Entry[] {
  return new Array<Entry>(2 ** (STEPS[step] ?? 0)).fill(around);
}
