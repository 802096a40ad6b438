/**
 * Legs to the maps of `inner.bpf.c`: what each slot of the second engine holds. Every function here
 * is pure and answers map writes; `batchText` puts them into words for `bpftool batch file`.
 *
 * Addresses become prefixes of one trie. Each prefix inherits what the prefixes around it say: its
 * zone, and the sets of legs that begin and end there. Two such sets (classes) and a protocol name
 * a cell; a cell lists port ranges, a range the candidates in the order in which they are asked.
 */
import { createHash } from "node:crypto";
import { contains, prefixesOf, SallyportError } from "@sallyport/core";
import { type EngineZone, type Grant, type Leg, type Point, REASONS } from "@sallyport/policy/legs";
import type { LiveEntry, Lowering, Slot } from "../engine.ts";
import { CANDIDATE, hex32, MapBytes, PROTOCOL, SLOT_PAGES, toHex } from "./layout.ts";
import { type SlotPages, slotPages } from "./pages.ts";
import { type AddressMark, classify, membersOf } from "./trie.ts";

export type MapName =
  | "slots"
  | "settings"
  | "interfaces"
  | "pages"
  | "grants"
  | "live"
  | "samples"
  | "hits"
  | "peers"
  | "denied"
  | "sessions"
  | "aliases"
  | "zone_sessions"
  | "lost";

/** One entry of a map, in hex as bpftool takes it (`0a 00 ff`); without a value it is deleted. */
export interface MapWrite {
  readonly map: MapName;
  readonly key: string;
  readonly value: string | undefined;
}

/** The same moment on the wall clock and on the kernel's boot clock. */
export interface ClockPair {
  readonly nowMs: number;
  readonly bootNs: bigint;
}

/** Index inside the room; undefined while the interface is missing: then nothing may come from it. */
export type IfindexOf = (name: string) => number | undefined;

const POINTS: { readonly [P in Point]: number } = { inner: 1, outer: 2 };
const NO_INTERFACE = 0xffffffff;
const INTERFACE_ZONES = 1;
const INTERFACE_TRUNK = 2;
const LIVE_AUDIT = 1;
const GRANTS_PER_ROW = 4;
const NEVER_ENDS = 2n ** 64n - 1n;
const LOW_HALF = 2n ** 32n - 1n;
const KEY_ZERO = "00 00 00 00";

/** Names one filled slot in every key, so that no generation meets another's entries. */
export function tableOf(lowering: { readonly generation: number; readonly slot: Slot }): number {
  return lowering.generation * 2 + lowering.slot;
}

/**
 * A zone in session budgets and counters, 1 to 2^32 - 1. Made of its name, so that it is the same in
 * every generation without a table of numbers.
 */
export function zoneNumber(zone: EngineZone): number {
  const digest = createHash("sha256").update(`${zone.name}@${zone.interface}`).digest();
  return digest.readUInt32BE(0) || 1;
}

/** By number, for readers of counters. Two zones with one number are refused. */
export function zoneNames(zones: readonly EngineZone[]): Map<number, string> {
  const seen = new Map<number, EngineZone>();
  for (const zone of zones) {
    const other = seen.get(zoneNumber(zone));
    if (other !== undefined && (other.name !== zone.name || other.interface !== zone.interface)) {
      throw new SallyportError(
        "zone-number-collision",
        `zones ${other.name} and ${zone.name} have the same number in the eBPF engine`,
        { hint: "rename one of them" },
      );
    }
    seen.set(zoneNumber(zone), zone);
  }
  return new Map([...seen].map(([number, zone]) => [number, zone.name]));
}

/** All of a slot. The slot must not be in force; until the last write it is marked empty. */
export function fillSlot(lowering: Lowering, ifindexOf: IfindexOf, clock: ClockPair): MapWrite[] {
  const members = membersOf(lowering);
  const classes = classify(addressMarks(lowering, ifindexOf), members);
  const table = tableOf(lowering);
  const filled = slotPages(members, classes);
  const known = entriesOf(lowering);
  return [
    settings(lowering, 0, { pages: [], cellMask: 0, addresses: 0 }),
    ...interfaces(lowering, ifindexOf),
    ...filled.pages.map(
      (page, index): MapWrite => ({
        map: "pages",
        key: pageKey(lowering.slot, index),
        value: toHex(page),
      }),
    ),
    ...[...known.values()].map((entry) => liveWrite(table, entry, clock)),
    ...grantRows(
      lowering,
      lowering.grants.map(({ grant }) => grant),
    ),
    settings(lowering, table, filled),
  ];
}

/** The one write that puts a slot in force; a pending one until a time of the boot clock. */
export function select(
  confirmed: Slot,
  pending?: { readonly slot: Slot; readonly untilBootNs: bigint },
): MapWrite {
  const value = new MapBytes(16).u32(confirmed).u32(pending?.slot ?? confirmed);
  value.u64(pending?.untilBootNs ?? 0n);
  return { map: "slots", key: KEY_ZERO, value: value.hex() };
}

