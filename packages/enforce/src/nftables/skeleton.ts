/**
 * The frame of the nftables engine: tables, sets, maps and base chains. Their number does not depend
 * on the policy; an empty slot refuses everything. Steps are those of packet-semantics.md.
 *
 * A packet's way: `screen_*` (netdev: step 2) → `early` (4 to 6) → conntrack → `judge` (7 to 13, on the
 * tuple as dialled) → `translate` (DNAT) → `handover` (what was to be translated and was not, stops).
 *
 * Scratch registers, as nftables has no variables: `meta mark` is the source class, then the conduit's
 * number; `meta priority` is the target class, then the zone. The router resets the priority. The
 * mark of a connection is its conduit's number; its top bit says that it is a diode's.
 */
import type { Json } from "@sallyport/core";
import { type EngineLimits, type PacketReason, REASONS } from "@sallyport/policy/legs";
import { MARKS, type Slot } from "../engine.ts";
import * as nft from "./json.ts";

export const SLOTS: readonly Slot[] = [0, 1];
/** Denials and would-denials; the room's one reader of this group is the event stream. */
export const LOG_GROUP = 5;
/** Set on a connection's mark beside the number: nothing comes back. Numbers stay below it. */
export const ONE_WAY = 0x80000000;
/** On a looked-up number: not a number but a list of candidates. */
export const BUNDLE = 0x80000000;
/** "To be translated by this slot, then handed to a gate"; routing knows no such mark. */
export const HANDOVER: Readonly<Record<Slot, number>> = { 0: 0x5a000010, 1: 0x5a000011 };

/** Peers that opened sessions within this time are counted one by one, the others only in sum. */
const PEER_SECONDS = 3600;
const PEERS_MAX = 16_384;
/** (reason, number, zone pair): all of them known to the policy, so that attackers can't fill it. */
const DENIALS_MAX = 65_536;
/** Samples are limited by (reason, number, source zone, target); a full set means no sample. */
const SAMPLES_MAX = 4096;
const SAMPLE_SECONDS = 60;
/** TCP sessions that are opening or closing; without room, conntrack's finer view shows. */
const ANSWERING_MAX = 65_536;
const ZONES_MAX = 65_536;
/** Refused sessions that are still counted against a full budget: the count's list grows with each. */
export const RECOUNTS_PER_SECOND = 100;

/** Reasons that a closed conduit or grant can give; each has a set of numbers per slot. */
export const CLOSED_REASONS: readonly PacketReason[] = [
  "expired",
  "outside-window",
  "no-grant",
  "grant-expired",
  "island",
  "time-untrusted",
];
/** Found before any conduit is: the denial carries no number. */
export const EARLY_REASONS: readonly PacketReason[] = ["fragment", "ip-options", "short"];

/** Sets and maps of one slot: name, key, value if it is a map, further flags. */
const SLOT_TABLES: readonly (readonly [string, Json, string?, string?])[] = [
  ["src_host", "ipv4_addr", "mark"],
  ["src_net", "ipv4_addr", "mark", "interval"],
  ["src_if", ["mark", "ifname"]],
  ["dst_host", "ipv4_addr", "classid"],
  ["dst_net", "ipv4_addr", "classid", "interval"],
  ["nowhere", "ipv4_addr", "verdict", "interval"],
  ["zone", "ipv4_addr", "classid", "interval"],
  ["zone_mac", "ipv4_addr", "ether_addr", "interval"],
  ["cells", ["mark", "classid", "inet_proto", "inet_service"], "mark"],
  ["ranges", ["mark", "classid", "inet_proto", "inet_service"], "mark", "interval"],
  ["echo", ["mark", "classid"], "mark"],
  ["grants", ["ipv4_addr", "ipv4_addr", "inet_proto", "inet_service"], "mark"],
  ["bundle", "mark", "classid"],
  ["first", "classid", "mark"],
  ["next", ["classid", "mark"], "mark"],
  ["redirect_address", ["mark", "ipv4_addr", "inet_service"], "ipv4_addr"],
  ["redirect_port", ["mark", "ipv4_addr", "inet_service"], "inet_service"],
  ["rooms", "ipv4_addr", "mark"],
  ["redirecting", ["mark", "ifname"]],
  ["diode", "mark"],
  ["audit", "mark"],
  ["live", "mark", undefined, "timeout"],
  ...CLOSED_REASONS.map((reason) => [`closed_${reason}`, "mark"] as const),
];

