/**
 * What a policy opens at one point, as disjoint cells: source addresses x destination addresses x
 * ports on one interface and protocol, each with the conduits that carry it. The ground under the
 * matrix, the behavioral diff and the question what will be open on Sunday.
 */
import { type Interval, intersect, normalize, subtract } from "@sallyport/core";
import { type Carrier, endpointKey, type PointTable, type Row } from "./legs/model-table.ts";
import type { Conduit, EngineZone, Listener, Point, Protocol, Redirect } from "./legs/types.ts";

export interface Box {
  readonly from: Interval;
  readonly to: Interval;
  /** 0 to 0 for icmp, which has none. */
  readonly ports: Interval;
}

/** One way to be carried through a cell. */
export interface Carriage {
  readonly carrier: Carrier;
  /** The gate that it is handed to; undefined where it is forwarded. */
  readonly redirect: Redirect | undefined;
}

export interface Cell {
  readonly point: Point;
  readonly interface: string;
  readonly zone: string;
  readonly protocol: Protocol;
  readonly box: Box;
  /** In the order in which they are asked; never empty. At a given time, only the first open one. */
  readonly carriages: readonly Carriage[];
}

export interface CellOptions {
  /** What is open at this moment; absent: whatever the legs may ever open, grants included. */
  readonly at?: number;
  /** A gate's egress addresses are its conduits' names for each other: taken as the whole gate. */
  readonly foldEgress?: boolean;
}

/** Cells of one interface and protocol are comparable; cells of two never overlap. */
export function groupOf(cell: Pick<Cell, "point" | "interface" | "protocol">): string {
  return `${cell.point} ${cell.interface} ${cell.protocol}`;
}

export function openCells(table: PointTable, options: CellOptions = {}): Cell[] {
  const { at } = options;
  const forbidden = normalize(
    [...table.legs.own, ...table.legs.broadcast, 0xffffffff].map((a) => ({ first: a, last: a })),
  );
  const unreachable = normalize([...forbidden, { first: 0xe0000000, last: 0xefffffff }]);
  const known = normalize(table.legs.zones.flatMap((zone) => zone.addresses));
  const targets = subtract(known, unreachable);
  const here = table.legs.zones.filter((zone) => zone.point === table.point);
  const layers = new Map<string, Layer>();
  for (const row of table.rows) {
    if (at !== undefined && !row.carrier.livenessAt(at).open) continue;
    for (const zone of here) {
      const from = sourcesOf(row, zone, options);
      if (from.length === 0) continue;
      const { point } = table;
      const group = groupOf({ point, interface: zone.interface, protocol: row.protocol });
      const layer = layers.get(group) ?? new Layer(point, row.protocol, at !== undefined);
      layers.set(group, layer);
      for (const part of partsOf(row, targets)) {
        for (const source of from) layer.add({ ...part.box, from: source }, part.carriage, zone);
      }
    }
  }
  return [...layers.values()].flatMap((layer) => layer.cells());
}

function sourcesOf(row: Row, zone: EngineZone, options: CellOptions): readonly Interval[] {
  const from = intersect(row.from, zone.addresses);
  const folded = options.foldEgress === true && isEgress(row.carrier.conduit, from);
  return folded ? zone.addresses : from;
}

/** Whether these sources are what the conduit's own gate dials from. */
export function isEgress(conduit: Conduit, from: readonly Interval[]): boolean {
  const first = from[0]?.first;
  return first !== undefined && conduit.listeners.some((l) => l.egressAddress === first);
}

/** Each address and port of a leg to a gate has a listener of its own, so it is a part of its own. */
function* partsOf(
  row: Row,
  targets: readonly Interval[],
): Generator<{ box: Omit<Box, "from">; carriage: Carriage }> {
  const { carrier, redirects } = row;
  const icmp = [{ first: 0, last: 0 }];
  if (redirects === undefined) {
    for (const to of intersect(row.to, targets)) {
      for (const ports of row.protocol === "icmp" ? icmp : row.ports) {
        yield { box: { to, ports }, carriage: { carrier, redirect: undefined } };
      }
    }
    return;
  }
  for (const redirect of redirects.values()) {
    const to = { first: redirect.address, last: redirect.address };
    const ports = { first: redirect.port, last: redirect.port };
    const covered = intersect(row.to, [to]).length > 0 && intersect(row.ports, [ports]).length > 0;
    if (covered && intersect(targets, [to]).length > 0) {
      yield { box: { to, ports }, carriage: { carrier, redirect } };
    }
  }
}