/**
 * What is open until when, for entries that this slot's legs or grants know. An id that they don't
 * know gets no entry: a session that a rolled back generation opened must find itself revoked.
 */
export function setLive(
  lowering: Lowering,
  entries: readonly LiveEntry[],
  clock: ClockPair,
): MapWrite[] {
  const known = entriesOf(lowering);
  return entries
    .filter((entry) => known.has(entry.id))
    .map((entry) => liveWrite(tableOf(lowering), entry, clock));
}

/** `lowering.grants` has the grant already. */
export function addGrant(lowering: Lowering, grant: Grant, clock: ClockPair): MapWrite[] {
  const entry = lowering.grants.find((other) => other.grant.id === grant.id)?.entry;
  const live = entry === undefined ? [] : [liveWrite(tableOf(lowering), entry, clock)];
  return [...live, ...grantRows(lowering, [grant])];
}

/** `lowering.grants` no longer has the grant; its sessions find themselves revoked. */
export function removeGrant(lowering: Lowering, grant: Grant, id: number): MapWrite[] {
  const key = liveKey(tableOf(lowering), id);
  // bpftool ends its batch at a key that is missing, so it is written before it is deleted.
  const closed = new MapBytes(16).u64(0n).u32(REASONS.indexOf("revoked")).u32(0).hex();
  return [
    { map: "live", key, value: closed },
    { map: "live", key, value: undefined },
    ...grantRows(lowering, [grant]),
  ];
}

export interface Sampling {
  /** Of the veth whose far end is in `tap`; its MTU must hold a frame and 46 bytes. 0: no samples. */
  readonly tapIfindex: number;
  /** Samples per second and counter, once `burst` is used up; 0: no samples. */
  readonly perSecond: number;
  readonly burst: number;
}

export function setSampling(point: Point, sampling: Sampling): MapWrite {
  const { tapIfindex, perSecond, burst } = sampling;
  const interval = perSecond > 0 ? BigInt(Math.floor(1e9 / perSecond)) : 0n;
  const value = new MapBytes(24).u32(perSecond > 0 ? tapIfindex : 0).u32(POINTS[point]);
  value.u64(interval).u64(interval * BigInt(Math.max(burst - 1, 0)));
  return { map: "samples", key: KEY_ZERO, value: value.hex() };
}

/** Lines for `bpftool batch file`. `directory` holds the pinned maps and no blank in its name. */
export function batchText(directory: string, writes: readonly MapWrite[]): string {
  const lines = writes.map(({ map, key, value }) =>
    value === undefined
      ? `map delete pinned ${directory}/${map} key hex ${key}`
      : `map update pinned ${directory}/${map} key hex ${key} value hex ${value}`,
  );
  return `${lines.join("\n")}\n`;
}

function settings(lowering: Lowering, table: number, filled: SlotPages): MapWrite {
  const { sessionsPerZone, timeoutsSeconds: seconds } = lowering.legs.limits;
  const value = new MapBytes(72).u32(table).u32(lowering.generation).u32(filled.cellMask);
  value.u32(sessionsPerZone);
  const { tcpOpening, tcpOpen, tcpClosing, udp, icmp } = seconds;
  // By session state: opening, answered, open, closing; then UDP and echo.
  for (const timeout of [tcpOpening, tcpOpening, tcpOpen, tcpClosing, udp, icmp]) {
    value.u64(BigInt(Math.round(timeout * 1000)) * 1_000_000n);
  }
  value.u32(filled.pages.length).u32(filled.addresses);
  return { map: "settings", key: hex32(lowering.slot), value: value.hex() };
}

function interfaces({ legs, point, ...rest }: Lowering, ifindexOf: IfindexOf): MapWrite[] {
  const here = legs.attachments.filter((attachment) => attachment.point === point);
  const flags = new Map<string, number>();
  const add = (name: string, flag: number): void => {
    flags.set(name, (flags.get(name) ?? 0) | flag);
  };
  for (const zone of legs.zones) if (zone.point === point) add(zone.interface, INTERFACE_ZONES);
  for (const { mode, interface: name, nic, vlan } of here) {
    if (mode === "routed") add(name, INTERFACE_ZONES);
    if (vlan !== undefined) add(nic, INTERFACE_TRUNK);
  }
  return [...flags].flatMap(([name, flag]): MapWrite[] => {
    const ifindex = ifindexOf(name);
    if (ifindex === undefined) return [];
    const key = `${hex32(tableOf(rest))} ${hex32(ifindex)}`;
    return [{ map: "interfaces", key, value: hex32(flag) }];
  });
}

