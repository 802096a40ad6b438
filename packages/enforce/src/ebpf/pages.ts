/** The pages of one slot: all of its policy that does not change while it is in force. */
import { AddressTrie } from "./addresses.ts";
import { cellTable } from "./cells.ts";
import { MapBytes, PAGE_BYTES, SLOT_WORDS, tooLarge } from "./layout.ts";
import type { Classes, Member } from "./trie.ts";

export interface SlotPages {
  readonly pages: readonly Uint8Array[];
  readonly cellMask: number;
  /** First word of the trie's root. */
  readonly addresses: number;
}

/** Nodes of 16 words begin at multiples of it, so that each is one line of a processor's cache. */
const LINE_WORDS = 16;
const PLACE_WORDS = 4;

export function slotPages(members: readonly Member[], classes: Classes): SlotPages {
  const cells = cellTable(members, classes);
  const { places, numbers } = placesOf(classes);
  const trie = new AddressTrie(classes.places, numbers);
  const addresses = Math.ceil(cells.words / LINE_WORDS) * LINE_WORDS;
  const firstPlace = (addresses + trie.words) / PLACE_WORDS;
  const words = (firstPlace + places.length) * PLACE_WORDS;
  if (words > SLOT_WORDS) throw tooLarge(`it takes ${words} words of ${SLOT_WORDS}`);
  const image = new Uint8Array(Math.ceil((words * 4) / PAGE_BYTES) * PAGE_BYTES);
  cells.write(image);
  trie.write(new DataView(image.buffer), addresses, firstPlace);
  places.forEach((place, index) => image.set(place, (firstPlace + index) * PLACE_WORDS * 4));
  const pages = Array.from({ length: image.length / PAGE_BYTES }, (_, index) =>
    image.subarray(index * PAGE_BYTES, (index + 1) * PAGE_BYTES),
  );
  return { pages, cellMask: cells.cellMask, addresses };
}

/** What is known about each prefix, once: the many prefixes of one network have the same. */
function placesOf({ places }: Classes): { places: Uint8Array[]; numbers: number[] } {
  const known = new Map<string, number>();
  const distinct: Uint8Array[] = [];
  const numbers = places.map((place) => {
    const record = placeRecord(place);
    const key = record.hex();
    let number = known.get(key);
    if (number === undefined) {
      number = distinct.push(record.bytes) - 1;
      known.set(key, number);
    }
    return number;
  });
  return { places: distinct, numbers };
}

function placeRecord({ mark, sourceClass, targetClass }: Classes["places"][number]): MapBytes {
  const flags = (mark.own === true ? 1 : 0) | (mark.broadcast === true ? 2 : 0);
  return new MapBytes(PLACE_WORDS * 4)
    .u32(mark.zone ?? 0)
    .u32(mark.ifindex ?? 0)
    .u16(sourceClass)
    .u16(targetClass)
    .u16(mark.room ?? 0)
    .u16(flags);
}
