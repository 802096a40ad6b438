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
 * - `rp_filter` looks the source up with the packet's mark (`src_valid_mark`), hence `REVERSE`.
 */
import { formatCidr, type Ipv4, normalize, type Prefix, prefixesOf } from "@sallyport/core";
import type { Legs, Point } from "@sallyport/policy/legs";
import { MARKS } from "../engine.ts";

/** As `ip rule` prints it: `<preference>:\t<rule>`. */
export interface Rule {
  readonly preference: number;
  readonly text: string;
}

const PREFERENCE = {
  arp: 10,
  /** The way back to who asks by ARP: the kernel looks it up as if it came from `lo`. */
  arpReverse: 11,
  pass: 20,
  /**
   * The way back of a packet that was translated to a gate: the lookup's source is then the gate's
   * own address, which no packet to the gate has.
   */
  inspectReverse: 30,
  inspectErrors: 31,
  inspect: 40,
  /**
   * nftables' `reject` asks for a route without source and mark before it builds its answer; the
   * answer itself is looked up again with both.
   */
  reset: 50,
  otherwise: 100,
} as const;

/** One table per component: its veth and nothing else. */
const TABLE_BASE = 1000;
/** Above any room's index, so that one rule covers the errors of all of them. */
const INSPECT_MASK = "0xffff0000";

export function inspectTable(roomIndex: number): number {
  return TABLE_BASE + roomIndex;
}

/** The rules of a room that holds an engine. They replace the kernel's three default ones. */
export function engineGuard(legs: Legs, point: Point): Rule[] {
  const rules: Rule[] = [
    { preference: PREFERENCE.arp, text: `from all fwmark ${hex(MARKS.arp)} lookup local` },
    {
      preference: PREFERENCE.arpReverse,
      text: `from all fwmark ${hex(MARKS.arp)} iif lo lookup main`,
    },
    { preference: PREFERENCE.pass, text: `from all fwmark ${hex(MARKS.pass)} lookup main` },
  ];
  legs.rooms.forEach((room, index) => {
    const link = room[point];
    if (link === undefined) return;
    const mark = hex(MARKS.inspectBase + index);
    for (const prefix of prefixes(link.addresses)) {
      const text = `from ${hostOrCidr(prefix)} fwmark ${mark} lookup main`;
      rules.push({ preference: PREFERENCE.inspectReverse, text });
    }
    const text = `from all fwmark ${mark} lookup ${inspectTable(index)}`;
    rules.push({ preference: PREFERENCE.inspect, text });
  });
  const anyInspected = `${hex(MARKS.inspectBase)}/${INSPECT_MASK}`;
  rules.push(
    {
      preference: PREFERENCE.inspectErrors,
      text: `from all fwmark ${anyInspected} iif lo lookup main`,
    },
    { preference: PREFERENCE.reset, text: "from 0.0.0.0 iif lo lookup main" },
    { preference: PREFERENCE.otherwise, text: "from all unreachable" },
  );
  return rules.sort((a, b) => a.preference - b.preference);
}

/**
 * The rules of a component's room, beside the kernel's own `lookup local`: only what its own
 * sockets send has a way out, by the link whose address it has. So even with forwarding switched
 * on nothing crosses (P1); what tried is in the tripwire's counters.
 */
export function componentGuard(
  links: readonly { addresses: readonly Ipv4[]; table: number }[],
): Rule[] {
  const rules: Rule[] = [{ preference: 0, text: "from all lookup local" }];
  for (const { addresses, table } of links) {
    for (const prefix of prefixes(addresses)) {
      rules.push({ preference: 10, text: `from ${hostOrCidr(prefix)} iif lo lookup ${table}` });
    }
  }
  // A socket that chose no address has one way only where there is one link.
  const [only, ...others] = links;
  if (only !== undefined && others.length === 0) {
    rules.push({ preference: 20, text: `from all iif lo lookup ${only.table}` });
  }
  rules.push({ preference: 100, text: "from all unreachable" });
  return rules;
}

/** `ip rule` lines that turn the kernel's default rules into these. */
export function guardLines(rules: readonly Rule[]): string[] {
  // The strictest first: at no moment is there a rule set that lets more through than the last.
  const add = [...rules].reverse().filter(({ preference }) => preference !== 0);
  const keepsLocal = rules.some(({ preference }) => preference === 0);
  return [
    ...add.map(ruleLine),
    ...(keepsLocal ? [] : ["rule del pref 0"]),
    "rule del pref 32766",
    "rule del pref 32767",
  ];
}

export function ruleLine({ preference, text }: Rule): string {
  return `rule add pref ${preference} ${text}`;
}

export function shownRule({ preference, text }: Rule): string {
  return `${preference}: ${text}`;
}

export function prefixes(addresses: readonly Ipv4[]): Prefix[] {
  const set = normalize(addresses.map((address) => ({ first: address, last: address })));
  return set.flatMap(prefixesOf);
}

export function hostOrCidr(prefix: Prefix): string {
  const text = formatCidr(prefix);
  return prefix.length === 32 ? text.slice(0, -"/32".length) : text;
}

function hex(mark: number): string {
  return `0x${mark.toString(16)}`;
}
