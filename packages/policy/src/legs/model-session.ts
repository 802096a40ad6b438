/**
 * Sessions of the model: which packets belong to one, the TCP states, time-outs, and the budget of
 * each source zone. Steps 8, 11 and 12 of `docs/reference/packet-semantics.md`.
 */
import { ICMP_TYPE, IP_PROTOCOL, type Packet, TCP_FLAG, type Tuple } from "@sallyport/wire";
import type { Ipv4 } from "@sallyport/core";
import type { PacketReason } from "./reasons.ts";
import type { EngineLimits, Redirect } from "./types.ts";

export type TcpState = "opening" | "answered" | "open" | "closing";

export interface Session {
  /** Conduit key or grant id: asked for in the live set on every packet. */
  readonly id: string;
  readonly conduit: string;
  readonly diode: boolean;
  /** Where packets of the original direction are handed to a gate. */
  readonly room: string | undefined;
  readonly protocol: number;
  /** The names of both directions; see `tupleKey`. */
  readonly original: string;
  readonly reply: string;
  readonly budget: Budget;
  tcp: TcpState;
  /** The first moment at which the session is forgotten. */
  expires: number;
}

export interface Belonging {
  readonly session: Session;
  readonly direction: "original" | "reply";
}

/** What becomes of a session's packets after the verdict: handed to a gate, or sent from another source. */
interface Translated {
  readonly redirect: Redirect | undefined;
  readonly source: Ipv4 | undefined;
}

/** The live sessions that one source zone opened. */
interface Budget {
  readonly sessions: Set<Session>;
  /** No session of these ends before: until then nothing needs to be swept. */
  earliest: number;
}

export class SessionTable {
  readonly #sessions = new Map<string, Belonging>();
  readonly #budgets = new Map<string, Budget>();
  #timeouts: EngineLimits["timeoutsSeconds"];

  constructor(timeouts: EngineLimits["timeoutsSeconds"]) {
    this.#timeouts = timeouts;
  }

  /** Later packets restart their session's timer with these. */
  useTimeouts(timeouts: EngineLimits["timeoutsSeconds"]): void {
    this.#timeouts = timeouts;
  }

  /**
   * Step 8. Follows the packet: timer and TCP state of the session it belongs to are brought up to
   * date here, before anyone asks whether its conduit is still open.
   */
  follow(packet: Packet, now: number): Belonging | undefined {
    if (!packet.wellFormed) return undefined;
    const found = this.#live(tupleKey(packet), now);
    if (found === undefined) return undefined;
    const { session, direction } = found;
    if (session.diode && direction === "reply") return undefined;
    if (packet.protocol === IP_PROTOCOL.tcp) {
      const next = nextState(session.tcp, direction === "original", packet.tcpFlags);
      if (next === undefined) return undefined;
      if (next === "ended") {
        this.#forget(session);
        return found;
      }
      session.tcp = next;
    }
    this.#touch(session, now);
    return found;
  }

  /**
   * Step 8 for an ICMP error. It belongs to the session of the packet that it quotes, if that one's
   * sender is told; it goes the other way than the quoted packet did, and restarts no timer.
   */
  related(packet: Packet, now: number): Belonging | undefined {
    const { quoted } = packet;
    if (quoted === undefined || quoted.source !== packet.destination) return undefined;
    const inverted = inverse(quoted);
    const found = inverted === undefined ? undefined : this.#live(tupleKey(inverted), now);
    return found?.session.diode === true && found.direction === "reply" ? undefined : found;
  }

  /** Steps 11 to 13: the session that the packet opens, or why it may not. */
  open(
    packet: Packet,
    translated: Translated,
    mark: { readonly id: string; readonly conduit: string; readonly diode: boolean },
    zone: { readonly name: string; readonly limit: number },
    now: number,
  ): Session | PacketReason {
    const refusal = refusesOpening(packet);
    if (refusal !== undefined) return refusal;
    const original = tupleKey(packet);
    const reply = tupleKey(replyOf(packet, translated));
    if (this.#live(original, now) !== undefined || this.#live(reply, now) !== undefined) {
      return "invalid-state";
    }
    const budget = this.#budgetOf(zone.name);
    if (budget.sessions.size >= zone.limit) this.#sweep(budget, now);
    if (budget.sessions.size >= zone.limit) return "session-limit";
    const { protocol } = packet;
    const session: Session = {
      ...mark,
      room: translated.redirect?.room,
      protocol,
      original,
      reply,
      budget,
      tcp: "opening",
      expires: 0,
    };
    this.#touch(session, now);
    budget.sessions.add(session);
    this.#sessions.set(original, { session, direction: "original" });
    this.#sessions.set(reply, { session, direction: "reply" });
    return session;
  }

