// SPDX-License-Identifier: MIT OR GPL-2.0-only
/*
 * The engine of the room `inner`: one program on tc clsact ingress (direct action) of every interface
 * there. It implements docs/reference/packet-semantics.md; step numbers below are that page's.
 *
 * Guarantees:
 * - It fails closed. A packet gets its mark at the end of a full judgment and a missing map entry is a
 *   refusal; without a mark a packet has no route (guard rules of the room). What is refused is
 *   dropped here besides.
 * - It needs no process alive: every end (grant, window, pending generation, idle session) is a time
 *   of the boot clock that was loaded ahead.
 * - Every loop is bounded. Linux 6.1 and later; UAPI headers only, no kernel structure is read.
 *
 * The kernel gives bpf_timer only to GPL-compatible programs, hence this file's two licences.
 */
#include <linux/bpf.h>
#include <linux/pkt_cls.h>
#include <bpf/bpf_endian.h>
#include <bpf/bpf_helpers.h>

char LICENSE[] SEC("license") = "Dual MIT/GPL";

/* MARKS of engine.ts. */
#define MARK_PASS 0x5a000001
#define MARK_ARP 0x5a000002
#define MARK_INSPECT_BASE 0x5a010000

/* Positions in REASONS of policy/src/legs/reasons.ts; a test compares the two lists. */
enum reason {
  NO_SRC_ZONE = 0, NO_DST_ZONE = 1, WRONG_INTERFACE = 2, TO_GATEWAY = 3, MULTICAST = 4,
  NO_CONDUIT = 5, REVOKED = 10, NOT_SYN = 11, FRAGMENT = 12, IP_OPTIONS = 13, NOT_IPV4 = 14,
  SHORT = 15, INVALID_STATE = 16, SESSION_LIMIT = 17, WOULD_DENY = 22, ENGINE_DETACHED = 23,
};
/* Not reasons: how a step ends otherwise. */
#define ALLOW (-1)
#define NONE (-2) /* no session, or (ARP on an unknown interface) a refusal without a reason */
#define NO_REASON 255

#define ETH_HEADER 14
#define IP_HEADER 20
enum protocol { ICMP = 1, TCP = 6, UDP = 17 };
enum tcp_flag { FIN = 1, SYN = 2, RST = 4, ACK = 16 };

/* Bounds that lower.ts keeps. */
#define PAGE_WORDS 512
#define SLOT_PAGES 2048 /* slot 1 begins after those of slot 0 */
#define PROBES 16       /* in the cell table */
#define HALVINGS 11     /* of a cell's port ranges: at most 1,024 */
#define CANDIDATES 32   /* per port range */
#define GRANTS_PER_ROW 4

