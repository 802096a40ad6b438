/**
 * The rules of one slot: the same for every policy but for the generation in log prefixes and the
 * session budget. Steps are those of packet-semantics.md.
 */
import type { Json } from "@sallyport/core";
import { type PacketReason, REASONS } from "@sallyport/policy/legs";
import { MARKS, type Slot } from "../engine.ts";
import * as nft from "./json.ts";
import { HANDOVER, LOG_GROUP } from "./skeleton.ts";
import { BUNDLE, CLOSED_REASONS, EARLY_REASONS, ONE_WAY, SLOT_CHAINS } from "./tables.ts";

/** Conduits that may cover the same packet; each closed one costs a lookup. */
export const CANDIDATES_MAX = 32;
/** Refused sessions that still enter the count of a full zone: its list grows with each. */
const RECOUNTS_PER_SECOND = 100;
/** Denial events of one kind, per second; and of all kinds. */
const SAMPLES_PER_SECOND = 1;
const SAMPLES_BURST = 5;
const EVENTS_PER_SECOND = 1000;
/** Reasons found before a conduit is, so without a number. */
const WITHOUT_ID: readonly PacketReason[] = [
  ...EARLY_REASONS,
  "no-src-zone",
  "wrong-interface",
  "to-gateway",
  "multicast",
  "no-dst-zone",
  "no-conduit",
];

export interface SlotRules {
  readonly slot: Slot;
  readonly generation: number;
  readonly sessionsPerZone: number;
  /** False: every denial is an event, for the agreement check. */
  readonly sampled: boolean;
}

const MARK = nft.meta("mark");
const PRIORITY = nft.meta("priority");
const L4PROTO = nft.meta("l4proto");
const SOURCE = nft.field("ip", "saddr");
const TARGET = nft.field("ip", "daddr");
const PORT = nft.field("th", "dport");
const PEER = nft.concat(MARK, SOURCE, TARGET, L4PROTO, PORT);
const FLAGS = nft.field("tcp", "flags");
const INTERFACE = nft.meta("iifname");
/** IPS_DST_NAT of linux/netfilter/nf_conntrack_common.h. */
const DNAT_STATUS = 0x20;
const REPLY = nft.match(nft.ct("direction"), "==", "reply");
const ORIGINAL = nft.match(nft.ct("direction"), "==", "original");
const NUMBER_OF_CONNECTION = nft.set(MARK, nft.and(nft.ct("mark"), ONE_WAY - 1));
const IS_TCP = nft.match(L4PROTO, "==", "tcp");
/** Tracked, and nobody's yet; does not match where there is no connection at all. */
const FRESH = nft.match(nft.ct("mark"), "==", 0);

export function slotRules(options: SlotRules): nft.Command[] {
  const { slot } = options;
  const at = (name: string): string => `${name}_${slot}`;
  const rules: nft.Command[] = SLOT_CHAINS.map((name) => nft.flush("chain", at(name)));
  const add = (chain: string, ...expr: Json[]): void => {
    rules.push(nft.rule(at(chain), ...expr));
  };
  sourceRules(at, add);
  sessionRules(at, add, slot);
  conduitRules(at, add);
  openingRules(at, add, options);
  EARLY_REASONS.forEach((reason, code) => {
    add("early", nft.match(MARK, "==", code), nft.goto(at(`note_${reason}`)));
  });
  REASONS.forEach((reason, code) => noteRules(at, add, options, reason, code));
  return rules;
}

type At = (name: string) => string;
type Add = (chain: string, ...expr: Json[]) => void;

/**
 * Steps 7 and 9: `meta mark` becomes the source class, `meta priority` the target class. Packets of an
 * open session without anything special leave after two lookups; those of new ones, which are nobody's
 * at step 8, take a way of their own.
 */