  /** Sessions that have not timed out. */
  count(now: number): number {
    for (const budget of this.#budgets.values()) this.#sweep(budget, now);
    return this.#sessions.size / 2;
  }

  #live(key: string, now: number): Belonging | undefined {
    const found = this.#sessions.get(key);
    if (found === undefined || now < found.session.expires) return found;
    this.#forget(found.session);
    return undefined;
  }

  #touch(session: Session, now: number): void {
    session.expires = now + timeoutOf(session, this.#timeouts) * 1000;
    session.budget.earliest = Math.min(session.budget.earliest, session.expires);
  }

  #forget(session: Session): void {
    this.#sessions.delete(session.original);
    this.#sessions.delete(session.reply);
    session.budget.sessions.delete(session);
  }

  #budgetOf(zone: string): Budget {
    let budget = this.#budgets.get(zone);
    if (budget === undefined) {
      budget = { sessions: new Set(), earliest: Number.POSITIVE_INFINITY };
      this.#budgets.set(zone, budget);
    }
    return budget;
  }

  #sweep(budget: Budget, now: number): void {
    if (now < budget.earliest) return;
    budget.earliest = Number.POSITIVE_INFINITY;
    for (const session of budget.sessions) {
      if (now >= session.expires) this.#forget(session);
      else budget.earliest = Math.min(budget.earliest, session.expires);
    }
  }
}

/** The state table of the page; `undefined` is a blank there, "ended" ends the session. */
export function nextState(
  state: TcpState,
  fromOpener: boolean,
  flags: number,
): TcpState | "ended" | undefined {
  const syn = (flags & TCP_FLAG.syn) !== 0;
  const ack = (flags & TCP_FLAG.ack) !== 0;
  const fin = (flags & TCP_FLAG.fin) !== 0;
  const rst = (flags & TCP_FLAG.rst) !== 0;
  if (fromOpener) {
    if (rst) return state === "opening" ? "ended" : "closing";
    if (syn) return ack ? undefined : state;
    if (state === "opening") return undefined;
    if (fin) return "closing";
    return state === "answered" ? "open" : state;
  }
  if (rst) return "closing";
  if (syn && !ack) return undefined;
  if (syn) return state === "opening" ? "answered" : state;
  if (fin) return state === "opening" ? undefined : "closing";
  return state;
}

/** Step 11: why the packet cannot be the first of a session. */
export function refusesOpening(packet: Packet): PacketReason | undefined {
  const { protocol, tcpFlags, wellFormed, icmp } = packet;
  if (protocol === IP_PROTOCOL.tcp) {
    const bare = (tcpFlags & (TCP_FLAG.ack | TCP_FLAG.fin | TCP_FLAG.rst)) === 0;
    if ((tcpFlags & TCP_FLAG.syn) === 0 || !bare) return "not-syn";
    return wellFormed ? undefined : "invalid-state";
  }
  if (protocol === IP_PROTOCOL.udp) return wellFormed ? undefined : "invalid-state";
  const request = wellFormed && icmp?.type === ICMP_TYPE.echoRequest;
  return request ? undefined : "invalid-state";
}

function timeoutOf(session: Session, timeouts: EngineLimits["timeoutsSeconds"]): number {
  if (session.protocol === IP_PROTOCOL.udp) return timeouts.udp;
  if (session.protocol === IP_PROTOCOL.icmp) return timeouts.icmp;
  if (session.tcp === "open") return timeouts.tcpOpen;
  return session.tcp === "closing" ? timeouts.tcpClosing : timeouts.tcpOpening;
}

/** One direction of a session, as its packets look when they enter the room. */
function tupleKey(tuple: Tuple): string {
  const { protocol, source, sourcePort, destination, destinationPort, icmp } = tuple;
  if (icmp !== undefined) {
    return `${protocol}|${source}|${icmp.identifier}|${destination}|${icmp.type}`;
  }
  return `${protocol}|${source}|${sourcePort}|${destination}|${destinationPort}`;
}

/** Answers as they enter the room, which undoes its translations after the engines. */
function replyOf(packet: Packet, { redirect, source }: Translated): Tuple {
  const reply = inverse(packet) ?? packet;
  if (redirect !== undefined) {
    return { ...reply, source: redirect.listenAddress, sourcePort: redirect.listenPort };
  }
  return source === undefined ? reply : { ...reply, destination: source };
}

function inverse(tuple: Tuple): Tuple | undefined {
  const { protocol, source, sourcePort, destination, destinationPort, icmp } = tuple;
  const turned = {
    protocol,
    source: destination,
    sourcePort: destinationPort,
    destination: source,
    destinationPort: sourcePort,
  };
  if (icmp === undefined) return { ...turned, icmp };
  const request = icmp.type === ICMP_TYPE.echoRequest;
  if ((!request && icmp.type !== ICMP_TYPE.echoReply) || icmp.code !== 0) return undefined;
  const type = request ? ICMP_TYPE.echoReply : ICMP_TYPE.echoRequest;
  return { ...turned, icmp: { ...icmp, type } };
}