/** Pieces that single-address cells are filed under, so that few are compared with each other. */
class Layer {
  readonly #point: Point;
  readonly #protocol: Protocol;
  readonly #firstOnly: boolean;
  readonly #exact = new Map<number, Piece[]>();
  #wide: Piece[] = [];

  constructor(point: Point, protocol: Protocol, firstOnly: boolean) {
    this.#point = point;
    this.#protocol = protocol;
    this.#firstOnly = firstOnly;
  }

  add(box: Box, carriage: Carriage, zone: EngineZone): void {
    let rest: Box[] = [box];
    const add: Piece[] = [];
    const split = (pieces: readonly Piece[]): Piece[] => {
      const kept: Piece[] = [];
      for (const piece of pieces) {
        const common = overlap(piece.box, box);
        if (common === undefined) {
          kept.push(piece);
          continue;
        }
        rest = rest.flatMap((part) => without(part, piece.box));
        if (this.#firstOnly) {
          kept.push(piece);
          continue;
        }
        for (const part of without(piece.box, box)) kept.push({ ...piece, box: part });
        const carriages = [...piece.carriages, carriage];
        kept.push({ ...piece, box: common, carriages });
      }
      return kept;
    };
    const single = box.to.first === box.to.last;
    this.#wide = split(this.#wide);
    if (single) {
      const filed = this.#exact.get(box.to.first);
      if (filed !== undefined) this.#exact.set(box.to.first, split(filed));
    } else {
      for (const [address, filed] of this.#exact) {
        if (address >= box.to.first && address <= box.to.last) {
          this.#exact.set(address, split(filed));
        }
      }
    }
    for (const part of rest) add.push({ box: part, carriages: [carriage], zone });
    for (const piece of add) this.#file(piece);
  }

  #file(piece: Piece): void {
    const { to } = piece.box;
    if (to.first !== to.last) {
      this.#wide.push(piece);
      return;
    }
    const filed = this.#exact.get(to.first);
    if (filed === undefined) this.#exact.set(to.first, [piece]);
    else filed.push(piece);
  }

  cells(): Cell[] {
    return [...this.#wide, ...[...this.#exact.values()].flat()].map(({ box, carriages, zone }) => ({
      point: this.#point,
      interface: zone.interface,
      zone: zone.name,
      protocol: this.#protocol,
      box,
      carriages,
    }));
  }
}

interface Piece {
  readonly box: Box;
  readonly carriages: readonly Carriage[];
  readonly zone: EngineZone;
}

const SIDES = ["from", "to", "ports"] as const;

export function overlap(a: Box, b: Box): Box | undefined {
  const common: Record<(typeof SIDES)[number], Interval> = { ...a };
  for (const side of SIDES) {
    const first = Math.max(a[side].first, b[side].first);
    const last = Math.min(a[side].last, b[side].last);
    if (first > last) return undefined;
    common[side] = { first, last };
  }
  return common;
}

/** At most six boxes that together are `a` less `b`. */
export function without(a: Box, b: Box): Box[] {
  const common = overlap(a, b);
  if (common === undefined) return [a];
  const out: Box[] = [];
  let core = a;
  for (const side of SIDES) {
    const { first, last } = core[side];
    const cut = common[side];
    if (first < cut.first) out.push({ ...core, [side]: { first, last: cut.first - 1 } });
    if (last > cut.last) out.push({ ...core, [side]: { first: cut.last + 1, last } });
    core = { ...core, [side]: cut };
  }
  return out;
}

export function listenerOf(conduit: Conduit, redirect: Redirect): Listener | undefined {
  const wanted = endpointKey(redirect.listenAddress, redirect.listenPort);
  return conduit.listeners.find((l) => endpointKey(l.listenAddress, l.listenPort) === wanted);
}
