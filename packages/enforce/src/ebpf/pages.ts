/** The pages of one slot: all of its policy that does not change while it is in force. */
import { AddressTrie } from "./addresses.ts";
import { cellWords } from "./cells.ts";
import { PAGE_BYTES, SLOT_WORDS, tooLarge } from "./layout.ts";
import type { Classes, Member } from "./trie.ts";

export interface SlotPages {
  readonly pages: readonly Uint8Array[];
  readonly cellMask: number;
  /** First word of the trie's root. */
  readonly addresses: number;
}

/** Nodes of 16 words begin at multiples of it, so that each is one line of a processor's cache. */
const LINE_WORDS = 16;
const PLACE_WORDS = 8;

export function slotPages(members: readonly Member[], classes: Classes): SlotPages {
  const { words, cellMask } = cellWords(members, classes);
  const trie = new AddressTrie();
  // What is known about a prefix, once: the many prefixes of one network have the same.
  const known = new Map<string, number>();
  while (words.length % PLACE_WORDS !== 0) words.push(0);
  for (const { mark, sourceClass, targetClass } of classes.places) {
    const { zone = 0, ifindex = 0, room = 0, own = false, broadcast = false } = mark;
    const dialledFrom = networkOrder(mark.dialledFrom ?? 0);
    const flags = (own ? 1 : 0) + (broadcast ? 2 : 0);
    const place = [zone, ifindex, sourceClass + targetClass * 65_536, room + flags * 65_536];
    place.push(dialledFrom, 0, 0, 0);
    const key = place.join(",");
    const number = known.get(key) ?? words.push(...place) / PLACE_WORDS - 1;
    known.set(key, number);
    trie.put(mark, number);
  }
  while (words.length % LINE_WORDS !== 0) words.push(0);
  const addresses = trie.writeTo(words);
  if (words.length > SLOT_WORDS) throw tooLarge(`it takes ${words.length} words of ${SLOT_WORDS}`);
  const image = new DataView(
    new ArrayBuffer(Math.ceil((words.length * 4) / PAGE_BYTES) * PAGE_BYTES),
  );
  words.forEach((word, index) => image.setUint32(index * 4, word, true));
  const pages: Uint8Array[] = [];
  for (let at = 0; at < image.byteLength; at += PAGE_BYTES) {
    pages.push(new Uint8Array(image.buffer, at, PAGE_BYTES));
  }
  return { pages, cellMask, addresses };
}

/** An address as packets have it, in a word that is written in the other order. */
function networkOrder(address: number): number {
  const view = new DataView(new ArrayBuffer(4));
  view.setUint32(0, address, false);
  return view.getUint32(0, true);
}
