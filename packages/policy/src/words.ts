/** Addresses, ports and times as an operator says them: assets and zones rather than numbers. */
import { formatCidr, formatIpv4, type Interval, type Ipv4, prefixesOf } from "@sallyport/core";
import type { Legs, Protocol } from "./legs/types.ts";

/** Asset names by address, where the caller has the policy file; legs know only gates' targets. */
export type Names = ReadonlyMap<Ipv4, string>;

export class Words {
  readonly #names = new Map<Ipv4, string>();
  readonly #zones = new Map<string, string>();
  readonly #legs: Legs;

  constructor(legs: Legs, names: Names = new Map()) {
    this.#legs = legs;
    for (const { listeners } of legs.conduits) {
      for (const { targetAddress, asset } of listeners) this.#names.set(targetAddress, asset);
    }
    for (const [address, name] of names) this.#names.set(address, name);
    for (const zone of legs.zones) {
      for (const { first, last } of zone.addresses) this.#zones.set(`${first} ${last}`, zone.name);
    }
  }

  /** `tank-plc`, `cell-a` for a whole range of it, else `cell-a/10.41.0.7`. */
  addresses(interval: Interval): string {
    const { first, last } = interval;
    const single = first === last;
    const known = single ? this.#names.get(first) : undefined;
    const zone = single ? known : this.#zones.get(`${first} ${last}`);
    if (zone !== undefined) return zone;
    const where = this.zoneOf(first);
    const text = rangeText(interval);
    return where === undefined ? text : `${where}/${text}`;
  }

  zoneOf(address: Ipv4): string | undefined {
    return this.#legs.zones.find((zone) =>
      zone.addresses.some(({ first, last }) => first <= address && address <= last),
    )?.name;
  }
}

function rangeText(interval: Interval): string {
  const [prefix, ...more] = prefixesOf(interval);
  if (interval.first === interval.last) return formatIpv4(interval.first);
  if (prefix !== undefined && more.length === 0) return formatCidr(prefix);
  return `${formatIpv4(interval.first)}-${formatIpv4(interval.last)}`;
}

/** `tcp/502`, `tcp/4711-4713,502`, `icmp`. */
export function serviceText(protocol: Protocol, ports: readonly Interval[]): string {
  if (protocol === "icmp") return "icmp";
  const parts = ports.map(({ first, last }) => (first === last ? `${first}` : `${first}-${last}`));
  return `${protocol}/${parts.join(",")}`;
}

/** In UTC, to the second; dates in a policy mean their whole day in the site's own time zone. */
export function timeText(moment: number): string {
  return new Date(moment).toISOString().replace(".000Z", "Z");
}
