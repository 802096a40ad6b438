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
/** A zone counts as full for this long after a refusal, which only bounds the work of refusing more. */
const FULL_SECONDS = 1;
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

type SlotTable = readonly [name: string, key: Json, value?: string];
const SLOT_TABLES: readonly SlotTable[] = [
  ["src_host", "ipv4_addr", "mark"],
  ["src_if", ["mark", "ifname"]],
  ["dst_host", "ipv4_addr", "classid"],
  ["cells", ["mark", "classid", "inet_proto", "inet_service"], "mark"],
  ["echo", ["mark", "classid"], "mark"],
  ["grants", ["ipv4_addr", "ipv4_addr", "inet_proto", "inet_service"], "mark"],
  ["bundle", "mark", "classid"],
  ["first", "classid", "mark"],
  ["next", ["classid", "mark"], "mark"],
  ["redirect_address", ["mark", "ipv4_addr", "inet_service"], "ipv4_addr"],
  ["redirect_port", ["mark", "ipv4_addr", "inet_service"], "inet_service"],
  ["redirecting", ["mark", "ifname"]],
  ["rooms", "ipv4_addr", "mark"],
  ["diode", "mark"],
  ["audit", "mark"],
  ...CLOSED_REASONS.map((reason): SlotTable => [`closed_${reason}`, "mark"]),
];
const SLOT_INTERVALS: readonly SlotTable[] = [
  ["src_net", "ipv4_addr", "mark"],
  ["dst_net", "ipv4_addr", "classid"],
  ["nowhere", "ipv4_addr", "verdict"],
  ["zone", "ipv4_addr", "classid"],
  ["zone_mac", "ipv4_addr", "ether_addr"],
  ["ranges", ["mark", "classid", "inet_proto", "inet_service"], "mark"],
];
const SLOT_TIMED: readonly SlotTable[] = [["live", "mark"]];

/** Chains of one slot; `lower.ts` fills them. */
export const SLOT_CHAINS: readonly string[] = [
  ...[
    "slot",
    "early",
    "sourced",
    "session",
    "session_syn",
    "session_icmp",
    "session_live",
    "alive",
  ],
  ...["lost", "ended", "classify", "candidates", "granted", "found", "bundled", "head"],
  ...["closed", "unmatched", "opening", "create", "limited", "pass"],
  ...REASONS.map((reason) => `note_${reason}`),
];

interface Table {
  readonly name: string;
  readonly isMap: boolean;
  readonly declaration: nft.Command;
}

/** Sets and maps of one slot. */
export function slotTables(slot: Slot): Table[] {
  const table = ([base, type, map]: SlotTable, ...flags: string[]): Table => {
    const name = `${base}_${slot}`;
    const members = { name, type, ...(flags.length === 0 ? {} : { flags }) };
    const isMap = map !== undefined;
    const declaration = isMap ? nft.add("map", { ...members, map }) : nft.add("set", members);
    return { name, isMap, declaration };
  };
  return [
    ...SLOT_TABLES.map((row) => table(row)),
    ...SLOT_INTERVALS.map((row) => table(row, "interval")),
    ...SLOT_TIMED.map((row) => table(row, "timeout")),
  ];
}

export interface SkeletonOptions {
  /** The room has it already (`isInstalled`): only rules are replaced, nothing that lives is touched. */
  readonly installed?: boolean;
  /** False: every frame that is not IPv4 is an event. */
  readonly sampled?: boolean;
}

/** Whether the room of `nft -j list sets` has the engine: documents are loaded whole or not at all. */
export function isInstalled(listing: Json): boolean {
  return JSON.stringify(listing).includes('"answering"');
}

/** Makes the engine stand in its room. */
export function skeleton(limits: EngineLimits, options: SkeletonOptions = {}): nft.Document {
  const { tcpOpening, tcpClosing } = limits.timeoutsSeconds;
  const answerSeconds = Math.max(tcpOpening, tcpClosing);
  const sets = options.installed === true ? [] : dynamicSets(answerSeconds);
  const commands: nft.Command[] = [nft.addTable("ip"), nft.addTable("netdev"), ...shared()];
  for (const slot of SLOTS) {
    commands.push(...slotTables(slot).map(({ declaration }) => declaration));
    for (const name of SLOT_CHAINS) commands.push(nft.add("chain", { name: `${name}_${slot}` }));
  }
  return {
    nftables: [
      ...commands,
      ...sets,
      ...dynamicRules(),
      ...baseChains(),
      ...screen(options.sampled ?? true),
    ],
  };
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
    ...[
      "confirmed",
      "confirmed_early",
      "refuse_early",
      "urgent",
      "count",
      "opened",
      "answering",
      "writable",
    ].map((name) => nft.add("chain", { name })),
  ];
}

