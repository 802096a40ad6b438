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
 * Helpers that the kernel keeps for GPL-compatible programs may come into use, hence two licences.
 */
#include <linux/bpf.h>
#include <linux/pkt_cls.h>
#include <bpf/bpf_endian.h>
#include <bpf/bpf_helpers.h>
#include "inner.conduit.h"
#include "inner.report.h"
#include "inner.session.h"

char LICENSE[] SEC("license") = "Dual MIT/GPL";

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
  __u32 dialled_from = 0;
  int reason;
#ifdef ALLOW_ALL /* bench only: the same program with one rule, to tell what the policy costs */
  search.chosen.id = 1;
#else
  struct place *target = place_of(p, p->target);
  reason = refuses_target(p, target);
  if (reason != ALLOW || !target) return reason;
  search.classes = (__u32)source->source_class << 16 | target->target_class;
  dialled_from = target->dialled_from;
  choose(p, &search);
  if (!search.chosen.id) return search.reason;
#endif
  p->id = search.chosen.id;
  reason = opens(p);
  if (reason == ALLOW) reason = open_session(p, &search.chosen, dialled_from);
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
