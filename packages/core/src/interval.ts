import type { Ipv4, Prefix } from "./ipv4.ts";

/**
 * A closed range of unsigned numbers, addresses or ports: both ends belong to it.
 * A *set* is a sorted list of disjoint intervals with a gap between neighbors; every function
 * here takes and returns sets in that form, which `normalize` makes.
 */
export interface Interval {
  readonly first: number;
  readonly last: number;
}

/** Sorts, merges what overlaps or touches. */
export function normalize(intervals: readonly Interval[]): Interval[] {
  const sorted = [...intervals].sort((a, b) => a.first - b.first);
  const out: Interval[] = [];
  for (const interval of sorted) {
    const tail = out.at(-1);
    if (tail !== undefined && interval.first <= tail.last + 1) {
      if (interval.last > tail.last)
        out[out.length - 1] = { first: tail.first, last: interval.last };
    } else {
      out.push({ first: interval.first, last: interval.last });
    }
  }
  return out;
}

export function union(a: readonly Interval[], b: readonly Interval[]): Interval[] {
  return normalize([...a, ...b]);
}

export function intersect(a: readonly Interval[], b: readonly Interval[]): Interval[] {
  const out: Interval[] = [];
  let i = 0;
  let j = 0;
  for (;;) {
    const x = a[i];
    const y = b[j];
    if (x === undefined || y === undefined) return out;
    const first = Math.max(x.first, y.first);
    const last = Math.min(x.last, y.last);
    if (first <= last) out.push({ first, last });
    if (x.last < y.last) i++;
    else j++;
  }
}

/** What is in `a` and not in `b`. */
export function subtract(a: readonly Interval[], b: readonly Interval[]): Interval[] {
  const out: Interval[] = [];
  let j = 0;
  for (const interval of a) {
    let first = interval.first;
    // `a` is sorted, so what ends before this interval ends before all later ones too.
    while ((b[j]?.last ?? Number.POSITIVE_INFINITY) < first) j++;
    for (let k = j; first <= interval.last; k++) {
      const hole = b[k];
      if (hole === undefined || hole.first > interval.last) break;
      if (hole.first > first) out.push({ first, last: hole.first - 1 });
      first = hole.last + 1;
    }
    if (first <= interval.last) out.push({ first, last: interval.last });
  }
  return out;
}

export function overlaps(a: readonly Interval[], b: readonly Interval[]): boolean {
  return intersect(a, b).length > 0;
}

/** Binary search: sets are looked up once per simulated packet. */
export function contains(set: readonly Interval[], value: number): boolean {
  let low = 0;
  let high = set.length - 1;
  while (low <= high) {
    const middle = (low + high) >> 1;
    const interval = set[middle];
    if (interval === undefined) return false;
    if (value < interval.first) high = middle - 1;
    else if (value > interval.last) low = middle + 1;
    else return true;
  }
  return false;
}

/** How many numbers the set holds. */
export function sizeOf(set: readonly Interval[]): number {
  return set.reduce((sum, interval) => sum + interval.last - interval.first + 1, 0);
}

/** The fewest CIDR prefixes that cover exactly the interval of addresses; at most 62. */
export function prefixesOf(interval: Interval): Prefix[] {
  const out: Prefix[] = [];
  let address: Ipv4 = interval.first;
  while (address <= interval.last) {
    let length = 32;
    while (length > 0) {
      const size = 2 ** (33 - length);
      if (address % size !== 0 || address + size - 1 > interval.last) break;
      length--;
    }
    out.push({ address, length });
    address += 2 ** (32 - length);
  }
  return out;
}
