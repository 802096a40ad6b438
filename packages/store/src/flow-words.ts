/** Flows and counts as plain values: cut, folded, grouped and added. */
import { COUNT_MAX, type Flow, type FlowCounts, type FlowEntry } from "./flow-store.ts";
import type { Tables } from "./schema.ts";

const OTHER = "other";

/**
 * Each text at most so long, and of whole characters without NUL, which PostgreSQL does not take. Also drops
 * whatever is no part of a flow.
 */
export function bounded(flow: Flow, textChars: number): Flow {
  const cut = (text: string): string =>
    text.slice(0, textChars).replaceAll("\0", "\ufffd").toWellFormed();
  return {
    point: cut(flow.point),
    conduit: cut(flow.conduit),
    source: cut(flow.source),
    destination: cut(flow.destination),
    sourceZone: cut(flow.sourceZone),
    destinationZone: cut(flow.destinationZone),
    protocol: cut(flow.protocol),
    port: flow.port,
    function: cut(flow.function),
    reason: cut(flow.reason),
  };
}

export function keyOf(flow: Flow, textChars: number): string {
  return JSON.stringify(Object.values(bounded(flow, textChars)));
}

export function columnsOf(flow: Flow): Omit<Tables["flow"], "id"> {
  const { sourceZone, destinationZone, ...same } = flow;
  return { ...same, source_zone: sourceZone, destination_zone: destinationZone };
}

export function sameFlow(a: Flow, b: Flow): boolean {
  return JSON.stringify(columnsOf(a)) === JSON.stringify(columnsOf(b));
}

/**
 * Addresses and ports are what can be many; conduits, zones, reasons and functions come from closed lists. Only
 * a process that makes up its words comes to the second bound, and then all its words are one.
 */
export function otherOf(flow: Flow, wholly: boolean): Flow {
  const folded = { ...flow, source: OTHER, destination: OTHER, port: 0 };
  if (!wholly) return folded;
  const zones = { sourceZone: OTHER, destinationZone: OTHER };
  const words = { conduit: OTHER, protocol: OTHER, function: OTHER, reason: OTHER };
  return { ...folded, ...zones, ...words, point: OTHER };
}

export function sumOf(entries: readonly FlowEntry[]): FlowCounts {
  const sum = { accepted: 0, refused: 0, sampled: 0 };
  for (const { accepted, refused, sampled } of entries) {
    sum.accepted += accepted;
    sum.refused += refused;
    sum.sampled += sampled;
  }
  const { accepted, refused, sampled } = sum;
  return { accepted: most(accepted), refused: most(refused), sampled: most(sampled) };
}

function most(count: number): number {
  return Math.min(count, COUNT_MAX);
}

export function floor(atMs: number, stepMs: number): number {
  return Math.floor(atMs / stepMs) * stepMs;
}

export function byKey<Key>(
  entries: readonly FlowEntry[],
  nameOf: (entry: FlowEntry) => Key,
): Map<Key, FlowEntry[]> {
  const groups = new Map<Key, FlowEntry[]>();
  for (const entry of entries) {
    const key = nameOf(entry);
    const group = groups.get(key);
    if (group === undefined) groups.set(key, [entry]);
    else group.push(entry);
  }
  return groups;
}
