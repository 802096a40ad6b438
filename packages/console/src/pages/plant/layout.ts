/**
 * Where the map's parts stand. Bands lie under each other; lines leave a node at a port of their own, run in a row of their own
 * between bands, and pass a band where no node stands. Labels lie on the rows, so none can cover another.
 */
import { BANDS, type Band, type MapEdge, type MapNode, type PlantMap } from "./model.ts";

export interface Box {
  readonly x: number;
  readonly y: number;
  readonly width: number;
  readonly height: number;
}

export interface PlacedNode extends Box {
  readonly node: MapNode;
}

export interface PlacedEdge {
  readonly edge: MapEdge;
  readonly points: readonly (readonly [number, number])[];
  readonly label: Box;
  /** Where a connection ends in a gate of the DMZ and another begins. */
  readonly gate?: readonly [number, number];
}

export interface PlacedBand extends Box {
  readonly band: Band;
}

export interface Layout {
  readonly width: number;
  readonly height: number;
  readonly bands: readonly PlacedBand[];
  readonly nodes: readonly PlacedNode[];
  readonly edges: readonly PlacedEdge[];
}

const NODE_HEIGHT = 40;
const NODE_WIDTH_MIN = 96;
const NODE_GAP = 36;
const BAND_PAD = 12;
const MARGIN = 16;
/** Room for the band's own name. */
const BAND_NAME = 84;
const ROW_HEIGHT = 26;
const LABEL_HEIGHT = 20;
const LANE_GAP = 12;
const GAP_MIN = 28;
const INNER_MIN = 480;
/** Of the console's font at 12 px, on the wide side. */
const LETTER = 7;
const LETTERS_MAX = 26;

export function labelWidth(text: string): number {
  return Math.min(text.length, LETTERS_MAX + 14) * LETTER + 14;
}

export function shorten(text: string): string {
  const letters = Array.from(text);
  return letters.length <= LETTERS_MAX ? text : `${letters.slice(0, LETTERS_MAX - 1).join("")}…`;
}

interface Wire {
  readonly edge: MapEdge;
  readonly upper: MapNode;
  readonly lower: MapNode;
  readonly isDown: boolean;
  readonly width: number;
}

export function layoutOf(map: PlantMap, labelOf: (edge: MapEdge) => string): Layout {
  const byBand = new Map(BANDS.map((band) => [band, ordered(map, band)]));
  const indexOf = new Map(map.nodes.map((node) => [node.name, BANDS.indexOf(node.band)]));
  const wires = wiresOf(map, indexOf, labelOf);
  const widths = new Map(map.nodes.map((node) => [node.name, nodeWidth(node, wires)]));
  const inner = Math.max(
    ...BANDS.map((band) => rowWidth(byBand.get(band) ?? [], widths)),
    ...wires.map(({ width }) => width + 2 * NODE_GAP),
    INNER_MIN,
  );
  const width = BAND_NAME + inner + 2 * MARGIN;
  const rowAt = (band: Band, y: number): readonly PlacedNode[] =>
    placeRow(byBand.get(band) ?? [], widths, { left: BAND_NAME + MARGIN, inner, y });
  // Across first: how many rows a gap needs is known only when all lines have their places there.
  const flat = BANDS.flatMap((band) => rowAt(band, 0));
  const across = acrossOf(wires, { nodes: flat, indexOf, width });
  const rowCounts = BANDS.map((_band, index) =>
    packRows(across.filter((one) => one.upper === index)),
  );
  const tops: number[] = [];
  let y = MARGIN;
  for (const count of rowCounts) {
    tops.push(y);
    y += NODE_HEIGHT + 2 * BAND_PAD + GAP_MIN + count * ROW_HEIGHT;
  }
  const nodes = BANDS.flatMap((band, index) => rowAt(band, (tops[index] ?? 0) + BAND_PAD));
  const bands = BANDS.map((band, index) => ({
    ...{ band, x: MARGIN / 2, y: tops[index] ?? 0 },
    ...{ width: width - MARGIN, height: NODE_HEIGHT + 2 * BAND_PAD },
  }));
  const steps = new Steps();
  const edges = across.map((one) => drawnOf(one, bands, steps));
  return { width, height: y - GAP_MIN + MARGIN, bands, nodes, edges };
}

