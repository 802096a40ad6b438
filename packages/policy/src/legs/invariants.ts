/**
 * What must hold for any legs, whatever policy they came from. The enforcer checks it on what the
 * compiler gave it and approvers signed, so that a hostile compiler cannot open what no policy may.
 */
import {
  contains,
  formatIpv4,
  type Interval,
  type Ipv4,
  normalize,
  sizeOf,
  subtract,
} from "@sallyport/core";
import { legsShape, Violations } from "./invariants-shape.ts";
import type {
  ComponentRoom,
  Conduit,
  EngineZone,
  Leg,
  Legs,
  Listener,
  Point,
  ZoneKind,
} from "./types.ts";

export type InvariantsAnswer =
  | { readonly ok: true; readonly legs: Legs }
  | { readonly ok: false; readonly violations: readonly string[] };

/** `legs` is JSON from another process: nothing about it is taken for granted. */
export function checkInvariants(legs: unknown): InvariantsAnswer {
  const out = new Violations();
  legsShape(legs, "legs", out);
  if (out.list.length > 0) return { ok: false, violations: out.list };
  // The shape was just checked, member by member.
  const shaped = legs as Legs;
  const places = new Places(shaped, out);
  checkAttachments(shaped, out);
  checkDialling(shaped, out);
  checkRooms(shaped, places, out);
  const owners = ownersOf(shaped, places, out);
  const rooms = new Map(shaped.rooms.map((room) => [room.name, room]));
  for (const [at, conduit] of shaped.conduits.entries()) {
    const { name, key } = conduit;
    const previous = shaped.conduits[at - 1]?.name ?? "";
    if (name <= previous) out.add(name, "does not come after the conduit before it");
    if (!key.startsWith(`${name}#`)) out.add(name, `has the key ${key} of another name`);
    checkKind(conduit, out);
    for (const [index, leg] of conduit.legs.entries()) {
      const path = `${name}.legs[${index}]`;
      checkRedirects(rooms, conduit, leg, owners, path, out);
      checkEnds(conduit, leg, places, owners, path, out);
    }
  }
  return out.list.length > 0 ? { ok: false, violations: out.list } : { ok: true, legs: shaped };
}

const IT: readonly ZoneKind[] = ["business", "external"];
const OT: readonly ZoneKind[] = ["control", "safety"];

interface Span extends Interval {
  readonly zone: EngineZone;
}

/** Every zone's addresses in one order, so that each leg costs a search and not a walk. */
class Places {
  readonly #spans: readonly Span[];

  constructor(legs: Legs, out: Violations) {
    this.#spans = legs.zones
      .flatMap((zone) => zone.addresses.map(({ first, last }) => ({ first, last, zone })))
      .sort((a, b) => a.first - b.first);
    for (const [index, span] of this.#spans.entries()) {
      const next = this.#spans[index + 1];
      if (next !== undefined && next.first <= span.last) {
        out.add(span.zone.name, `shares ${formatIpv4(next.first)} with ${next.zone.name}`);
      }
    }
    for (const address of [...legs.own, ...legs.broadcast]) {
      const zone = this.zoneOf(address);
      if (zone !== undefined) out.add(zone.name, `holds ${formatIpv4(address)} of the box itself`);
    }
    const multicast = this.touching({ first: 0xe0000000, last: 0xffffffff }).zones[0];
    if (multicast !== undefined) out.add(multicast.name, "holds multicast addresses");
  }

  zoneOf(address: Ipv4): EngineZone | undefined {
    return this.touching({ first: address, last: address }).zones[0];
  }

  /** Of a whole set, as `touching`. */
  ends(set: readonly Interval[]): { zones: EngineZone[]; covered: boolean } {
    const parts = set.map((interval) => this.touching(interval));
    return { zones: parts.flatMap((p) => p.zones), covered: parts.every((p) => p.covered) };
  }

