/**
 * Guard routes: an engine's verdict is a packet mark, and without one there is no way to anywhere.
 * The rules name no NIC and stand before any link does. What that gives, measured on kernel 6.18
 * (`guard.kernel.test.ts` takes each rule out and shows the attack that then succeeds):
 *
 * - Flushed nftables, a detached program, a NIC that nobody declared: no mark, so `unreachable`.
 * - The room's own addresses answer nothing: only a packet marked `arp` ever reaches `local`.
 * - ICMP errors go out for allowed packets only: with `fwmark_reflect` they carry the mark of the
 *   packet they are about, and with `icmp_errors_use_inbound_ifaddr` they have a source address, so
 *   they can't slip through the rule for resets.
 * - `rp_filter` looks the source up with the packet's mark (`src_valid_mark`), hence rules 11 and 30.
 *
 * A rule is written as `ip rule` prints it: `<preference>: <rule>`.
 */
import { formatCidr, type Ipv4, normalize, type Prefix, prefixesOf } from "@sallyport/core";
import type { Legs, Point } from "@sallyport/policy/legs";
import { MARKS } from "../engine.ts";

/** One table per component: its veth and nothing else; what has no route there is unreachable. */
const TABLE_BASE = 1000;
const OTHERWISE = "100: from all unreachable";
const LOCAL = "0: from all lookup local";

export function inspectTable(roomIndex: number): number {
  return TABLE_BASE + roomIndex;
}

/** The rules of a room that holds an engine. They replace the kernel's three default ones. */
export function engineGuard(legs: Legs, point: Point): string[] {
  const inspected = legs.rooms.flatMap((room, index) => {
    const mark = hex(MARKS.inspectBase + index);
    // The way back of a packet that was translated to this gate: the lookup's source is then the
    // gate's own address, which no packet to the gate has.
    const back = routesTo(room[point]?.addresses ?? []).map(
      (prefix) => `30: from ${prefix} fwmark ${mark} lookup main`,
    );
    return back.length === 0
      ? []
      : [...back, `40: from all fwmark ${mark} lookup ${inspectTable(index)}`];
  });
  const anyInspected = `${hex(MARKS.inspectBase)}/0xffff0000`;
  return [
    `10: from all fwmark ${hex(MARKS.arp)} lookup local`,
    // The way back to who asks by ARP: the kernel looks it up as if it came from `lo`.
    `11: from all fwmark ${hex(MARKS.arp)} iif lo lookup main`,
    `20: from all fwmark ${hex(MARKS.pass)} lookup main`,
    ...inspected,
    // Errors about inspected packets, of all components at once.
    `41: from all fwmark ${anyInspected} iif lo lookup main`,
    // Not translated, or to a gate that is gone. A rule and no route of those tables: the kernel counts
    // what a rule makes unreachable (`InNoRoutes`), and a route's not.
    `42: from all fwmark ${anyInspected} unreachable`,
    // nftables' `reject` asks for a route without source and mark before it builds its answer; the
    // answer itself is looked up again with both.
    "50: from 0.0.0.0 iif lo lookup main",
    OTHERWISE,
  ];
}

/**
 * The rules of a component's room, beside the kernel's own `lookup local`: only what its own
 * sockets send has a way out, by the link whose address it has. So even with forwarding switched
 * on nothing crosses (P1); what tried is in the tripwire's counters.
 */
export function componentGuard(
  links: readonly { readonly addresses: readonly Ipv4[]; readonly table: number }[],
): string[] {
  const out = links.flatMap(({ addresses, table }) =>
    routesTo(addresses).map((prefix) => `10: from ${prefix} iif lo lookup ${table}`),
  );
  // A socket that chose no address has one way only where there is one link.
  const [only, second] = links;
  if (only !== undefined && second === undefined)
    out.push(`20: from all iif lo lookup ${only.table}`);
  return [LOCAL, ...out, OTHERWISE];
}

/** `ip` lines from the kernel's default rules to these: at no moment is there more than at the end. */
export function guardLines(rules: readonly string[]): string[] {
  const added = rules.filter((rule) => rule !== LOCAL).toReversed();
  const removed = [...(rules.includes(LOCAL) ? [] : ["0"]), "32766", "32767"];
  return [...added.map(addRule), ...removed.map((preference) => `rule del pref ${preference}`)];
}

export function addRule(rule: string): string {
  return `rule add pref ${rule.replace(":", "")}`;
}

/** The fewest destinations that cover exactly these addresses, as `ip` prints them. */
export function routesTo(addresses: readonly Ipv4[]): string[] {
  const set = normalize(addresses.map((address) => ({ first: address, last: address })));
  return set.flatMap(prefixesOf).map(hostOrCidr);
}

export function hostOrCidr(prefix: Prefix): string {
  return formatCidr(prefix).replace(/\/32$/, "");
}

function hex(mark: number): string {
  return `0x${mark.toString(16)}`;
}
