import { contains, type Interval, overlaps, subtract } from "@sallyport/core";
import type { Conduit, Leg } from "../legs/types.ts";
import { OPEN_CANDIDATES_PER_CELL, OVERLAP_WORK } from "./limits.ts";
import type { Place, Reporter } from "./report.ts";

/** One destination range and port range of a leg: a box in (source, destination, port). */
interface Box {
  readonly conduit: Conduit;
  readonly leg: Leg;
  readonly to: Interval;
  readonly ports: Interval;
}

const ECHO: Interval = { first: 0, last: 0 };

/**
 * What no rule order settles. Two gates can't both get one connection; a direct conduit beside a gate
 * would pass it by; and each engine keeps few candidates for a cell. Sweeps the boxes of each point
 * and protocol by destination.
 */
export function checkOverlaps(
  conduits: readonly Conduit[],
  placeOf: (conduit: Conduit) => Place,
  reporter: Reporter,
): void {
  const groups = new Map<string, Box[]>();
  for (const conduit of conduits) {
    for (const leg of conduit.legs) {
      const key = `${leg.point} ${leg.protocol}`;
      const boxes = groups.get(key) ?? [];
      groups.set(key, boxes);
      const ports = leg.protocol === "icmp" ? [ECHO] : leg.ports;
      for (const to of leg.to)
        for (const range of ports) boxes.push({ conduit, leg, to, ports: range });
    }
  }
  const sweep = new Sweep(placeOf, reporter);
  for (const boxes of groups.values()) {
    if (!sweep.run(boxes)) return;
  }
}

class Sweep {
  readonly #placeOf: (conduit: Conduit) => Place;
  readonly #reporter: Reporter;
  readonly #told = new Set<string>();
  #work = 0;

  constructor(placeOf: (conduit: Conduit) => Place, reporter: Reporter) {
    this.#placeOf = placeOf;
    this.#reporter = reporter;
  }

  /** False when the work ran out, which is reported. */
  run(boxes: Box[]): boolean {
    boxes.sort((a, b) => a.to.first - b.to.first);
    let active: Box[] = [];
    for (const box of boxes) {
      active = active.filter((other) => other.to.last >= box.to.first);
      this.#work += active.length;
      const met = active.filter(
        (other) =>
          other.ports.first <= box.ports.last &&
          box.ports.first <= other.ports.last &&
          other.conduit !== box.conduit &&
          overlaps(other.leg.from, box.leg.from),
      );
      for (const other of met) this.#pair(other, box);
      const deep = [box, ...met].filter(({ conduit }) => conduit.session === undefined);
      if (deep.length > OPEN_CANDIDATES_PER_CELL) this.#depth(deep);
      if (this.#work > OVERLAP_WORK) {
        const what = "too many conduits overlap to be compared";
        this.#reporter.report(
          "policy-too-complex",
          this.#placeOf(box.conduit),
          what,
          "join conduits that say the same",
        );
        return false;
      }
      active.push(box);
    }
    return true;
  }

  #pair(a: Box, b: Box): void {
    const [first, second] = a.conduit.name < b.conduit.name ? [a, b] : [b, a];
    const key = `${first.conduit.name} ${second.conduit.name}`;
    if (this.#told.has(key)) return;
    this.#told.add(key);
    const place = this.#placeOf(second.conduit);
    const names = `conduits "${first.conduit.name}" and "${second.conduit.name}"`;
    const redirecting = [first, second].filter(({ leg }) => leg.redirects.length > 0);
    const sessions = [first, second].filter(({ conduit }) => conduit.session !== undefined);
    if (redirecting.length === 2 && sessions.length < 2) {
      const what = `${names} both hand the same source, asset and port to a gate`;
      this.#reporter.report(
        "ambiguous-inspection",
        place,
        what,
        "join their limits in one conduit",
      );
    } else if (redirecting.length === 1 && !first.conduit.audit && !second.conduit.audit) {
      const what = `${names} overlap, and one of them passes the other's gate by`;
      this.#reporter.report(
        "conflicting-via",
        place,
        what,
        "narrow the direct one, or drop one of them",
      );
    } else if (redirecting.length === 0 && sessions.length === 0)
      this.#redundant(first, second, place, names);
  }

  #redundant(first: Box, second: Box, place: Place, names: string): void {
    for (const [inner, outer] of [
      [first, second],
      [second, first],
    ] as const) {
      if (inner.conduit.audit || outer.conduit.audit || !covers(outer.conduit, inner.conduit))
        continue;
      const at = this.#placeOf(inner.conduit);
      if (outer.conduit.windows.length === 0 && outer.conduit.expires >= inner.conduit.expires) {
        const what = `conduit "${inner.conduit.name}" allows nothing that "${outer.conduit.name}" doesn't`;
        this.#reporter.report("redundant", at, what, "delete it, or narrow the wider one");
      } else {
        const what = `conduit "${outer.conduit.name}" is wider than "${inner.conduit.name}" while it is open`;
        this.#reporter.report("overlap-wider", at, what);
      }
      return;
    }
    const isAudit = first.conduit.audit || second.conduit.audit;
    if (!isAudit) this.#reporter.report("overlap-wider", place, `${names} overlap in part`);
  }

  /** Exactly: five boxes that meet one another in pairs need not have a cell in common. */
  #depth(boxes: readonly Box[]): void {
    const most = OPEN_CANDIDATES_PER_CELL;
    for (const { to } of boxes) {
      const inTo = boxes.filter((box) => box.to.first <= to.first && to.first <= box.to.last);
      this.#work += boxes.length;
      if (inTo.length <= most) continue;
      for (const { ports } of inTo) {
        const inPorts = inTo.filter(
          (box) => box.ports.first <= ports.first && ports.first <= box.ports.last,
        );
        this.#work += inTo.length;
        if (inPorts.length <= most) continue;
        for (const from of inPorts.flatMap((box) => box.leg.from)) {
          const cell = inPorts.filter((box) => contains(box.leg.from, from.first));
          this.#work += inPorts.length;
          if (cell.length > most) {
            this.#tooDeep(cell);
            return;
          }
          if (this.#work > OVERLAP_WORK) return;
        }
      }
    }
  }

  #tooDeep(cell: readonly Box[]): void {
    const names = cell.map(({ conduit }) => conduit.name).sort();
    const [box] = cell;
    if (box === undefined || this.#told.has(`deep ${box.conduit.name}`)) return;
    this.#told.add(`deep ${box.conduit.name}`);
    const what = `${names.length} conduits can be open for one source, destination and port: ${names.slice(0, 6).join(", ")}`;
    const hint = `at most ${OPEN_CANDIDATES_PER_CELL}; join conduits that say the same`;
    this.#reporter.report("overlap-too-deep", this.#placeOf(box.conduit), what, hint);
  }
}

/** Whether every packet that `inner` covers is covered by `outer` too. */
function covers(outer: Conduit, inner: Conduit): boolean {
  const inside = (a: readonly Interval[], b: readonly Interval[]): boolean =>
    subtract(a, b).length === 0;
  return inner.legs.every((leg) =>
    outer.legs.some(
      (wide) =>
        wide.point === leg.point &&
        wide.protocol === leg.protocol &&
        wide.replies === leg.replies &&
        inside(leg.from, wide.from) &&
        inside(leg.to, wide.to) &&
        inside(leg.ports, wide.ports),
    ),
  );
}
