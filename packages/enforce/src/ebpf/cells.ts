/**
 * The first part of a slot's pages: a hash table of cells, their port ranges, the candidates of each
 * range. The layout is drawn in `inner.layout.h` above `struct page`; the bounds are the program's.
 */
import { CANDIDATE, PROTOCOL, SLOT_WORDS, tooLarge } from "./layout.ts";
import type { Classes, Member } from "./trie.ts";

const PROBES = 16;
const RANGES_MAX = 1024;
const CANDIDATES_MAX = 32;
const PORT_MAX = 65_535;

interface Cell {
  /** Source class << 16 | target class. */
  readonly classes: number;
  readonly protocol: number;
  readonly members: number[];
}

interface Range {
  readonly ports: number;
  readonly grants: boolean;
  /** In the order in which they are asked, 4 words each. */
  readonly candidates: readonly number[];
}

const CELL_WORDS = 8;
const CANDIDATE_WORDS = 4;
/** Bit 31 of a range's second word. */
const RANGE_GRANTS = 0x80000000;

/** The table, and behind it the ranges and candidates that don't lie in a cell itself. */
export function cellWords(
  members: readonly Member[],
  classes: Classes,
): { readonly words: number[]; readonly cellMask: number } {
  const buckets = hashed(cellsOf(members, classes));
  const words = new Array<number>(buckets.length * CELL_WORDS).fill(0);
  const shared = new Map<string, readonly number[]>();
  buckets.forEach((cell, bucket) => {
    if (cell === undefined) return;
    const at = bucket * CELL_WORDS;
    const key = cell.members.join(",");
    let named = shared.get(key);
    if (named === undefined) {
      const ranges = rangesOf(cell.members.flatMap((index) => members[index] ?? []));
      const [only, another] = ranges;
      if (another === undefined && only?.candidates.length === CANDIDATE_WORDS) {
        // One conduit on one stretch of ports, as most cells are: read with the cell, in one piece.
        named = [1, ...rangeWords(only, at + CELL_WORDS - CANDIDATE_WORDS), ...only.candidates];
      } else {
        named = [ranges.length, ...putRanges(words, ranges)];
        shared.set(key, named);
      }
    }
    const [count = 0, ...rest] = named;
    [cell.classes, cell.protocol + count * 256, ...rest].forEach((word, index) => {
      words[at + index] = word;
    });
  });
  return { words, cellMask: buckets.length - 1 };
}

/** Puts ranges and candidates behind all words, and answers how the cell names them. */
function putRanges(words: number[], ranges: readonly Range[]): number[] {
  const list = ranges.flatMap((range) => {
    return rangeWords(range, words.push(...range.candidates) - range.candidates.length);
  });
  if (ranges.length === 1) return list;
  // Candidates begin at multiples of their size.
  if (list.length % CANDIDATE_WORDS !== 0) list.push(0, 0);
  return [(words.push(...list) - list.length) / 2];
}

function rangeWords({ ports, grants, candidates }: Range, at: number): number[] {
  const list = (at / CANDIDATE_WORDS) * 64 + candidates.length / CANDIDATE_WORDS;
  return [ports, grants ? RANGE_GRANTS + list : list];
}

/** Their table takes half of the pages at most, and leaves the rest to what they name and the trie. */
const CELLS_MAX = 65_536;

function cellsOf(members: readonly Member[], classes: Classes): Cell[] {
  const cells = new Map<number, Cell>();
  members.forEach((member, index) => {
    const protocol = PROTOCOL[member.leg.protocol];
    for (const source of classes.sources[member.from] ?? []) {
      for (const target of classes.targets[index] ?? []) {
        const pair = source * 65_536 + target;
        const key = protocol * 2 ** 32 + pair;
        const cell = cells.get(key);
        if (cell === undefined) cells.set(key, { classes: pair, protocol, members: [index] });
        else cell.members.push(index);
        if (cells.size > CELLS_MAX) throw tooLarge(`it has more than ${CELLS_MAX} cells`);
      }
    }
  });
  return [...cells.values()];
}

/** Where the set of members changes along the ports, and who is asked between. */
function rangesOf(members: readonly Member[]): Range[] {
  const cuts = new Set<number>();
  for (const member of members) {
    for (const { first, last } of portsOf(member)) cuts.add(first).add(last + 1);
    for (const port of member.redirects?.keys() ?? []) cuts.add(port).add(port + 1);
  }
  const starts = [...cuts].sort((a, b) => a - b);
  const ranges: Range[] = [];
  starts.forEach((first, index) => {
    const covering = members.filter((member) =>
      portsOf(member).some((ports) => ports.first <= first && first <= ports.last),
    );
    if (covering.length === 0) return;
    if (covering.length > CANDIDATES_MAX) {
      throw tooLarge(`${covering.length} conduits cover the same packets; ${CANDIDATES_MAX} may`);
    }
    const last = (starts[index + 1] ?? PORT_MAX + 1) - 1;
    const candidates = covering.flatMap((member) => candidateOf(member, first));
    const grants = covering.some(({ session }) => session);
    ranges.push({ ports: first * 65_536 + last, candidates, grants });
  });
  if (ranges.length > RANGES_MAX) throw tooLarge(`${ranges.length} port ranges between two places`);
  return ranges;
}

function portsOf({ leg }: Member): readonly { readonly first: number; readonly last: number }[] {
  return leg.protocol === "icmp" ? [{ first: 0, last: PORT_MAX }] : leg.ports;
}

function candidateOf({ id, diode, redirects }: Member, port: number): number[] {
  const redirect = redirects?.get(port);
  const nowhere = redirects === undefined ? 0 : CANDIDATE.nowhere;
  const leads = redirect === undefined ? nowhere : CANDIDATE.redirect;
  const address = new DataView(new ArrayBuffer(4));
  address.setUint32(0, redirect?.listenAddress ?? 0);
  const flags = (diode ? CANDIDATE.diode : 0) | leads;
  return [id, flags, address.getUint32(0, true), redirect?.listenPort ?? 0];
}

/** The same function is in the program. */
function cellHash(classes: number, protocol: number): number {
  const hash = Math.imul(classes ^ (protocol << 24), 0x9e3779b1);
  return (hash ^ (hash >>> 15)) >>> 0;
}

/** Open addressing; the table grows until nobody is further from home than the program looks. */
function hashed(cells: readonly Cell[]): (Cell | undefined)[] {
  for (let size = 64; size * CELL_WORDS <= SLOT_WORDS; size *= 2) {
    if (size < cells.length * 2) continue;
    const buckets = new Array<Cell | undefined>(size).fill(undefined);
    const placed = cells.every((cell) => {
      const home = cellHash(cell.classes, cell.protocol);
      for (let probe = 0; probe < PROBES; probe++) {
        const bucket = ((home + probe) & (size - 1)) >>> 0;
        if (buckets[bucket] !== undefined) continue;
        buckets[bucket] = cell;
        return true;
      }
      return false;
    });
    if (placed) return buckets;
  }
  throw tooLarge("its cells do not fit the table");
}
