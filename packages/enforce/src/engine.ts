/**
 * What the two rule compilers are given, and the numbers both kernels carry. Each compiler
 * (`nftables/lower.ts`, `ebpf/lower.ts`) reads legs by itself; they share these words and no rule code.
 */
import type { Grant, Legs, Liveness, Point } from "@sallyport/policy/legs";

/**
 * Packet marks (`skb->mark`) that guard routes demand. A packet without one has nowhere to go.
 * `INSPECT_BASE + n` leads only to the veth of the n-th component room (index in `legs.rooms`).
 */
export const MARKS = {
  pass: 0x5a000001,
  arp: 0x5a000002,
  inspectBase: 0x5a010000,
} as const;

/** Two copies of the policy live in each kernel, so that a pending one can fall back by itself. */
export type Slot = 0 | 1;

/** A conduit or grant with its number: the connection mark, never reused, 1 to 2^31 - 1. */
export interface LiveEntry {
  readonly id: number;
  readonly liveness: Liveness;
  readonly audit: boolean;
  readonly diode: boolean;
}

/** Everything a compiler needs to fill one slot of one point's engine. Pure data, no clock. */
export interface Lowering {
  readonly legs: Legs;
  readonly point: Point;
  readonly slot: Slot;
  /** Number of this policy generation, 1 to 2^31 - 1; it goes into denial events. */
  readonly generation: number;
  /** Time at which the liveness below was computed. Kernel ends are relative to it. */
  readonly now: number;
  /** By conduit key. Covers every conduit of `legs`. */
  readonly conduits: ReadonlyMap<string, LiveEntry>;
  /** Grants in force; each opens its row at each point of its conduit. */
  readonly grants: readonly { readonly grant: Grant; readonly entry: LiveEntry }[];
}

/** Exact counters per (conduit or grant number). They survive applies: a number is never reset. */
export interface HitCounter {
  readonly id: number;
  readonly packets: number;
  readonly bytes: number;
}

/** One engine's refusals, exact, by what can be told without the packet. */
export interface DenialCounter {
  readonly point: Point;
  readonly reason: string;
  /** Zone names; empty when the address was in none. */
  readonly sourceZone: string;
  readonly destinationZone: string;
  /** Conduit or grant number, 0 when no conduit was involved. */
  readonly id: number;
  readonly packets: number;
}

/** Sessions that one peer opened under one conduit or grant. */
export interface PeerCounter {
  readonly id: number;
  readonly source: number;
  readonly target: number;
  readonly protocol: string;
  readonly port: number;
  readonly sessions: number;
}