function wiresOf(
  map: PlantMap,
  indexOf: ReadonlyMap<string, number>,
  labelOf: (edge: MapEdge) => string,
): readonly Wire[] {
  const byName = new Map(map.nodes.map((node) => [node.name, node]));
  return map.edges.flatMap((edge): Wire[] => {
    const [from, to] = [byName.get(edge.from), byName.get(edge.to)];
    if (from === undefined || to === undefined) return [];
    const isDown = (indexOf.get(edge.from) ?? 0) <= (indexOf.get(edge.to) ?? 0);
    const [upper, lower] = isDown ? [from, to] : [to, from];
    return [{ edge, upper, lower, isDown, width: labelWidth(labelOf(edge)) }];
  });
}

/** Those with most lines stand in the middle, names decide between equals: the same plant is drawn the same way. */
function ordered({ nodes, edges }: PlantMap, band: Band): readonly MapNode[] {
  const degree = (name: string): number =>
    edges.filter(({ from, to }) => from === name || to === name).length;
  const sorted = nodes
    .filter((node) => node.band === band)
    .toSorted(
      (one, other) => degree(other.name) - degree(one.name) || (one.name < other.name ? -1 : 1),
    );
  const middle: MapNode[] = [];
  for (const [index, node] of sorted.entries()) {
    if (index % 2 === 0) middle.push(node);
    else middle.unshift(node);
  }
  return middle;
}

function nodeWidth({ name }: MapNode, wires: readonly Wire[]): number {
  const ports = wires.filter(
    ({ upper, lower }) => upper.name === name || lower.name === name,
  ).length;
  return Math.max(NODE_WIDTH_MIN, shorten(name).length * 8 + 28, ports * LANE_GAP + 24);
}

function rowWidth(nodes: readonly MapNode[], widths: ReadonlyMap<string, number>): number {
  return nodes.reduce((sum, { name }) => sum + (widths.get(name) ?? 0) + NODE_GAP, NODE_GAP);
}

function placeRow(
  nodes: readonly MapNode[],
  widths: ReadonlyMap<string, number>,
  { left, inner, y }: { readonly left: number; readonly inner: number; readonly y: number },
): PlacedNode[] {
  const spare = Math.max(0, inner - rowWidth(nodes, widths)) / (nodes.length + 1);
  let x = left + NODE_GAP / 2 + spare;
  return nodes.map((node) => {
    const width = widths.get(node.name) ?? NODE_WIDTH_MIN;
    const placed = { node, x, y, width, height: NODE_HEIGHT };
    x += width + NODE_GAP + spare;
    return placed;
  });
}

const DMZ = BANDS.indexOf("dmz");

interface Ground {
  readonly nodes: readonly PlacedNode[];
  readonly indexOf: ReadonlyMap<string, number>;
  readonly width: number;
}

/** A line's places from left to right, and the row that it gets in the gap under its upper band. */
interface Across {
  readonly wire: Wire;
  readonly upper: number;
  readonly lower: number;
  readonly startX: number;
  readonly endX: number;
  readonly laneX: number;
  readonly labelX: number;
  row: number;
}

function acrossOf(wires: readonly Wire[], ground: Ground): readonly Across[] {
  const ports = new Ports(ground.nodes, wires);
  const lanes = new Lanes(ground);
  return wires.map((wire) => {
    const upper = ground.indexOf.get(wire.upper.name) ?? 0;
    const lower = ground.indexOf.get(wire.lower.name) ?? upper;
    const startX = ports.next(wire.upper.name);
    const endX = ports.next(wire.lower.name);
    const laneX = upper === lower ? endX : lanes.through(upper + 1, lower, endX);
    const middle = (startX + laneX) / 2 - wire.width / 2;
    const labelX = Math.min(Math.max(MARGIN, middle), ground.width - MARGIN - wire.width);
    return { wire, upper, lower, startX, endX, laneX, labelX, row: 0 };
  });
}

/** From left to right, each into the first row that is free there; answers how many rows it took. */
function packRows(those: readonly Across[]): number {
  const spans = those.map((one) => ({
    one,
    left: Math.min(one.startX, one.laneX, one.labelX),
    right: Math.max(one.startX, one.laneX, one.labelX + one.wire.width),
  }));
  const ends: number[] = [];
  for (const { one, left, right } of spans.toSorted((first, other) => first.left - other.left)) {
    const free = ends.findIndex((end) => end + LANE_GAP < left);
    one.row = free < 0 ? ends.length : free;
    ends[one.row] = right;
  }
  return ends.length;
}

