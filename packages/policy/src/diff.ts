/**
 * The behavioral difference of two policies: not which lines changed, but which packets get another
 * answer, and whether more passes than before (an opening act).
 */
import { type Interval, type Ipv4, normalize } from "@sallyport/core";
import {
  type Box,
  type Carriage,
  type Cell,
  type CellOptions,
  groupOf,
  listenerOf,
  openCells,
  overlap,
  without,
} from "./cells.ts";
import { type Circumstances, PointTable } from "./legs/model-table.ts";
import type { Legs, Point, Protocol, Via } from "./legs/types.ts";
import { same, termChanges } from "./terms.ts";
import { type Names, serviceText, Words } from "./words.ts";

/** How a cell is carried: forwarded, or handed to a gate that dials a target. */
export interface Way {
  readonly conduit: string;
  readonly via: Via;
  readonly room: string | undefined;
  readonly target: { readonly address: Ipv4; readonly port: number } | undefined;
}

export interface CellChange {
  readonly kind: "added" | "removed" | "changed";
  readonly point: Point;
  readonly interface: string;
  readonly protocol: Protocol;
  readonly box: Box;
  /** In the order asked; empty where the answer is no. */
  readonly before: readonly Way[];
  readonly after: readonly Way[];
}

export interface Diff {
  /** Exactly the packets that are answered otherwise when they open a session, as disjoint cells. */
  readonly cells: readonly CellChange[];
  /** The same for people: merged, in words, without gates' own legs where their conduit is named. */
  readonly lines: readonly string[];
  /** Changes that move no cell: dates, windows, L7 limits, sessions, limits, attachments. */
  readonly other: readonly string[];
  /** Whether anything may pass that could not before. What is not proved narrower counts. */
  readonly widens: boolean;
}

export interface DiffOptions extends Circumstances {
  /** Compares what is open then; absent: what may ever be open, whatever the time and grants. */
  readonly at?: number;
  readonly names?: Names;
}

/** `before` is undefined when nothing was in force: then nothing was open. */
export function diff(before: Legs | undefined, after: Legs, options: DiffOptions = {}): Diff {
  const old = before ?? { ...after, conduits: [] };
  const cells = changesOf(old, after, options, false);
  const folded = changesOf(old, after, options, true);
  const words = new Words(after, options.names);
  const previously = new Words(old, options.names);
  const { texts, widens } = otherChanges(old, after);
  const lines = linesOf(folded, (change) => (change.kind === "removed" ? previously : words));
  const opens = folded.some((change) => opensMore(change));
  return { cells, lines, other: texts, widens: opens || widens };
}

export function formatDiff(change: Diff): string {
  const { cells, lines, other, widens } = change;
  if (cells.length === 0 && other.length === 0) return "no packet is answered otherwise";
  const inside = cells.length > 0 && lines.length === 0;
  return [
    widens ? "lets more pass than before (an opening act)" : "lets nothing more pass",
    ...lines,
    ...other.map((text) => `~ ${text}`),
    ...(inside ? ["~ addresses that gates use among themselves"] : []),
  ].join("\n");
}

function changesOf(
  before: Legs,
  after: Legs,
  options: DiffOptions,
  foldEgress: boolean,
): CellChange[] {
  const { at } = options;
  const cellOptions: CellOptions = at === undefined ? { foldEgress } : { at, foldEgress };
  const out: CellChange[] = [];
  for (const point of ["outer", "inner"] as const) {
    const old = openCells(new PointTable(before, point, options), cellOptions);
    const now = openCells(new PointTable(after, point, options), cellOptions);
    compareCells(old, now, out);
  }
  return out;
}

function compareCells(before: readonly Cell[], after: readonly Cell[], out: CellChange[]): void {
  const index = new CellIndex(after);
  const left = new Map<Cell, Box[]>(after.map((cell) => [cell, [cell.box]]));
  for (const old of before) {
    let rest: Box[] = [old.box];
    for (const now of index.near(old)) {
      const common = overlap(old.box, now.box);
      if (common === undefined) continue;
      rest = rest.flatMap((box) => without(box, common));
      left.set(
        now,
        (left.get(now) ?? []).flatMap((box) => without(box, common)),
      );
      const [was, is] = [waysOf(old), waysOf(now)];
      if (!same(was, is)) out.push(changeOf("changed", old, common, was, is));
    }
    for (const box of rest) out.push(changeOf("removed", old, box, waysOf(old), []));
  }
  for (const [now, boxes] of left) {
    for (const box of boxes) out.push(changeOf("added", now, box, [], waysOf(now)));
  }
}

function changeOf(
  kind: CellChange["kind"],
  cell: Cell,
  box: Box,
  before: readonly Way[],
  after: readonly Way[],
): CellChange {
  const { point, protocol } = cell;
  return { kind, point, interface: cell.interface, protocol, box, before, after };
}

function waysOf(cell: Cell): Way[] {
  return cell.carriages.map((carriage) => wayOf(carriage));
}

function wayOf({ carrier, redirect }: Carriage): Way {
  const { name, via } = carrier.conduit;
  const listener = redirect && listenerOf(carrier.conduit, redirect);
  const target = listener && { address: listener.targetAddress, port: listener.targetPort };
  return { conduit: name, via, room: redirect?.room, target };
}

