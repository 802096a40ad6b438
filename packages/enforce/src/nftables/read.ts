/** What the engine's tables hold, from `nft -j list …`: counters, live numbers, and a digest for drift. */
import { createHash } from "node:crypto";
import { canonicalJson, type Json, parseIpv4 } from "@sallyport/core";
import { type Legs, type Point, REASONS } from "@sallyport/policy/legs";
import type { DenialCounter, HitCounter, PeerCounter, Slot } from "../engine.ts";
import { macOf, zoneNumbers } from "./places.ts";
import type { Elements } from "./redirects.ts";
import { GRANTED, SLOTS } from "./tables.ts";

type Value = Json | undefined;
type Item = { readonly [name: string]: Json | undefined };

/** From `nft -j list set ip sallyport hits`, or any listing that has it. */
export function readHits(listing: Json): HitCounter[] {
  return counted(listing, "hits").map(({ key, packets, bytes }) => ({
    id: Number(key[0]),
    packets,
    bytes,
  }));
}

/** Zones by the names in `legs`; a number that they don't have is a zone of an earlier generation. */
export function readDenied(listing: Json, legs: Legs, point: Point): DenialCounter[] {
  const names = new Map([...zoneNumbers(legs)].map(([number, name]) => [macOf(number), name]));
  const denials = counted(listing, "denied").map(({ key, packets }): DenialCounter => {
    const [reason, id, source, target] = key;
    return {
      point,
      reason: REASONS[numberOfClassid(reason)] ?? `reason ${textOf(reason)}`,
      sourceZone: names.get(textOf(source)) ?? "",
      destinationZone: names.get(textOf(target)) ?? "",
      id: Number(id),
      packets,
    };
  });
  const screened = itemsOf(listing).find(
    (item) => objectOf(item["counter"])["name"] === "not-ipv4",
  );
  const packets = Number(objectOf(screened?.["counter"])["packets"] ?? 0);
  const bare = { sourceZone: "", destinationZone: "", id: 0 };
  if (packets > 0) denials.push({ point, reason: "not-ipv4", ...bare, packets });
  return denials;
}

export function readPeers(listing: Json): PeerCounter[] {
  return counted(listing, "peers").map(({ key, packets }) => ({
    id: Number(key[0]),
    source: parseIpv4(textOf(key[1])) ?? 0,
    target: parseIpv4(textOf(key[2])) ?? 0,
    protocol: textOf(key[3]),
    port: Number(key[4]),
    sessions: packets,
  }));
}

/** Numbers that are open in a slot at this moment: more than was put there is drift. */
export function readLive(listing: Json, slot: Slot): number[] {
  return ["live", "granted_live"].flatMap((name) =>
    elementsOf(listing, `${name}_${slot}`).map((element) => Number(unwrapped(element)["val"])),
  );
}

/** How long one number is open, as `openUntil` says it; undefined: it is not. */
export function readOpen(listing: Json, name: string, id: number): Json | undefined {
  const shown = elementsOf(listing, name).find((element) => unwrapped(element)["val"] === id);
  const { timeout } = shown === undefined ? {} : unwrapped(shown);
  return timeout === undefined ? shown : { elem: { val: id, timeout } };
}

/** What grants have, table by table, as `writtenEntries` says it of what was to be there. */
export function readGranted(listing: Json): Map<string, string> {
  const tables = itemsOf(listing).map((item) => objectOf(item["set"] ?? item["map"]));
  return writtenEntries(
    tables.flatMap(({ name, elem }): Elements[] => {
      if (!GRANTED_TABLES.has(textOf(name))) return [];
      return [[textOf(name), Array.isArray(elem) ? (elem as Json[]) : []]];
    }),
  );
}

/** In an order of its own: sets list their elements in that of a hash table. */
export function writtenEntries(tables: readonly Elements[]): Map<string, string> {
  return new Map(tables.map(([name, elem]) => [name, canonicalJson(sortedElements(elem))]));
}

/** The slot that judges now, undefined if none does. */
export function readSlot(listing: Json): Slot | undefined {
  const pending = JSON.stringify(elementsOf(listing, "pending"));
  const judging = itemsOf(listing).filter((item) => objectOf(item["rule"])["chain"] === "judge");
  const where = pending.includes("slot_") ? pending : JSON.stringify(judging);
  if (where.includes("slot_0")) return 0;
  return where.includes("slot_1") ? 1 : undefined;
}

/** Interfaces that are screened. */
export function readInterfaces(listing: Json): string[] {
  // nft 1.0.6 leaves the device out of its JSON; the chain is named after it, and goes with it.
  const chains = itemsOf(listing).map((item) => objectOf(item["chain"]));
  const hooked = chains.filter((chain) => chain["hook"] === "ingress");
  return hooked.map((chain) => textOf(chain["name"]).replace(/^screen_/, ""));
}

