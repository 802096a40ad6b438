/**
 * Legs as one point looks things up: where an address may come from, what it is, and which conduits
 * and grants cover a packet, in the order in which they are asked. Steps 7, 9 and 10 of
 * `docs/reference/packet-semantics.md`.
 */
import { contains, type Interval, type Ipv4, sizeOf } from "@sallyport/core";
import type { PacketReason } from "./reasons.ts";
import { grantLiveness, livenessOf, nextChange } from "./schedule.ts";
import type {
  Conduit,
  EngineZone,
  Grant,
  Leg,
  Legs,
  Liveness,
  Point,
  Protocol,
  Redirect,
} from "./types.ts";

/** What is true beside the legs at the moment they are in force. */
export interface Circumstances {
  readonly islanded?: ReadonlySet<string>;
  readonly grants?: readonly Grant[];
  readonly revoked?: ReadonlySet<string>;
  readonly timeTrusted?: boolean;
}

/** A conduit or a grant: what marks a session, and is asked on each of its packets. */
export interface Carrier {
  /** Conduit key or grant id, as in the enforcer's table of numbers. */
  readonly id: string;
  readonly conduit: Conduit;
  readonly grant: Grant | undefined;
  readonly audit: boolean;
  readonly diode: boolean;
  livenessAt(now: number): Liveness;
}

/** A carrier's leg at this point, or the one row that a grant opens in it. */
export interface Row {
  readonly carrier: Carrier;
  readonly from: readonly Interval[];
  readonly to: readonly Interval[];
  readonly protocol: Protocol;
  readonly ports: readonly Interval[];
  /** By `endpointKey` as dialled; undefined where the packet is forwarded. */
  readonly redirects: ReadonlyMap<number, Redirect> | undefined;
}

/** What a packet is to the rows: `port` is ignored for icmp. */
export interface Question {
  readonly source: Ipv4;
  readonly destination: Ipv4;
  readonly protocol: Protocol;
  readonly port: number;
}

export type Answer =
  | { readonly row: Row; readonly redirect: Redirect | undefined }
  | { readonly reason: PacketReason; readonly carrier: Carrier | undefined };

/** 224.0.0.0/4 (RFC 5771) and the limited broadcast address (RFC 919). */
const MULTICAST: Interval = { first: 0xe0000000, last: 0xefffffff };
const BROADCAST = 0xffffffff;

export class PointTable {
  readonly legs: Legs;
  readonly point: Point;
  /** In the order in which they are asked: grants, conduits by name, audit conduits by name. */
  readonly rows: readonly Row[];
  readonly carriers: ReadonlyMap<string, Carrier>;
  readonly #zones: readonly ZoneSpan[];
  readonly #own: ReadonlySet<Ipv4>;
  readonly #broadcast: ReadonlySet<Ipv4>;
  readonly #interfaces: ReadonlySet<string>;
  readonly #index: RowIndex;

  constructor(legs: Legs, point: Point, circumstances: Circumstances = {}) {
    this.legs = legs;
    this.point = point;
    this.#zones = legs.zones
      .flatMap((zone) => zone.addresses.map(({ first, last }) => ({ first, last, zone })))
      .sort((a, b) => a.first - b.first);
    this.#own = new Set(legs.own);
    this.#broadcast = new Set(legs.broadcast);
    const here = legs.zones.filter((zone) => zone.point === point);
    const attached = legs.attachments.filter((a) => a.point === point && a.mode === "routed");
    this.#interfaces = new Set([...here, ...attached].map((place) => place.interface));
    const carriers = carriersOf(legs, circumstances);
    this.carriers = new Map(carriers.map((carrier) => [carrier.id, carrier]));
    this.rows = carriers.flatMap((carrier) => rowsOf(carrier, point));
    this.#index = new RowIndex(this.rows);
  }

  /** An interface that the room was given by these legs. */
  knows(name: string): boolean {
    return this.#interfaces.has(name);
  }