function sourceRules(at: At, add: Add): void {
  const host = nft.set(MARK, nft.lookup(nft.concat(SOURCE, INTERFACE), at("src_host")));
  const net = nft.set(MARK, nft.lookup(SOURCE, at("src_net")));
  const place = nft.match(nft.concat(MARK, INTERFACE), "==", `@${at("src_if")}`);
  const zone = nft.set(PRIORITY, nft.lookup(SOURCE, at("zone")));
  // Neither SYN nor FIN; the mark of a diode's connection is not in the live set as it is.
  const amid = [nft.match(L4PROTO, "==", "udp"), nft.match(nft.and(FLAGS, 3), "==", 0)];
  const live = nft.match(nft.ct("mark"), "==", `@${at("live")}`);
  add("slot", FRESH, nft.goto(at("fresh")));
  for (const kind of amid) add("slot", kind, host, live, nft.goto(at("alive")));
  for (const [chain, next] of [["slot", "sourced"] as const, ["classes", "destined"] as const]) {
    add(chain, host, nft.goto(at(next)));
    add(chain, net, place, nft.goto(at(next)));
    add(chain, zone, nft.match(PRIORITY, "!=", 0), nft.goto(at("note_wrong-interface")));
    add(chain, nft.goto(at("note_no-src-zone")));
  }

  const target = (map: string): Json => nft.set(PRIORITY, nft.lookup(TARGET, at(map)));
  for (const kind of amid) add("sourced", kind, live, nft.goto(at("alive")));
  add("sourced", nft.match(nft.ct("mark"), "!=", 0), nft.jump(at("session")));
  add("sourced", nft.goto(at("destined")));
  add("destined", target("dst_host"), nft.goto(at("classify")));
  add("destined", target("dst_net"), nft.goto(at("classify")));
  add("destined", nft.vmap(TARGET, at("nowhere")));
  add("destined", nft.goto(at("note_no-dst-zone")));
  // A grant that is closed leaves the packet to the conduits, which need the class again.
  add("granted", nft.match(MARK, "==", `@${at("granted_live")}`), nft.goto(at("opening")));
  add("granted", host, nft.goto(at("candidates")));
  add("granted", net, nft.goto(at("candidates")));
}

/** Step 8. What returns from `session` is treated as if there were none; the class is still there. */
function sessionRules(at: At, add: Add, slot: Slot): void {
  const translated = nft.match(nft.ct("status"), "in", "dnat");
  const leave = (chain: string): void => {
    add(chain, translated, ORIGINAL, nft.set(MARK, HANDOVER[slot]), nft.ACCEPT);
    add(chain, nft.set(MARK, MARKS.pass), nft.ACCEPT);
  };
  add("alive", nft.match(nft.ct("mark"), "==", "@hits"));
  leave("alive");

  const syn = (mask: number, value: number): Json => nft.match(nft.and(FLAGS, mask), "==", value);
  add("session", nft.match(nft.ct("mark"), ">=", ONE_WAY), REPLY, nft.RETURN);
  add("session", syn(2, 2), nft.goto(at("session_syn")));
  add("session", nft.match(L4PROTO, "==", "icmp"), nft.goto(at("session_icmp")));
  add("session", nft.goto(at("session_live")));
  add("session_syn", syn(16, 0), REPLY, nft.RETURN);
  add("session_syn", syn(16, 16), ORIGINAL, nft.RETURN);
  add("session_syn", nft.goto(at("session_live")));
  // Errors quote a whole header without options, no fragment, and 8 bytes of what it carried.
  const type = (numbers: number[]): Json =>
    nft.match(nft.field("icmp", "type"), "==", { set: numbers });
  const quoteStart = nft.match(nft.bits("th", 64, 8), "==", 0x45);
  const whole = nft.match(nft.and(nft.bits("th", 112, 16), 0x3fff), "==", 0);
  const quoteEnd = nft.match(nft.bits("th", 280, 8), "==", { range: [0, 255] });
  const live = nft.goto(at("session_live"));
  add("session_icmp", type([0, 8]), live);
  add("session_icmp", type([3, 11, 12]), quoteStart, whole, quoteEnd, live);

  add("session_live", NUMBER_OF_CONNECTION);
  for (const set of ["live", "granted_live"]) {
    add("session_live", nft.match(MARK, "==", `@${at(set)}`), nft.goto(at("alive_slow")));
  }
  add("session_live", nft.goto(at("lost")));
  // Translated ones are remembered after the translation.
  const plain = nft.match(nft.and(nft.ct("status"), DNAT_STATUS), "==", 0);
  add("alive_slow", nft.match(nft.and(FLAGS, 3), "!=", 0), plain, nft.jump("answering"));
  add("alive_slow", nft.match(MARK, "==", "@hits"));
  leave("alive_slow");
  add("lost", nft.jump(at("ended")));
  // The reset answers a packet of ours, so it may leave with that one's mark.
  add("lost", IS_TCP, nft.set(MARK, MARKS.pass), { reject: { type: "tcp reset" } });
  add("lost", nft.DROP);
  add("ended", nft.vmap(MARK, at("granted_closed")));
  for (const reason of CLOSED_REASONS) {
    const here = nft.match(MARK, "==", `@${at(`closed_${reason}`)}`);
    add("ended", here, nft.goto(at(`note_${reason}`)));
  }
  add("ended", nft.goto(at("note_revoked")));
}

