/**
 * The first part of a slot's pages: a hash table of cells, their port ranges, the candidates of each
 * range. The layout is drawn in `inner.layout.h` above `struct page`; the bounds are the program's.
 */
import { CANDIDATE, MapBytes, PROTOCOL, SLOT_WORDS, tooLarge } from "./layout.ts";
import type { Classes, Member } from "./trie.ts";

const PROBES = 16;
const RANGES_MAX = 1024;
const CANDIDATES_MAX = 32;
const PORT_MAX = 65_535;
/** Bit 31 of a range's second word. */
const RANGE_GRANTS = 0x80000000;
/** The fuller the table, the fewer pieces of memory packets touch, and the longer they look. */
const FULLEST = 0.8;

interface Cell {
  /** Source class << 16 | target class. */
  readonly classes: number;
  readonly protocol: number;
  readonly members: number[];
}

interface Range {
  readonly first: number;
  readonly last: number;
  /** In the order in which they are asked. */
  readonly candidates: readonly MapBytes[];
  readonly grants: boolean;
}

/** The ranges of a cell, and where those lie that are not in the cell itself. */
interface Span {
  readonly ranges: readonly Range[];
  readonly firstRange: number;
  readonly firstCandidates: readonly number[];
}

export interface CellTable {
  readonly cellMask: number;
  /** A multiple of 4. */
  readonly words: number;
  /** From word 0 on. */
  write(image: Uint8Array): void;
}

/** A cell is two steps of 4 words, which is what candidates are numbered in. */
const CELL_BYTES = 32;
const CELL_STEPS = 2;

export function cellTable(members: readonly Member[], classes: Classes): CellTable {
  const cells = cellsOf(members, classes);
  const ranges: { readonly range: Range; readonly candidate: number }[] = [];
  const candidates: MapBytes[] = [];
  const shared = new Map<string, Span>();
  const spans = cells.map((cell) => {
    const key = cell.members.join(",");
    const known = shared.get(key);
    if (known !== undefined) return known;
    const span = spanOf(cell, members, ranges.length, candidates);
    if (span.ranges.length > 1) {
      span.ranges.forEach((range, index) => {
        ranges.push({ range, candidate: span.firstCandidates[index] ?? 0 });
      });
    }
    shared.set(key, span);
    return span;
  });
  const { buckets, size } = hashed(cells);
  const firstCandidate = size * CELL_STEPS + Math.ceil(ranges.length / 2);
  const write = (image: Uint8Array): void => {
    const view = new DataView(image.buffer);
    buckets.forEach((index, bucket) => {
      const [cell, span] = index === undefined ? [] : [cells[index], spans[index]];
      if (cell === undefined || span === undefined) return;
      const at = bucket * CELL_BYTES;
      view.setUint32(at, cell.classes, true);
      view.setUint32(at + 4, cell.protocol | (span.ranges.length << 8), true);
      const [only, another] = span.ranges;
      if (only === undefined || another !== undefined) {
        view.setUint32(at + 8, size * CELL_STEPS * 2 + span.firstRange, true);
      } else if (isInCell(span.ranges)) {
        writeRange(view, at + 8, only, bucket * CELL_STEPS + 1);
        image.set(only.candidates[0]?.bytes ?? [], at + 16);
      } else {
        writeRange(view, at + 8, only, firstCandidate + (span.firstCandidates[0] ?? 0));
      }
    });
    ranges.forEach(({ range, candidate }, index) => {
      writeRange(view, size * CELL_BYTES + index * 8, range, firstCandidate + candidate);
    });
    candidates.forEach(({ bytes }, index) => image.set(bytes, (firstCandidate + index) * 16));
  };
  return { cellMask: size - 1, words: (firstCandidate + candidates.length) * 4, write };
}

function writeRange(view: DataView, at: number, range: Range, candidate: number): void {
  const grants = range.grants ? RANGE_GRANTS : 0;
  view.setUint32(at, range.first * 65_536 + range.last, true);
  view.setUint32(at + 4, grants + candidate * 64 + range.candidates.length, true);
}

/** One conduit on one stretch of ports, as most cells are: read with the cell, in one piece. */
function isInCell(ranges: readonly Range[]): boolean {
  return ranges.length === 1 && ranges[0]?.candidates.length === 1;
}

function spanOf(
  cell: Cell,
  members: readonly Member[],
  firstRange: number,
  stored: MapBytes[],
): Span {
  const ranges = rangesOf(cell.members.flatMap((index) => members[index] ?? []));
  if (isInCell(ranges)) return { ranges, firstRange, firstCandidates: [] };
  const firstCandidates = ranges.map(({ candidates }) => {
    const first = stored.length;
    stored.push(...candidates);
    return first;
  });
  return { ranges, firstRange, firstCandidates };
}

/** Their table takes half of the pages at most, and leaves the rest to what they name and the trie. */
const CELLS_MAX = 100_000;

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
    const candidates = covering.map((member) => candidateOf(member, first));
    const grants = covering.some(({ session }) => session);
    ranges.push({ first, last, candidates, grants });
  });
  if (ranges.length > RANGES_MAX) throw tooLarge(`${ranges.length} port ranges between two places`);
  return ranges;
}

function portsOf({ leg }: Member): readonly { readonly first: number; readonly last: number }[] {
  return leg.protocol === "icmp" ? [{ first: 0, last: PORT_MAX }] : leg.ports;
}

function candidateOf({ id, diode, redirects }: Member, port: number): MapBytes {
  const redirect = redirects?.get(port);
  const nowhere = redirects === undefined ? 0 : CANDIDATE.nowhere;
  const leads = redirect === undefined ? nowhere : CANDIDATE.redirect;
  const record = new MapBytes(16).u32(id).u32((diode ? CANDIDATE.diode : 0) | leads);
  return record.be32(redirect?.listenAddress ?? 0).u16(redirect?.listenPort ?? 0);
}

/** The same function is in the program. */
function cellHash(classes: number, protocol: number): number {
  const hash = Math.imul(classes ^ (protocol << 24), 0x9e3779b1);
  return (hash ^ (hash >>> 15)) >>> 0;
}

/** Open addressing; the table grows until nobody is further from home than the program looks. */
function hashed(cells: readonly Cell[]): { buckets: (number | undefined)[]; size: number } {
  for (let size = 64; size * CELL_BYTES <= SLOT_WORDS * 4; size *= 2) {
    if (size * FULLEST < cells.length) continue;
    const buckets = new Array<number | undefined>(size).fill(undefined);
    const placed = cells.every(({ classes, protocol }, index) => {
      const home = cellHash(classes, protocol);
      for (let probe = 0; probe < PROBES; probe++) {
        const bucket = ((home + probe) & (size - 1)) >>> 0;
        if (buckets[bucket] !== undefined) continue;
        buckets[bucket] = index;
        return true;
      }
      return false;
    });
    if (placed) return { buckets, size };
  }
  throw tooLarge("its cells do not fit the table");
}
