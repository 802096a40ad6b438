import {
  formatCidr,
  formatIpv4,
  type Interval,
  type Ipv4,
  normalize,
  type Prefix,
  parseCidr,
  prefixInterval,
  subtract,
} from "@sallyport/core";
import type { Place, Reporter } from "./report.ts";
import type { Network, Pool, Zone } from "./resolved.ts";
import type { PolicyForm } from "./sections.ts";

/** Addresses that no host has: 0/8, 127/8, and 224.0.0.0 up (multicast, reserved, broadcast). */
const NEVER_HOSTS: readonly Interval[] = [
  { first: 0, last: 2 ** 24 - 1 },
  { first: 127 * 2 ** 24, last: 128 * 2 ** 24 - 1 },
  { first: 224 * 2 ** 24, last: 2 ** 32 - 1 },
];

/** A network of a zone or of a transit pool, for the check how they lie to each other. */
interface Claim {
  readonly interval: Interval;
  readonly prefix: Prefix;
  readonly zone: Zone | undefined;
  readonly label: string;
  readonly place: Place;
}

/**
 * Who has which addresses. Nested networks: the longest prefix wins. Equal ones are an error; CIDR
 * networks can't overlap partly, and a pool inside which a zone would lie is one of that sort.
 */
export function readNetwork(
  form: PolicyForm,
  zones: ReadonlyMap<string, Zone>,
  reporter: Reporter,
): Network | undefined {
  const pools = readPools(form, reporter);
  const claims: Claim[] = [];
  for (const zone of zones.values()) {
    for (const [index, prefix] of zone.networks.entries()) {
      claims.push(claimOf(zone, prefix, placeOfNetwork(form, zone, index)));
    }
  }
  if (pools === undefined) {
    checkClaims(claims, reporter);
    return undefined;
  }
  for (const pool of [pools.outer, pools.inner]) {
    const prefix = parseCidr(pool.text);
    if (prefix === undefined) continue;
    const interval = prefixInterval(prefix);
    claims.push({
      interval,
      prefix,
      zone: undefined,
      label: `transit pool ${pool.text}`,
      place: pool.place,
    });
  }
  const own = ownAddresses(zones, pools);
  const broadcast = broadcastAddresses(zones);
  const inner = checkClaims(claims, reporter);
  const reserved = normalize([...NEVER_HOSTS, ...[...own, ...broadcast].map(single)]);
  const addresses = new Map<Zone, readonly Interval[]>();
  const parts = new Map<Zone, Interval[]>([...zones.values()].map((zone) => [zone, []]));
  for (const claim of claims) {
    if (claim.zone === undefined) continue;
    const left = subtract([claim.interval], normalize(inner.get(claim) ?? []));
    parts.get(claim.zone)?.push(...left);
  }
  for (const [zone, intervals] of parts) {
    const left = subtract(normalize(intervals), reserved);
    addresses.set(zone, left);
    if (zone.networks.length > 0 && left.length === 0) {
      const what = `zone "${zone.name}" has no address left for a host`;
      const hint = "nested zones, the gateway and network addresses take them all";
      reporter.report("zone-without-network", zone.place, what, hint);
    }
  }
  checkLinks(zones, reporter);
  checkReachable(zones, form, reporter);
  return { zones, addresses, own, broadcast, pools };
}

function single(address: Ipv4): Interval {
  return { first: address, last: address };
}

function claimOf(zone: Zone, prefix: Prefix, place: Place): Claim {
  const label = `network ${formatCidr(prefix)} of zone "${zone.name}"`;
  return { interval: prefixInterval(prefix), prefix, zone, label, place };
}

function placeOfNetwork(form: PolicyForm, zone: Zone, index: number): Place {
  const { networks = [], hosts = [] } = zone.form;
  // Networks in bad form were left out, which moves the later ones; then the zone's own place does.
  if (zone.networks.length !== networks.length + hosts.length) return zone.place;
  if (index < networks.length) return form.places.of(networks, index);
  return form.places.of(hosts, index - networks.length);
}

/** Answers, for each claim, the networks directly or indirectly inside it. Sorted sweep with a stack. */
function checkClaims(claims: readonly Claim[], reporter: Reporter): Map<Claim, Interval[]> {
  const inner = new Map<Claim, Interval[]>();
  const sorted = [...claims].sort(
    (a, b) => a.interval.first - b.interval.first || b.interval.last - a.interval.last,
  );
  const open: Claim[] = [];
  for (const claim of sorted) {
    while (open.length > 0 && (open.at(-1)?.interval.last ?? 0) < claim.interval.first) open.pop();
    const outer = open.at(-1);
    if (outer !== undefined) {
      reportNested(outer, claim, reporter);
      // Deeper ones are inside this one too, so the nearest around is enough.
      const list = inner.get(outer);
      if (list === undefined) inner.set(outer, [claim.interval]);
      else list.push(claim.interval);
    }
    open.push(claim);
  }
  return inner;
}

function reportNested(outer: Claim, claim: Claim, reporter: Reporter): void {
  const isSame = outer.prefix.length === claim.prefix.length;
  if (outer.zone === undefined || (claim.zone === undefined && isSame)) {
    const [pool, other] = outer.zone === undefined ? [outer, claim] : [claim, outer];
    const hint = "give site.transit a network that nothing else uses";
    reporter.report("transit-overlap", pool.place, `${pool.label} overlaps ${other.label}`, hint);
    return;
  }
  if (isSame) {
    const what = `${claim.label} is ${outer.zone === claim.zone ? "given twice" : `also ${outer.label}`}`;
    const hint = "an address is in one zone; nested networks are allowed, equal ones are not";
    reporter.report("zone-overlap", claim.place, what, hint);
  } else if (claim.zone !== undefined && claim.zone !== outer.zone) {
    const hint = "the longer prefix wins; conduits of the outer zone don't reach in";
    reporter.report("zone-nested", claim.place, `${claim.label} lies inside ${outer.label}`, hint);
  }
}