/** Step 10: `meta mark` becomes the number of the conduit or grant, or of a list of them. */
function conduitRules(at: At, add: Add): void {
  const live = nft.match(MARK, "==", `@${at("live")}`);
  const grant = nft.lookup(nft.concat(SOURCE, TARGET, L4PROTO, PORT), at("grants"));
  const exact = nft.lookup(nft.concat(SOURCE, TARGET, INTERFACE, L4PROTO, PORT), at("exact"));
  const cell = nft.concat(MARK, PRIORITY, L4PROTO, PORT);
  add("classify", nft.set(MARK, grant), nft.goto(at("granted")));
  add("classify", nft.goto(at("candidates")));
  const found = nft.goto(at("found"));
  add("candidates", nft.set(MARK, nft.lookup(cell, at("cells"))), found);
  add("candidates", nft.set(MARK, nft.lookup(cell, at("ranges"))), found);
  const echo = nft.set(MARK, nft.lookup(nft.concat(MARK, PRIORITY), at("echo")));
  add("candidates", nft.match(L4PROTO, "==", "icmp"), echo, found);
  add("candidates", nft.set(MARK, exact), found);
  add("candidates", nft.goto(at("unmatched")));
  // A new session of named hosts is found by one lookup instead of three. What may be under a grant
  // goes the long way, where source and target are known to be valid before a grant is asked.
  add("fresh", nft.set(MARK, grant), nft.goto(at("classes")));
  add("fresh", nft.set(MARK, exact), found);
  add("fresh", nft.goto(at("classes")));
  add("found", live, nft.goto(at("opening")));
  add("found", nft.match(MARK, ">=", BUNDLE), nft.goto(at("bundled")));
  add("found", nft.goto(at("closed")));

  const head = nft.set(MARK, nft.lookup(PRIORITY, at("first")));
  const next = nft.set(MARK, nft.lookup(nft.concat(PRIORITY, MARK), at("next")));
  add("bundled", nft.set(PRIORITY, nft.lookup(MARK, at("bundle"))));
  add("bundled", head, live, nft.goto(at("opening")));
  for (let more = 1; more < CANDIDATES_MAX; more++) {
    add("bundled", next, live, nft.goto(at("opening")));
  }
  add("bundled", head, nft.goto(at("closed")));

  // None is open. If there was a grant, it was asked first and its reason counts.
  add("unmatched", nft.set(MARK, grant), nft.goto(at("closed")));
  add("unmatched", nft.goto(at("note_no-conduit")));
  add("closed", nft.set(MARK, grant));
  add("closed", nft.match(MARK, ">=", BUNDLE), nft.jump(at("head")));
  add("closed", nft.goto(at("ended")));
  add("head", nft.set(PRIORITY, nft.lookup(MARK, at("bundle"))));
  add("head", head);
}

