// SPDX-License-Identifier: MIT OR GPL-2.0-only
/* What is told about a packet: counters, and samples into the tap. */
#pragma once
#include "inner.packet.h"

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
  __u32 zero = 0, key = p->id / HIT_GROUP;
  struct hit_group *zeros = bpf_map_lookup_elem(&blank, &zero);
  struct hit_group *group = zeros ? entry_of(&hits, &key, zeros) : 0;
  if (!group) return lose(LOST_HITS);
  struct hit *hit = &group->hit[p->id % HIT_GROUP];
  __sync_fetch_and_add(&hit->packets, 1);
  __sync_fetch_and_add(&hit->bytes, p->length);
  return 0;
}