/** What the engine is told about addresses apart from legs. */
function addressMarks({ legs, point }: Lowering, ifindexOf: IfindexOf): AddressMark[] {
  zoneNames(legs.zones);
  const marks: AddressMark[] = [];
  for (const zone of legs.zones) {
    const ifindex = zone.point === point ? ifindexOf(zone.interface) : undefined;
    const place = { zone: zoneNumber(zone), ifindex: ifindex ?? NO_INTERFACE };
    for (const prefix of zone.addresses.flatMap(prefixesOf)) marks.push({ ...prefix, ...place });
    // What is at the other point is not forwarded there from here.
    for (const { to, address: dialledFrom } of (zone.point === point && zone.dialledFrom) || []) {
      for (const prefix of to.flatMap(prefixesOf)) marks.push({ ...prefix, ...place, dialledFrom });
    }
  }
  for (const address of legs.own) marks.push({ address, length: 32, own: true });
  for (const address of legs.broadcast) marks.push({ address, length: 32, broadcast: true });
  legs.rooms.forEach((room, index) => {
    const addresses = room[point]?.addresses ?? [];
    for (const address of addresses) marks.push({ address, length: 32, room: index + 1 });
  });
  return marks;
}

/** Where a slot's pages lie in the map. */
export function pageKey(slot: Slot, index: number): string {
  return hex32(slot * SLOT_PAGES + index);
}

/** Of conduits with a leg at this point, and of grants. */
function entriesOf(lowering: Lowering): Map<number, LiveEntry> {
  const entries = new Map<number, LiveEntry>();
  for (const { key, legs } of lowering.legs.conduits) {
    const entry = lowering.conduits.get(key);
    if (entry === undefined || !legs.some((leg) => leg.point === lowering.point)) continue;
    entries.set(entry.id, entry);
  }
  for (const { entry } of lowering.grants) entries.set(entry.id, entry);
  return entries;
}

function liveKey(table: number, id: number): string {
  return `${hex32(table)} ${hex32(id)}`;
}

function liveWrite(table: number, { id, liveness, audit }: LiveEntry, clock: ClockPair): MapWrite {
  const { open, until, closedReason } = liveness;
  const end = open ? bootTime(until, clock) : 0n;
  const ends = `${hex32(Number(end & LOW_HALF))} ${hex32(Number(end >> 32n))}`;
  const rest = `${hex32(REASONS.indexOf(closedReason))} ${hex32(audit ? LIVE_AUDIT : 0)}`;
  return { map: "live", key: liveKey(table, id), value: `${ends} ${rest}` };
}

function bootTime(until: number | null, { nowMs, bootNs }: ClockPair): bigint {
  if (until === null) return NEVER_ENDS;
  const end = bootNs + BigInt(Math.floor(until - nowMs)) * 1_000_000n;
  return end > 0n ? end : 0n;
}

/** Whole rows of what these grants open: others may stand in the same row. */
function grantRows(lowering: Lowering, grants: readonly Grant[]): MapWrite[] {
  const rows = new Map<string, MapBytes[]>();
  for (const grant of grants) for (const { key } of opened(lowering, grant, 0)) rows.set(key, []);
  for (const { grant, entry } of lowering.grants) {
    for (const { key, candidate } of opened(lowering, grant, entry.id)) {
      rows.get(key)?.push(candidate);
    }
  }
  return [...rows].flatMap(([key, candidates]): MapWrite[] => {
    if (candidates.length > GRANTS_PER_ROW) {
      throw new SallyportError(
        "ebpf-policy-too-large",
        `more than ${GRANTS_PER_ROW} grants open the same path`,
        { hint: "revoke one of them first" },
      );
    }
    const row = candidates.map((candidate) => candidate.hex());
    while (row.length < GRANTS_PER_ROW) row.push(new MapBytes(16).hex());
    const write: MapWrite = { map: "grants", key, value: row.join(" ") };
    return candidates.length > 0 ? [write] : [write, { map: "grants", key, value: undefined }];
  });
}

/** Where the person dials in, and where the gate dials out for them, as far as it is at this point. */
function opened(
  lowering: Lowering,
  grant: Grant,
  id: number,
): { readonly key: string; readonly candidate: MapBytes }[] {
  const conduit = lowering.legs.conduits.find(({ name }) => name === grant.conduit);
  const { target, port, slot, protocol } = grant;
  const egress = conduit?.listeners.find(
    (l) => l.slot === slot && l.targetAddress === target && l.targetPort === port,
  )?.egressAddress;
  return (conduit?.legs ?? []).flatMap((leg: Leg) => {
    const source = leg.redirects.length > 0 ? grant.source : egress;
    if (leg.point !== lowering.point || leg.protocol !== protocol || source === undefined)
      return [];
    const covered =
      contains(leg.from, source) && contains(leg.to, target) && contains(leg.ports, port);
    if (!covered) return [];
    const redirect = leg.redirects.find(
      (r) => r.slot === slot && r.address === target && r.port === port,
    );
    const key = new MapBytes(16).u32(tableOf(lowering)).be32(source).be32(target).u16(port);
    key.u8(PROTOCOL[protocol]).u8(0);
    const diode = leg.replies ? 0 : CANDIDATE.diode;
    const nowhere = leg.redirects.length > 0 ? CANDIDATE.nowhere : 0;
    const candidate = new MapBytes(16).u32(id);
    candidate.u32(diode | (redirect === undefined ? nowhere : CANDIDATE.redirect));
    candidate
      .be32(redirect?.listenAddress ?? 0)
      .u16(redirect?.listenPort ?? 0)
      .u16(0);
    return [{ key: key.hex(), candidate }];
  });
}