/** Chains of one slot; `lower.ts` fills them. */
export const SLOT_CHAINS: readonly string[] = [
  ...["slot", "early", "sourced", "session", "session_syn", "session_icmp", "session_live", "alive"],
  ...["lost", "ended", "classify", "candidates", "granted", "found", "bundled", "head"],
  ...["closed", "unmatched", "opening", "create", "limited", "pass"],
  ...REASONS.map((reason) => `note_${reason}`),
];

export function slotTables(slot: Slot): { readonly name: string; readonly isMap: boolean }[] {
  return SLOT_TABLES.map(([name, , value]) => ({ name: `${name}_${slot}`, isMap: value !== undefined }));
}

/** Makes the engine stand in its room. Loading it again changes nothing that is there. */
export function skeleton(limits: EngineLimits, options: { readonly sampled?: boolean } = {}): nft.Document {
  const { tcpOpening, tcpClosing } = limits.timeoutsSeconds;
  const answerSeconds = Math.max(tcpOpening, tcpClosing);
  const commands: nft.Command[] = [nft.addTable("ip"), nft.addTable("netdev"), ...shared()];
  for (const slot of SLOTS) {
    for (const [name, type, value, flag] of SLOT_TABLES) {
      const members = { name: `${name}_${slot}`, type, ...(flag === undefined ? {} : { flags: [flag] }) };
      commands.push(
        value === undefined ? nft.add("set", members) : nft.add("map", { ...members, map: value }),
      );
    }
    for (const name of SLOT_CHAINS) commands.push(nft.add("chain", { name: `${name}_${slot}` }));
  }
  return { nftables: [...commands, ...dynamicSets(answerSeconds), ...baseChains(), ...screen(options.sampled ?? true)] };
}

function shared(): nft.Command[] {
  const pending = { type: "ether_type", map: "verdict", flags: ["timeout"] };
  return [
    nft.add("set", { name: "hits", type: "mark", stmt: [nft.COUNTER] }),
    nft.add("map", { name: "pending", ...pending }),
    nft.add("map", { name: "pending_early", ...pending }),
    nft.add("counter", { name: "sampled" }),
    nft.add("counter", { name: "opened" }),
    nft.add("counter", { name: "not-ipv4" }, "netdev"),
    ...["confirmed", "confirmed_early", "refuse_early", "urgent", "count", "opened", "answering", "writable"].map((name) => nft.add("chain", { name })),
  ];
}

const TCP_TUPLE = ["ipv4_addr", "inet_service", "ipv4_addr", "inet_service"];
/** Opener, its port, answerer, its port; of a packet from the answerer, turned. */
function tcpTuple(turned: boolean): Json {
  const from = [nft.field("ip", "saddr"), nft.field("tcp", "sport")];
  const to = [nft.field("ip", "daddr"), nft.field("tcp", "dport")];
  return turned ? nft.concat(...to, ...from) : nft.concat(...from, ...to);
}

const hook = (name: string, at: string, prio: number, policy: string, type = "filter"): nft.Command =>
  nft.add("chain", { name, type, hook: at, prio, policy });

