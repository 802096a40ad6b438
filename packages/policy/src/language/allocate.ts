import type { Interval, Ipv4 } from "@sallyport/core";
import type { Point } from "../legs/types.ts";
import { LISTEN_PORT_FIRST, LISTEN_PORT_LAST } from "./limits.ts";
import { compareText, type Reporter } from "./report.ts";
import type { Component, Pool, ResolvedConduit } from "./resolved.ts";

/** A listener, before it has a port. */
export interface ListenerNeed {
  readonly conduit: ResolvedConduit;
  readonly gate: Component;
  readonly asset: string;
  readonly target: Ipv4;
  readonly port: number;
  readonly slot: number;
}

export interface Allocation {
  /** The component's own address on its link there; undefined where it needs no link. */
  readonly own: (component: Component, point: Point) => Ipv4 | undefined;
  /** From where the conduit's gate dials, by slot. */
  readonly egress: (conduit: ResolvedConduit, slot: number) => Ipv4;
  readonly listenPort: (need: ListenerNeed) => number;
  /** All addresses on the link, its own first. */
  readonly addresses: (component: Component, point: Point) => readonly Ipv4[];
}

const RANGE: Interval = { first: LISTEN_PORT_FIRST, last: LISTEN_PORT_LAST };

/**
 * Gives every component link, conduit egress and listener its number. Each has a preferred place,
 * from a hash of its name, and takes the next free one in the order of names: so a conduit that is
 * added or removed moves others only where their places met, and a session lives through an apply.
 * Files that say the same in another order get the same numbers. Undefined when a pool is too small.
 */
export function allocate(
  conduits: readonly ResolvedConduit[],
  listeners: readonly ListenerNeed[],
  pools: Readonly<Record<Point, Pool>>,
  reporter: Reporter,
): Allocation | undefined {
  const needs = { outer: new PoolNeeds(), inner: new PoolNeeds() };
  for (const conduit of conduits) collect(conduit, needs);
  const places = new Map<string, number>();
  let isEnough = true;
  for (const point of ["outer", "inner"] as const) {
    const { usable, text, place } = pools[point];
    const wanted = needs[point].count();
    const room = usable.last - usable.first + 1;
    if (wanted > room) {
      // Network, gateway and broadcast addresses come on top.
      const length = 32 - Math.ceil(Math.log2(wanted + 3));
      const what = `transit pool ${text} has ${room} addresses for components; this policy needs ${wanted}`;
      reporter.report("transit-too-small", place, what, `${point}: a /${length} or larger`);
      isEnough = false;
    } else needs[point].settle(usable, places);
  }
  const ports = placePorts(listeners, reporter);
  if (!isEnough || ports === undefined) return undefined;
  const at = (id: string): number => places.get(id) ?? 0;
  return {
    own: (component, point) => places.get(ownId(point, component)),
    egress: (conduit, slot) => at(egressId(conduit.lastPoint, conduit, slot)),
    listenPort: (need) => ports.get(listenerId(need)) ?? 0,
    addresses: (component, point) => {
      const own = places.get(ownId(point, component));
      const egress = needs[point].egressOf(component).map((id) => at(id));
      return own === undefined ? [] : [own, ...egress.sort((a, b) => a - b)];
    },
  };
}

function ownId(point: Point, component: Component): string {
  return `${point} ${component.name}`;
}

function egressId(point: Point, conduit: ResolvedConduit, slot: number): string {
  return `${point} egress ${conduit.name} ${slot}`;
}

function listenerId({ conduit, asset, port, slot }: ListenerNeed): string {
  return `${conduit.name} ${asset} ${port} ${slot}`;
}

/** What one pool is asked for. */
class PoolNeeds {
  readonly #own = new Set<string>();
  readonly #egress = new Map<string, string[]>();
  #egressCount = 0;

  link(id: string): void {
    this.#own.add(id);
  }

  egress(component: Component, id: string): void {
    const list = this.#egress.get(component.name);
    if (list === undefined) this.#egress.set(component.name, [id]);
    else list.push(id);
    this.#egressCount++;
  }

  egressOf(component: Component): readonly string[] {
    return this.#egress.get(component.name) ?? [];
  }

  count(): number {
    return this.#own.size + this.#egressCount;
  }

  /** Components first: their addresses are the ones that people write into other devices. */
  settle(usable: Interval, places: Map<string, number>): void {
    const taken = new Set<number>();
    settle([...this.#own], usable, taken, places);
    settle([...this.#egress.values()].flat(), usable, taken, places);
  }
}

function collect(conduit: ResolvedConduit, needs: Readonly<Record<Point, PoolNeeds>>): void {
  const { from, to, gate, firstPoint, lastPoint } = conduit;
  const link = (component: Component, point: Point): void =>
    needs[point].link(ownId(point, component));
  if (from.component !== undefined) link(from.component, firstPoint);
  if (to.component !== undefined) link(to.component, lastPoint);
  if (gate === undefined) return;
  link(gate, firstPoint);
  link(gate, lastPoint);
  for (let slot = 0; slot < slotsOf(conduit); slot++) {
    needs[lastPoint].egress(gate, egressId(lastPoint, conduit, slot));
  }
}

export function slotsOf(conduit: ResolvedConduit): number {
  return conduit.session?.slots ?? 1;
}

function placePorts(
  listeners: readonly ListenerNeed[],
  reporter: Reporter,
): Map<string, number> | undefined {
  const byGate = new Map<Component, ListenerNeed[]>();
  for (const need of listeners) {
    const list = byGate.get(need.gate);
    if (list === undefined) byGate.set(need.gate, [need]);
    else list.push(need);
  }
  const ports = new Map<string, number>();
  let isEnough = true;
  for (const [gate, needs] of byGate) {
    const room = RANGE.last - RANGE.first + 1;
    if (needs.length > room) {
      const what = `gate "${gate.name}" would need ${needs.length} listeners; it can have ${room}`;
      reporter.report("too-many-listeners", gate.place, what, "give some conduits another gate");
      isEnough = false;
    } else settle(needs.map(listenerId), RANGE, new Set(), ports);
  }
  return isEnough ? ports : undefined;
}

function settle(
  ids: string[],
  range: Interval,
  taken: Set<number>,
  places: Map<string, number>,
): void {
  const size = range.last - range.first + 1;
  for (const id of ids.sort(compareText)) {
    let offset = hash(id) % size;
    while (taken.has(offset)) offset = (offset + 1) % size;
    taken.add(offset);
    places.set(id, range.first + offset);
  }
}

/** FNV-1a with murmur3's finish, 32 bits: only to spread names; nothing relies on it being hard to guess. */
function hash(text: string): number {
  let value = 0x811c9dc5;
  for (let index = 0; index < text.length; index++) {
    value = Math.imul(value ^ text.charCodeAt(index), 0x01000193);
  }
  value = Math.imul(value ^ (value >>> 16), 0x85ebca6b);
  value = Math.imul(value ^ (value >>> 13), 0xc2b2ae35);
  return (value ^ (value >>> 16)) >>> 0;
}
