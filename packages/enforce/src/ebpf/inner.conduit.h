// SPDX-License-Identifier: MIT OR GPL-2.0-only
/* Grants and conduits: step 10 of packet-semantics.md. */
#pragma once
#include "inner.packet.h"

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

static __always_inline int covers(__u32 ports, __u32 port) {
  return port >= ports >> 16 && port <= (ports & 0xffff);
}

/* The callbacks of bpf_loop answer 1 to end it. */
static long probe_cell(__u32 i, struct search *search) {
  struct packet *p = search->p;
  /* The same function is in lower.ts. */
  __u32 hash = (search->classes ^ (__u32)p->protocol << 24) * 0x9e3779b1;
  hash ^= hash >> 15;
  __u32 *cell = words_at(p, ((hash + i) & p->setting->cell_mask) * 8, 8);
  if (!cell || !cell[1]) return 1;
  if (cell[0] != search->classes || (cell[1] & 0xff) != p->protocol) return 0;
  __u32 ranges = cell[1] >> 8;
  if (ranges != 1) {
    search->high = ranges;
    search->first = cell[2];
  } else if (covers(cell[2], p->target_port)) {
    search->range = cell[3];
  }
  return 1;
}

static long halve_ranges(__u32 i, struct search *search) {
  __u32 middle = (search->low + search->high) / 2, port = search->p->target_port;
  if (search->low >= search->high) return 1;
  __u32 *range = words_at(search->p, (search->first + middle) * 2, 2);
  if (!range) return 1;
  if (covers(range[0], port)) {
    search->range = range[1];
    return 1;
  }
  if (port < range[0] >> 16) search->high = middle;
  else search->low = middle + 1;
  return 0;
}

static long ask_candidate(__u32 i, struct search *search) {
  if (i >= (search->range & RANGE_CANDIDATES)) return 1;
  __u32 *words = words_at(search->p, (RANGE_FIRST(search->range) + i) * 4, 4);
  if (!words) return 1;
  consider(search, (struct candidate *)words);
  return search->chosen.id != 0;
}

static __always_inline void ask_grants(const struct packet *p, struct search *search) {
  struct grant_key key = {p->table, p->source, p->target, p->target_port, p->protocol, 0};
  struct grant_row *row = bpf_map_lookup_elem(&grants, &key);
  for (int i = 0; row && i < GRANTS_PER_ROW && row->candidates[i].id; i++) {
    consider(search, &row->candidates[i]);
    if (search->chosen.id) return;
  }
}

/* A grant is asked first, and opens only what its session conduit covers. */
static __noinline int choose(struct packet *p, struct search *search) {
  bpf_loop(PROBES, probe_cell, search, 0);
  if (search->high) bpf_loop(HALVINGS, halve_ranges, search, 0);
  if (search->range & RANGE_GRANTS) ask_grants(p, search);
  if (search->chosen.id) return 0;
  bpf_loop(CANDIDATES, ask_candidate, search, 0);
  return 0;
}
