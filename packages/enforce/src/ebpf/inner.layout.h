// SPDX-License-Identifier: MIT OR GPL-2.0-only
/* Constants, and the maps that the enforcer and the program share; `layout.ts` and `lower.ts` fill them. */
#pragma once

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
#define SLOT_PAGES 4096 /* slot 1 begins after those of slot 0 */
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
  __u32 pages;         /* in use; for readers */
  __u32 addresses;     /* first word of the trie's root */
};
MAP(settings, ARRAY, 2, 0, __u32, struct setting);

struct interface_key { __u32 table, ifindex; };
#define INTERFACE_ZONES 1 /* has zones of its own: ARP is answered */
#define INTERFACE_TRUNK 2 /* tagged frames go on to the VLAN interface, where they are judged */
MAP(interfaces, HASH, 8192, 0, struct interface_key, __u32);

struct place {
  __u32 zone;    /* number made of the zone's name and interface, 0: in none */
  __u32 ifindex; /* where its packets may arrive; 0xffffffff: at the other point only */
  __u16 source_class, target_class;
  __u16 room; /* index + 1 of the component that has this address, for redirects */
  __u16 flags;
  __u32 dialled_from; /* source of sessions that are forwarded to it, after translation; 0: their own */
  __u32 unused[3];
};
#define PLACE_OWN 1
#define PLACE_BROADCAST 2

/*
 * All that does not change while a slot is in force, laid out by pages.ts:
 *   cell      8 words: source class << 16 | target class, protocol | ranges << 8; the range itself
 *             where it is the only one, else the first range and 0; the candidate if it is the only one
 *   range     2 words: first port << 16 | last port, candidates (RANGE_*)
 *   candidate 4 words: struct candidate
 *   node      256 or 16 words, by the next 8 or 4 bits of an address: NODE_PLACE and a place; the
 *             first word of a node; 0 where nothing is known
 *   place     8 words: struct place
 * Ranges, candidates and places are numbered from the slot's first word in steps of their size.
 * Pages, because bpftool writes one in the time of one key, and because what lies together is read
 * from memory together: a hash table or the kernel's own trie scatters it.
 */
#define RANGE_CANDIDATES 63 /* how many; above these bits the first one's number */
#define RANGE_FIRST(range) ((range) >> 6 & 0x1ffffff)
#define RANGE_GRANTS 0x80000000 /* a session conduit is among them, so a grant may be */
#define NODE_PLACE 0x80000000
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

/*
 * ---- State: written here, read by the enforcer. It survives every apply. ----
 * All of it is allocated ahead: in a burst the kernel has no memory to give to a packet.
 */

/* Both directions have one key: the lower (address, port) is `a`. Of an ICMP echo the asking side. */
struct session_key {
  __u32 a, b;
  __u16 a_port, b_port; /* for an echo both are its identifier */
  __u32 protocol;
};
/* DIALLED: from the gateway's own address. Both kinds of translated sessions have an alias. */
enum session_flag { OPENER_B = 1, DIODE = 2, REDIRECTED = 4, DIALLED = 8 };
#define TRANSLATED (REDIRECTED | DIALLED)
enum state { OPENING, ANSWERED, OPEN, CLOSING, UDP_FLOW, ECHO };
struct session {
  __u64 expires; /* from then on it is as if it were not there */
  __u64 opened;
  __u32 id;
  __u32 zone;  /* the opener's, whose budget this is */
  __u32 table; /* where `mark` was looked up */
  __u32 mark;  /* for packets from the opener */
  __u32 listen_address; /* of the gate; DIALLED: the gateway's, to which the answers come */
  __u16 listen_port;
  __u8 state, flags;
};
/* Fixed in size, and nothing is evicted: what does not fit is refused. */
MAP(sessions, HASH, 65536, 0, struct session_key, struct session);
/* (client, listener) or (gateway, device) of a translated session: its answers before that is undone. */
MAP(aliases, HASH, 65536, 0, struct session_key, struct session_key);
MAP(zone_sessions, HASH, 8192, 0, __u32, __u32);
/* When the last look for sessions that are over was. */
MAP(swept, ARRAY, 1, 0, __u32, __u64);

/* Numbers follow one another, so neighbors share an entry: its key is their number / HIT_GROUP. */
#define HIT_GROUP 32
struct hit { __u64 packets, bytes; };
struct hit_group { struct hit hit[HIT_GROUP]; };
MAP(hits, HASH, 4096, 0, __u32, struct hit_group);
/* One entry that stays zero: too large for the stack. */
MAP(blank, ARRAY, 1, BPF_F_RDONLY_PROG, __u32, struct hit_group);

struct denied_key { __u32 source_zone, target_zone, id, reason; };
struct denial {
  __u64 packets, suppressed;
  __u64 next_sample; /* virtual time of the token bucket */
};
MAP(denied, HASH, 65536, 0, struct denied_key, struct denial);

struct peer_key { __u32 id, source, target; __u16 port; __u8 protocol, unused; };
struct peer { __u64 sessions, last; };
MAP(peers, HASH, 65536, 0, struct peer_key, struct peer);

/* Events that found no room in the map of their counter. */
enum lost_index { LOST_HITS, LOST_DENIED, LOST_PEERS, LOST_INDEXES };
MAP(lost, ARRAY, LOST_INDEXES, 0, __u32, __u64);
