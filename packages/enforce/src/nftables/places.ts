/** What addresses are to the engine: their zone, where they may arrive, and their class. */
import { formatIpv4, type Interval, type Ipv4, type Json, normalize } from "@sallyport/core";
import type { Legs, Point } from "@sallyport/policy/legs";
import type { Slot } from "../engine.ts";
import { atoms, type Classes } from "./classes.ts";
import * as nft from "./json.ts";

const ADDRESS_LAST = 0xffffffff;
const MULTICAST: Interval = { first: 0xe0000000, last: 0xefffffff };

/** Stable numbers of engine zones, for denial counters; 0 is "in none". Others with a suffix. */
export function zoneNumbers(legs: Legs, suffix = ""): ReadonlyMap<number, string> {
  const names = new Map<number, string>();
  for (const zone of legs.zones) {
    let number = fnv1a(`${zone.name}@${zone.interface}${suffix}`);
    while (number === 0 || names.has(number)) number = (number + 1) % 2 ** 31;
    names.set(number, zone.name);
  }
  return names;
}

/** FNV-1a of 31 bits: the same zone has the same number in every generation. */
function fnv1a(text: string): number {
  let hash = 0x811c9dc5;
  for (const char of text) hash = Math.imul(hash ^ (char.codePointAt(0) ?? 0), 0x01000193);
  return hash >>> 1;
}

const range = ({ first, last }: Interval): Json =>
  first === last ? formatIpv4(first) : { range: [formatIpv4(first), formatIpv4(last)] };
const hosts = (addresses: readonly Ipv4[]): Interval[] =>
  addresses.map((address) => ({ first: address, last: address }));

/** What addresses are, apart from conduits: zones by number, and where nothing may be sent. */
export function zoneElements(legs: Legs, slot: Slot): nft.Command[] {
  const everything = [{ first: 0, last: ADDRESS_LAST }];
  const zones = atoms([everything, ...legs.zones.map((zone) => zone.addresses)]);
  const rows = (names: ReadonlyMap<number, string>, show: (number: number) => Json): Json[] => {
    const numbers = [...names.keys()];
    return zones.map((atom) => [range(atom), show(numbers[(atom.items[1] ?? 0) - 1] ?? 0)]);
  };
  // The budget's limit is in the number: with another one a zone begins a new count.
  const budgets = zoneNumbers(legs, `#${legs.limits.sessionsPerZone}`);
  const refusals = atoms(nowhere(legs)).map((atom): Json => {
    const reason = atom.items.includes(0) ? "to-gateway" : "multicast";
    return [range(atom), nft.goto(`note_${reason}_${slot}`)];
  });
  return [
    ...nft.elements(`zone_${slot}`, rows(budgets, Number)),
    ...nft.elements(`zone_mac_${slot}`, rows(zoneNumbers(legs), macOf)),
    ...nft.elements(`nowhere_${slot}`, refusals),
  ];
}

/** Step 9: the box's own addresses, and those of many; the first list names the reason. */
export function nowhere(legs: Legs): [Interval[], Interval[]] {
  const limited = { first: ADDRESS_LAST, last: ADDRESS_LAST };
  return [normalize(hosts(legs.own)), normalize([...hosts(legs.broadcast), MULTICAST, limited])];
}

/** Destinations of this point, and with which own address as their source sessions leave for them. */
export function dialledFrom(legs: Legs, point: Point): (Interval & { readonly address: Ipv4 })[] {
  const here = legs.zones.filter((zone) => zone.point === point);
  return here
    .flatMap((zone) => zone.dialledFrom ?? [])
    .flatMap(({ to, address }) => to.map((part) => ({ ...part, address })));
}

/** As elements of the slot's map, and of its set. */
export function dialledElements(legs: Legs, point: Point, slot: Slot): nft.Command[] {
  const parts = dialledFrom(legs, point);
  const map = parts.map((part) => [range(part), formatIpv4(part.address)]);
  return [
    ...nft.elements(`dialled_from_${slot}`, map),
    ...nft.elements(`dialled_to_${slot}`, parts.map(range)),
  ];
}

export function macOf(number: number): string {
  return number.toString(16).padStart(12, "0").match(/../g)?.join(":") ?? "";
}

/**
 * Step 7: the class of a source with the one interface where it may arrive. Hosts that conduits name as
 * targets are found as fast as sources, since they answer.
 */
export function sourceElements(
  from: Classes,
  targets: readonly Ipv4[],
  devices: ReadonlyMap<number, string>,
  slot: Slot,
): nft.Command[] {
  const exact = new Map(from.hosts.map(({ address, number }) => [address, number]));
  for (const { first, last, number } of from.nets) {
    for (const address of between(targets, first, last)) exact.set(address, number);
  }
  const rows = [...exact].flatMap(([address, number]): Json[] => {
    const device = devices.get(number);
    return device === undefined ? [] : [[nft.concat(formatIpv4(address), device), number]];
  });
  const here = from.nets.filter(({ number }) => devices.has(number));
  const nets = here.map((net): Json => [range(net), net.number]);
  const places = [...devices].map(([number, device]) => nft.concat(number, device));
  return [
    ...nft.elements(`src_host_${slot}`, rows),
    ...nft.elements(`src_net_${slot}`, nets),
    ...nft.elements(`src_if_${slot}`, places),
  ];
}

/** Of sorted addresses, those from first to last. */
function between(sorted: readonly Ipv4[], first: Ipv4, last: Ipv4): readonly Ipv4[] {
  let low = 0;
  for (let high = sorted.length; low < high; ) {
    const middle = (low + high) >> 1;
    if ((sorted[middle] ?? 0) < first) low = middle + 1;
    else high = middle;
  }
  let end = low;
  while ((sorted[end] ?? Number.POSITIVE_INFINITY) <= last) end++;
  return sorted.slice(low, end);
}

export function targetElements(to: Classes, slot: Slot): nft.Command[] {
  const single = to.hosts.map(({ address, number }) => [formatIpv4(address), number]);
  const nets = to.nets.map((net) => [range(net), net.number]);
  return [...nft.elements(`dst_host_${slot}`, single), ...nft.elements(`dst_net_${slot}`, nets)];
}
