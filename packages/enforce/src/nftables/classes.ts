/**
 * Address classes: all addresses that exactly the same legs name are one class, so that a packet is
 * judged by two small numbers, its protocol and its port, in one lookup however many conduits there are.
 */
import { formatIpv4, type Interval, type Ipv4 } from "@sallyport/core";

/** The stretch that exactly these items cover, as positions in the list, ascending. */
export interface Atom extends Interval {
  readonly items: readonly number[];
}

/** Cuts the number line wherever an item begins or ends; stretches in no item are left out. */
export function atoms(items: readonly (readonly Interval[])[]): Atom[] {
  const edges = new Map<number, { begins: number[]; ends: number[] }>();
  const edge = (at: number): { begins: number[]; ends: number[] } => {
    const found = edges.get(at) ?? { begins: [], ends: [] };
    edges.set(at, found);
    return found;
  };
  items.forEach((intervals, index) => {
    for (const { first, last } of intervals) {
      edge(first).begins.push(index);
      edge(last + 1).ends.push(index);
    }
  });
  const positions = [...edges.keys()].sort((a, b) => a - b);
  const covering = new Set<number>();
  const out: Atom[] = [];
  positions.forEach((first, index) => {
    const { begins, ends } = edge(first);
    for (const item of ends) covering.delete(item);
    for (const item of begins) covering.add(item);
    const next = positions[index + 1];
    if (covering.size === 0 || next === undefined) return;
    out.push({ first, last: next - 1, items: [...covering].sort((a, b) => a - b) });
  });
  return out;
}

export interface Classes {
  /** Single addresses, for the exact map. */
  readonly hosts: readonly { readonly address: Ipv4; readonly number: number }[];
  /** The rest, for the interval map. */
  readonly nets: readonly (Interval & { readonly number: number })[];
  /** The classes that make up the set of addresses given as item `index`. */
  of(index: number): readonly number[];
  /** All addresses of a class of single hosts, written out; none if it has a network. */
  hostsOf(number: number): readonly string[];
  /** The items that the class's addresses are in. */
  readonly itemsOf: ReadonlyMap<number, readonly number[]>;
}

/** Only stretches that `keep` accepts become classes; numbers go up from `base`. */
export function classify(
  items: readonly (readonly Interval[])[],
  base: number,
  keep: (items: readonly number[]) => boolean,
): Classes {
  const numbers = new Map<string, number>();
  const itemsOf = new Map<number, readonly number[]>();
  const members: number[][] = items.map(() => []);
  const spans: { first: number; last: number; number: number }[] = [];
  for (const { first, last, items: covering } of atoms(items)) {
    if (!keep(covering)) continue;
    const signature = covering.join(",");
    let number = numbers.get(signature);
    if (number === undefined) {
      number = base + numbers.size;
      numbers.set(signature, number);
      itemsOf.set(number, covering);
      for (const item of covering) members[item]?.push(number);
    }
    const tail = spans.at(-1);
    if (tail !== undefined && tail.number === number && tail.last + 1 === first) tail.last = last;
    else spans.push({ first, last, number });
  }
  const isHost = (span: Interval): boolean => span.first === span.last;
  const byNumber = Map.groupBy(spans, ({ number }) => number);
  return {
    hosts: spans.filter(isHost).map(({ first, number }) => ({ address: first, number })),
    nets: spans.filter((span) => !isHost(span)),
    hostsOf: (number) => {
      const own = byNumber.get(number) ?? [];
      return own.every(isHost) ? own.map(({ first }) => formatIpv4(first)) : [];
    },
    of: (index) => members[index] ?? [],
    itemsOf,
  };
}