function drawnOf(
  { wire, upper, lower, startX, endX, laneX, labelX, row }: Across,
  bands: readonly PlacedBand[],
  steps: Steps,
): PlacedEdge {
  const [above, below] = [bands[upper], bands[lower]];
  const startY = (above?.y ?? 0) + BAND_PAD + NODE_HEIGHT;
  const isSame = upper === lower;
  const endY = isSame ? startY : (below?.y ?? 0) + BAND_PAD;
  const y = (above?.y ?? 0) + (above?.height ?? 0) + GAP_MIN / 2 + (row + 0.5) * ROW_HEIGHT;
  const lowY = endY - BAND_PAD - steps.next(lower);
  const turn: [number, number][] = [
    [laneX, lowY],
    [endX, lowY],
  ];
  const points: [number, number][] = [
    [startX, startY],
    [startX, y],
    [laneX, y],
    ...(laneX === endX ? [] : turn),
    [endX, endY],
  ];
  const label = { x: labelX, y: y - LABEL_HEIGHT / 2, width: wire.width, height: LABEL_HEIGHT };
  const drawn = { edge: wire.edge, points: wire.isDown ? points : points.toReversed(), label };
  const dmz = bands[DMZ];
  const isThrough = wire.edge.isProxied && upper < DMZ && lower > DMZ;
  if (!isThrough || dmz === undefined) return drawn;
  return { ...drawn, gate: [laneX, dmz.y + dmz.height / 2] };
}

/** Lines that turn above a band do so at heights of their own, as far as there is room. */
class Steps {
  readonly #used = new Map<number, number>();

  next(index: number): number {
    const used = ((this.#used.get(index) ?? 0) % 4) + 1;
    this.#used.set(index, used);
    return used * 3;
  }
}

/** Each line has its own place along a node's side. */
class Ports {
  readonly #nodes: ReadonlyMap<string, PlacedNode>;
  readonly #totals = new Map<string, number>();
  readonly #used = new Map<string, number>();

  constructor(nodes: readonly PlacedNode[], wires: readonly Wire[]) {
    this.#nodes = new Map(nodes.map((placed) => [placed.node.name, placed]));
    for (const { upper, lower } of wires) {
      for (const { name } of [upper, lower]) {
        this.#totals.set(name, (this.#totals.get(name) ?? 0) + 1);
      }
    }
  }

  next(name: string): number {
    const used = (this.#used.get(name) ?? 0) + 1;
    this.#used.set(name, used);
    const { x, width } = this.#nodes.get(name) ?? { x: 0, width: 0 };
    return x + (width * used) / ((this.#totals.get(name) ?? 1) + 1);
  }
}

/** Where a line passes a band: beside its nodes, as near as can be to where it goes. */
class Lanes {
  readonly #ground: Ground;
  readonly #taken: number[] = [];

  constructor(ground: Ground) {
    this.#ground = ground;
  }

  through(first: number, end: number, wantedX: number): number {
    const between = this.#ground.nodes.filter(({ node }) => {
      const index = this.#ground.indexOf.get(node.name) ?? 0;
      return index >= first && index < end;
    });
    if (first >= end) return wantedX;
    const isFree = (x: number): boolean =>
      between.every(({ x: left, width }) => x < left - 8 || x > left + width + 8) &&
      this.#taken.every((other) => Math.abs(other - x) >= LANE_GAP - 2);
    for (let away = 0; away < this.#ground.width; away += LANE_GAP / 2) {
      for (const x of [wantedX + away, wantedX - away]) {
        if (x < BAND_NAME + MARGIN || x > this.#ground.width - MARGIN || !isFree(x)) continue;
        this.#taken.push(x);
        return x;
      }
    }
    return wantedX;
  }
}

/** Whether two boxes share a point; the tests ask it of all labels. */
export function overlap(one: Box, other: Box): boolean {
  return (
    one.x < other.x + other.width &&
    other.x < one.x + one.width &&
    one.y < other.y + other.height &&
    other.y < one.y + one.height
  );
}
