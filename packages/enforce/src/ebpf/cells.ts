/**
 * The pages of one slot: a hash table of cells, their port ranges, the candidates of each range. The
 * layout is drawn in `inner.bpf.c` above `struct page`; the bounds are the program's.
 */
import { SallyportError } from "@sallyport/core";
import { CANDIDATE, MapBytes, PAGE_BYTES, PROTOCOL, SLOT_PAGES } from "./layout.ts";
import type { Classes, Member } from "./trie.ts";

const PROBES = 16;
const RANGES_MAX = 1024;
const CANDIDATES_MAX = 32;
/** A slot's pages in words. */
const WORDS_MAX = (SLOT_PAGES * PAGE_BYTES) / 4;
const PORT_MAX = 65_535;

interface Cell {
  /** Source class << 16 | target class. */
  readonly classes: number;
  readonly protocol: number;
  readonly members: number[];
}

interface Range {
  readonly first: number;
  readonly last: number;
  readonly list: CandidateList;
}
interface CandidateList {
  readonly index: number;
  readonly size: number;
}

export function cellPages(
  members: readonly Member[],
  classes: Classes,
): { readonly pages: readonly Uint8Array[]; readonly cellMask: number } {
  const cells = cellsOf(members, classes);
  const candidates = new Candidates();
  const ranges: Range[] = [];
  const shared = new Map<string, { readonly first: number; readonly count: number }>();
  const spans = cells.map((cell) => {
    const key = cell.members.join(",");
    const known = shared.get(key);
    if (known !== undefined) return known;
    const found = rangesOf(
      cell.members.flatMap((index) => members[index] ?? []),
      candidates,
    );
    const span = { first: ranges.length, count: found.length };
    ranges.push(...found);
    shared.set(key, span);
    return span;
  });
  const { buckets, size } = hashed(cells);
  const words = size * 4 + ranges.length * 2 + (ranges.length % 2) * 2 + candidates.count * 4;
  if (words > WORDS_MAX) throw tooLarge(`it takes ${words} words of ${WORDS_MAX}`);
  const image = new Uint8Array(Math.ceil((words * 4) / PAGE_BYTES) * PAGE_BYTES);
  const view = new DataView(image.buffer);
  buckets.forEach((cell, bucket) => {
    const span = cell === undefined ? undefined : spans[cell];
    const { classes: pair, protocol } = (cell === undefined ? undefined : cells[cell]) ?? EMPTY;
    if (span === undefined) return;
    view.setUint32(bucket * 16, pair, true);
    view.setUint32(bucket * 16 + 4, protocol | (span.count << 8), true);
    view.setUint32(bucket * 16 + 8, size * 2 + span.first, true);
  });
  const firstCandidate = size + Math.ceil(ranges.length / 2);
  ranges.forEach(({ first, last, list }, index) => {
    const at = size * 16 + index * 8;
    view.setUint32(at, first * 65_536 + last, true);
    view.setUint32(at + 4, (firstCandidate + list.index) * 64 + list.size, true);
  });
  candidates.write(image, firstCandidate * 16);
  const pages = Array.from({ length: image.length / PAGE_BYTES }, (_, index) =>
    image.subarray(index * PAGE_BYTES, (index + 1) * PAGE_BYTES),
  );
  return { pages, cellMask: size - 1 };
}

const EMPTY = { classes: 0, protocol: 0 };

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
        if (cells.size > WORDS_MAX / 8) throw tooLarge(`it has more than ${WORDS_MAX / 8} cells`);
      }
    }
  });
  return [...cells.values()];
}

/** Where the set of members changes along the ports, and who is asked between. */
function rangesOf(members: readonly Member[], candidates: Candidates): Range[] {
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
    ranges.push({ first, last, list: candidates.add(covering, first) });
  });
  if (ranges.length > RANGES_MAX) throw tooLarge(`${ranges.length} port ranges between two places`);
  return ranges;
}

function portsOf({ leg }: Member): readonly { readonly first: number; readonly last: number }[] {
  return leg.protocol === "icmp" ? [{ first: 0, last: PORT_MAX }] : leg.ports;
}

class Candidates {
  readonly #records: MapBytes[] = [];
  get count(): number {
    return this.#records.length;
  }

  add(members: readonly Member[], port: number): CandidateList {
    const list = { index: this.#records.length, size: members.length };
    for (const { id, diode, redirects } of members) {
      const redirect = redirects?.get(port);
      const nowhere = redirects === undefined ? 0 : CANDIDATE.nowhere;
      const record = new MapBytes(16).u32(id);
      record.u32(
        (diode ? CANDIDATE.diode : 0) | (redirect === undefined ? nowhere : CANDIDATE.redirect),
      );
      record.be32(redirect?.listenAddress ?? 0).u16(redirect?.listenPort ?? 0);
      this.#records.push(record);
    }
    return list;
  }

  write(bytes: Uint8Array, offset: number): void {
    this.#records.forEach((record, index) => bytes.set(record.bytes, offset + index * 16));
  }
}

/** The same function is in the program. */
function cellHash(classes: number, protocol: number): number {
  const hash = Math.imul(classes ^ (protocol << 24), 0x9e3779b1);
  return (hash ^ (hash >>> 15)) >>> 0;
}

/** Open addressing; the table grows until nobody is further from home than the program looks. */
function hashed(cells: readonly Cell[]): { buckets: (number | undefined)[]; size: number } {
  for (let size = 64; size * 4 <= WORDS_MAX; size *= 2) {
    if (size < cells.length * 2) continue;
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

function tooLarge(why: string): SallyportError {
  return new SallyportError(
    "ebpf-policy-too-large",
    `the policy does not fit the eBPF program: ${why}`,
    { hint: "merge conduits that differ in little, or name networks instead of addresses" },
  );
}
