// SPDX-License-Identifier: MIT OR GPL-2.0-only
/*
 * Bench only: the source and the sink of packets. `source` runs in the kernel's XDP test run with live
 * frames (BPF_F_TEST_XDP_LIVE_FRAMES): each run becomes a packet that arrived on an interface, without
 * a sender, a NIC or an interrupt that would be measured too. `sink` ends it behind the room.
 */
#include <linux/bpf.h>
#include <linux/pkt_cls.h>
#include <bpf/bpf_helpers.h>

char LICENSE[] SEC("license") = "Dual MIT/GPL";

#define FRAMES 65536
#define FRAME_BYTES 60 /* the shortest of Ethernet, without its checksum */

struct frame { __u8 bytes[64]; };
struct cursor { __u32 next, first, end; };

struct {
  __uint(type, BPF_MAP_TYPE_ARRAY);
  __uint(max_entries, FRAMES);
  __uint(map_flags, BPF_F_MMAPABLE);
  __type(key, __u32);
  __type(value, struct frame);
} frames SEC(".maps");

/* The frames of one run are sent in turn, over and over. */
struct {
  __uint(type, BPF_MAP_TYPE_ARRAY);
  __uint(max_entries, 1);
  __type(key, __u32);
  __type(value, struct cursor);
} cursor SEC(".maps");

SEC("xdp")
int source(struct xdp_md *xdp) {
  __u32 zero = 0;
  void *data = (void *)(long)xdp->data;
  struct cursor *at = bpf_map_lookup_elem(&cursor, &zero);
  if (!at || data + FRAME_BYTES > (void *)(long)xdp->data_end) return XDP_ABORTED;
  __u32 index = at->next;
  at->next = index + 1 < at->end ? index + 1 : at->first;
  struct frame *frame = bpf_map_lookup_elem(&frames, &index);
  if (!frame) return XDP_ABORTED;
  /* Whole, as pages are used again and the stack has changed them. */
  __builtin_memcpy(data, frame->bytes, FRAME_BYTES);
  return XDP_PASS;
}

/* A veth has the receive queue that a live frame needs only with a program on it. */
SEC("xdp")
int queue(struct xdp_md *xdp) {
  return XDP_PASS;
}

/* MARKS.pass of engine.ts for every packet: what a room costs under the least program there is. */
SEC("tc")
int bare(struct __sk_buff *skb) {
  skb->mark = 0x5a000001;
  return TC_ACT_OK;
}

SEC("tc")
int sink(struct __sk_buff *skb) {
  return TC_ACT_SHOT;
}