/** Content that moves by itself: counters, samples, what runs out. Their rules and types stay in. */
const MOVING = new Set([
  ...["hits", "denied", "sample", "budget", "full", "flood", "peers", "answering"],
  ...["pending", "pending_early", "pending_dialled", "pending_undialled"],
  ...["live_0", "live_1", "granted_live_0", "granted_live_1"],
]);
/** Compared by themselves (`readGranted`), as a grant changes them and nothing else. */
const GRANTED_TABLES = new Set(SLOTS.flatMap((slot) => GRANTED.map((name) => `${name}_${slot}`)));

/**
 * Equal for equal rule sets, whatever was counted and has run out. Takes `nft -j list ruleset`; compare it with
 * the digest of a listing right after loading. An element put into a policy map by hand changes it.
 */
export function rulesDigest(listing: Json): string {
  const items = itemsOf(listing).flatMap((item): Json[] => {
    return item["metainfo"] === undefined && !isOfPending(item) ? [still(item)] : [];
  });
  const lines = items.map((item) => canonicalJson(item));
  // Rules of one chain stay in order; sets list their elements in the order of a hash table.
  return createHash("sha256").update(lines.join("\n")).digest("hex");
}

/** Chains in which `select` says which slot is in force. */
const SELECTING = new Set(["judge", "refuse_early", "dialled", "undialled"]);

function isOfPending(item: Item): boolean {
  const { chain, expr } = objectOf(item["rule"]);
  return SELECTING.has(textOf(chain)) && JSON.stringify(expr).includes('"@pending');
}

function still(item: Item): Json {
  const out: { [name: string]: Json } = {};
  for (const [kind, value] of Object.entries(item)) {
    const { handle: _, elem, ...rest } = objectOf(value);
    const name = textOf(rest["name"]);
    const moving = MOVING.has(name) || GRANTED_TABLES.has(name);
    const sorted = Array.isArray(elem) && !moving ? { elem: sortedElements(elem) } : {};
    out[kind] = uncounted({ ...rest, ...sorted });
    // Which slot is confirmed is an act of ours (`readSlot`); that it is one rule, and this, is not.
    if (kind === "rule" && SELECTING.has(textOf(rest["chain"]))) {
      out[kind] = JSON.parse(
        JSON.stringify(out[kind]).replace(/"(slot|early|dialled|undialled)_[01]"/g, '"$1"'),
      ) as Json;
    }
  }
  return out;
}

function sortedElements(elements: readonly Json[]): Json[] {
  const keyed = elements.map((element) => ({ element, text: canonicalJson(element) }));
  return keyed.sort((a, b) => (a.text < b.text ? -1 : 1)).map(({ element }) => element);
}

/** Without the numbers inside counters. */
function uncounted(value: Value): Json {
  if (Array.isArray(value)) return value.map((part) => uncounted(part as Json));
  if (typeof value !== "object" || value === null) return value ?? null;
  const out: { [name: string]: Json } = {};
  for (const [name, part] of Object.entries(value as Item)) {
    if (name !== "packets" && name !== "bytes") out[name] = uncounted(part);
  }
  return out;
}

interface Counted {
  readonly key: readonly Value[];
  readonly packets: number;
  readonly bytes: number;
}

function counted(listing: Json, name: string): Counted[] {
  return elementsOf(listing, name).map((element) => {
    const { val, counter } = unwrapped(element);
    const { packets, bytes } = objectOf(counter);
    const parts = objectOf(val)["concat"];
    const key = Array.isArray(parts) ? (parts as Json[]) : [val];
    return { key, packets: Number(packets ?? 0), bytes: Number(bytes ?? 0) };
  });
}

function unwrapped(element: Json): Item {
  const inner = objectOf(element)["elem"];
  return inner === undefined ? { val: element } : objectOf(inner);
}

function elementsOf(listing: Json, name: string): readonly Json[] {
  for (const item of itemsOf(listing)) {
    const table = objectOf(item["set"] ?? item["map"]);
    if (table["name"] === name && Array.isArray(table["elem"])) return table["elem"] as Json[];
  }
  return [];
}

function itemsOf(listing: Json): Item[] {
  const items = objectOf(listing)["nftables"];
  return Array.isArray(items) ? items.map((item) => objectOf(item as Json)) : [];
}

function objectOf(value: Value): Item {
  return typeof value === "object" && value !== null && !Array.isArray(value)
    ? (value as Item)
    : {};
}

/** Of a name or a number; nothing else is asked for. */
function textOf(value: Value): string {
  return typeof value === "string" || typeof value === "number" ? `${value}` : "";
}

/** `0:5`, hexadecimal both, or `none` for 0. */
function numberOfClassid(value: Value): number {
  const [major = "", minor = ""] = textOf(value).split(":");
  return minor === "" ? 0 : Number.parseInt(major, 16) * 65_536 + Number.parseInt(minor, 16);
}