function baseChains(): nft.Command[] {
  const commands = [
    hook("early", "prerouting", -450, "drop"),
    hook("judge", "prerouting", -110, "drop"),
    hook("translate", "prerouting", -100, "accept", "nat"),
    hook("handover", "prerouting", -90, "drop"),
    hook("input", "input", 0, "drop"),
    hook("forward", "forward", 0, "drop"),
    hook("output", "output", 0, "drop"),
  ];
  for (const name of ["early", "judge", "translate", "handover", "input", "forward", "output", "urgent", "refuse_early"]) {
    commands.push(nft.flush("chain", name));
  }
  const protocol = nft.meta("protocol");
  commands.push(...earlyRules());
  commands.push(nft.rule("judge", nft.vmap(protocol, "pending")), nft.rule("judge", nft.goto("confirmed")));
  const mark = nft.meta("mark");
  const ends = nft.match(nft.and(nft.field("tcp", "flags"), 3), "!=", 0);
  commands.push(nft.rule("handover", ends, nft.jump("answering")));
  for (const slot of SLOTS) {
    const mine = nft.match(mark, "==", HANDOVER[slot]);
    const key = nft.concat(nft.ct("mark"), nft.field("ip", "daddr"), nft.field("th", "dport"));
    const address = nft.lookup(key, `redirect_address_${slot}`);
    const port = nft.lookup(key, `redirect_port_${slot}`);
    const ported = nft.match(nft.meta("l4proto"), "==", { set: ["tcp", "udp"] });
    commands.push(nft.rule("translate", mine, ported, { dnat: { addr: address, port } }));
    const room = nft.set(mark, nft.lookup(nft.field("ip", "daddr"), `rooms_${slot}`));
    const translated = nft.match(nft.ct("status"), "in", "dnat");
    commands.push(nft.rule("handover", mine, translated, room, nft.ACCEPT));
    // The translation is missing: as if the engine were.
    const undo = nft.set(mark, nft.and(nft.ct("mark"), ONE_WAY - 1));
    commands.push(nft.rule("handover", mine, undo, nft.goto(`note_engine-detached_${slot}`)));
  }
  const inspected = nft.match(nft.and(mark, 0xffff0000), "==", MARKS.inspectBase);
  commands.push(
    nft.rule("handover", nft.ACCEPT),
    nft.rule("forward", nft.match(mark, "==", MARKS.pass), nft.ACCEPT),
    nft.rule("forward", inspected, nft.ACCEPT),
    // Nothing but an allowed packet gets as far as to make this kernel send an error or a reset.
    nft.rule("output", nft.match(nft.field("icmp", "type"), "==", { set: [3, 11, 12] }), nft.ACCEPT),
    nft.rule("output", nft.match(nft.and(nft.field("tcp", "flags"), 4), "==", 4), nft.ACCEPT),
  );
  return commands;
}

/** Steps 4 to 6, before conntrack could put fragments together. */
function earlyRules(): nft.Command[] {
  const early = (reason: PacketReason, ...when: Json[]): nft.Command => {
    const code = nft.set(nft.meta("mark"), EARLY_REASONS.indexOf(reason));
    return nft.rule("early", ...when, code, nft.goto("refuse_early"));
  };
  const protocol = (name: Json): Json => nft.match(nft.field("ip", "protocol"), "==", name);
  // A rule with bits that the packet does not have does not match, so what follows is too short.
  const reaches = (byte: number): Json =>
    nft.match(nft.bits("th", byte * 8, 8), "==", { range: [0, 255] });
  const flags = nft.field("tcp", "flags");
  const urgent = nft.match(nft.and(flags, 0x20), "==", 0x20);
  return [
    early("fragment", nft.match(nft.and(nft.field("ip", "frag-off"), 0x3fff), "!=", 0)),
    early("ip-options", nft.match(nft.field("ip", "hdrlength"), "!=", 5)),
    nft.rule("early", protocol("tcp"), urgent, nft.jump("urgent")),
    // The answering side's bare SYN would turn a connection round (simultaneous open, TIME_WAIT).
    nft.rule("early", protocol("tcp"), nft.match(nft.and(flags, 0x17), "==", 2), nft.match(tcpTuple(true), "==", "@answering"), { notrack: null }),
    nft.rule("early", protocol("tcp"), reaches(19), nft.ACCEPT),
    nft.rule("early", protocol({ set: ["udp", "icmp"] }), reaches(7), nft.ACCEPT),
    early("short", protocol({ set: ["tcp", "udp", "icmp"] })),
    nft.rule("early", nft.ACCEPT),
    nft.rule("refuse_early", nft.vmap(nft.meta("protocol"), "pending_early")),
    nft.rule("refuse_early", nft.goto("confirmed_early")),
    // Conntrack calls URG invalid beside RST or SYN+ACK, where it means nothing: taken off.
    ...[0x04, 0x14, 0x12].map((plain) =>
      nft.rule(
        "urgent",
        nft.match(nft.and(flags, 0x37), "==", plain | 0x20),
        nft.set(flags, plain),
      ),
    ),
  ];
}

/** Step 2. A tag is visible as the ethertype even where the driver took it off. */
function screen(sampled: boolean): nft.Command[] {
  const limit = { limit: { rate: 5, per: "second", burst: 5 } };
  const log = { log: { prefix: "v1:0:-:not-ipv4", group: LOG_GROUP, "queue-threshold": 1 } };
  const type = nft.bits("ll", 96, 16);
  return [
    nft.add("chain", { name: "screen" }, "netdev"),
    nft.flush("chain", "screen", "netdev"),
    nft.netdevRule("screen", nft.match(type, "==", 0x0800), nft.ACCEPT),
    nft.netdevRule("screen", nft.match(type, "==", 0x0806), nft.set(nft.meta("mark"), MARKS.arp), nft.ACCEPT),
    nft.netdevRule("screen", { counter: "not-ipv4" }, ...(sampled ? [limit] : []), log),
    nft.netdevRule("screen", nft.DROP),
  ];
}

