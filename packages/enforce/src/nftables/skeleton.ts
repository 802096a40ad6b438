/**
 * The frame of the nftables engine: tables, sets, maps and base chains. Their number does not depend
 * on the policy; an empty slot refuses everything. Steps are those of packet-semantics.md.
 *
 * A packet's way: `screen` (netdev: step 2) → `early` (4 to 6) → conntrack → `judge` (7 to 13, on the
 * tuple as dialled) → `translate` (DNAT) → `handover` (what was to be translated and was not, stops).
 * What is forwarded to a zone with `source: gateway` leaves through `dial` (SNAT) and `remember`.
 *
 * Scratch registers, as nftables has no variables: `meta mark` is the source class, then the conduit's
 * number; `meta priority` is the target class, then the source zone's budget. The router resets it. The
 * mark of a connection is its conduit's number; its top bit says that it is a diode's.
 */
import type { PacketReason } from "@sallyport/policy/legs";
import { MARKS, type Slot } from "../engine.ts";
import * as nft from "./json.ts";
import {
  dynamicSets,
  EARLY_REASONS,
  ONE_WAY,
  SLOT_CHAINS,
  SLOTS,
  slotTables,
  tcpTuple,
} from "./tables.ts";

/** Denials and would-denials; the room's one reader of this group is the event stream. */
export const LOG_GROUP = 5;
/** "To be translated by this slot, then handed to a gate"; routing knows no such mark. */
export const HANDOVER: Readonly<Record<Slot, number>> = { 0: 0x5a000010, 1: 0x5a000011 };

/** Conduits and grants by number, each with its counter. */
export const HITS: nft.Command = nft.add("set", {
  name: "hits",
  type: "mark",
  stmt: [nft.COUNTER],
});

const MARK = nft.meta("mark");
const FLAGS = nft.field("tcp", "flags");
const ETHERTYPE = nft.bits("ll", 96, 16);
const SCREEN_EVENTS = { limit: { rate: 5, per: "second", burst: 5 } };

export interface SkeletonOptions {
  /** The room has it already (`isInstalled`): only rules are replaced, nothing that lives is touched. */
  readonly installed?: boolean;
  /** False: every frame that is not IPv4 is an event. */
  readonly sampled?: boolean;
}

/** Whether the room of `nft -j list sets` has the engine: documents are loaded whole or not at all. */
export function isInstalled(listing: nft.Json): boolean {
  return JSON.stringify(listing).includes('"answering"');
}

/** Makes the engine stand in its room. */
export function skeleton({
  installed = false,
  sampled = true,
}: SkeletonOptions = {}): nft.Document {
  const pending = { type: "ether_type", map: "verdict", flags: ["timeout"] };
  const slots = SLOTS.flatMap((slot) => [
    ...slotTables(slot).map(({ declaration }) => declaration),
    ...SLOT_CHAINS.map((name) => nft.add("chain", { name: `${name}_${slot}` })),
  ]);
  return {
    nftables: [
      nft.addTable("ip"),
      nft.addTable("netdev"),
      HITS,
      nft.add("map", { name: "pending", ...pending }),
      nft.add("map", { name: "pending_early", ...pending }),
      nft.add("map", { name: "pending_dialled", ...pending }),
      nft.add("map", { name: "pending_undialled", ...pending }),
      nft.add("counter", { name: "sampled" }),
      nft.add("counter", { name: "not-ipv4" }, "netdev"),
      ...slots,
      ...(installed ? [] : dynamicSets()),
      ...CHAINS.flatMap((name) => [nft.add("chain", { name }), nft.flush("chain", name)]),
      ...["refuse_early", "answering", "dialled", "undialled"].map((name) =>
        nft.add("chain", { name }),
      ),
      ...writingRules(),
      ...BASE_CHAINS.flatMap(([name, hook, prio, policy, type = "filter"]) => [
        nft.add("chain", { name, type, hook, prio, policy }),
        // What stands in `judge` is an act of `select`.
        ...(name === "judge" ? [] : [nft.flush("chain", name)]),
      ]),
      ...earlyRules(),
      ...leavingRules(),
      ...screen(sampled),
    ],
  };
}

const CHAINS = ["early_tcp", "early_flags", "refused", "writable"];
const BASE_CHAINS: readonly (readonly [string, string, number, string, string?])[] = [
  ["early", "prerouting", -450, "drop"],
  ["judge", "prerouting", -110, "drop"],
  ["input", "input", 0, "drop"],
  ["forward", "forward", 0, "drop"],
  ["output", "output", 0, "drop"],
];

