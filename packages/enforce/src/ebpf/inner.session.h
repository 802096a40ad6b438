// SPDX-License-Identifier: MIT OR GPL-2.0-only
/* Sessions: step 8 of packet-semantics.md, and their beginning, steps 11 to 13. */
#pragma once
#include "inner.packet.h"

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

/* A gate answers from its listener to the opener; a dialled device to the gateway's own address. */
static __always_inline void alias_of(struct session_key *alias, const struct session_key *key,
                                     const struct session *s) {
  int b = s->flags & OPENER_B, dialled = s->flags & DIALLED;
  __u32 opener = b ? key->b : key->a, target = b ? key->a : key->b;
  __u16 opener_port = b ? key->b_port : key->a_port, target_port = b ? key->a_port : key->b_port;
  struct tuple t = {dialled ? s->listen_address : opener, dialled ? target : s->listen_address,
                    opener_port, dialled ? target_port : s->listen_port, key->protocol, 8};
  key_of(alias, &t);
}

static __always_inline void give_back(__u32 zone) {
  __u32 *count = bpf_map_lookup_elem(&zone_sessions, &zone);
  if (count) __sync_fetch_and_sub(count, 1);
}

/* Exactly one deletion of an entry succeeds, and that one gives its place back. Answers NONE. */
static __noinline int end_session(struct session_key *key, struct session *s) {
  struct session_key alias;
  __u32 zone = s->zone, translated = s->flags & TRANSLATED;
  alias_of(&alias, key, s);
  if (bpf_map_delete_elem(&sessions, key)) return NONE;
  if (translated) bpf_map_delete_elem(&aliases, &alias);
  give_back(zone);
  return NONE;
}

/* A walk over all sessions costs milliseconds, so a flood must not bring it about at will. */
#define SWEEP_INTERVAL 100000000ULL

struct sweep { __u64 now; };

static int end_if_over(void *map, struct session_key *key, struct session *s, struct sweep *sweep) {
  struct session_key copy = *key;
  if (sweep->now >= s->expires) end_session(&copy, s);
  return 0;
}

/*
 * Sessions that are over are not there for packets, but hold their place until somebody needs it:
 * then all of them give it back. A timer for each would need memory that a burst does not get.
 */
static __noinline int sweep_sessions(__u64 now) {
  __u32 zero = 0;
  struct sweep sweep = {now};
  __u64 *last = bpf_map_lookup_elem(&swept, &zero);
  if (!last || now - *last < SWEEP_INTERVAL) return 0;
  *last = now;
  bpf_for_each_map_elem(&sessions, end_if_over, &sweep, 0);
  return 0;
}

static __always_inline void touch(const struct packet *p, struct session *s) {
  __u32 state = s->state;
  if (state <= ECHO) s->expires = p->now + p->setting->timeout_ns[state];
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
    /* The target itself does not answer the opener: its gate does, or it answers the gateway. */
    if ((s->flags & TRANSLATED) && !from_opener) return NONE;
    return follow(p, &key, s, from_opener, is_error);
  }
  struct session_key *found = bpf_map_lookup_elem(&aliases, &key);
  if (!found) {
    p->is_free = !is_error;
    return NONE;
  }
  main = *found;
  s = bpf_map_lookup_elem(&sessions, &main);
  if (!s) return NONE;
  /* Nobody dials a listener: the client's packets to the gate have the target's address here. */
  int is_ours = t->source == s->listen_address;
  int is_answer = s->flags & DIALLED ? !is_ours : is_ours && t->source_port == s->listen_port;
  if (is_answer == is_error) return NONE;
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

/* ---- Steps 11 to 13: a new session ---- */

static __always_inline int opens(const struct packet *p) {
  if (p->protocol == TCP && p->tcp_flags != SYN) return NOT_SYN;
  if (!p->well_formed) return INVALID_STATE;
  return p->protocol == ICMP && p->icmp_type != 8 ? INVALID_STATE : ALLOW;
}

static __always_inline int take_one(__u32 *count, __u32 limit) {
  if (__sync_fetch_and_add(count, 1) < limit) return 1;
  __sync_fetch_and_sub(count, 1);
  return 0;
}

static __always_inline int take_place(__u32 zone, __u32 limit, __u64 now) {
  __u32 zero = 0;
  __u32 *count = entry_of(&zone_sessions, &zone, &zero);
  if (!count) return 0;
  if (take_one(count, limit)) return 1;
  sweep_sessions(now);
  return take_one(count, limit);
}

static __always_inline int insert(struct session_key *key, struct session *fresh, __u64 now) {
  if (!bpf_map_update_elem(&sessions, key, fresh, BPF_NOEXIST)) return ALLOW;
  sweep_sessions(now);
  if (!bpf_map_update_elem(&sessions, key, fresh, BPF_NOEXIST)) return ALLOW;
  give_back(fresh->zone);
  return SESSION_LIMIT;
}

/* Whether a session has this tuple, as its own or as its gate's answers. One that is over has not. */
static __noinline int is_taken(struct session_key *key, __u64 now) {
  struct session_key main = *key;
  struct session *s = bpf_map_lookup_elem(&sessions, &main);
  if (!s) {
    struct session_key *found = bpf_map_lookup_elem(&aliases, key);
    if (!found) return 0;
    main = *found;
    s = bpf_map_lookup_elem(&sessions, &main);
    if (!s) return bpf_map_delete_elem(&aliases, key) != 0;
  }
  if (now < s->expires) return 1;
  end_session(&main, s);
  return 0;
}

static __noinline int open_session(struct packet *p, const struct candidate *candidate,
                                   __u32 dialled_from) {
  struct session_key key, alias;
  struct session fresh = {
    .opened = p->now, .id = candidate->id, .zone = p->source_zone, .mark = MARK_PASS,
    .state = p->protocol == TCP ? OPENING : p->protocol == UDP ? UDP_FLOW : ECHO,
    .flags = (key_of_packet(&key, p) ? OPENER_B : 0) | (candidate->flags & CANDIDATE_DIODE ? DIODE : 0),
  };
  /* A session that did not take this packet still owns its tuple. */
  if (!p->is_free && is_taken(&key, p->now)) return INVALID_STATE;
  if (candidate->flags & CANDIDATE_REDIRECT) {
    fresh.flags |= REDIRECTED;
    fresh.listen_address = candidate->listen_address;
    fresh.listen_port = candidate->listen_port;
    if (!redirect_mark(p, &fresh)) return ENGINE_DETACHED;
  } else if (dialled_from) {
    fresh.flags |= DIALLED;
    fresh.listen_address = dialled_from;
  }
  if (fresh.flags & TRANSLATED) {
    alias_of(&alias, &key, &fresh);
    if (is_taken(&alias, p->now)) return INVALID_STATE;
  }
  p->mark = fresh.mark;
  fresh.expires = p->now + p->setting->timeout_ns[fresh.state];
  if (!take_place(fresh.zone, p->setting->sessions_per_zone, p->now)) return SESSION_LIMIT;
  int reason = insert(&key, &fresh, p->now);
  if (reason != ALLOW || !(fresh.flags & TRANSLATED)) return reason;
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
