/**
 * What rooms and apply ask of a rule engine. `nftables` and `ebpf` each stand behind one adapter;
 * nothing here names a rule, a map or a chain.
 *
 * What an engine owes the guard routes (`rooms/guard.ts`):
 * - ARP that the room may answer carries `MARKS.arp`; an allowed packet `MARKS.pass`, or
 *   `MARKS.inspectBase + n` where it must go to the n-th component and nowhere else.
 * - A reset or ICMP error leaves the room only with the mark of the packet it answers
 *   (`fwmark_reflect=1`): a rule that rejects sets `MARKS.pass` first.
 */
import type { Grant, Legs, Point } from "@sallyport/policy/legs";
import type {
  DenialCounter,
  HitCounter,
  LiveEntry,
  Lowering,
  PeerCounter,
  Slot,
} from "../engine.ts";

export interface Engine {
  readonly point: Point;
  readonly kind: "nftables" | "ebpf";
  /** Sysctls of the room that the engine's packet semantics depend on, `net.…` → value. */
  sysctls(legs: Legs): Readonly<Record<string, string>>;
  /**
   * Makes the engine stand in its empty room, both slots denying everything, and reads it back.
   * Idempotent: on a room that has it, nothing that lives (counters, live sets, sessions) is lost.
   */
  install(legs: Legs): Promise<void>;
  /** Puts the engine on interfaces that are in the room and still down. Idempotent. */
  attach(interfaces: readonly string[]): Promise<void>;
  /**
   * Fills one slot, never the one in force; all interfaces of `lowering.legs` are in the room. What is
   * open until when belongs to the slot, so that falling back brings back the other slot's ends too.
   */
  load(lowering: Lowering): Promise<void>;
  /** Which slot is in force, and which until when. One atomic step. */
  select(selection: Selection): Promise<void>;
  /**
   * What is open until when, for conduits and grants that are in `lowering.slot` already. Answers what
   * became of `entries`; a conduit's may change the digest too.
   */
  setLive(lowering: Lowering, entries: readonly LiveEntry[]): Promise<Entries>;
  /**
   * One grant's row in a filled slot, and its live entry; `lowering.grants` has it already. Costs what
   * grants there are, not what conduits: what it wrote, and only that, is read back and must be as
   * written (`mustBeWritten`). Answers what became of `entries`; the digest is as before.
   */
  addGrant(lowering: Lowering, row: GrantRow): Promise<Entries>;
  /**
   * As `addGrant`. Its sessions end at their next packet, with `revoked`; `lowering.grants` has it no
   * longer. May tell the ends of the other grants again, reckoned from `lowering.now`.
   */
  removeGrant(lowering: Lowering, row: GrantRow): Promise<Entries>;
  /**
   * What the kernel holds now, without what moves by itself (counters, remaining times): equal
   * digest and equal entries mean equal rules.
   */
  readBack(): Promise<EngineState>;
  counters(): Promise<EngineCounters>;
  /** Removes what does not vanish with the room (pinned objects). Idempotent. */
  remove(): Promise<void>;
}

/** `pending` is in force for that long, then `confirmed` is again, by the kernel alone. */
export interface Selection {
  readonly confirmed: Slot;
  readonly pending?: { readonly slot: Slot; readonly forMs: number };
}

export interface GrantRow {
  readonly grant: Grant;
  readonly entry: LiveEntry;
}

export interface EngineState {
  /** Digest of the rules and of what is attached where, without `entries`. */
  readonly digest: string;
  /** What grants change, so that what stands after one is known without reading all of it. */
  readonly entries: ReadonlyMap<string, string>;
  /** The slot that a packet arriving now is judged by. */
  readonly slot: Slot;
  /** Interfaces of the room that the engine stands on; undefined: on all there are. */
  readonly interfaces: readonly string[] | undefined;
}

export interface EngineCounters {
  readonly hits: readonly HitCounter[];
  readonly denials: readonly DenialCounter[];
  readonly peers: readonly PeerCounter[];
}

/** By place in the kernel, in words of the engine's own; undefined: nothing is there. */
export type Entries = ReadonlyMap<string, string | undefined>;