#define MAP(name, kind, entries, flags, key_type, value_type) \
  struct {                                                    \
    __uint(type, BPF_MAP_TYPE_##kind);                        \
    __uint(max_entries, entries);                             \
    __uint(map_flags, flags);                                 \
    __type(key, key_type);                                    \
    __type(value, value_type);                                \
  } name SEC(".maps")

/*
 * ---- Policy: written by the enforcer, read here ----
 * A table number names one filled slot: generation * 2 + slot. It is part of every key, so nothing
 * that an earlier generation left behind is ever found.
 */

/* Hashes where an entry changes while in force: they replace a value as a whole, arrays do not. */
struct selection {
  __u32 confirmed; /* slot */
  __u32 pending;   /* slot in force until pending_until */
  __u64 pending_until;
};
MAP(slots, HASH, 1, 0, __u32, struct selection);

struct setting {
  __u32 table; /* 0: the slot is empty */
  __u32 generation, cell_mask, sessions_per_zone;
  __u64 timeout_ns[6]; /* by session state */
  __u64 pages;         /* in use; for readers */
};
MAP(settings, ARRAY, 2, 0, __u32, struct setting);

struct interface_key { __u32 table, ifindex; };
#define INTERFACE_ZONES 1 /* has zones of its own: ARP is answered */
#define INTERFACE_TRUNK 2 /* tagged frames go on to the VLAN interface, where they are judged */
MAP(interfaces, HASH, 8192, 0, struct interface_key, __u32);

struct address_key { __u32 prefix_length, table, address; };
struct place {
  __u32 zone;    /* number made of the zone's name and interface, 0: in none */
  __u32 ifindex; /* where its packets may arrive; 0xffffffff: at the other point only */
  __u16 source_class, target_class;
  __u16 room; /* index + 1 of the component that has this address, for redirects */
  __u16 flags;
};
#define PLACE_OWN 1
#define PLACE_BROADCAST 2
MAP(addresses, LPM_TRIE, 262144, BPF_F_NO_PREALLOC, struct address_key, struct place);

/*
 * Cells, port ranges and candidates, laid out by lower.ts:
 *   cell      4 words: source class << 16 | target class, protocol | ranges << 8, first range, 0
 *   range     2 words: first port << 16 | last port, first candidate << 6 | candidates
 *   candidate 4 words: struct candidate
 * Pages, because bpftool writes one in the time of one key. Those of a slot in force don't change.
 */
struct page { __u32 word[PAGE_WORDS]; };
MAP(pages, ARRAY, 2 * SLOT_PAGES, 0, __u32, struct page);

struct candidate { __u32 id, flags, listen_address; __u16 listen_port, unused; };
#define CANDIDATE_DIODE 1
#define CANDIDATE_REDIRECT 2
#define CANDIDATE_NOWHERE 4 /* a redirecting leg without an entry for this address and port */

struct grant_key { __u32 table, source, target; __u16 port; __u8 protocol, unused; };
struct grant_row { struct candidate candidates[GRANTS_PER_ROW]; };
MAP(grants, HASH, 8192, 0, struct grant_key, struct grant_row);

struct live_key { __u32 table, id; };
struct live_entry {
  __u64 not_after; /* 0: closed */
  __u32 closed_reason, flags;
};
#define LIVE_AUDIT 1
MAP(live, HASH, 131072, BPF_F_NO_PREALLOC, struct live_key, struct live_entry);

struct sampling {
  __u32 tap_ifindex; /* 0: no samples */
  __u32 point;
  __u64 interval_ns;  /* between samples of one counter once its burst is used up */
  __u64 tolerance_ns; /* (burst - 1) * interval */
};
MAP(samples, HASH, 1, 0, __u32, struct sampling);

/* ---- State: written here, read by the enforcer. It survives every apply. ---- */

/* Both directions have one key: the lower (address, port) is `a`. Of an ICMP echo the asking side. */
struct session_key {
  __u32 a, b;
  __u16 a_port, b_port; /* for an echo both are its identifier */
  __u32 protocol;
};
enum session_flag { OPENER_B = 1, DIODE = 2, REDIRECTED = 4 };
enum state { OPENING, ANSWERED, OPEN, CLOSING, UDP_FLOW, ECHO };
struct session {
  struct bpf_timer timer;
  __u64 expires;
  __u64 armed; /* when the timer fires, at or before `expires` */
  __u64 opened;
  __u32 id;
  __u32 zone;  /* the opener's, whose budget this is */
  __u32 table; /* where `mark` was looked up */
  __u32 mark;  /* for packets from the opener */
  __u32 listen_address;
  __u16 listen_port;
  __u8 state, flags;
};
/* Fixed in size, and nothing is evicted: what does not fit is refused. */
MAP(sessions, HASH, 65536, 0, struct session_key, struct session);
/* (client, listener) of a redirected session: its answers as they look before being translated. */
MAP(aliases, HASH, 65536, BPF_F_NO_PREALLOC, struct session_key, struct session_key);
MAP(zone_sessions, HASH, 8192, 0, __u32, __u32);

struct hit { __u64 packets, bytes; };
MAP(hits, HASH, 131072, BPF_F_NO_PREALLOC, __u32, struct hit);

struct denied_key { __u32 source_zone, target_zone, id, reason; };
struct denial {
  __u64 packets, suppressed;
  __u64 next_sample; /* virtual time of the token bucket */
};
MAP(denied, HASH, 65536, BPF_F_NO_PREALLOC, struct denied_key, struct denial);

struct peer_key { __u32 id, source, target; __u16 port; __u8 protocol, unused; };
struct peer { __u64 sessions, last; };
MAP(peers, HASH, 65536, BPF_F_NO_PREALLOC, struct peer_key, struct peer);

/* Events that found no room in the map of their counter. */
enum lost_index { LOST_HITS, LOST_DENIED, LOST_PEERS, LOST_INDEXES };
MAP(lost, ARRAY, LOST_INDEXES, 0, __u32, __u64);

/* ---- One packet ---- */

/* Addresses in network order, ports in host order. */
struct packet {
  __u64 now;
  struct setting *setting;
  __u32 slot, table, source, target, source_zone, target_zone, id, mark;
  __u16 source_port, target_port;
  __u16 length, payload; /* of the IP packet, and of it after the IP header */
  __u8 protocol, tcp_flags, icmp_type;
  __u8 has_addresses;
  __u8 well_formed; /* TCP: data offset. UDP: length. ICMP: an echo with code 0. */
  __u8 would_deny;
};

struct ip_header {
  __u8 version_ihl, tos;
  __u16 length, identification, fragment;
  __u8 ttl, protocol;
  __u16 checksum;
  __u32 source, target;
};
#define FRAGMENT_MASK bpf_htons(0x3fff) /* more fragments, offset */

static __always_inline __u32 port_at(const __u8 *bytes) {
  return bytes[0] << 8 | bytes[1];
}

static __always_inline int lose(__u32 index) {
  __u64 *count = bpf_map_lookup_elem(&lost, &index);
  if (count) __sync_fetch_and_add(count, 1);
  return 0;
}

/* Finds the entry, or makes it with zeros. */
static __always_inline void *entry_of(void *map, const void *key, const void *zeros) {
  void *entry = bpf_map_lookup_elem(map, key);
  if (entry) return entry;
  bpf_map_update_elem(map, key, zeros, BPF_NOEXIST);
  return bpf_map_lookup_elem(map, key);
}

static __always_inline struct place *place_of(const struct packet *p, __u32 address) {
  struct address_key key = {64, p->table, address};
  return bpf_map_lookup_elem(&addresses, &key);
}

/* RFC 1071: the ones' complement sum of a header with its checksum in place is all ones. */
static __always_inline int checksum_holds(const __u16 *words, int count) {
  __u32 sum = 0;
#pragma clang loop unroll(full)
  for (int i = 0; i < count; i++) sum += words[i];
  sum = (sum & 0xffff) + (sum >> 16);
  sum = (sum & 0xffff) + (sum >> 16);
  return sum == 0xffff;
}

/* The rare header with options: its checksum is asked for before step 5 may name it. */
static __noinline int options_checksum_holds(struct __sk_buff *skb, __u32 size) {
  __u16 words[30] = {};
  if (size < IP_HEADER || size > sizeof(words)) return 0;
  if (bpf_skb_load_bytes(skb, ETH_HEADER, words, size)) return 0;
  return checksum_holds(words, 30);
}

/* Step 6. */
static __always_inline int parse_transport(struct __sk_buff *skb, struct packet *p) {
  __u8 header[20] = {};
  __u32 size = p->protocol == TCP ? 20 : 8;
  if (p->protocol != TCP && p->protocol != UDP && p->protocol != ICMP) return ALLOW;
  if (p->payload < size) return SHORT;
  if (bpf_skb_load_bytes(skb, ETH_HEADER + IP_HEADER, header, size)) return SHORT;
  if (p->protocol == TCP) {
    __u32 offset = (header[12] >> 4) * 4;
    p->well_formed = offset >= 20 && offset <= p->payload;
    p->tcp_flags = header[13] & (SYN | ACK | FIN | RST);
  } else {
    __u32 length = port_at(header + 4);
    p->well_formed = length >= 8 && length <= p->payload;
  }
  p->source_port = port_at(header);
  p->target_port = port_at(header + 2);
  if (p->protocol == ICMP) {
    p->icmp_type = header[0];
    p->well_formed = (header[0] == 8 || header[0] == 0) && header[1] == 0;
    p->source_port = p->target_port = port_at(header + 4);
  }
  return ALLOW;
}

/* Steps 3 to 6. */
static __always_inline int parse(struct __sk_buff *skb, struct packet *p) {
  struct ip_header ip;
  if (skb->len < ETH_HEADER + IP_HEADER) return SHORT;
  if (bpf_skb_load_bytes(skb, ETH_HEADER, &ip, sizeof(ip))) return SHORT;
  __u32 header = (ip.version_ihl & 15) * 4;
  p->length = bpf_ntohs(ip.length);
  if (ip.version_ihl >> 4 != 4 || header < IP_HEADER) return SHORT;
  if (p->length < header || p->length > skb->len - ETH_HEADER) return SHORT;
  if (header == IP_HEADER && !checksum_holds((__u16 *)&ip, 10)) return SHORT;
  if (header != IP_HEADER && !options_checksum_holds(skb, header)) return SHORT;
  p->source = ip.source;
  p->target = ip.target;
  p->protocol = ip.protocol;
  p->payload = p->length - header;
  p->has_addresses = 1;
  if (ip.fragment & FRAGMENT_MASK) return FRAGMENT;
  if (header != IP_HEADER) return IP_OPTIONS;
  return parse_transport(skb, p);
}

/* ALLOW while a conduit or grant is open, else the reason why it is not. */
static __always_inline int liveness(const struct packet *p, __u32 id, __u32 *flags) {
  struct live_key key = {p->table, id};
  struct live_entry *entry = bpf_map_lookup_elem(&live, &key);
  if (!entry) return REVOKED;
  *flags = entry->flags;
  return p->now < entry->not_after ? ALLOW : entry->closed_reason;
}

/* ---- Step 8: sessions ---- */

struct tuple { __u32 source, target; __u16 source_port, target_port; __u8 protocol, icmp_type; };

/* Fills the key, answers whether the sender is its side `b`. */
static __always_inline int key_of(struct session_key *key, const struct tuple *t) {
  int swap = t->source == t->target ? t->source_port > t->target_port : t->source > t->target;
  if (t->protocol == ICMP) swap = t->icmp_type == 0;
  key->a = swap ? t->target : t->source;
  key->b = swap ? t->source : t->target;
  key->a_port = swap ? t->target_port : t->source_port;
  key->b_port = swap ? t->source_port : t->target_port;
  key->protocol = t->protocol;
  return swap;
}

static __always_inline int key_of_packet(struct session_key *key, const struct packet *p) {
  struct tuple t = {p->source, p->target, p->source_port, p->target_port, p->protocol, p->icmp_type};
  return key_of(key, &t);
}

static __always_inline void alias_of(struct session_key *alias, const struct session_key *key,
                                     const struct session *s) {
  int b = s->flags & OPENER_B;
  struct tuple t = {b ? key->b : key->a, s->listen_address, b ? key->b_port : key->a_port,
                    s->listen_port, key->protocol, 8};
  key_of(alias, &t);
}

static __always_inline void give_back(__u32 zone) {
  __u32 *count = bpf_map_lookup_elem(&zone_sessions, &zone);
  if (count) __sync_fetch_and_sub(count, 1);
}

/* Exactly one deletion of an entry succeeds, and that one gives its place back. Answers NONE. */
static __noinline int end_session(struct session_key *key, struct session *s) {
  struct session_key alias;
  __u32 zone = s->zone, redirected = s->flags & REDIRECTED;
  alias_of(&alias, key, s);
  if (bpf_map_delete_elem(&sessions, key)) return NONE;
  if (redirected) bpf_map_delete_elem(&aliases, &alias);
  give_back(zone);
  return NONE;
}

/* Packets only move `expires`; the timer finds out here whether it came early. */
static int session_timer(void *map, struct session_key *key, struct session *s) {
  struct session_key copy = *key;
  __u64 now = bpf_ktime_get_boot_ns();
  if (now < s->expires) {
    s->armed = s->expires;
    bpf_timer_start(&s->timer, s->expires - now, 0);
  } else {
    end_session(&copy, s);
  }
  return 0;
}

static __always_inline void touch(const struct packet *p, struct session *s) {
  __u32 state = s->state;
  if (state > ECHO) return;
  __u64 timeout = p->setting->timeout_ns[state];
  s->expires = p->now + timeout;
  if (s->expires >= s->armed) return;
  s->armed = s->expires;
  bpf_timer_start(&s->timer, timeout, 0);
}

/* The page's table. A nibble per state, `opening` lowest; f: does not fit, e: ends the session. */
static __always_inline __u32 tcp_next(__u32 flags, int from_opener) {
  if (flags == SYN) return from_opener ? 0x3210 : 0xffff;
  if (flags == (SYN | ACK)) return from_opener ? 0xffff : 0x3211;
  if (flags == ACK) return from_opener ? 0x322f : 0x3210;
  if (flags == (FIN | ACK)) return 0x333f;
  if (flags == RST || flags == (RST | ACK)) return from_opener ? 0x333e : 0x3333;
  return 0xffff;
}
#define DOES_NOT_FIT 15
#define ENDS 14

/* For packets from the opener; again after an apply, because rooms may be numbered anew. */
static __always_inline __u32 redirect_mark(const struct packet *p, struct session *s) {
  if (s->table == p->table) return s->mark;
  struct place *place = place_of(p, s->listen_address);
  s->mark = place && place->room ? MARK_INSPECT_BASE + place->room - 1 : 0;
  s->table = p->table;
  return s->mark;
}

/* Whether the session takes this packet, and what becomes of both. NONE: as if there were none. */
static __always_inline int follow(struct packet *p, struct session_key *key, struct session *s,
                                  int from_opener, int is_error) {
  __u32 flags, next = s->state;
  if (p->now >= s->expires) return end_session(key, s);
  if ((s->flags & DIODE) && !from_opener) return NONE;
  if (!is_error && p->protocol == TCP)
    next = tcp_next(p->tcp_flags, from_opener) >> ((next & 3) * 4) & 15;
  if (next == DOES_NOT_FIT) return NONE;
  p->id = s->id;
  p->mark = from_opener && (s->flags & REDIRECTED) ? redirect_mark(p, s) : MARK_PASS;
  if (next == ENDS) {
    end_session(key, s);
  } else if (!is_error) {
    s->state = next;
    touch(p, s);
  }
  return p->mark ? liveness(p, p->id, &flags) : REVOKED;
}

/* `t` is the packet, or the one that an ICMP error quotes: the error travels against that one. */
static __always_inline int find_session(struct packet *p, const struct tuple *t, int is_error) {
  struct session_key key, main;
  int sender_is_b = key_of(&key, t);
  struct session *s = bpf_map_lookup_elem(&sessions, &key);
  if (s) {
    int from_opener = (sender_is_b == (s->flags & OPENER_B)) != is_error;
    /* The target itself does not answer in a redirected session, its gate does. */
    if ((s->flags & REDIRECTED) && !from_opener) return NONE;
    return follow(p, &key, s, from_opener, is_error);
  }
  struct session_key *found = bpf_map_lookup_elem(&aliases, &key);
  if (!found) return NONE;
  main = *found;
  s = bpf_map_lookup_elem(&sessions, &main);
  if (!s) return NONE;
  /* Nobody dials a listener: the client's packets to the gate have the target's address here. */
  int from_listener = t->source == s->listen_address && t->source_port == s->listen_port;
  if (from_listener == is_error) return NONE;
  return follow(p, &main, s, 0, is_error);
}

static __noinline int judge_session(struct packet *p) {
  if (!p->well_formed) return NONE;
  struct tuple t = {p->source, p->target, p->source_port, p->target_port, p->protocol, p->icmp_type};
  return find_session(p, &t, 0);
}

/* ICMP errors (RFC 792, types 3, 11 and 12): an IP header and 8 bytes of what it carried. */
static __noinline int judge_icmp_error(struct __sk_buff *skb, struct packet *p) {
  struct { struct ip_header ip; __u8 transport[8]; } quote;
  if (p->payload < 8 + sizeof(quote)) return NONE;
  if (bpf_skb_load_bytes(skb, ETH_HEADER + IP_HEADER + 8, &quote, sizeof(quote))) return NONE;
  if (quote.ip.version_ihl != 0x45 || (quote.ip.fragment & FRAGMENT_MASK)) return NONE;
  if (quote.ip.source != p->target) return NONE;
  __u8 *bytes = quote.transport;
  struct tuple t = {quote.ip.source, quote.ip.target, port_at(bytes), port_at(bytes + 2),
                    quote.ip.protocol, bytes[0]};
  if (t.protocol == ICMP) {
    if ((bytes[0] != 8 && bytes[0] != 0) || bytes[1] != 0) return NONE;
    t.source_port = t.target_port = port_at(bytes + 4);
  } else if (t.protocol != TCP && t.protocol != UDP) {
    return NONE;
  }
  return find_session(p, &t, 1);
}

/* ---- Step 10: conduits ---- */

struct search {
  struct packet *p;
  struct candidate chosen; /* id 0: none is open */
  __u32 flags;             /* of the live entry asked last */
  int reason;              /* of the first closed one; NO_CONDUIT: none covers the packet */
  __u32 classes, low, high, first, range;
};

static __always_inline void consider(struct search *search, const struct candidate *candidate) {
  int reason = liveness(search->p, candidate->id, &search->flags);
  if (reason == ALLOW) {
    if (!(candidate->flags & CANDIDATE_NOWHERE)) search->chosen = *candidate;
  } else if (search->reason == NO_CONDUIT) {
    search->reason = reason;
    search->p->id = candidate->id;
  }
}

/* Words of the active slot from `index`, a multiple of `align`: as many as that. */
static __always_inline __u32 *words_at(const struct packet *p, __u32 index, __u32 align) {
  __u32 number = index / PAGE_WORDS;
  if (number >= SLOT_PAGES) return 0;
  number += p->slot * SLOT_PAGES;
  struct page *page = bpf_map_lookup_elem(&pages, &number);
  return page ? &page->word[index & (PAGE_WORDS - align)] : 0;
}

/* The callbacks of bpf_loop answer 1 to end it. */
static long probe_cell(__u32 i, struct search *search) {
  struct packet *p = search->p;
  /* The same function is in lower.ts. */
  __u32 hash = (search->classes ^ (__u32)p->protocol << 24) * 0x9e3779b1;
  hash ^= hash >> 15;
  __u32 *cell = words_at(p, ((hash + i) & p->setting->cell_mask) * 4, 4);
  if (!cell || !cell[1]) return 1;
  if (cell[0] != search->classes || (cell[1] & 0xff) != p->protocol) return 0;
  search->high = cell[1] >> 8;
  search->first = cell[2];
  return 1;
}

static long halve_ranges(__u32 i, struct search *search) {
  __u32 middle = (search->low + search->high) / 2, port = search->p->target_port;
  if (search->low >= search->high) return 1;
  __u32 *range = words_at(search->p, (search->first + middle) * 2, 2);
  if (!range) return 1;
  if (port < range[0] >> 16) {
    search->high = middle;
  } else if (port > (range[0] & 0xffff)) {
    search->low = middle + 1;
  } else {
    search->range = range[1];
    return 1;
  }
  return 0;
}

static long ask_candidate(__u32 i, struct search *search) {
  if (i >= (search->range & 63)) return 1;
  __u32 *words = words_at(search->p, ((search->range >> 6) + i) * 4, 4);
  if (!words) return 1;
  consider(search, (struct candidate *)words);
  return search->chosen.id != 0;
}

static __noinline int choose(struct packet *p, struct search *search) {
  struct grant_key key = {p->table, p->source, p->target, p->target_port, p->protocol, 0};
  struct grant_row *row = p->protocol == ICMP ? 0 : bpf_map_lookup_elem(&grants, &key);
  for (int i = 0; row && i < GRANTS_PER_ROW && row->candidates[i].id; i++) {
    consider(search, &row->candidates[i]);
    if (search->chosen.id) return 0;
  }
  bpf_loop(PROBES, probe_cell, search, 0);
  bpf_loop(HALVINGS, halve_ranges, search, 0);
  bpf_loop(CANDIDATES, ask_candidate, search, 0);
  return 0;
}

/* ---- Steps 11 to 13: a new session ---- */

static __always_inline int opens(const struct packet *p) {
  if (p->protocol == TCP && p->tcp_flags != SYN) return NOT_SYN;
  if (!p->well_formed) return INVALID_STATE;
  return p->protocol == ICMP && p->icmp_type != 8 ? INVALID_STATE : ALLOW;
}

static __always_inline int take_place(__u32 zone, __u32 limit) {
  __u32 zero = 0;
  __u32 *count = entry_of(&zone_sessions, &zone, &zero);
  if (!count) return 0;
  if (__sync_fetch_and_add(count, 1) < limit) return 1;
  __sync_fetch_and_sub(count, 1);
  return 0;
}

/* 7 is CLOCK_BOOTTIME. Without its timer a session would keep its place for ever. */
static __always_inline int start_timer(struct session *s, __u64 timeout) {
  return bpf_timer_init(&s->timer, &sessions, 7) ||
         bpf_timer_set_callback(&s->timer, session_timer) || bpf_timer_start(&s->timer, timeout, 0);
}

static __always_inline int insert(struct session_key *key, struct session *fresh, __u64 timeout) {
  if (bpf_map_update_elem(&sessions, key, fresh, BPF_NOEXIST)) {
    give_back(fresh->zone);
    return SESSION_LIMIT;
  }
  struct session *s = bpf_map_lookup_elem(&sessions, key);
  if (!s) return SESSION_LIMIT;
  if (!start_timer(s, timeout)) return ALLOW;
  end_session(key, s);
  return SESSION_LIMIT;
}

static __noinline int open_session(struct packet *p, const struct candidate *candidate) {
  struct session_key key, alias;
  struct session fresh = {
    .opened = p->now, .id = candidate->id, .zone = p->source_zone, .mark = MARK_PASS,
    .state = p->protocol == TCP ? OPENING : p->protocol == UDP ? UDP_FLOW : ECHO,
    .flags = (key_of_packet(&key, p) ? OPENER_B : 0) | (candidate->flags & CANDIDATE_DIODE ? DIODE : 0),
  };
  /* A session that did not take this packet still owns its tuple. */
  if (bpf_map_lookup_elem(&sessions, &key) || bpf_map_lookup_elem(&aliases, &key))
    return INVALID_STATE;
  if (candidate->flags & CANDIDATE_REDIRECT) {
    fresh.flags |= REDIRECTED;
    fresh.listen_address = candidate->listen_address;
    fresh.listen_port = candidate->listen_port;
    if (!redirect_mark(p, &fresh)) return ENGINE_DETACHED;
    alias_of(&alias, &key, &fresh);
    if (bpf_map_lookup_elem(&sessions, &alias) || bpf_map_lookup_elem(&aliases, &alias))
      return INVALID_STATE;
  }
  p->mark = fresh.mark;
  __u64 timeout = p->setting->timeout_ns[fresh.state];
  fresh.expires = fresh.armed = p->now + timeout;
  if (!take_place(fresh.zone, p->setting->sessions_per_zone)) return SESSION_LIMIT;
  int reason = insert(&key, &fresh, timeout);
  if (reason != ALLOW || !(fresh.flags & REDIRECTED)) return reason;
  if (!bpf_map_update_elem(&aliases, &alias, &key, BPF_NOEXIST)) return ALLOW;
  struct session *s = bpf_map_lookup_elem(&sessions, &key);
  if (s) end_session(&key, s);
  return SESSION_LIMIT;
}

static __noinline int count_peer(struct packet *p) {
  struct peer zeros = {};
  struct peer_key key = {p->id, p->source, p->target, p->protocol == ICMP ? 0 : p->target_port,
                         p->protocol, 0};
  struct peer *peer = entry_of(&peers, &key, &zeros);
  if (!peer) return lose(LOST_PEERS);
  __sync_fetch_and_add(&peer->sessions, 1);
  peer->last = p->now;
  return 0;
}

/* Step 9. */
static __always_inline int refuses_target(const struct packet *p, const struct place *target) {
  __u32 flags = target ? target->flags : 0;
  if (flags & PLACE_OWN) return TO_GATEWAY;
  if ((flags & PLACE_BROADCAST) || p->target == 0xffffffff) return MULTICAST;
  if ((p->target & bpf_htonl(0xf0000000)) == bpf_htonl(0xe0000000)) return MULTICAST;
  return target && target->zone ? ALLOW : NO_DST_ZONE;
}

static __always_inline int judge_new(struct packet *p, const struct place *source) {
  struct search search = {.p = p, .reason = NO_CONDUIT};
  int reason;
#ifdef ALLOW_ALL /* bench only: the same program with one rule, to tell what the policy costs */
  search.chosen.id = 1;
#else
  struct place *target = place_of(p, p->target);
  reason = refuses_target(p, target);
  if (reason != ALLOW || !target) return reason;
  search.classes = (__u32)source->source_class << 16 | target->target_class;
  choose(p, &search);
  if (!search.chosen.id) return search.reason;
#endif
  p->id = search.chosen.id;
  reason = opens(p);
  if (reason == ALLOW) reason = open_session(p, &search.chosen);
  if (reason != ALLOW) return reason;
  count_peer(p);
  p->would_deny = search.flags & LIVE_AUDIT;
  return ALLOW;
}

/* Steps 7 to 13. */
static __always_inline int judge_ipv4(struct __sk_buff *skb, struct packet *p) {
  int reason = parse(skb, p);
  if (reason != ALLOW) return reason;
  struct place *source = 0;
#ifndef ALLOW_ALL
  source = place_of(p, p->source);
  if (!source || !source->zone) return NO_SRC_ZONE;
  if (source->ifindex != skb->ingress_ifindex) return WRONG_INTERFACE;
  p->source_zone = source->zone;
#endif
  __u32 type = p->protocol == ICMP ? p->icmp_type : 0;
  int is_error = type == 3 || type == 11 || type == 12;
  reason = is_error ? judge_icmp_error(skb, p) : judge_session(p);
  return reason == NONE ? judge_new(p, source) : reason;
}

/* The choice of the policy in force, then steps 1 and 2. */
static __always_inline int judge(struct __sk_buff *skb, struct packet *p) {
  __u32 zero = 0;
  __u16 ethertype = 0;
  struct selection *selection = bpf_map_lookup_elem(&slots, &zero);
  if (!selection) return ENGINE_DETACHED;
  p->now = bpf_ktime_get_boot_ns();
  p->slot = (p->now < selection->pending_until ? selection->pending : selection->confirmed) & 1;
  p->setting = bpf_map_lookup_elem(&settings, &p->slot);
  if (!p->setting || !p->setting->table) return ENGINE_DETACHED;
  p->table = p->setting->table;
  bpf_skb_load_bytes(skb, 12, &ethertype, 2);
  if (!skb->vlan_present && ethertype == bpf_htons(0x0800)) return judge_ipv4(skb, p);
  struct interface_key key = {p->table, skb->ingress_ifindex};
  __u32 *found = bpf_map_lookup_elem(&interfaces, &key);
  __u32 flags = found ? *found : 0;
  if (skb->vlan_present) return flags & INTERFACE_TRUNK ? ALLOW : NOT_IPV4;
  if (ethertype != bpf_htons(0x0806)) return NOT_IPV4;
  if (!(flags & INTERFACE_ZONES)) return NONE;
  p->mark = MARK_ARP;
  return ALLOW;
}

/* ---- What is told about a packet ---- */

/* Stands before the whole original frame, in network order; read.ts decodes it. */
struct sample {
  __u8 target_mac[6], source_mac[6];
  __u16 ethertype; /* 0x88b5: IEEE 802, local experiments */
  __u8 version, reason, point, flags;
  __u32 generation, id, source_zone, target_zone, ifindex, length;
  __u16 vlan, unused;
} __attribute__((packed));
#define SAMPLE_ALLOWED 1
#define SAMPLE_CUT 2
/* What was aggregated from several segments is cut to its head: the tap wants frames. */
#define SAMPLE_MAX_FRAME 1514

/* Counts the refusal; answers whether the token bucket of its counter gives a sample. */
static __noinline int count_denied(struct packet *p, __u32 reason, const struct sampling *sampling) {
  struct denial zeros = {};
  if (p->has_addresses && p->table) {
    struct place *source = place_of(p, p->source), *target = place_of(p, p->target);
    p->source_zone = source ? source->zone : 0;
    p->target_zone = target ? target->zone : 0;
  }
  struct denied_key key = {p->source_zone, p->target_zone, p->id, reason};
  struct denial *denial = entry_of(&denied, &key, &zeros);
  if (!denial) return lose(LOST_DENIED);
  __sync_fetch_and_add(&denial->packets, 1);
  if (!sampling || !sampling->tap_ifindex) return 0;
  __u64 next = denial->next_sample > p->now ? denial->next_sample : p->now;
  if (next - p->now > sampling->tolerance_ns) {
    __sync_fetch_and_add(&denial->suppressed, 1);
    return 0;
  }
  denial->next_sample = next + sampling->interval_ns;
  return 1;
}

static __always_inline void fill_sample(struct sample *sample, struct __sk_buff *skb,
                                        const struct packet *p, __u32 reason, __u32 point) {
  *sample = (struct sample){
    .target_mac = {2}, .source_mac = {2}, /* locally administered */
    .ethertype = bpf_htons(0x88b5), .version = 1, .reason = reason, .point = point,
    .generation = bpf_htonl(p->setting ? p->setting->generation : 0), .id = bpf_htonl(p->id),
    .source_zone = bpf_htonl(p->source_zone), .target_zone = bpf_htonl(p->target_zone),
    .ifindex = bpf_htonl(skb->ingress_ifindex), .length = bpf_htonl(skb->len),
  };
}

static __noinline int deny(struct __sk_buff *skb, struct packet *p, __u32 reason) {
  __u32 zero = 0;
  struct sample sample;
  struct sampling *sampling = bpf_map_lookup_elem(&samples, &zero);
  if (!count_denied(p, reason, sampling) || !sampling) return TC_ACT_SHOT;
  fill_sample(&sample, skb, p, reason, sampling->point);
  if (skb->vlan_present) {
    sample.vlan = bpf_htons(skb->vlan_tci);
    if (bpf_skb_vlan_pop(skb)) return TC_ACT_SHOT;
  }
  if (skb->len > SAMPLE_MAX_FRAME) {
    sample.flags = SAMPLE_CUT;
    if (bpf_skb_change_tail(skb, SAMPLE_MAX_FRAME, 0)) return TC_ACT_SHOT;
  }
  if (bpf_skb_change_head(skb, sizeof(sample), 0)) return TC_ACT_SHOT;
  if (bpf_skb_store_bytes(skb, 0, &sample, sizeof(sample), 0)) return TC_ACT_SHOT;
  return bpf_redirect(sampling->tap_ifindex, 0);
}

/*
 * Audit mode lets the packet pass, so its sample is a clone. Room for the header is made between
 * Ethernet and IP: the one growth of a frame that can be undone. Answers 0 if the frame is whole.
 */
static __noinline int report_would_deny(struct __sk_buff *skb, struct packet *p) {
  __u32 zero = 0;
  __u8 ethernet[ETH_HEADER];
  struct sample sample;
  struct sampling *sampling = bpf_map_lookup_elem(&samples, &zero);
  if (!count_denied(p, WOULD_DENY, sampling) || !sampling) return 0;
  fill_sample(&sample, skb, p, WOULD_DENY, sampling->point);
  sample.flags = SAMPLE_ALLOWED;
  if (bpf_skb_load_bytes(skb, 0, ethernet, ETH_HEADER)) return -1;
  if (skb->len > SAMPLE_MAX_FRAME || bpf_skb_adjust_room(skb, sizeof(sample), BPF_ADJ_ROOM_MAC, 0))
    return 0;
  if (!bpf_skb_store_bytes(skb, 0, &sample, sizeof(sample), 0) &&
      !bpf_skb_store_bytes(skb, sizeof(sample), ethernet, ETH_HEADER, 0))
    bpf_clone_redirect(skb, sampling->tap_ifindex, 0);
  if (bpf_skb_adjust_room(skb, -(__s32)sizeof(sample), BPF_ADJ_ROOM_MAC, 0)) return -1;
  return bpf_skb_store_bytes(skb, 0, ethernet, ETH_HEADER, 0);
}

static __always_inline int count_hit(struct packet *p) {
  struct hit zeros = {};
  struct hit *hit = entry_of(&hits, &p->id, &zeros);
  if (!hit) return lose(LOST_HITS);
  __sync_fetch_and_add(&hit->packets, 1);
  __sync_fetch_and_add(&hit->bytes, p->length);
  return 0;
}

SEC("tc")
int inner(struct __sk_buff *skb) {
  struct packet p = {};
  int reason = judge(skb, &p);
  /* For `bpftool prog run`; nothing else reads the control block. */
  skb->cb[0] = reason >= 0 ? reason : p.would_deny ? WOULD_DENY : NO_REASON;
  skb->cb[1] = p.id;
  if (reason == NONE) return TC_ACT_SHOT;
  if (reason != ALLOW) return deny(skb, &p, reason);
  if (p.id) count_hit(&p);
  if (p.would_deny && report_would_deny(skb, &p)) return TC_ACT_SHOT;
  /* Also where there is none (trunks): whatever a sender or another program left there is gone. */
  skb->mark = p.mark;
  return TC_ACT_OK;
}
