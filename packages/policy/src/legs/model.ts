/**
 * The model: what happens to each packet at one point, as a state machine over legs with no clock,
 * randomness or side effect. It is the reference that both engines are compared with, step by step
 * as in `docs/reference/packet-semantics.md`; the numbers in comments are that page's.
 */
import { IP_PROTOCOL, isIcmpError, type Packet, readFrame } from "@sallyport/wire";
import { type Belonging, SessionTable } from "./model-session.ts";
import { type Circumstances, PointTable } from "./model-table.ts";
import type { PacketReason } from "./reasons.ts";
import type { EngineLimits, EngineZone, Legs, Point, Protocol } from "./types.ts";

export interface Verdict {
  readonly verdict: "allow" | "deny";
  /** Why it is denied; `would-deny` with an allow. */
  readonly reason: PacketReason | undefined;
  /** Name of the conduit that carries or refuses the packet. */
  readonly conduit: string | undefined;
  /** The conduit's key, or the id of the grant that carries or refuses the packet. */
  readonly id: string | undefined;
  readonly mark: "pass" | "arp" | { readonly inspect: string } | undefined;
  /** `new` opened a session with this packet, `related` is an ICMP error about one. */
  readonly state: "new" | "session" | "related" | "none";
}

export interface ModelOptions {
  readonly point: Point;
  /** In place of those in the legs. */
  readonly limits?: EngineLimits;
}

export class Model {
  readonly #point: Point;
  readonly #limits: EngineLimits | undefined;
  #table: PointTable | undefined;
  #sessions: SessionTable | undefined;

  constructor(options: ModelOptions) {
    this.#point = options.point;
    this.#limits = options.limits;
  }

  /** Puts legs and circumstances in force. Sessions live on, as they do in the kernel. */
  load(legs: Legs, circumstances: Circumstances = {}): void {
    this.#table = new PointTable(legs, this.#point, circumstances);
    const timeouts = (this.#limits ?? legs.limits).timeoutsSeconds;
    if (this.#sessions === undefined) this.#sessions = new SessionTable(timeouts);
    else this.#sessions.useTimeouts(timeouts);
  }

  /** Live sessions at this point. */
  sessionCount(nowMs: number): number {
    return this.#sessions?.count(nowMs) ?? 0;
  }

  step(frame: { readonly interface: string; readonly bytes: Uint8Array }, nowMs: number): Verdict {
    const table = this.#table;
    const sessions = this.#sessions;
    // As with a detached program: without legs nothing is marked, so nothing passes.
    if (table === undefined || sessions === undefined) return deny("engine-detached");
    const read = readFrame(frame.bytes);
    // 1 to 6
    if (read.kind === "arp") return table.knows(frame.interface) ? ARP : deny(undefined);
    if (read.kind === "refused") return deny(read.reason);
    const { packet } = read;
    // 7
    const zone = table.sourceZone(packet.source, frame.interface);
    if (typeof zone === "string") return deny(zone);
    // 8
    const related = packet.icmp !== undefined && isIcmpError(packet.icmp.type);
    const found = related ? sessions.related(packet, nowMs) : sessions.follow(packet, nowMs);
    if (found !== undefined) {
      return belongs(found, table, related ? "related" : "session", nowMs);
    }
    // 9
    const refusal = table.refusesDestination(packet.destination);
    if (refusal !== undefined) return deny(refusal);
    return this.#open(packet, zone, table, sessions, nowMs);
  }

  /** Steps 10 to 13. */
  #open(
    packet: Packet,
    zone: EngineZone,
    table: PointTable,
    sessions: SessionTable,
    nowMs: number,
  ): Verdict {
    const protocol = nameOf(packet.protocol);
    if (protocol === undefined) return deny("no-conduit");
    const { source, destination, destinationPort } = packet;
    const answer = table.carry({ source, destination, protocol, port: destinationPort }, nowMs);
    if ("reason" in answer) {
      return deny(answer.reason, answer.carrier?.conduit.name, answer.carrier?.id);
    }
    const { carrier } = answer.row;
    const conduit = carrier.conduit.name;
    const mark = { id: carrier.id, conduit, diode: carrier.diode };
    const limit = (this.#limits ?? table.legs.limits).sessionsPerZone;
    const budget = { name: zone.name, limit };
    const { redirect } = answer;
    const translated = { redirect, source: table.dialledFrom(destination) };
    const session = sessions.open(packet, translated, mark, budget, nowMs);
    if (typeof session === "string") return deny(session, conduit, carrier.id);
    const reason = carrier.audit ? "would-deny" : undefined;
    const room = redirect?.room;
    return { verdict: "allow", reason, conduit, id: carrier.id, mark: markOf(room), state: "new" };
  }
}

function belongs(
  { session, direction }: Belonging,
  table: PointTable,
  state: "session" | "related",
  nowMs: number,
): Verdict {
  const { id, conduit } = session;
  const liveness = table.carriers.get(id)?.livenessAt(nowMs);
  if (liveness === undefined) return deny("revoked", conduit, id, state);
  if (!liveness.open) return deny(liveness.closedReason, conduit, id, state);
  const mark = markOf(direction === "original" ? session.room : undefined);
  return { verdict: "allow", reason: undefined, conduit, id, mark, state };
}

function markOf(room: string | undefined): Verdict["mark"] {
  return room === undefined ? "pass" : { inspect: room };
}

function nameOf(protocol: number): Protocol | undefined {
  if (protocol === IP_PROTOCOL.tcp) return "tcp";
  if (protocol === IP_PROTOCOL.udp) return "udp";
  return protocol === IP_PROTOCOL.icmp ? "icmp" : undefined;
}

const ARP: Verdict = {
  verdict: "allow",
  reason: undefined,
  conduit: undefined,
  id: undefined,
  mark: "arp",
  state: "none",
};

function deny(
  reason: PacketReason | undefined,
  conduit?: string,
  id?: string,
  state: Verdict["state"] = "none",
): Verdict {
  return { verdict: "deny", reason, conduit, id, mark: undefined, state };
}