  zoneOf(address: Ipv4): EngineZone | undefined {
    let low = 0;
    let high = this.#zones.length - 1;
    while (low <= high) {
      const middle = (low + high) >> 1;
      const span = this.#zones[middle];
      if (span === undefined) return undefined;
      if (address < span.first) high = middle - 1;
      else if (address > span.last) low = middle + 1;
      else return span.zone;
    }
    return undefined;
  }

  /** Step 13: the source with which a session to this address leaves the room; undefined: its own. */
  dialledFrom(destination: Ipv4): Ipv4 | undefined {
    const zone = this.zoneOf(destination);
    // What is at the other point is not forwarded there from here.
    if (zone?.point !== this.point) return undefined;
    return zone.dialledFrom?.find(({ to }) => contains(to, destination))?.address;
  }

  /** Step 7: the zone that the source speaks for, or why it may not. */
  sourceZone(source: Ipv4, arrivedOn: string): EngineZone | PacketReason {
    const zone = this.zoneOf(source);
    if (zone === undefined) return "no-src-zone";
    return zone.point === this.point && zone.interface === arrivedOn ? zone : "wrong-interface";
  }

  /** Step 9: why nothing may be sent there, whoever asks. */
  refusesDestination(destination: Ipv4): PacketReason | undefined {
    if (this.#own.has(destination)) return "to-gateway";
    if (this.#broadcast.has(destination) || destination === BROADCAST) return "multicast";
    if (destination >= MULTICAST.first && destination <= MULTICAST.last) return "multicast";
    return this.zoneOf(destination) === undefined ? "no-dst-zone" : undefined;
  }

  /** Step 10: the first open row that covers the packet, or the first row's reason. */
  carry(question: Question, now: number): Answer {
    let refusal: Answer | undefined;
    for (const row of this.#index.candidates(question)) {
      if (!covers(row, question)) continue;
      const { carrier } = row;
      const liveness = carrier.livenessAt(now);
      if (!liveness.open) {
        refusal ??= { reason: liveness.closedReason, carrier };
        continue;
      }
      if (row.redirects === undefined) return { row, redirect: undefined };
      const redirect = row.redirects.get(endpointKey(question.destination, question.port));
      // A leg to a gate without an entry for this address and port leads nowhere.
      if (redirect !== undefined) return { row, redirect };
    }
    return refusal ?? { reason: "no-conduit", carrier: undefined };
  }
}

interface ZoneSpan extends Interval {
  readonly zone: EngineZone;
}

function covers(row: Row, { source, destination, protocol, port }: Question): boolean {
  return (
    row.protocol === protocol &&
    contains(row.from, source) &&
    contains(row.to, destination) &&
    (protocol === "icmp" || contains(row.ports, port))
  );
}

/** An address and a port as one number below 2^48. */
export function endpointKey(address: Ipv4, port: number): number {
  return address * 65_536 + port;
}

function redirectMap(leg: Leg, slot: number): Row["redirects"] {
  if (leg.redirects.length === 0) return undefined;
  const ours = leg.redirects.filter((redirect) => redirect.slot === slot);
  return new Map(ours.map((redirect) => [endpointKey(redirect.address, redirect.port), redirect]));
}

function carriersOf(legs: Legs, circumstances: Circumstances): Carrier[] {
  const { islanded = new Set<string>(), revoked = new Set<string>() } = circumstances;
  const { grants = [], timeTrusted = true } = circumstances;
  const byName = new Map(legs.conduits.map((conduit) => [conduit.name, conduit]));
  const carriers: Carrier[] = [];
  for (const grant of grants) {
    const conduit = byName.get(grant.conduit);
    // Without its conduit a grant has no legs; its sessions end because nobody knows its id.
    if (conduit === undefined) continue;
    carriers.push({
      id: grant.id,
      conduit,
      grant,
      audit: false,
      diode: false,
      livenessAt: (now) => grantLiveness(grant, conduit, now, revoked, islanded, timeTrusted),
    });
  }
  for (const audit of [false, true]) {
    for (const conduit of legs.conduits.filter((candidate) => candidate.audit === audit)) {
      const livenessAt = remembered(
        (now) => livenessOf(conduit, now, islanded, timeTrusted),
        (now) => nextChange(conduit, now),
      );
      const diode = conduit.via === "diode";
      carriers.push({ id: conduit.key, conduit, grant: undefined, audit, diode, livenessAt });
    }
  }
  return carriers;
}

/** Schedules are asked on every packet and change a few times a week. */
function remembered(
  ask: (now: number) => Liveness,
  next: (now: number) => number | null,
): (now: number) => Liveness {
  let answer: Liveness | undefined;
  let since = 0;
  let until = 0;
  return (now) => {
    if (answer === undefined || now < since || now >= until) {
      answer = ask(now);
      since = now;
      until = next(now) ?? Number.POSITIVE_INFINITY;
    }
    return answer;
  };
}

function rowsOf(carrier: Carrier, point: Point): Row[] {
  const rows: Row[] = [];
  for (const leg of carrier.conduit.legs) {
    if (leg.point !== point) continue;
    const row = carrier.grant === undefined ? wholeLeg(carrier, leg) : grantRow(carrier, leg);
    if (row !== undefined) rows.push(row);
  }
  return rows;
}

function wholeLeg(carrier: Carrier, leg: Leg): Row {
  const { from, to, protocol, ports } = leg;
  return { carrier, from, to, protocol, ports, redirects: redirectMap(leg, 0) };
}

/** Where the person dials in: their own address. Behind the gate: the address its slot dials from. */
function grantRow(carrier: Carrier, leg: Leg): Row | undefined {
  const { grant, conduit } = carrier;
  if (grant === undefined || leg.protocol !== grant.protocol) return undefined;
  const source = leg.redirects.length > 0 ? grant.source : egressOf(conduit, grant);
  if (source === undefined || !contains(leg.from, source)) return undefined;
  if (!contains(leg.to, grant.target) || !contains(leg.ports, grant.port)) return undefined;
  return {
    carrier,
    from: [{ first: source, last: source }],
    to: [{ first: grant.target, last: grant.target }],
    protocol: grant.protocol,
    ports: [{ first: grant.port, last: grant.port }],
    redirects: redirectMap(leg, grant.slot),
  };
}

function egressOf(conduit: Conduit, grant: Grant): Ipv4 | undefined {
  return conduit.listeners.find(
    (listener) =>
      listener.slot === grant.slot &&
      listener.targetAddress === grant.target &&
      listener.targetPort === grant.port,
  )?.egressAddress;
}

/**
 * Rows by exact destination, so that a plant of ten thousand conduits is not walked for each packet.
 * A row to a whole network stands in a list of its own and in that of each address it covers.
 */
class RowIndex {
  readonly #exact = new Map<Ipv4, Row[]>();
  readonly #wide: Row[];

  constructor(rows: readonly Row[]) {
    this.#wide = rows.filter((row) => sizeOf(row.to) > EXACT_MAX);
    for (const row of rows) {
      if (sizeOf(row.to) > EXACT_MAX) continue;
      for (const { first, last } of row.to) {
        for (let address = first; address <= last; address++) this.#exact.set(address, []);
      }
    }
    for (const row of rows) {
      if (sizeOf(row.to) > EXACT_MAX) {
        for (const [address, list] of this.#exact) if (contains(row.to, address)) list.push(row);
      } else {
        for (const { first, last } of row.to) {
          for (let address = first; address <= last; address++) {
            this.#exact.get(address)?.push(row);
          }
        }
      }
    }
  }

  candidates(question: Question): readonly Row[] {
    return this.#exact.get(question.destination) ?? this.#wide;
  }
}

/** Rows to at most this many addresses are filed under each of them. */
const EXACT_MAX = 16;