const TCP_TUPLE = ["ipv4_addr", "inet_service", "ipv4_addr", "inet_service"];
/** Opener, its port, answerer, its port; of a packet from the answerer, turned. */
function tcpTuple(turned: boolean): Json {
  const from = [nft.field("ip", "saddr"), nft.field("tcp", "sport")];
  const to = [nft.field("ip", "daddr"), nft.field("tcp", "dport")];
  return turned ? nft.concat(...to, ...from) : nft.concat(...from, ...to);
}

const hook = (
  name: string,
  at: string,
  prio: number,
  policy: string,
  type = "filter",
): nft.Command => nft.add("chain", { name, type, hook: at, prio, policy });

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
  for (const name of [
    "early",
    "judge",
    "translate",
    "handover",
    "input",
    "forward",
    "output",
    "urgent",
    "refuse_early",
  ]) {
    commands.push(nft.flush("chain", name));
  }
  const protocol = nft.meta("protocol");
  commands.push(...earlyRules());
  commands.push(
    nft.rule("judge", nft.vmap(protocol, "pending")),
    nft.rule("judge", nft.goto("confirmed")),
  );
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
    nft.rule(
      "output",
      nft.match(nft.field("icmp", "type"), "==", { set: [3, 11, 12] }),
      nft.ACCEPT,
    ),
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
    nft.rule(
      "early",
      protocol("tcp"),
      nft.match(nft.and(flags, 0x17), "==", 2),
      nft.match(tcpTuple(true), "==", "@answering"),
      { notrack: null },
    ),
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
    nft.netdevRule(
      "screen",
      nft.match(type, "==", 0x0806),
      nft.set(nft.meta("mark"), MARKS.arp),
      nft.ACCEPT,
    ),
    nft.netdevRule("screen", { counter: "not-ipv4" }, ...(sampled ? [limit] : []), log),
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
    const prefix = `${dev}.`;
    const tags = all
      .filter((name) => name.startsWith(prefix))
      .map((name) => Number(name.slice(prefix.length)));
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
 * Sets that packets write to. nft's JSON has no word for that: it makes a set so when a rule of the same
 * document writes to it, which is why these are never declared a second time.
 */
function dynamicSets(answerSeconds: number): nft.Command[] {
  const pair = ["classid", "mark"];
  const peer = ["mark", "ipv4_addr", "ipv4_addr", "inet_proto", "inet_service"];
  const sets: [name: string, type: string[], size: number, seconds?: number][] = [
    ["denied", [...pair, "ether_addr", "ether_addr"], DENIALS_MAX],
    ["sample", [...pair, "ether_addr", "ipv4_addr"], SAMPLES_MAX, SAMPLE_SECONDS],
    ["budget", pair, ZONES_MAX],
    ["full", pair, ZONES_MAX, FULL_SECONDS],
    ["flood", pair, ZONES_MAX],
    ["peers", peer, PEERS_MAX, PEER_SECONDS],
    ["answering", TCP_TUPLE, ANSWERING_MAX, answerSeconds],
  ];
  return sets.map(([name, type, size, timeout]) => {
    const timed = timeout === undefined ? {} : { flags: ["timeout"], timeout };
    return nft.add("set", { name, type, size, ...timed });
  });
}

/** The rules that write for both slots, and for the slots' own rules some that nothing runs. */
function dynamicRules(): nft.Command[] {
  const [priority, mark] = [nft.meta("priority"), nft.meta("mark")];
  const pair = nft.concat(priority, mark);
  const [from, to] = [nft.field("ip", "saddr"), nft.field("ip", "daddr")];
  const [source, target] = [nft.field("ether", "daddr"), nft.field("ether", "saddr")];
  const peer = nft.concat(mark, from, to, nft.meta("l4proto"), nft.field("th", "dport"));
  const original = nft.match(nft.ct("direction"), "==", "original");
  const limit = { limit: { rate: 1, per: "second" } };
  const update = (chain: string, name: string, key: Json, stmt: Json): nft.Command =>
    nft.rule(chain, nft.each("update", name, key, stmt));
  return [
    ...["count", "opened", "answering", "writable"].map((name) => nft.flush("chain", name)),
    update("count", "denied", nft.concat(priority, mark, source, target), nft.COUNTER),
    nft.rule("opened", { counter: "opened" }),
    update("opened", "peers", peer, nft.COUNTER),
    nft.rule("answering", original, nft.each("update", "answering", tcpTuple(false)), nft.RETURN),
    nft.rule("answering", nft.each("update", "answering", tcpTuple(true))),
    update("writable", "flood", pair, limit),
    update("writable", "sample", nft.concat(priority, mark, source, to), limit),
    nft.rule("writable", nft.each("add", "budget", pair, { "ct count": { val: 1, inv: true } })),
  ];
}