function readPools(form: PolicyForm, reporter: Reporter): { outer: Pool; inner: Pool } | undefined {
  const { site, places } = form;
  if (site === undefined) return undefined;
  const { transit } = site.form;
  const pools = {
    outer: readPool(transit.outer, "outer"),
    inner: readPool(transit.inner, "inner"),
  };
  const { outer, inner } = pools;
  return outer === undefined || inner === undefined ? undefined : { outer, inner };

  function readPool(text: string, key: string): Pool | undefined {
    const place = places.of(transit, key);
    const prefix = parseCidr(text);
    const interval = prefix === undefined ? undefined : prefixInterval(prefix);
    const isFit = prefix !== undefined && prefix.length >= 8 && prefix.length <= 29;
    if (
      interval === undefined ||
      !isFit ||
      interval.first !== prefix.address ||
      interval.first >= 224 * 2 ** 24
    ) {
      const hint = "a network of 8 addresses or more that nothing else uses, like 10.30.0.0/24";
      reporter.report("bad-network", place, `transit pool "${text}" can't be used`, hint);
      return undefined;
    }
    // The network and broadcast addresses stay unused: tools of others treat them specially.
    const usable = { first: interval.first + 2, last: interval.last - 1 };
    return { gateway: interval.first + 1, usable, text, place };
  }
}

function ownAddresses(
  zones: ReadonlyMap<string, Zone>,
  pools: { readonly outer: Pool; readonly inner: Pool },
): Ipv4[] {
  const own = new Set<Ipv4>([pools.outer.gateway, pools.inner.gateway]);
  for (const { attachment } of zones.values()) {
    for (const { address } of attachment?.addresses ?? []) own.add(address);
  }
  return [...own].sort((a, b) => a - b);
}

/** Of attached networks, and of every network of a zone: a router behind might treat those so. */
function broadcastAddresses(zones: ReadonlyMap<string, Zone>): Ipv4[] {
  const out = new Set<Ipv4>();
  for (const { attachment, networks } of zones.values()) {
    for (const prefix of [...(attachment?.addresses ?? []), ...networks]) {
      // RFC 3021: a /31 has neither, and a /32 is a host. /0 to /7 are "everywhere", not a network.
      if (prefix.length > 30 || prefix.length < 8) continue;
      const { first, last } = prefixInterval(prefix);
      out.add(first);
      out.add(last);
    }
  }
  return [...out].sort((a, b) => a - b);
}

/** Every network of a zone is on the link of its interface, or behind a router on it. */
function checkReachable(
  zones: ReadonlyMap<string, Zone>,
  form: PolicyForm,
  reporter: Reporter,
): void {
  const reach = new Map<string, Interval[]>();
  for (const { attachment } of zones.values()) {
    if (attachment === undefined) continue;
    const list = reach.get(attachment.interface) ?? [];
    for (const prefix of attachment.addresses) list.push(prefixInterval(prefix));
    for (const { network } of attachment.routes) list.push(prefixInterval(network));
    reach.set(attachment.interface, list);
  }
  for (const zone of zones.values()) {
    const { attachment } = zone;
    if (attachment === undefined || attachment.mode === "tap") continue;
    const reachable = normalize(reach.get(attachment.interface) ?? []);
    for (const [index, prefix] of zone.networks.entries()) {
      const missing = subtract([prefixInterval(prefix)], reachable)[0];
      if (missing === undefined) continue;
      const what =
        `network ${formatCidr(prefix)} of zone "${zone.name}" is not reached by ${attachment.interface} ` +
        `(${formatIpv4(missing.first)} up)`;
      const hint = "attach needs the gateway's address in it, or a route to it";
      reporter.report("zone-unattached", placeOfNetwork(form, zone, index), what, hint);
    }
  }
}

/** A network on two links would leave the room's kernel to choose one of them. */
function checkLinks(zones: ReadonlyMap<string, Zone>, reporter: Reporter): void {
  const links: { readonly zone: Zone; readonly prefix: Prefix; readonly interval: Interval }[] = [];
  for (const zone of zones.values()) {
    for (const prefix of zone.attachment?.addresses ?? []) {
      links.push({ zone, prefix, interval: prefixInterval(prefix) });
    }
  }
  links.sort((a, b) => a.interval.first - b.interval.first || b.interval.last - a.interval.last);
  let widest = links[0];
  for (const link of links.slice(1)) {
    if (widest === undefined) return;
    const sameLink = link.zone.attachment?.interface === widest.zone.attachment?.interface;
    const sameAddress = link.prefix.address === widest.prefix.address && link.zone !== widest.zone;
    if (link.interval.first <= widest.interval.last && (!sameLink || sameAddress)) {
      const what =
        `${formatCidr(link.prefix)} of zone "${link.zone.name}" overlaps ` +
        `${formatCidr(widest.prefix)} of zone "${widest.zone.name}"`;
      const hint = "a network is on one interface, and an address is given once";
      reporter.report("attach-conflict", link.zone.place, what, hint);
    }
    if (link.interval.last > widest.interval.last) widest = link;
  }
}
