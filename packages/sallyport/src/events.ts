/**
 * The one typed stream of what the gateway decided: each process writes its own file of these, one JSON
 * object a line (`event-log.ts`), and `event-reader.ts` reads all of them in order of time.
 * Addresses are dotted quads, times ISO 8601 UTC.
 */
import type { Point, Reason } from "@sallyport/policy/legs";

interface Stamped {
  readonly at: string;
}

/** A packet that an engine refused: a sample, rate-limited in the kernel; counters are exact. */
export interface PacketDenied extends Stamped {
  readonly type: "packet-denied";
  readonly point: Point;
  readonly reason: Reason;
  readonly generation: number;
  /** Conduit name or grant id; empty when none was involved. */
  readonly conduit: string;
  /** `site.yaml:41`, where the policy says so; empty when no conduit was involved. */
  readonly policyLine: string;
  readonly sourceZone: string;
  readonly destinationZone: string;
  /** `tcp`, `ip-47`; of what is not IPv4 `ethertype 0x86dd`. */
  readonly protocol: string;
  /** `address` or `address:port`; the MAC of what is not IPv4. */
  readonly source: string;
  readonly destination: string;
  /** Where the packet itself is kept, until the ring has come round; absent when the disk had no room for it. */
  readonly packet?: { readonly file: string; readonly offsetBytes: number };
}

/** New sessions that an engine let pass, or packets it refused, in one minute between two peers. */
export interface FlowMinute extends Stamped {
  readonly type: "flow-minute";
  readonly point: Point;
  readonly conduit: string;
  /** Addresses; empty for refusals, which the kernel counts by zone. */
  readonly source: string;
  readonly destination: string;
  readonly sourceZone: string;
  readonly destinationZone: string;
  readonly protocol: string;
  readonly port: number;
  /** Sessions that were opened. */
  readonly accepted: number;
  /** Packets that were refused. */
  readonly refused: number;
  /** Why, for refusals; empty otherwise. */
  readonly reason: string;
}

export type EngineEvent = PacketDenied | FlowMinute;
