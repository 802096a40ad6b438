/**
 * Legs to the elements of one slot. Everything a policy says is in sets and maps; rules never change
 * in number.
 */
import { type Interval, type Json, normalize, SallyportError, subtract } from "@sallyport/core";
import type { Conduit, Leg, Legs } from "@sallyport/policy/legs";
import type { LiveEntry, Lowering, Slot } from "../engine.ts";
import { Cells, type Pairs } from "./cells.ts";
import { classify } from "./classes.ts";
import * as nft from "./json.ts";
import {
  dialledElements,
  nowhere,
  sourceElements,
  targetElements,
  zoneElements,
} from "./places.ts";
import { allRedirects, type Elements, grantTables, isTranslating } from "./redirects.ts";
import { slotRules } from "./rules.ts";
import { dialling, HITS, translation } from "./skeleton.ts";
import { answeringRules, CLOSED_REASONS, slotTables } from "./tables.ts";

const CLASS_BASE = 16;
/** Pairs of hosts in two classes that are so many rows rather than one cell; groups stay one element. */
const EXACT_PAIRS = 4;

type GrantRow = Lowering["grants"][number];

export interface FillOptions {
  /** False: every denial is an event. */
  readonly sampled?: boolean;
}

/** Replaces all that one slot holds. The other slot and all that counts stay as they are. */
export function fillSlot(lowering: Lowering, options: FillOptions = {}): nft.Document {
  const { legs, slot, generation, conduits, grants, now } = lowering;
  const { sessionsPerZone } = legs.limits;
  const rules = { slot, generation, sessionsPerZone, sampled: options.sampled ?? true };
  const entries = [...conduits.values(), ...grants.map(({ entry }) => entry)];
  const redirects = allRedirects(lowering);
  const sources = dialledElements(legs, lowering.point, slot);
  const commands: nft.Command[] = [
    ...slotTables(slot).map(({ name, isMap }) => nft.flush(isMap ? "map" : "set", name)),
    ...slotRules(rules),
    ...answeringRules(legs.limits),
    ...zoneElements(legs, slot),
    ...cellElements(lowering),
    ...(isTranslating(legs, lowering.point) ? translation() : []),
    ...redirects.elements.flatMap(asCommands),
    ...(sources.length === 0 ? [] : [...dialling(slot), ...sources]),
    ...grantTables(lowering).flatMap(asCommands),
    ...nft.elements("hits", idsOf(entries)),
    ...liveElements([...conduits.values()], now, slot),
    ...nft.elements(`granted_live_${slot}`, openUntil(grantEntries(lowering), now)),
  ];
  const special = new Set(redirects.ids);
  for (const kind of ["audit", "diode"] as const) {
    const ids = entries.filter((entry) => entry[kind]).map(({ id }) => id);
    commands.push(...nft.elements(`${kind}_${slot}`, ids));
    for (const id of ids) special.add(id);
  }
  commands.push(...nft.elements(`special_${slot}`, [...special]));
  return { nftables: commands };
}

/**
 * What is open, until when, and why it is closed after that. A new end replaces the old one: kernels
 * before 6.12 keep the first unless the element is deleted.
 */
export function setLive(lowering: Lowering, entries: readonly LiveEntry[]): nft.Document {
  const { slot, now } = lowering;
  const known = new Set(grantEntries(lowering).map(({ id }) => id));
  const grants = entries.filter(({ id }) => known.has(id));
  const conduits = entries.filter(({ id }) => !known.has(id));
  const names = ["live", ...CLOSED_REASONS.map((reason) => `closed_${reason}`)];
  return {
    nftables: [
      ...nft.elements("hits", idsOf(entries)),
      ...names.flatMap((name) => nft.removed(`${name}_${slot}`, idsOf(conduits))),
      ...liveElements(conduits, now, slot),
      ...nft.removed(`granted_live_${slot}`, idsOf(grants)),
      ...nft.elements(`granted_live_${slot}`, openUntil(grants, now)),
      ...filledAnew(lowering),
    ],
  };
}

function idsOf(entries: readonly LiveEntry[]): number[] {
  return entries.map(({ id }) => id);
}

function grantEntries({ grants }: Lowering): LiveEntry[] {
  return grants.map(({ entry }) => entry);
}

/** Seconds. nft 1.0.6 counts the milliseconds of a timeout in 31 bits; an end is renewed by then. */
const TIMEOUT_MAX = 2_000_000;

/** Ends are rounded down to seconds: never late. */
export function openUntil(entries: readonly LiveEntry[], now: number): Json[] {
  const open: Json[] = [];
  for (const { id, liveness } of entries) {
    if (!liveness.open) continue;
    const left = Math.floor(((liveness.until ?? Number.POSITIVE_INFINITY) - now) / 1000);
    if (liveness.until === null) open.push(id);
    else if (left > 0) open.push({ elem: { val: id, timeout: Math.min(left, TIMEOUT_MAX) } });
  }
  return open;
}

function liveElements(entries: readonly LiveEntry[], now: number, slot: Slot): nft.Command[] {
  const closed = CLOSED_REASONS.map((reason) => {
    const ours = entries.filter(({ liveness }) => liveness.closedReason === reason);
    return nft.elements(
      `closed_${reason}_${slot}`,
      ours.map(({ id }) => id),
    );
  });
  return [...nft.elements(`live_${slot}`, openUntil(entries, now)), ...closed.flat()];
}

