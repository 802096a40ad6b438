/** Recorded flows as questions that the model can answer, or why one cannot be asked. */
import { formatIpv4, type Ipv4, parseIpv4 } from "@sallyport/core";
import type { Conduit, Legs, Listener, Point, Protocol } from "@sallyport/policy/legs";
import type { Peer } from "@sallyport/store";

export interface Asked {
  readonly point: Point;
  readonly from: Ipv4;
  readonly to: Ipv4;
  /** `to` as a dotted quad. */
  readonly destination: string;
  readonly protocol: Protocol;
  readonly port: number;
  /** A decoder's function; empty where only the connection is asked about. */
  readonly function: string;
  /** What the record says. */
  readonly passed: boolean;
  readonly byGrant: boolean;
}

/** Each is a sentence's end for the operator: these flows are neither staying nor breaking. */
export type NotAsked =
  | "counted without addresses: samples of them are replayed"
  | "a gate's own dialing, which follows its client's"
  | "refused for what the packet was, not for who sent it"
  | "refused for addresses, values or rate that are not recorded"
  | "audit mode let it pass"
  | "its asset is in neither policy"
  | "its protocol is none of tcp, udp, icmp";

/** Refusals that depend on the two ends and the time alone: an opening packet with the same ends tells. */
const BY_ENDS: ReadonlySet<string> = new Set([
  "no-src-zone",
  "no-dst-zone",
  "to-gateway",
  "multicast",
  "no-conduit",
  "expired",
  "outside-window",
  "no-grant",
  "grant-expired",
  "revoked",
  "island",
  "time-untrusted",
]);
/** A gate's refusal that depends on the function alone. */
const BY_FUNCTION = "l7.function-not-allowed";
/** Grant ids stand where a conduit's name would. */
const GRANT_ID = /^g-/;
const PROTOCOLS: ReadonlySet<string> = new Set(["tcp", "udp", "icmp"]);

export class Naming {
  /** The policy in force first: its words are those of the record. */
  readonly #policies: readonly Legs[];
  readonly #sessions: ReadonlySet<string>;
  readonly #egress: ReadonlySet<Ipv4>;

  constructor(running: Legs | undefined, legs: Legs) {
    this.#policies = running === undefined ? [legs] : [running, legs];
    const conduits = this.#policies.flatMap((policy) => policy.conduits);
    this.#sessions = new Set(
      conduits.filter(({ via }) => via === "session").map(({ name }) => name),
    );
    // Addresses of gates are given anew with each policy: those of the record are the running one's.
    const gates = (running ?? legs).conduits.flatMap((conduit) => conduit.listeners);
    this.#egress = new Set(gates.map(({ egressAddress }) => egressAddress));
  }

  questionOf(peer: Peer): Asked | NotAsked {
    const passed = peer.accepted > 0;
    if (peer.reason === "would-deny") return "audit mode let it pass";
    return isPoint(peer.point)
      ? this.#packet(peer, peer.point, passed)
      : this.#request(peer, passed);
  }

  #packet(peer: Peer, point: Point, passed: boolean): Asked | NotAsked {
    if (!passed && !BY_ENDS.has(peer.reason)) {
      return "refused for what the packet was, not for who sent it";
    }
    const from = parseIpv4(peer.source);
    const to = parseIpv4(peer.destination);
    if (from === undefined || to === undefined) {
      return "counted without addresses: samples of them are replayed";
    }
    if (passed && this.#egress.has(from)) return "a gate's own dialing, which follows its client's";
    if (!isProtocol(peer.protocol)) return "its protocol is none of tcp, udp, icmp";
    const { protocol, port, destination } = peer;
    const byGrant = passed && this.#isGrant(peer.conduit);
    return { point, from, to, destination, protocol, port, function: "", passed, byGrant };
  }

  #request(peer: Peer, passed: boolean): Asked | NotAsked {
    if (!passed && peer.reason !== BY_FUNCTION) {
      return "refused for addresses, values or rate that are not recorded";
    }
    const from = parseIpv4(peer.source);
    if (from === undefined) return "counted without addresses: samples of them are replayed";
    const end = this.#listenerOf(peer);
    if (end === undefined) return "its asset is in neither policy";
    const { conduit, listener } = end;
    const redirected = conduit.legs.find((leg) => leg.redirects.length > 0);
    return {
      point: redirected?.point ?? "inner",
      from,
      to: listener.targetAddress,
      destination: formatIpv4(listener.targetAddress),
      protocol: redirected?.protocol ?? "tcp",
      port: listener.targetPort,
      function: peer.function,
      passed,
      byGrant: passed && this.#isGrant(conduit.name),
    };
  }

  #isGrant(conduit: string): boolean {
    return GRANT_ID.test(conduit) || this.#sessions.has(conduit);
  }

  /** Which address and port a gate's `asset` is: as the record's policy said, else the new one. */
  #listenerOf(peer: Peer): { conduit: Conduit; listener: Listener } | undefined {
    for (const policy of this.#policies) {
      const conduit = policy.conduits.find(({ name }) => name === peer.conduit);
      const listener = conduit?.listeners.find(({ asset }) => asset === peer.destination);
      if (conduit !== undefined && listener !== undefined) return { conduit, listener };
    }
    return undefined;
  }
}

function isPoint(name: string): name is Point {
  return name === "outer" || name === "inner";
}

function isProtocol(name: string): name is Protocol {
  return PROTOCOLS.has(name);
}
