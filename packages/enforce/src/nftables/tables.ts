/** Sets and maps of the nftables engine, and the numbers in them that are not a policy's. */
import { type EngineLimits, type PacketReason, REASONS } from "@sallyport/policy/legs";
import type { Slot } from "../engine.ts";
import * as nft from "./json.ts";

export const SLOTS: readonly Slot[] = [0, 1];
/** Set on a connection's mark beside the number: nothing comes back. Numbers stay below it. */
export const ONE_WAY = 0x80000000;
/** On a looked-up number: not a number but a list of candidates. */
export const BUNDLE = 0x80000000;

/** Reasons that a closed conduit or grant can give; each has a set of numbers per slot. */
export const CLOSED_REASONS: readonly PacketReason[] = [
  "expired",
  "outside-window",
  "no-grant",
  "grant-expired",
  "island",
  "time-untrusted",
];
/** Reasons of steps 4 to 6, in the order of the marks that stand for them. */
export const EARLY_REASONS: readonly PacketReason[] = ["fragment", "ip-options", "short"];

/** Chains of one slot; `rules.ts` fills them. */
export const SLOT_CHAINS: readonly string[] = [
  ...["slot", "fresh", "classes", "destined", "early", "sourced", "alive"],
  ...["session", "session_syn", "session_icmp", "session_live", "alive_slow", "lost", "ended"],
  ...["classify", "candidates", "granted", "found", "bundled", "head", "closed", "unmatched"],
  ...["opening", "create", "special", "limited", "dialled", "undialled"],
  ...REASONS.map((reason) => `note_${reason}`),
];

/**
 * Of each slot: name, key, value of a map, and whether keys are ranges or run out. What grants have is in
 * tables of its own, all of them small hash tables: a grant is added and revoked by filling these again.
 */
const SLOT_TABLES = `
  src_host          ipv4_addr.ifname                          mark
  src_net           ipv4_addr                                 mark          interval
  src_if            mark.ifname                               -
  dst_host          ipv4_addr                                 classid
  dst_net           ipv4_addr                                 classid       interval
  nowhere           ipv4_addr                                 verdict       interval
  zone              ipv4_addr                                 classid       interval
  zone_mac          ipv4_addr                                 ether_addr    interval
  exact             ipv4_addr.ipv4_addr.ifname.inet_proto.inet_service  mark
  cells             mark.classid.inet_proto.inet_service      mark
  ranges            mark.classid.inet_proto.inet_service      mark          interval
  echo              mark.classid                              mark
  grants            ipv4_addr.ipv4_addr.inet_proto.inet_service  mark
  bundle            mark                                      classid
  first             classid                                   mark
  next              classid.mark                              mark
  redirect_address  mark.ipv4_addr.inet_service               ipv4_addr
  redirect_port     mark.ipv4_addr.inet_service               inet_service
  redirecting       mark.ifname                               -
  rooms             ipv4_addr                                 mark
  dialled_from      ipv4_addr                                 ipv4_addr     interval
  dialled_to        ipv4_addr                                 -             interval
  special           mark                                      -
  diode             mark                                      -
  audit             mark                                      -
  live              mark                                      -             timeout
  granted_live      mark                                      -             timeout
  granted_closed    mark                                      verdict
  granted_in        mark.ifname                               -
  granted_address   mark.ipv4_addr.inet_service               ipv4_addr
  granted_port      mark.ipv4_addr.inet_service               inet_service
  ${CLOSED_REASONS.map((reason) => `closed_${reason} mark -`).join("\n")}`;

/** What a slot's grants have, but for how long they are open. */
export const GRANTED: readonly string[] = [
  "grants",
  ...["granted_closed", "granted_in", "granted_address", "granted_port"],
];

/**
 * Written by packets: name, key, most elements, seconds. Denials are keyed by (reason, number, zone pair),
 * all of them known to the policy, so an attacker can't fill them; samples by (reason, number, source zone,
 * target), and where those are full there is no sample; `answering` are TCP sessions that are opening or closing.
 */
const DYNAMIC_SETS = `
  denied     classid.mark.ether_addr.ether_addr                  65536
  sample     classid.mark.ether_addr.ipv4_addr                   4096   60
  peers      mark.ipv4_addr.ipv4_addr.inet_proto.inet_service    16384  3600
  answering  ipv4_addr.inet_service.ipv4_addr.inet_service       65536  60
  budget     classid                                             65536
  flood      classid                                             65536
  full       classid                                             65536  1`;

interface Table {
  readonly name: string;
  readonly isMap: boolean;
  readonly declaration: nft.Command;
}

export function slotTables(slot: Slot): Table[] {
  return linesOf(SLOT_TABLES).map(([base = "", key = "", value, flag]) => {
    const name = `${base}_${slot}`;
    const flags = flag === undefined ? {} : { flags: [flag] };
    const members = { name, type: typeOf(key), ...flags };
    const isMap = value !== undefined && value !== "-";
    const declaration = isMap
      ? nft.add("map", { ...members, map: value })
      : nft.add("set", members);
    return { name, isMap, declaration };
  });
}

/**
 * nft's JSON has no word for a set that packets write to: it makes a set so when a rule of the same
 * document writes to it, which is why these are never declared a second time.
 */
export function dynamicSets(): nft.Command[] {
  return linesOf(DYNAMIC_SETS).map(([name = "", key = "", size, seconds]) => {
    const timed = seconds === undefined ? {} : { flags: ["timeout"], timeout: Number(seconds) };
    return nft.add("set", { name, type: typeOf(key), size: Number(size), ...timed });
  });
}

function linesOf(table: string): string[][] {
  return table
    .trim()
    .split("\n")
    .map((line) => line.trim().split(/\s+/));
}

function typeOf(key: string): string | string[] {
  return key.includes(".") ? key.split(".") : key;
}

/** Opener, its port, answerer, its port; `turned`, as a packet from the answerer has them. */
export function tcpTuple(turned: boolean): nft.Json {
  const from = [nft.field("ip", "saddr"), nft.field("tcp", "sport")];
  const to = [nft.field("ip", "daddr"), nft.field("tcp", "dport")];
  return turned ? nft.concat(...to, ...from) : nft.concat(...from, ...to);
}

/** Sessions are remembered as opening or closing for as long as conntrack keeps them so. */
export function answeringRules(limits: EngineLimits): nft.Command[] {
  const { tcpOpening, tcpClosing } = limits.timeoutsSeconds;
  const remember = (turned: boolean): nft.Json => {
    const elem = { val: tcpTuple(turned), timeout: Math.max(tcpOpening, tcpClosing) };
    return nft.each("update", "answering", { elem });
  };
  const original = nft.match(nft.ct("direction"), "==", "original");
  return [
    nft.flush("chain", "answering"),
    nft.rule("answering", original, remember(false), nft.RETURN),
    nft.rule("answering", remember(true)),
  ];
}
