/** What tests read of the maps and no part of the product does. */
import { entriesOf } from "./read.ts";

export interface SessionEntry {
  readonly id: number;
  readonly protocol: number;
  /** Who opened it; for an echo both ports are its identifier. */
  readonly source: number;
  readonly sourcePort: number;
  readonly target: number;
  readonly targetPort: number;
  readonly state: "opening" | "answered" | "open" | "closing" | "udp" | "echo";
  /** `zoneNumber` of the opener's zone. */
  readonly zone: number;
  readonly openedBootNs: bigint;
  readonly expiresBootNs: bigint;
}
const STATES = ["opening", "answered", "open", "closing", "udp", "echo"] as const;

/** How many events found no room in their counter's map. */
export function readLost(json: string): { hits: number; denied: number; peers: number } {
  const counts = entriesOf(json).map(({ value }) => Number(value.getBigUint64(0, true)));
  const [hits = 0, denied = 0, peers = 0] = counts;
  return { hits, denied, peers };
}

const OPENER_B = 1;

export function readSessions(json: string): SessionEntry[] {
  return entriesOf(json).map(({ key, value }) => {
    const a = { address: key.getUint32(0), port: key.getUint16(8, true) };
    const b = { address: key.getUint32(4), port: key.getUint16(10, true) };
    const [from, to] = (value.getUint8(39) & OPENER_B) === 0 ? [a, b] : [b, a];
    return {
      protocol: key.getUint32(12, true),
      source: from.address,
      sourcePort: from.port,
      target: to.address,
      targetPort: to.port,
      expiresBootNs: value.getBigUint64(0, true),
      openedBootNs: value.getBigUint64(8, true),
      id: value.getUint32(16, true),
      zone: value.getUint32(20, true),
      state: STATES[value.getUint8(38)] ?? "closing",
    };
  });
}