/** What both slots count; and rules that nothing runs, which make the sets of slots' rules writable. */
function writingRules(): nft.Command[] {
  const pair = [nft.meta("priority"), MARK];
  const [from, to] = [nft.field("ip", "saddr"), nft.field("ip", "daddr")];
  const [source, target] = [nft.field("ether", "daddr"), nft.field("ether", "saddr")];
  const peer = nft.concat(MARK, from, to, nft.meta("l4proto"), nft.field("th", "dport"));
  const limit = { limit: { rate: 1, per: "second" } };
  const count = { "ct count": { val: 1, inv: true } };
  const write = (chain: string, name: string, key: nft.Json, ...stmt: nft.Json[]): nft.Command =>
    nft.rule(chain, nft.each("update", name, key, ...stmt));
  return [
    write("refused", "denied", nft.concat(...pair, source, target), nft.COUNTER),
    write("writable", "peers", peer, nft.COUNTER),
    write("writable", "flood", nft.meta("priority"), limit),
    write("writable", "sample", nft.concat(...pair, source, to), limit),
    write("writable", "answering", tcpTuple(false)),
    nft.rule("writable", nft.each("add", "budget", nft.meta("priority"), count)),
  ];
}

/** Steps 4 to 6, before conntrack could put fragments together. */
function earlyRules(): nft.Command[] {
  const refuse = (reason: PacketReason): nft.Json => nft.set(MARK, EARLY_REASONS.indexOf(reason));
  const early = (reason: PacketReason, ...when: nft.Json[]): nft.Command =>
    nft.rule("early", ...when, refuse(reason), nft.goto("refuse_early"));
  const protocol = (name: nft.Json): nft.Json => nft.match(nft.field("ip", "protocol"), "==", name);
  // A rule with bits that the packet does not have does not match, so what follows is too short.
  const reaches = (byte: number): nft.Json =>
    nft.match(nft.bits("th", byte * 8, 8), "==", { range: [0, 255] });
  const flags = (mask: number, op: "==" | "!=", value: number): nft.Json =>
    nft.match(nft.and(FLAGS, mask), op, value);
  const unfragmented = nft.match(nft.and(nft.field("ip", "frag-off"), 0x3fff), "==", 0);
  const bare = nft.match(nft.field("ip", "hdrlength"), "==", 5);
  const answering = nft.match(tcpTuple(true), "==", "@answering");
  // Conntrack calls URG invalid beside RST or SYN+ACK, where it means nothing: it is taken off.
  const plain = (value: number): nft.Command =>
    nft.rule("early_flags", flags(0x37, "==", value | 0x20), nft.set(FLAGS, value));
  return [
    nft.rule("early", bare, unfragmented, protocol("udp"), reaches(7), nft.ACCEPT),
    nft.rule("early", bare, unfragmented, protocol("tcp"), nft.goto("early_tcp")),
    early("fragment", nft.match(nft.and(nft.field("ip", "frag-off"), 0x3fff), "!=", 0)),
    early("ip-options", nft.match(nft.field("ip", "hdrlength"), "!=", 5)),
    nft.rule("early", protocol("icmp"), reaches(7), nft.ACCEPT),
    early("short", protocol({ set: ["udp", "icmp"] })),
    nft.rule("early", nft.ACCEPT),
    nft.rule("early_tcp", flags(0x22, "!=", 0), nft.jump("early_flags")),
    nft.rule("early_tcp", reaches(19), nft.ACCEPT),
    nft.rule("early_tcp", refuse("short"), nft.goto("refuse_early")),
    ...[0x04, 0x14, 0x12].map(plain),
    // The answering side's bare SYN would turn a connection round (simultaneous open, TIME_WAIT).
    nft.rule("early_flags", flags(0x17, "==", 2), answering, { notrack: null }),
  ];
}

/**
 * What the slots say is to be translated is, or stops. Added with the first redirect and not before:
 * where the kernel keeps address translation, each new session pays for it.
 */
export function translation(): nft.Command[] {
  const nat = { name: "translate", type: "nat", hook: "prerouting", prio: -100, policy: "accept" };
  const base = { name: "handover", type: "filter", hook: "prerouting", prio: -90, policy: "drop" };
  const commands = [nat, base].flatMap((chain) => [
    nft.add("chain", chain),
    nft.flush("chain", chain.name),
  ]);
  const ends = nft.match(nft.and(FLAGS, 3), "!=", 0);
  const translated = nft.match(nft.ct("status"), "in", "dnat");
  commands.push(nft.rule("handover", ends, translated, nft.jump("answering")));
  const key = nft.concat(nft.ct("mark"), nft.field("ip", "daddr"), nft.field("th", "dport"));
  const ported = nft.match(nft.meta("l4proto"), "==", { set: ["tcp", "udp"] });
  for (const slot of SLOTS) {
    const mine = nft.match(MARK, "==", HANDOVER[slot]);
    for (const whose of ["redirect", "granted"]) {
      const addr = nft.lookup(key, `${whose}_address_${slot}`);
      const port = nft.lookup(key, `${whose}_port_${slot}`);
      commands.push(nft.rule("translate", mine, ported, { dnat: { addr, port } }));
    }
    const room = nft.set(MARK, nft.lookup(nft.field("ip", "daddr"), `rooms_${slot}`));
    commands.push(nft.rule("handover", mine, translated, room, nft.ACCEPT));
    // The translation is missing: as if the engine were.
    const number = nft.set(MARK, nft.and(nft.ct("mark"), ONE_WAY - 1));
    commands.push(nft.rule("handover", mine, number, nft.goto(`note_engine-detached_${slot}`)));
  }
  return [...commands, nft.rule("handover", nft.ACCEPT)];
}

