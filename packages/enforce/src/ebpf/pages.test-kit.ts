/** Finds an address in a slot's pages as `place_of` of the program does. */
import type { Ipv4 } from "@sallyport/core";

const PAGE_WORDS = 512;

export interface FoundPlace {
  readonly zone: number;
  readonly ifindex: number;
  /** In network order. */
  readonly dialledFrom: number;
}

export function placeIn(
  pages: readonly Uint8Array[],
  root: number,
  address: Ipv4,
): FoundPlace | undefined {
  const wordAt = (word: number): number =>
    pageOf(pages, word).getUint32((word % PAGE_WORDS) * 4, true);
  let entry = root;
  for (const [shift, size] of [
    [24, 256],
    [16, 256],
    [12, 16],
    [8, 16],
    [4, 16],
    [0, 16],
  ] as const) {
    entry = wordAt(entry + (Math.floor(address / 2 ** shift) % size));
    if (entry === 0) return undefined;
    if (entry < 0x80000000) continue;
    const at = (entry - 0x80000000) * 8;
    return { zone: wordAt(at), ifindex: wordAt(at + 1), dialledFrom: wordAt(at + 4) };
  }
  throw new Error("the walk has no end");
}

function pageOf(pages: readonly Uint8Array[], word: number): DataView {
  const page = pages[Math.floor(word / PAGE_WORDS)];
  if (page === undefined) throw new RangeError(`word ${word} is behind the last page`);
  return new DataView(page.buffer, page.byteOffset, page.byteLength);
}