/** Which slot judges. A pending one does so for that long; then the confirmed one does, by itself. */
export function select(selection: {
  readonly confirmed: Slot;
  readonly pending?: { readonly slot: Slot; readonly seconds: number };
}): nft.Document {
  const { confirmed, pending } = selection;
  const commands: nft.Command[] = [];
  for (const [base, map, chain] of [
    ["judge", "pending", "slot"],
    ["refuse_early", "pending_early", "early"],
    ["dialled", "pending_dialled", "dialled"],
    ["undialled", "pending_undialled", "undialled"],
  ] as const) {
    commands.push(nft.flush("map", map), nft.flush("chain", base));
    if (pending !== undefined) {
      const key = { elem: { val: "ip", timeout: pending.seconds } };
      commands.push(...nft.elements(map, [[key, nft.goto(`${chain}_${pending.slot}`)]]));
      commands.push(nft.rule(base, nft.vmap(nft.meta("protocol"), map)));
    }
    commands.push(nft.rule(base, nft.goto(`${chain}_${confirmed}`)));
  }
  return { nftables: commands };
}

/** Which candidates cover which cell: (source class, target class, protocol, port). */
function cellElements(lowering: Lowering): nft.Command[] {
  const { legs, point, slot, conduits } = lowering;
  const covering: { leg: Leg; id: number; from: number; to: number }[] = [];
  const sources = new Pool(legs.zones.map((zone) => zone.addresses));
  const zoned = normalize(legs.zones.flatMap((zone) => zone.addresses));
  const targets = new Pool([subtract(zoned, normalize(nowhere(legs).flat()))]);
  for (const conduit of inOrder(legs)) {
    const id = numberOf(conduits.get(conduit.key), conduit);
    for (const leg of conduit.legs) {
      if (leg.point !== point) continue;
      covering.push({ leg, id, from: sources.add(leg.from), to: targets.add(leg.to) });
    }
  }
  const zones = legs.zones.length;
  const from = classify(sources.sets, CLASS_BASE, ([first = zones]) => first < zones);
  const to = classify(targets.sets, CLASS_BASE, ([first]) => first === 0);
  const answering = to.hosts.map(({ address }) => address).sort((a, b) => a - b);
  const cells = new Cells();
  const devices = new Map<number, string>();
  for (const [number, [first = zones]] of from.itemsOf) {
    const zone = legs.zones[first];
    if (zone?.point === point) devices.set(number, zone.interface);
  }
  const pairsOf: Pairs = (source, target) => {
    const [device, hosts, others] = [devices.get(source), from.hostsOf(source), to.hostsOf(target)];
    if (device === undefined || hosts.length * others.length > EXACT_PAIRS) return [];
    return hosts.flatMap((host) => others.map((other) => [host, other, device]));
  };
  for (const { leg, id, from: fromSet, to: toSet } of covering) {
    for (const source of from.of(fromSet)) {
      for (const target of to.of(toSet)) cells.cover(source, target, leg, id);
    }
  }
  return [
    ...sourceElements(from, answering, devices, slot),
    ...targetElements(to, slot),
    ...cells.elements(slot, pairsOf),
  ];
}

/** Open conduits are asked by name, audit conduits last (step 10). */
function inOrder(legs: Legs): Conduit[] {
  const { conduits } = legs;
  return [...conduits.filter(({ audit }) => !audit), ...conduits.filter(({ audit }) => audit)];
}

function numberOf(entry: LiveEntry | undefined, conduit: Conduit): number {
  if (entry !== undefined) return entry.id;
  throw new SallyportError("conduit-without-number", `no number was given for ${conduit.key}`);
}

/** Address sets, each once: many conduits name the same asset. */
class Pool {
  readonly sets: (readonly Interval[])[];
  readonly #positions = new Map<string, number>();

  constructor(sets: readonly (readonly Interval[])[]) {
    this.sets = [...sets];
  }

  add(set: readonly Interval[]): number {
    const key = set.map(({ first, last }) => `${first}-${last}`).join();
    const position = this.#positions.get(key) ?? this.sets.length;
    if (position === this.sets.length) {
      this.sets.push(set);
      this.#positions.set(key, position);
    }
    return position;
  }
}

/** A grant that `lowering` has now, and no other's end is touched. */
export function addGrant(lowering: Lowering, { entry }: GrantRow): nft.Document {
  const { slot, now } = lowering;
  const commands = [
    ...nft.filled(HITS, [entry.id]),
    ...filledAnew(lowering),
    ...nft.filled(declarationOf(`granted_live_${slot}`, slot), openUntil([entry], now)),
  ];
  return { nftables: commands };
}

/** A grant that `lowering` no longer has: the ends of all others are told again, as from `now`. */
export function removeGrant(lowering: Lowering): nft.Document {
  const { slot, now } = lowering;
  const live = `granted_live_${slot}`;
  const open = openUntil(grantEntries(lowering), now);
  const commands = [nft.flush("set", live), ...nft.filled(declarationOf(live, slot), open)];
  return { nftables: [...commands, ...filledAnew(lowering)] };
}

/** Flushed and filled in one step: no packet ever sees them without what stays. */
function filledAnew(lowering: Lowering): nft.Command[] {
  return grantTables(lowering).flatMap(([name, elem]) => [
    nft.flush(name.startsWith("granted_in") ? "set" : "map", name),
    ...nft.filled(declarationOf(name, lowering.slot), elem),
  ]);
}

function declarationOf(name: string, slot: Slot): nft.Command {
  return slotTables(slot).find((table) => table.name === name)?.declaration ?? {};
}

function asCommands([name, elem]: Elements): nft.Command[] {
  return nft.elements(name, elem);
}