/** Cells by group and single destination, so that large policies are not compared all with all. */
class CellIndex {
  readonly #exact = new Map<string, Cell[]>();
  readonly #wide = new Map<string, Cell[]>();
  readonly #all = new Map<string, Cell[]>();

  constructor(cells: readonly Cell[]) {
    for (const cell of cells) {
      const group = groupOf(cell);
      push(this.#all, group, cell);
      const { first, last } = cell.box.to;
      if (first === last) push(this.#exact, `${group} ${first}`, cell);
      else push(this.#wide, group, cell);
    }
  }

  near(cell: Cell): readonly Cell[] {
    const group = groupOf(cell);
    const { first, last } = cell.box.to;
    if (first !== last) return this.#all.get(group) ?? [];
    const exact = this.#exact.get(`${group} ${first}`) ?? [];
    return [...exact, ...(this.#wide.get(group) ?? [])];
  }
}

function push<Item>(lists: Map<string, Item[]>, key: string, item: Item): void {
  const list = lists.get(key);
  if (list === undefined) lists.set(key, [item]);
  else list.push(item);
}

/** A change is narrower only if every way it goes now was there before. */
function opensMore({ kind, before, after }: CellChange): boolean {
  if (kind === "removed") return false;
  return !after.every((way) => before.some((old) => same(strength(old), strength(way))));
}

/** A conduit's name alone opens nothing; its terms are compared apart. */
function strength({ via, room, target }: Way): Omit<Way, "conduit"> {
  return { via, room, target };
}

/** Terms of conduits that are in both, by name, and of what carries a cell now in another's place. */
function otherChanges(before: Legs, after: Legs): { texts: string[]; widens: boolean } {
  const texts: string[] = [];
  let widens = false;
  const say = (text: string, wider: boolean): void => {
    texts.push(wider ? `${text} (wider)` : text);
    widens ||= wider;
  };
  const old = new Map(before.conduits.map((conduit) => [conduit.name, conduit]));
  for (const conduit of after.conduits) {
    const was = old.get(conduit.name);
    if (was === undefined) continue;
    for (const change of termChanges(was, conduit)) {
      say(`${conduit.name} (${conduit.source}): ${change.text}`, change.widens);
    }
  }
  const asked = ({ thresholds }: Legs, zone: string): number =>
    thresholds.find((threshold) => threshold.zone === zone)?.approvals ?? 0;
  for (const zone of zonesAsking(before, after)) {
    const [from, to] = [asked(before, zone), asked(after, zone)];
    if (from !== to) say(`zone ${zone}: approvals ${from} → ${to}`, to < from);
  }
  const { sessionsPerZone, timeoutsSeconds } = before.limits;
  const limits = after.limits;
  if (limits.sessionsPerZone !== sessionsPerZone) {
    const wider = limits.sessionsPerZone > sessionsPerZone;
    say(`sessions per zone ${sessionsPerZone} → ${limits.sessionsPerZone}`, wider);
  }
  if (!same(timeoutsSeconds, limits.timeoutsSeconds)) say("idle time-outs change", false);
  if (!same(before.attachments, after.attachments)) say("attachments change", true);
  return { texts, widens };
}

function zonesAsking(before: Legs, after: Legs): string[] {
  const zones = [...before.thresholds, ...after.thresholds].map(({ zone }) => zone);
  return [...new Set(zones)].sort();
}

function linesOf(changes: readonly CellChange[], wordsOf: (change: CellChange) => Words): string[] {
  const groups = new Map<
    string,
    { head: string; tail: string; protocol: Protocol; ports: Interval[] }
  >();
  const named = new Set(changes.filter((c) => !isGateLeg(c, wordsOf(c))).flatMap(conduitsOf));
  for (const change of changes) {
    const words = wordsOf(change);
    // The gate's own leg is part of its conduit, which has a line already.
    const told = conduitsOf(change).every((name) => named.has(name));
    const samePath = change.kind === "changed" && !opensMore(change);
    if (isGateLeg(change, words) && (told || samePath)) continue;
    const { from, to, ports } = change.box;
    const sign = { added: "+", removed: "-", changed: "~" }[change.kind];
    const head = `${sign} ${words.addresses(from)} → ${words.addresses(to)}`;
    const tail =
      change.kind === "changed"
        ? `${waysText(change.before)} → ${waysText(change.after)}`
        : waysText(change.kind === "added" ? change.after : change.before);
    const key = `${head}|${change.protocol}|${tail}`;
    const group = groups.get(key) ?? { head, tail, protocol: change.protocol, ports: [] };
    group.ports.push(ports);
    groups.set(key, group);
  }
  return [...groups.values()]
    .map(
      ({ head, tail, protocol, ports }) =>
        `${head} ${serviceText(protocol, normalize(ports))} ${tail}`,
    )
    .sort();
}

function conduitsOf(change: CellChange): string[] {
  return [...change.before, ...change.after].map((way) => way.conduit);
}

/** From a component: a gate's second leg, or a component that dials by itself. */
function isGateLeg({ box, before, after }: CellChange, words: Words): boolean {
  const gated = [...before, ...after].every((way) => way.via !== "direct" && way.via !== "diode");
  return gated && words.zoneOf(box.from.first)?.startsWith("dmz/") === true;
}

function waysText(ways: readonly Way[]): string {
  return ways.map(({ via, conduit }) => `via ${via} (${conduit})`).join(", else ");
}