/**
 * Where sessions of the slot in force get the gateway's address as their source. It sees the first packet of
 * each session that was allowed, and accepts nothing; a session that was to be translated and was not,
 * stops. Added with the first such zone, as `translation` is.
 */
export function dialling(slot: Slot): nft.Command[] {
  const nat = { name: "dial", type: "nat", hook: "postrouting", prio: 100, policy: "accept" };
  const base = { name: "remember", type: "filter", hook: "postrouting", prio: 110 };
  const commands = [nat, { ...base, policy: "accept" }].flatMap((chain) => [
    nft.add("chain", chain),
    nft.flush("chain", chain.name),
  ]);
  const passed = nft.match(MARK, "==", MARKS.pass);
  const ported = nft.match(nft.meta("l4proto"), "==", { set: ["tcp", "udp"] });
  const addr = nft.lookup(nft.field("ip", "daddr"), `dialled_from_${slot}`);
  // The port by name: the kernel would else choose another one where this one is taken.
  const port = nft.field("th", "sport");
  const ends = nft.match(nft.and(FLAGS, 3), "!=", 0);
  const translated = nft.match(nft.ct("status"), "in", "snat");
  const original = nft.match(nft.ct("direction"), "==", "original");
  // IPS_SRC_NAT of linux/netfilter/nf_conntrack_common.h.
  const plain = nft.match(nft.and(nft.ct("status"), 0x10), "==", 0);
  const isNew = nft.match(nft.ct("state"), "in", "new");
  const missed = nft.match(nft.field("ip", "daddr"), "==", `@dialled_to_${slot}`);
  return [
    ...commands,
    nft.rule("dial", passed, nft.jump("dialled")),
    nft.rule("remember", passed, ends, translated, original, nft.jump("answering")),
    nft.rule("remember", passed, isNew, plain, nft.jump("undialled")),
    nft.rule(`undialled_${slot}`, missed, nft.DROP),
    nft.rule(`dialled_${slot}`, ported, { snat: { addr, port } }),
    nft.rule(`dialled_${slot}`, nft.match(nft.meta("l4proto"), "==", "icmp"), { snat: { addr } }),
  ];
}

function leavingRules(): nft.Command[] {
  const inspected = nft.match(nft.and(MARK, 0xffff0000), "==", MARKS.inspectBase);
  const errors = nft.match(nft.field("icmp", "type"), "==", { set: [3, 11, 12] });
  return [
    nft.rule("forward", nft.match(MARK, "==", MARKS.pass), nft.ACCEPT),
    nft.rule("forward", inspected, nft.ACCEPT),
    // Nothing but an allowed packet gets as far as to make this kernel send an error or a reset.
    nft.rule("output", errors, nft.ACCEPT),
    nft.rule("output", nft.match(nft.and(FLAGS, 4), "==", 4), nft.ACCEPT),
  ];
}

/** Step 2. A tag is visible as the ethertype even where the driver took it off. */
function screen(sampled: boolean): nft.Command[] {
  const log = { log: { prefix: "v1:0:-:not-ipv4", group: LOG_GROUP, "queue-threshold": 1 } };
  const arp = nft.set(MARK, MARKS.arp);
  return [
    nft.add("chain", { name: "screen" }, "netdev"),
    nft.flush("chain", "screen", "netdev"),
    nft.netdevRule("screen", nft.match(ETHERTYPE, "==", 0x0806), arp, nft.ACCEPT),
    nft.netdevRule("screen", { counter: "not-ipv4" }, ...(sampled ? [SCREEN_EVENTS] : []), log),
    nft.netdevRule("screen", nft.DROP),
  ];
}

/**
 * Puts the screen on interfaces that are in the room. A base NIC lets through the tags of the VLAN
 * interfaces among `all`, which are screened themselves.
 */
export function attach(
  interfaces: readonly string[],
  all: readonly string[] = interfaces,
): nft.Document {
  const commands: nft.Command[] = [];
  for (const dev of interfaces) {
    const chain = `screen_${dev}`;
    const base = { name: chain, type: "filter", hook: "ingress", dev, prio: 0, policy: "drop" };
    commands.push(nft.add("chain", base, "netdev"), nft.flush("chain", chain, "netdev"));
    commands.push(nft.netdevRule(chain, nft.match(ETHERTYPE, "==", 0x0800), nft.ACCEPT));
    const vlans = all.filter((name) => name.startsWith(`${dev}.`));
    if (vlans.length > 0) {
      const tags = vlans.map((name) => Number(name.slice(dev.length + 1)));
      const known = nft.match(nft.and(nft.bits("ll", 112, 16), 0xfff), "==", { set: tags });
      commands.push(nft.netdevRule(chain, nft.match(ETHERTYPE, "==", 0x8100), known, nft.ACCEPT));
    }
    commands.push(nft.netdevRule(chain, nft.jump("screen")));
  }
  return { nftables: commands };
}