  /** The zones that hold a part of the interval, and whether they hold all of it. */
  touching({ first, last }: Interval): { zones: EngineZone[]; covered: boolean } {
    let low = 0;
    let high = this.#spans.length;
    while (low < high) {
      const middle = (low + high) >> 1;
      if ((this.#spans[middle]?.last ?? 0) < first) low = middle + 1;
      else high = middle;
    }
    const zones: EngineZone[] = [];
    let reached = first;
    for (let index = low; index < this.#spans.length; index++) {
      const span = this.#spans[index];
      if (span === undefined || span.first > last) break;
      zones.push(span.zone);
      if (span.first <= reached) reached = span.last + 1;
    }
    return { zones, covered: reached > last };
  }
}

function checkAttachments(legs: Legs, out: Violations): void {
  const own = new Set(legs.own);
  const places = new Map<string, string>();
  const nics = new Map<string, Point>();
  for (const { zone, point, nic, vlan, interface: name, mode, addresses } of legs.attachments) {
    if (name !== (vlan === undefined ? nic : `${nic}.${vlan}`)) {
      out.add(zone, `is attached to ${name}, which is not named after its NIC`);
    }
    if ((nics.get(nic) ?? point) !== point) out.add(zone, `needs ${nic} in both rooms`);
    nics.set(nic, point);
    if (mode === "routed") places.set(`${point} ${name} ${zone}`, zone);
    for (const { address } of addresses) {
      if (!own.has(address)) out.add(zone, `${formatIpv4(address)} is not among the own addresses`);
    }
  }
  for (const transit of [legs.transit.outer, legs.transit.inner]) {
    if (!own.has(transit)) out.add("transit", `${formatIpv4(transit)} is not an own address`);
  }
  for (const { name, kind, point, interface: device } of legs.zones) {
    if (!name.startsWith("dmz/") && !places.has(`${point} ${device} ${name}`)) {
      out.add(name, `claims ${device} at ${point}, where it is not attached`);
    }
    if (IT.includes(kind) && point !== "outer") out.add(name, `is ${kind} but not at outer`);
    if (OT.includes(kind) && point !== "inner") out.add(name, `is ${kind} but not at inner`);
    if ((kind === "dmz") !== name.startsWith("dmz/")) out.add(name, `cannot be of kind ${kind}`);
  }
}

/** Where sources are replaced, by an own address on the zone's interface, for the whole zone and no more. */
function checkDialling(legs: Legs, out: Violations): void {
  for (const { name, point, interface: device, addresses, dialledFrom } of legs.zones) {
    if (dialledFrom === undefined) continue;
    if (name.startsWith("dmz/")) out.add(name, "is a component and has a gateway's source");
    const own = legs.attachments
      .filter((one) => one.point === point && one.interface === device && one.mode === "routed")
      .flatMap((one) => one.addresses.map(({ address }) => address));
    for (const { address } of dialledFrom) {
      if (!own.includes(address)) {
        out.add(name, `is dialled from ${formatIpv4(address)}, which is not ours on ${device}`);
      }
    }
    const parts = dialledFrom.flatMap(({ to }) => to);
    const whole = normalize(parts);
    const isExact = sizeOf(whole) === sizeOf(parts) && subtract(addresses, whole).length === 0;
    if (!isExact || subtract(whole, addresses).length > 0) {
      out.add(name, "has a gateway's source for other addresses than its own");
    }
  }
}

/** A component may speak as exactly the addresses of its links, each behind an interface of its own. */
function checkRooms(legs: Legs, places: Places, out: Violations): void {
  const names = new Set<string>();
  const devices = new Set(legs.attachments.map((a) => `${a.point} ${a.interface}`));
  const claimed = new Map<string, number>();
  for (const room of legs.rooms) {
    if (names.has(room.name)) out.add(room.name, "is there twice");
    names.add(room.name);
    if ((room.kind === "portal" || room.kind === "control") && room.inner !== undefined) {
      out.add(room.name, `is a ${room.kind} and has a link to inner`);
    }
    for (const point of ["outer", "inner"] as const) {
      const link = room[point];
      if (link === undefined) continue;
      const device = `${point} ${link.interface}`;
      if (devices.has(device)) out.add(room.name, `shares ${link.interface} at ${point}`);
      devices.add(device);
      claimed.set(`dmz/${room.name} ${device}`, new Set(link.addresses).size);
      for (const address of link.addresses) {
        const zone = places.zoneOf(address);
        if (zone?.name !== `dmz/${room.name}` || `${zone.point} ${zone.interface}` !== device) {
          out.add(room.name, `${formatIpv4(address)} is not in its own zone at ${point}`);
        }
      }
    }
  }
  for (const zone of legs.zones.filter((candidate) => candidate.kind === "dmz")) {
    const held = claimed.get(`${zone.name} ${zone.point} ${zone.interface}`) ?? 0;
    if (sizeOf(zone.addresses) !== held) out.add(zone.name, "is not what its room's link holds");
  }
}

function endpoint(address: Ipv4, port: number): string {
  return `${formatIpv4(address)}:${port}`;
}

interface Owners {
  /** By endpoint: one listener serves one conduit, target and slot. */
  readonly listeners: Map<string, readonly [Conduit, Listener]>;
  /** By address, the conduit and slot: a gate's source names them to the next engine. */
  readonly egress: Map<Ipv4, readonly [conduit: string, slot: number]>;
}

function ownersOf(legs: Legs, places: Places, out: Violations): Owners {
  const owners: Owners = { listeners: new Map(), egress: new Map() };
  for (const conduit of legs.conduits) {
    const { name } = conduit;
    for (const listener of conduit.listeners) {
      const { listenAddress, listenPort, egressAddress, slot, room } = listener;
      const key = endpoint(listenAddress, listenPort);
      if (owners.listeners.has(key)) out.add(name, `shares the listener ${key}`);
      owners.listeners.set(key, [conduit, listener]);
      const [owner, ownerSlot] = owners.egress.get(egressAddress) ?? [name, slot];
      if (owner !== name || ownerSlot !== slot) {
        out.add(name, `shares the egress address ${formatIpv4(egressAddress)}`);
      }
      owners.egress.set(egressAddress, [name, slot]);
      if (places.zoneOf(egressAddress)?.name !== `dmz/${room}`) {
        out.add(name, `${formatIpv4(egressAddress)} is not an address of ${room}`);
      }
    }
  }
  return owners;
}

function checkKind(conduit: Conduit, out: Violations): void {
  const { name, via, audit, session, legs, listeners } = conduit;
  if ((via === "session") !== (session !== undefined)) {
    out.add(name, "session terms and via do not fit");
  }
  if (session !== undefined && listeners.length === 0) out.add(name, "has no slots to grant");
  if ((via === "direct" || via === "diode") && listeners.length > 0) {
    out.add(name, `is ${via} and has listeners`);
  }
  for (const leg of legs) {
    if (via === "diode" && (leg.protocol !== "udp" || leg.redirects.length > 0)) {
      out.add(name, "is a diode and not plain udp");
    }
    if (leg.replies !== (via !== "diode")) out.add(name, "only a diode has no replies");
    if (via === "direct" && leg.redirects.length > 0) out.add(name, "is direct and has redirects");
    if (audit && leg.redirects.length > 0) out.add(name, "is audited and handed to a gate");
    if (leg.from.length === 0 || leg.to.length === 0) out.add(name, "has a leg without addresses");
    if ((leg.ports.length === 0) !== (leg.protocol === "icmp")) out.add(name, "ports do not fit");
  }
  for (const { slot } of listeners) {
    if (slot > (session?.slots ?? 0)) out.add(name, `has no slot ${slot}`);
  }
}

/** Each address, port and slot of a leg to a gate has its one listener, of this conduit, next door. */
function checkRedirects(
  rooms: ReadonlyMap<string, ComponentRoom>,
  conduit: Conduit,
  leg: Leg,
  owners: Owners,
  path: string,
  out: Violations,
): void {
  if (leg.redirects.length === 0) return;
  const slots = conduit.session?.slots ?? 1;
  const seen = new Set<string>();
  for (const redirect of leg.redirects) {
    const { address, port, room, listenAddress, listenPort, slot } = redirect;
    seen.add(`${endpoint(address, port)} ${slot}`);
    if (!contains(leg.to, address) || !contains(leg.ports, port)) {
      out.add(path, `redirects ${endpoint(address, port)}, which it does not cover`);
    }
    const [owner, listener] = owners.listeners.get(endpoint(listenAddress, listenPort)) ?? [];
    const ours = owner === conduit && listener?.room === room && listener.slot === slot;
    const link = rooms.get(room)?.[leg.point];
    if (!ours || link?.addresses.includes(listenAddress) !== true) {
      out.add(path, `${endpoint(listenAddress, listenPort)} is no listener of ${room} here`);
    } else if (listener.targetAddress !== address || listener.targetPort !== port) {
      out.add(path, `${endpoint(address, port)} ends at another target`);
    }
  }
  const wanted = sizeOf(leg.to) * sizeOf(leg.ports) * slots;
  if (seen.size !== wanted || leg.redirects.length !== wanted) {
    out.add(path, `has ${leg.redirects.length} redirects where ${wanted} are needed`);
  }
}

/** Who may send here, and that nothing is forwarded past the gates. */
function checkEnds(
  conduit: Conduit,
  leg: Leg,
  places: Places,
  owners: Owners,
  path: string,
  out: Violations,
): void {
  const from = places.ends(leg.from);
  const to = places.ends(leg.to);
  const forwarded = leg.redirects.length === 0;
  if (!from.covered || from.zones.some((zone) => zone.point !== leg.point)) {
    out.add(path, `has sources that are in no zone at ${leg.point}`);
  }
  if (!to.covered) out.add(path, "has targets in no zone");
  if (forwarded && to.zones.some((zone) => zone.point !== leg.point)) {
    out.add(path, "crosses to the other side without a gate");
  }
  const kinds = (zones: readonly EngineZone[], wanted: readonly ZoneKind[]): boolean =>
    zones.some((zone) => wanted.includes(zone.kind));
  const itToOt = kinds(from.zones, IT) && kinds(to.zones, OT);
  const otToIt = kinds(from.zones, OT) && kinds(to.zones, IT);
  if (forwarded && (itToOt || otToIt)) out.add(path, "forwards between IT and OT");
  const ends = [...from.zones, ...to.zones];
  if (conduit.audit && !ends.every((zone) => OT.includes(zone.kind))) {
    out.add(path, "is audited and not between OT zones");
  }
  const named = new Set([...conduit.fromZones, ...conduit.toZones]);
  const unnamed = ends.find((zone) => zone.kind !== "dmz" && !named.has(zone.name));
  // An island closes what names its zone: a conduit that kept quiet about it would stay open.
  if (unnamed !== undefined) out.add(path, `touches ${unnamed.name}, which it does not name`);
  if (!kinds(from.zones, ["dmz"])) return;
  for (const { first, last } of leg.from) {
    for (let address = first; address <= last && address - first <= EGRESS_SCAN_MAX; address++) {
      if ((owners.egress.get(address)?.[0] ?? conduit.name) !== conduit.name) {
        out.add(path, `uses ${formatIpv4(address)}, the egress address of another conduit`);
      }
    }
  }
}

/** A component's addresses on one link are counted in hundreds. */
const EGRESS_SCAN_MAX = 65_536;
