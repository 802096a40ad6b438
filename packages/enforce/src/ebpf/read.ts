/**
 * What the maps of `inner.bpf.c` say, from the output of `bpftool -j map dump pinned …`, and denial
 * samples from the tap. Counters come from our own kernel, so what can't be read there is an error;
 * a sample comes over a link, so there it is a value.
 */
import { createHash } from "node:crypto";
import fs from "node:fs";
import { SallyportError } from "@sallyport/core";
import { type Point, REASONS } from "@sallyport/policy/legs";
import type { DenialCounter, HitCounter, Slot } from "../engine.ts";
import { HIT_GROUP, toHex } from "./layout.ts";
import type { MapName, MapWrite } from "./lower.ts";

export interface PeerCounter {
  readonly id: number;
  readonly source: number;
  readonly target: number;
  /** IANA number. */
  readonly protocol: number;
  /** 0 for ICMP echo. */
  readonly port: number;
  readonly sessions: number;
  readonly lastBootNs: bigint;
}

/** The boot clock, up to 10 ms late, so that ends reckoned from it come early and never late. */
export function readBootNs(): bigint {
  const [uptime = ""] = fs.readFileSync("/proc/uptime", "utf8").split(" ");
  return BigInt(uptime.replace(".", "")) * 10_000_000n;
}

export function readHits(json: string): HitCounter[] {
  return entriesOf(json).flatMap(({ key, value }) =>
    Array.from({ length: HIT_GROUP }, (_, index) => ({
      id: key.getUint32(0, true) * HIT_GROUP + index,
      packets: Number(value.getBigUint64(index * 16, true)),
      bytes: Number(value.getBigUint64(index * 16 + 8, true)),
    })).filter(({ packets }) => packets > 0),
  );
}

/** `names`: see `zoneNames`. A zone that no slot has any more is named by its number. */
export function readDenied(
  json: string,
  point: Point,
  names: ReadonlyMap<number, string>,
): (DenialCounter & { readonly suppressed: number })[] {
  const nameOf = (zone: number): string => (zone === 0 ? "" : (names.get(zone) ?? `#${zone}`));
  return entriesOf(json).map(({ key, value }) => ({
    point,
    sourceZone: nameOf(key.getUint32(0, true)),
    destinationZone: nameOf(key.getUint32(4, true)),
    id: key.getUint32(8, true),
    reason: REASONS[key.getUint32(12, true)] ?? `#${key.getUint32(12, true)}`,
    packets: Number(value.getBigUint64(0, true)),
    suppressed: Number(value.getBigUint64(8, true)),
  }));
}

export function readPeers(json: string): PeerCounter[] {
  return entriesOf(json).map(({ key, value }) => ({
    id: key.getUint32(0, true),
    source: key.getUint32(4),
    target: key.getUint32(8),
    port: key.getUint16(12, true),
    protocol: key.getUint8(14),
    sessions: Number(value.getBigUint64(0, true)),
    lastBootNs: value.getBigUint64(8, true),
  }));
}

/** The slot that a packet is judged by at that time of the boot clock. */
export function readSelection(json: string, bootNs: bigint): Slot {
  const value = entriesOf(json)[0]?.value;
  if (value === undefined) return 0;
  const pending = bootNs < value.getBigUint64(8, true);
  return (value.getUint32(pending ? 4 : 0, true) & 1) === 1 ? 1 : 0;
}

export function readSettings(
  json: string,
): { readonly slot: Slot; readonly table: number; readonly pages: number }[] {
  return entriesOf(json).map(({ key, value }) => ({
    slot: key.getUint32(0, true) === 1 ? 1 : 0,
    table: value.getUint32(0, true),
    pages: value.getUint32(64, true),
  }));
}

/** Entries as they would be written, to compare with what was. */
export function readEntries(map: MapName, json: string): MapWrite[] {
  return entriesOf(json).map(({ key, value }) => ({ map, key: hexOf(key), value: hexOf(value) }));
}

/** Where a map's key has the number of its table; the others have none. */
const TABLE_OFFSET: { readonly [Map in MapName]?: number } = {
  interfaces: 0,
  grants: 0,
  live: 0,
};
export const TABLED_MAPS: readonly MapName[] = ["interfaces", "grants", "live"];

/** Removes what slots left behind that are neither in force nor pending. Nothing there is reachable. */
export function clearSlot(map: MapName, json: string, keep: readonly number[]): MapWrite[] {
  const offset = TABLE_OFFSET[map];
  if (offset === undefined) return [];
  return entriesOf(json)
    .filter(({ key }) => !keep.includes(key.getUint32(offset, true)))
    .map(({ key }) => ({ map, key: hexOf(key), value: undefined }));
}

/**
 * One number for the program and the policy that it has: equal digests, equal rules. Later writes
 * of the same key count, so that what was written over time can be given as it came.
 */
export function contentDigest(programTag: string, writes: readonly MapWrite[]): string {
  const hash = createHash("sha256").update(`${programTag}\n`);
  for (const [key, value] of [...contentOf(writes)].sort(([a], [b]) => (a < b ? -1 : 1))) {
    if (value !== undefined) hash.update(`${key} = ${value}\n`);
  }
  return hash.digest("hex");
}

/** What writes leave behind, by `placeOf`; undefined: nothing is there. */
export function contentOf(writes: readonly MapWrite[]): Map<string, string | undefined> {
  return new Map(writes.map((write) => [placeOf(write), write.value]));
}

export function placeOf({ map, key }: MapWrite): string {
  return `${map} ${key}`;
}

export interface Entry {
  readonly key: DataView;
  readonly value: DataView;
}

export function entriesOf(json: string): Entry[] {
  const parsed: unknown = JSON.parse(json);
  if (!Array.isArray(parsed)) throw unreadable("not a list");
  return parsed.map((item: { readonly key?: unknown; readonly value?: unknown }) => ({
    key: bytesOf(item.key),
    value: bytesOf(item.value),
  }));
}

function bytesOf(list: unknown): DataView {
  if (!Array.isArray(list)) throw unreadable("an entry without bytes");
  return new DataView(Uint8Array.from(list, Number).buffer);
}

function unreadable(why: string): SallyportError {
  return new SallyportError("ebpf-dump-unreadable", `bpftool's dump of a map is ${why}`);
}

function hexOf(view: DataView): string {
  return toHex(new Uint8Array(view.buffer));
}