/** Steps 11 to 13. */
function openingRules(at: At, add: Add, options: SlotRules): void {
  const { slot, sessionsPerZone } = options;
  const invalid = nft.goto(at("note_invalid-state"));
  // Without a connection (malformed) or with somebody's (the other direction) it is not fresh.
  add("opening", nft.match(L4PROTO, "==", "udp"), FRESH, nft.goto(at("create")));
  add("opening", nft.match(nft.and(FLAGS, 0x17), "!=", 2), nft.goto(at("note_not-syn")));
  add("opening", nft.match(nft.field("icmp", "type"), "!=", 8), invalid);
  add("opening", nft.match(nft.field("icmp", "code"), "!=", 0), invalid);
  add("opening", FRESH, nft.goto(at("create")));
  add("opening", invalid);

  const zone = nft.set(PRIORITY, nft.lookup(SOURCE, at("zone")));
  add("create", nft.set(nft.ct("mark"), MARK), zone);
  const refuse = nft.goto(at("limited"));
  const rate = { rate: RECOUNTS_PER_SECOND, per: "second", burst: RECOUNTS_PER_SECOND, inv: true };
  const full = nft.match(PRIORITY, "==", "@full");
  add("create", full, nft.each("add", "flood", PRIORITY, { limit: rate }), refuse);
  const over = { "ct count": { val: sessionsPerZone, inv: true } };
  add("create", nft.each("add", "budget", PRIORITY, over), refuse);
  add("create", nft.match(L4PROTO, "!=", "icmp"), nft.each("update", "peers", PEER, nft.COUNTER));
  add("create", nft.match(MARK, "==", "@hits"));
  add("create", nft.match(MARK, "==", `@${at("special")}`), nft.jump(at("special")));
  const granted = nft.match(nft.concat(MARK, INTERFACE), "==", `@${at("granted_in")}`);
  add("create", granted, nft.set(MARK, HANDOVER[slot]), nft.ACCEPT);
  add("create", IS_TCP, nft.jump("answering"));
  add("create", nft.set(MARK, MARKS.pass), nft.ACCEPT);
  const oneWay = nft.set(nft.ct("mark"), nft.or(MARK, ONE_WAY));
  add("special", nft.match(MARK, "==", `@${at("diode")}`), oneWay);
  add("special", nft.match(MARK, "==", `@${at("audit")}`), nft.jump(at("note_would-deny")));
  // A conduit may be redirected where it begins and forwarded where its gate dials on.
  const redirecting = nft.match(nft.concat(MARK, INTERFACE), "==", `@${at("redirecting")}`);
  add("special", redirecting, nft.set(MARK, HANDOVER[slot]), nft.ACCEPT);
  add("limited", nft.each("add", "full", PRIORITY));
  add("limited", nft.goto(at("note_session-limit")));
}

/**
 * Counts and samples; the caller drops. The numbers of both zones are written over the frame's
 * addresses, as there is no third register: the target MAC, our own, before the sample is taken, the
 * source MAC, which is evidence, after it.
 */
function noteRules(at: At, add: Add, options: SlotRules, reason: PacketReason, code: number): void {
  const chain = `note_${reason}`;
  const [source, target] = [nft.field("ether", "daddr"), nft.field("ether", "saddr")];
  if (WITHOUT_ID.includes(reason)) add(chain, nft.set(MARK, 0));
  add(chain, nft.set(PRIORITY, code));
  add(chain, nft.set(source, nft.lookup(SOURCE, at("zone_mac"))));
  const id = WITHOUT_ID.includes(reason) ? "-" : "@";
  const prefix = `v1:${options.generation}:${id}:${reason}`;
  // Events are few; none waits in the kernel for others to fill a message.
  const log = { log: { prefix, group: LOG_GROUP, "queue-threshold": 1 } };
  const perKind = { limit: { rate: SAMPLES_PER_SECOND, per: "second", burst: SAMPLES_BURST } };
  const perSecond = { limit: { rate: EVENTS_PER_SECOND, per: "second", burst: EVENTS_PER_SECOND } };
  const sample = nft.each("update", "sample", nft.concat(PRIORITY, MARK, source, TARGET), perKind);
  const chosen = options.sampled ? [sample, perSecond] : [];
  add(chain, ...chosen, { counter: "sampled" }, log);
  add(chain, nft.set(target, nft.lookup(TARGET, at("zone_mac"))));
  add(chain, nft.goto("refused"));
}
