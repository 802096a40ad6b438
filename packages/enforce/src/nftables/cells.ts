/** Which conduits cover which cell: (source class, target class, protocol, port). */
import { type Interval, type Json, SallyportError } from "@sallyport/core";
import type { Leg } from "@sallyport/policy/legs";
import type { Slot } from "../engine.ts";
import { atoms } from "./classes.ts";
import * as nft from "./json.ts";
import { CANDIDATES_MAX } from "./rules.ts";
import { BUNDLE } from "./tables.ts";

/** A range of at most this many ports is so many exact cells, as those are found faster. */
const EXACT_PORTS = 16;
/** Bounds the time of an apply and the kernel's memory. */
const CELLS_MAX = 500_000;

interface Cell {
  readonly source: number;
  readonly target: number;
  readonly protocol: Leg["protocol"];
  readonly candidates: { readonly id: number; readonly ports: readonly Interval[] }[];
}
const ANY_PORT: readonly Interval[] = [{ first: 0, last: 0 }];

/** A cell's hosts where they are few: source, target, and the source's interface. Rows of their own. */
export type Pairs = (source: number, target: number) => readonly (readonly Json[])[];

export class Cells {
  readonly #cells = new Map<string, Cell>();
  readonly #bundles = new Map<
    string,
    { readonly index: number; readonly ids: readonly number[] }
  >();
  #count = 0;

  cover(source: number, target: number, leg: Leg, id: number): void {
    const { protocol } = leg;
    const key = `${source} ${target} ${protocol}`;
    let cell = this.#cells.get(key);
    if (cell === undefined) {
      cell = { source, target, protocol, candidates: [] };
      this.#cells.set(key, cell);
    }
    cell.candidates.push({ id, ports: protocol === "icmp" ? ANY_PORT : leg.ports });
    this.#count += 1;
    if (this.#count > CELLS_MAX) {
      throw new SallyportError(
        "nftables-policy-too-large",
        `more than ${CELLS_MAX} cells of source, target and port`,
        {
          hint: "name assets instead of networks, or networks instead of many assets",
        },
      );
    }
  }

  elements(slot: Slot, pairsOf: Pairs): nft.Command[] {
    const [exact, cells]: [Json[], Json[]] = [[], []];
    const ranges: Json[] = [];
    const echo: Json[] = [];
    for (const { source, target, protocol, candidates } of this.#cells.values()) {
      const pairs = pairsOf(source, target);
      const [into, keys] = pairs.length === 0 ? [cells, [[source, target]]] : [exact, pairs];
      for (const atom of atoms(candidates.map(({ ports }) => ports))) {
        const number = this.#list(atom.items.map((item) => candidates[item]?.id ?? 0));
        const { first, last } = atom;
        const key = (port: Json): Json => nft.concat(source, target, protocol, port);
        if (protocol === "icmp") echo.push([nft.concat(source, target), number]);
        else if (last - first >= EXACT_PORTS) ranges.push([key({ range: [first, last] }), number]);
        else
          for (let port = first; port <= last; port++) {
            for (const hosts of keys) into.push([nft.concat(...hosts, protocol, port), number]);
          }
      }
    }
    return [
      ...nft.elements(`exact_${slot}`, exact),
      ...nft.elements(`cells_${slot}`, cells),
      ...nft.elements(`ranges_${slot}`, ranges),
      ...nft.elements(`echo_${slot}`, echo),
      ...this.#bundleElements(slot),
    ];
  }

  /** One candidate is its number; several are a list that is walked only if the first is closed. */
  #list(ids: readonly number[]): number {
    const distinct = [...new Set(ids)];
    const [only, second] = distinct;
    if (only !== undefined && second === undefined) return only;
    if (distinct.length > CANDIDATES_MAX) {
      throw new SallyportError(
        "too-many-overlaps",
        `${distinct.length} conduits cover the same packet`,
        {
          hint: `at most ${CANDIDATES_MAX} may; see the overlap lint`,
        },
      );
    }
    const key = distinct.join();
    const bundle = this.#bundles.get(key) ?? { index: this.#bundles.size + 1, ids: distinct };
    this.#bundles.set(key, bundle);
    return BUNDLE + bundle.index;
  }

  #bundleElements(slot: Slot): nft.Command[] {
    const bundle: Json[] = [];
    const first: Json[] = [];
    const next: Json[] = [];
    for (const { index, ids } of this.#bundles.values()) {
      bundle.push([BUNDLE + index, index]);
      ids.forEach((id, position) => {
        const previous = ids[position - 1];
        if (previous === undefined) first.push([index, id]);
        else next.push([nft.concat(index, previous), id]);
      });
    }
    return [
      ...nft.elements(`bundle_${slot}`, bundle),
      ...nft.elements(`first_${slot}`, first),
      ...nft.elements(`next_${slot}`, next),
    ];
  }
}
