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
  const byName = new Map(map.nodes.map((node) => [node.name, node]));
  const wires = map.edges.flatMap((edge): Wire[] => {
    const [from, to] = [byName.get(edge.from), byName.get(edge.to)];
    if (from === undefined || to === undefined) return [];
    const isDown = (indexOf.get(edge.from) ?? 0) <= (indexOf.get(edge.to) ?? 0);
    const [upper, lower] = isDown ? [from, to] : [to, from];
    return [{ edge, upper, lower, isDown, width: labelWidth(labelOf(edge)) }];
  });
  const widths = new Map(map.nodes.map((node) => [node.name, nodeWidth(node, wires)]));
  const inner = Math.max(
    ...BANDS.map((band) => rowWidth(byBand.get(band) ?? [], widths)),
    ...wires.map(({ width }) => width + 2 * NODE_GAP),
    480,
  );
  const width = BAND_NAME + inner + 2 * MARGIN;
  // One row in the gap under the upper band for each wire that starts there.
  const rows = BANDS.map((_band, index) =>
    wires.filter(({ upper }) => indexOf.get(upper.name) === index),
  );
  const tops: number[] = [];
  let y = MARGIN;
  for (const [index] of BANDS.entries()) {
    tops.push(y);
    y += NODE_HEIGHT + 2 * BAND_PAD + GAP_MIN + (rows[index]?.length ?? 0) * ROW_HEIGHT;
  }
  const nodes = BANDS.flatMap((band, index) =>
    placeRow(byBand.get(band) ?? [], widths, {
      left: BAND_NAME + MARGIN,
      inner,
      y: (tops[index] ?? 0) + BAND_PAD,
    }),
  );
  const bands = BANDS.map((band, index) => ({
    ...{ band, x: MARGIN / 2, y: tops[index] ?? 0 },
    ...{ width: width - MARGIN, height: NODE_HEIGHT + 2 * BAND_PAD },
  }));
  const placed = placeWires(wires, { nodes, rows, indexOf, bands, width });
  return { width, height: y - GAP_MIN + MARGIN, bands, nodes, edges: placed };
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
  readonly rows: readonly (readonly Wire[])[];
  readonly indexOf: ReadonlyMap<string, number>;
  readonly bands: readonly PlacedBand[];
  readonly width: number;
}

function placeWires(wires: readonly Wire[], ground: Ground): PlacedEdge[] {
  const ports = new Ports(ground.nodes, wires);
  const lanes = new Lanes(ground);
  return wires.map((wire) => {
    const index = ground.indexOf.get(wire.upper.name) ?? 0;
    const lowerIndex = ground.indexOf.get(wire.lower.name) ?? index;
    const band = ground.bands[index];
    const row = (ground.rows[index] ?? []).indexOf(wire);
    const y = (band?.y ?? 0) + (band?.height ?? 0) + GAP_MIN / 2 + (row + 0.5) * ROW_HEIGHT;
    const [startX, startY] = ports.next(wire.upper.name, "bottom");
    const isSame = index === lowerIndex;
    const [endX, endY] = ports.next(wire.lower.name, isSame ? "bottom" : "top");
    const laneX = isSame ? endX : lanes.through(index + 1, lowerIndex, endX);
    const lowY = isSame ? y : endY - BAND_PAD - lanes.step(lowerIndex);
    const points: [number, number][] = [
      [startX, startY],
      [startX, y],
      [laneX, y],
      ...(laneX === endX
        ? []
        : ([
            [laneX, lowY],
            [endX, lowY],
          ] as [number, number][])),
      [endX, endY],
    ];
    const middle = (startX + laneX) / 2 - wire.width / 2;
    const x = Math.min(Math.max(MARGIN, middle), ground.width - MARGIN - wire.width);
    const label = { x, y: y - LABEL_HEIGHT / 2, width: wire.width, height: LABEL_HEIGHT };
    const drawn = { edge: wire.edge, points: wire.isDown ? points : points.toReversed(), label };
    const isThrough = wire.edge.isProxied && index < DMZ && lowerIndex > DMZ;
    const dmz = ground.bands[DMZ];
    if (!isThrough || dmz === undefined) return drawn;
    return { ...drawn, gate: [laneX, dmz.y + dmz.height / 2] as const };
  });
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

  next(name: string, side: "top" | "bottom"): readonly [number, number] {
    const used = (this.#used.get(name) ?? 0) + 1;
    this.#used.set(name, used);
    const { x, y, width, height } = this.#nodes.get(name) ?? { x: 0, y: 0, width: 0, height: 0 };
    const total = this.#totals.get(name) ?? 1;
    return [x + (width * used) / (total + 1), side === "top" ? y : y + height];
  }
}

/** Where a line passes a band: beside its nodes, as near as can be to where it goes. */
class Lanes {
  readonly #ground: Ground;
  readonly #taken: number[] = [];
  readonly #steps = new Map<number, number>();

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

  /** Lines that turn above a band do so at heights of their own, as far as there is room. */
  step(index: number): number {
    const used = ((this.#steps.get(index) ?? 0) % 4) + 1;
    this.#steps.set(index, used);
    return used * 3;
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
