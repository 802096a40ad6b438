/** The map's facts from the API's answers; no drawing here. What nobody told is `undefined`, never nought. */
import { parse } from "yaml";
import type { Conduit, Flow, Zone } from "../../api/queries.ts";

export const BANDS = ["it", "dmz", "inner", "cells"] as const;
export type Band = (typeof BANDS)[number];

export interface MapNode {
  readonly name: string;
  readonly band: Band;
  readonly isIsland: boolean;
}

export interface MapEdge {
  readonly id: string;
  readonly from: string;
  readonly to: string;
  readonly conduits: readonly Conduit[];
  /** Whether all of them go through a program in the DMZ or a gate between cells. */
  readonly isProxied: boolean;
  readonly isOpen: boolean;
  readonly packets: number;
  /** Unknown until counters were read twice. */
  readonly bytesPerSecond: number | undefined;
  /** In the last 24 hours. */
  readonly refused: number;
  readonly reasons: readonly string[];
}

export interface PlantMap {
  readonly nodes: readonly MapNode[];
  readonly edges: readonly MapEdge[];
}

export interface Counted {
  readonly atMs: number;
  readonly bytes: ReadonlyMap<string, number>;
}

interface ZoneFacts {
  readonly kind?: string;
  readonly level?: number;
}

/** Purdue 3 and above is operations of the site, below are cells. */
const INNER_LEVEL = 3;

/** Kinds and levels stand only in the policy's text; without it the sides are all that is known. */
export function zoneFacts(texts: readonly string[]): ReadonlyMap<string, ZoneFacts> {
  const facts = new Map<string, ZoneFacts>();
  for (const text of texts) {
    let value: unknown;
    try {
      value = parse(text);
    } catch {
      continue;
    }
    const zones = member(value, "zones");
    if (typeof zones !== "object" || zones === null) continue;
    for (const [name, zone] of Object.entries(zones)) {
      const [kind, level] = [member(zone, "kind"), member(zone, "level")];
      facts.set(name, {
        ...(typeof kind === "string" ? { kind } : {}),
        ...(typeof level === "number" ? { level } : {}),
      });
    }
  }
  return facts;
}

function member(value: unknown, name: string): unknown {
  if (typeof value !== "object" || value === null) return undefined;
  return (value as Readonly<Record<string, unknown>>)[name];
}

export function bandOf(zone: Pick<Zone, "name" | "side">, facts: ZoneFacts | undefined): Band {
  if (facts?.kind === "dmz" || zone.name === "dmz") return "dmz";
  if (zone.side === "it") return "it";
  return (facts?.level ?? 0) >= INNER_LEVEL || facts?.level === 2 ? "inner" : "cells";
}

export function countedOf(conduits: readonly Conduit[], atMs: number): Counted {
  return { atMs, bytes: new Map(conduits.map(({ name, bytes }) => [name, bytes])) };
}

export interface MapFacts {
  readonly zones: readonly Zone[];
  readonly conduits: readonly Conduit[];
  readonly denials: readonly Flow[];
  readonly facts: ReadonlyMap<string, ZoneFacts>;
  readonly before: Counted | undefined;
  readonly atMs: number;
}

export function plantMap({ zones, conduits, denials, facts, before, atMs }: MapFacts): PlantMap {
  const nodes = new Map<string, MapNode>();
  for (const zone of zones) {
    const band = bandOf(zone, facts.get(zone.name));
    nodes.set(zone.name, { name: zone.name, band, isIsland: zone.island });
  }
  const pairs = new Map<
    string,
    { from: string; to: string; conduits: Conduit[]; denials: Flow[] }
  >();
  const pairOf = (from: string, to: string) => {
    const id = `${from} → ${to}`;
    const known = pairs.get(id) ?? { from, to, conduits: [], denials: [] };
    pairs.set(id, known);
    for (const name of [from, to]) {
      if (nodes.has(name)) continue;
      const band = name === "dmz" ? "dmz" : "it";
      nodes.set(name, { name, band, isIsland: false });
    }
    return known;
  };
  const placeOf = new Map<string, { from: string; to: string }>();
  for (const conduit of conduits) {
    const [from = "", to = ""] = [firstOf(conduit.from), firstOf(conduit.to)];
    placeOf.set(conduit.name, { from, to });
    for (const one of listOf(conduit.from)) {
      for (const other of listOf(conduit.to)) pairOf(one, other).conduits.push(conduit);
    }
  }
  for (const denial of denials) {
    const known = placeOf.get(denial.conduit);
    const from = denial.sourceZone || known?.from || UNKNOWN;
    const to = denial.destinationZone || known?.to || UNKNOWN;
    // Within one zone or to nowhere there is no line to draw; the list beside the map has it.
    if (from !== to) pairOf(from, to).denials.push(denial);
  }
  const edges = [...pairs].map(([id, pair]) => edgeOf(id, pair, before, atMs));
  return { nodes: [...nodes.values()], edges };
}

/** A packet from no zone, or to none. */
export const UNKNOWN = "?";

function edgeOf(
  id: string,
  pair: { from: string; to: string; conduits: readonly Conduit[]; denials: readonly Flow[] },
  before: Counted | undefined,
  atMs: number,
): MapEdge {
  const { from, to, conduits, denials } = pair;
  return {
    ...{ id, from, to, conduits },
    isProxied: conduits.length > 0 && conduits.every(({ via }) => via !== "direct"),
    isOpen: conduits.some(({ open }) => open),
    packets: conduits.reduce((sum, { packets }) => sum + packets, 0),
    bytesPerSecond: conduits.length === 0 ? undefined : rateOf(conduits, before, atMs),
    refused: denials.reduce((sum, { refused }) => sum + refused, 0),
    reasons: [...new Set(denials.map(({ reason }) => reason).filter((reason) => reason !== ""))],
  };
}

/** Counters that went back were started anew; then the rate is not known. */
function rateOf(
  conduits: readonly Conduit[],
  before: Counted | undefined,
  atMs: number,
): number | undefined {
  if (before === undefined || atMs <= before.atMs) return undefined;
  let sum = 0;
  for (const { name, bytes } of conduits) {
    const was = before.bytes.get(name);
    if (was === undefined || bytes < was) return undefined;
    sum += bytes - was;
  }
  return (sum * 1000) / (atMs - before.atMs);
}

function listOf(zones: string): readonly string[] {
  return zones.split(", ").filter((name) => name !== "");
}

function firstOf(zones: string): string | undefined {
  return listOf(zones)[0];
}