/**
 * Puts the screen on interfaces that are in the room. A base NIC lets through the tags of the VLAN
 * interfaces in the same list, which are screened themselves.
 */
export function attach(interfaces: readonly string[]): nft.Document {
  const commands: nft.Command[] = [];
  for (const dev of interfaces) {
    const chain = `screen_${dev}`;
    const base = { name: chain, type: "filter", hook: "ingress", dev, prio: 0, policy: "drop" };
    commands.push(nft.add("chain", base, "netdev"), nft.flush("chain", chain, "netdev"));
    const prefix = `${dev}.`;
    const tags = interfaces.filter((name) => name.startsWith(prefix)).map((name) => Number(name.slice(prefix.length)));
    if (tags.length > 0) {
      const tagged = nft.match(nft.bits("ll", 96, 16), "==", 0x8100);
      const known = nft.match(nft.and(nft.bits("ll", 112, 16), 0xfff), "==", { set: tags });
      commands.push(nft.netdevRule(chain, tagged, known, nft.ACCEPT));
    }
    commands.push(nft.netdevRule(chain, nft.jump("screen")));
  }
  return { nftables: commands };
}

/**
 * Sets that packets write to, and the rules that do so for both slots. nft makes a set writable only
 * together with a rule that writes; for those of the slots' own rules that is one that nothing runs.
 */
function dynamicSets(answerSeconds: number): nft.Command[] {
  const priority = nft.meta("priority");
  const mark = nft.meta("mark");
  const pair = nft.concat(priority, mark);
  const timed = (timeout: number): { [name: string]: Json } => ({ flags: ["timeout"], timeout });
  const [from, to] = [nft.field("ip", "saddr"), nft.field("ip", "daddr")];
  const [source, target] = [nft.field("ether", "daddr"), nft.field("ether", "saddr")];
  const port = nft.field("th", "dport");
  const peer = ["mark", "ipv4_addr", "ipv4_addr", "inet_proto", "inet_service"];
  const sets: [string, string[], number, { [name: string]: Json }?][] = [
    ["denied", ["classid", "mark", "ether_addr", "ether_addr"], DENIALS_MAX],
    ["sample", ["classid", "mark", "ether_addr", "ipv4_addr"], SAMPLES_MAX, timed(SAMPLE_SECONDS)],
    ["budget", ["classid", "mark"], ZONES_MAX],
    ["full", ["classid", "mark"], ZONES_MAX, timed(1)],
    ["flood", ["classid", "mark"], ZONES_MAX],
    ["peers", peer, PEERS_MAX, timed(PEER_SECONDS)],
    ["answering", TCP_TUPLE, ANSWERING_MAX, timed(answerSeconds)],
  ];
  const key = { denied: nft.concat(priority, mark, source, target) };
  const overrun = { limit: { rate: RECOUNTS_PER_SECOND, per: "second", burst: RECOUNTS_PER_SECOND, inv: true } };
  return [
    ...sets.map(([name, type, size, rest]) => nft.add("set", { name, type, size, ...rest })),
    ...["count", "opened", "answering", "writable"].map((name) => nft.flush("chain", name)),
    nft.rule("count", nft.each("update", "denied", key.denied, nft.COUNTER)),
    nft.rule("opened", { counter: "opened" }),
    nft.rule("opened", nft.each("update", "peers", nft.concat(mark, from, to, nft.meta("l4proto"), port), nft.COUNTER)),
    nft.rule("answering", nft.match(nft.ct("direction"), "==", "original"), nft.each("update", "answering", tcpTuple(false)), nft.RETURN),
    nft.rule("answering", nft.each("update", "answering", tcpTuple(true))),
    nft.rule("writable", nft.match(pair, "==", "@full"), nft.each("add", "flood", pair, overrun)),
    nft.rule("writable", nft.each("add", "budget", pair, { "ct count": { val: 1, inv: true } })),
    nft.rule("writable", nft.each("update", "sample", nft.concat(priority, mark, source, to), { limit: { rate: 1, per: "second" } })),
  ];
}
