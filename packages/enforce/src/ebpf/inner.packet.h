// SPDX-License-Identifier: MIT OR GPL-2.0-only
/* One packet: steps 3 to 6 of packet-semantics.md, and what everything after them asks. */
#pragma once
#include "inner.layout.h"

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
  __u8 is_free; /* neither a session nor a gate's answers have this tuple */
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

/* Words of the active slot from `index`, a multiple of `align`: as many as that. */
static __always_inline __u32 *words_at(const struct packet *p, __u32 index, __u32 align) {
  __u32 number = index / PAGE_WORDS;
  if (number >= SLOT_PAGES) return 0;
  number += p->slot * SLOT_PAGES;
  struct page *page = bpf_map_lookup_elem(&pages, &number);
  return page ? &page->word[index & (PAGE_WORDS - align)] : 0;
}

/* The longest prefix around an address: what pages.ts has put into the word where the walk ends. */
static __noinline struct place *place_of(const struct packet *p, __u32 address) {
  __u32 host = bpf_ntohl(address), entry = p->setting->addresses;
#pragma clang loop unroll(full)
  for (int shift = 24; shift >= 0; shift -= shift > 16 ? 8 : 4) {
    __u32 bits = host >> shift & (shift >= 16 ? 255 : 15);
    __u32 *word = words_at(p, entry + bits, 1);
    entry = word ? *word : 0;
    if (!entry) return 0;
    if (entry & NODE_PLACE) return (struct place *)words_at(p, (entry & ~NODE_PLACE) * 8, 8);
  }
  return 0;
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
