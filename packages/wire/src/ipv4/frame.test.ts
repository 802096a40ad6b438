import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import {
  type FrameSpec,
  quoteOf,
  readFrame,
  TCP_FLAG,
  writeArp,
  writeFrame,
  writeIpv6,
} from "./index.ts";

const HMI = 0x0a28000a;
const PLC = 0x0a29000a;
const TCP: FrameSpec = {
  source: HMI,
  destination: PLC,
  protocol: "tcp",
  sourcePort: 40_000,
  destinationPort: 502,
};
const UDP: FrameSpec = { ...TCP, protocol: "udp" };
const ICMP: FrameSpec = { source: HMI, destination: PLC, protocol: "icmp" };

function hex(text: string): Uint8Array {
  return Uint8Array.from(text.replaceAll(/\s/g, "").match(/../g) ?? [], (byte) =>
    parseInt(byte, 16),
  );
}

function reasonOf(spec: FrameSpec): string {
  const frame = readFrame(writeFrame(spec));
  return frame.kind === "refused" ? frame.reason : frame.kind;
}

function packetOf(
  spec: FrameSpec,
): Extract<ReturnType<typeof readFrame>, { kind: "packet" }>["packet"] {
  const frame = readFrame(writeFrame(spec));
  assert.equal(frame.kind, "packet");
  if (frame.kind !== "packet") throw new Error("unreachable");
  return frame.packet;
}

// Captured with tcpdump from `ping -c 1 -s 8 127.0.0.1` on Linux: another implementation's bytes.
//  destination    source         type ver  size id   frag ttl  sum  source   destination
const PING = hex(`
  000000000000 000000000000 0800 4500 0024 bf00 4000 4001 7dd6 7f000001 7f000001
  0800 94aa 5744 0001 0001020304050607`);

test("reads a ping that a Linux kernel sent", () => {
  const frame = readFrame(PING);
  assert.equal(frame.kind, "packet");
  if (frame.kind !== "packet") return;
  assert.deepEqual(frame.packet.icmp, { type: 8, code: 0, identifier: 0x5744 });
  assert.equal(frame.packet.source, 0x7f000001);
  assert.equal(frame.packet.wellFormed, true);
});

test("writes the very bytes that a Linux kernel wrote, checksums included", () => {
  const payload = PING.slice(42);
  const loopback = { source: 0x7f000001, destination: 0x7f000001, dontFragment: true };
  const icmp = { type: 8, identifier: 0x5744 };
  const frame = writeFrame({ ...ICMP, ...loopback, icmp, identification: 0xbf00, payload });
  assert.deepEqual(frame.subarray(14), PING.subarray(14));
});

test("reads addresses and ports of TCP and UDP, unsigned", () => {
  const high = packetOf({ ...TCP, source: 0xfffffffe, destination: 0x80000000 });
  assert.equal(high.source, 0xfffffffe);
  assert.equal(high.destination, 0x80000000);
  const { sourcePort, destinationPort, protocol } = packetOf(UDP);
  assert.deepEqual([sourcePort, destinationPort, protocol], [40_000, 502, 17]);
});

test("ARP is told apart; IPv6, VLAN tags and frames without an ethertype are not IPv4", () => {
  assert.deepEqual(readFrame(writeArp(HMI, PLC)), { kind: "arp" });
  assert.deepEqual(readFrame(writeIpv6()), { kind: "refused", reason: "not-ipv4" });
  assert.equal(reasonOf({ ...TCP, vlan: 7 }), "not-ipv4");
  assert.equal(reasonOf({ ...TCP, ethertype: 0x88b8 }), "not-ipv4");
  assert.equal(reasonOf({ ...TCP, truncateTo: 13 }), "not-ipv4");
});

test("every broken IPv4 header is short", () => {
  for (const broken of [
    { version: 6 },
    { ihl: 4 },
    { ihl: 15 },
    { totalLength: 19 },
    { totalLength: 41 },
    { badChecksum: true },
    { truncateTo: 14 },
    { truncateTo: 14 + 19 },
    { truncateTo: 14 + 39 },
  ] satisfies Partial<FrameSpec>[]) {
    assert.equal(reasonOf({ ...TCP, ...broken }), "short", JSON.stringify(broken));
  }
  assert.equal(reasonOf({ ...TCP, padding: 6 }), "packet");
});

test("fragments come before options, both before the transport header", () => {
  const options = Uint8Array.of(1, 1, 1, 0);
  assert.equal(reasonOf({ ...TCP, moreFragments: true, options }), "fragment");
  assert.equal(reasonOf({ ...TCP, fragmentOffset: 1 }), "fragment");
  assert.equal(reasonOf({ ...TCP, fragmentOffset: 8191 }), "fragment");
  assert.equal(reasonOf({ ...TCP, dontFragment: true }), "packet");
  assert.equal(reasonOf({ ...TCP, options, transportBytes: 3 }), "ip-options");
  assert.equal(reasonOf({ ...TCP, options, badChecksum: true }), "short");
});

test("a transport header that is cut off is short, one byte more is not", () => {
  assert.equal(reasonOf({ ...TCP, transportBytes: 19 }), "short");
  assert.equal(reasonOf({ ...TCP, transportBytes: 20 }), "packet");
  for (const spec of [UDP, ICMP]) {
    assert.equal(reasonOf({ ...spec, transportBytes: 7 }), "short");
    assert.equal(reasonOf({ ...spec, transportBytes: 8 }), "packet");
  }
  // What lies after the total length is Ethernet padding, not transport header.
  assert.equal(reasonOf({ ...TCP, totalLength: 39 }), "short");
});

test("only six combinations of TCP flags are well formed, whatever URG, PSH, ECE and CWR say", () => {
  const { fin, syn, rst, ack } = TCP_FLAG;
  const good = new Set([syn, syn | ack, ack, fin | ack, rst, rst | ack]);
  for (let flags = 0; flags < 256; flags++) {
    const control = flags & (fin | syn | rst | ack);
    assert.equal(packetOf({ ...TCP, flags }).wellFormed, good.has(control), `flags ${flags}`);
    assert.equal(packetOf({ ...TCP, flags }).tcpFlags, flags);
  }
});

test("a TCP data offset below 5 or past the end, and a UDP length out of range, are not well formed", () => {
  assert.equal(packetOf({ ...TCP, dataOffset: 4 }).wellFormed, false);
  assert.equal(packetOf({ ...TCP, dataOffset: 6 }).wellFormed, false);
  assert.equal(packetOf({ ...TCP, dataOffset: 6, payload: new Uint8Array(4) }).wellFormed, true);
  assert.equal(packetOf({ ...UDP, udpLength: 7 }).wellFormed, false);
  assert.equal(packetOf({ ...UDP, udpLength: 9 }).wellFormed, false);
  assert.equal(packetOf({ ...UDP, udpLength: 8, payload: new Uint8Array(4) }).wellFormed, true);
});

test("of ICMP only an echo with code 0 is well formed", () => {
  for (let type = 0; type < 256; type++) {
    const echo = type === 0 || type === 8;
    assert.equal(packetOf({ ...ICMP, icmp: { type } }).wellFormed, echo);
    assert.equal(packetOf({ ...ICMP, icmp: { type, code: 1 } }).wellFormed, false);
  }
});

test("an ICMP error gives the packet that it quotes; a quote that is cut, odd or of a fragment gives none", () => {
  const about = writeFrame(TCP);
  const error = (payload: Uint8Array, type = 3): FrameSpec => ({
    source: PLC,
    destination: HMI,
    protocol: "icmp",
    icmp: { type },
    payload,
  });
  for (const type of [3, 11, 12]) {
    const quoted = packetOf(error(quoteOf(about), type)).quoted;
    assert.deepEqual(
      [quoted?.source, quoted?.destination, quoted?.sourcePort, quoted?.destinationPort],
      [HMI, PLC, 40_000, 502],
    );
  }
  for (const type of [4, 5]) assert.equal(packetOf(error(quoteOf(about), type)).quoted, undefined);
  assert.equal(packetOf(error(quoteOf(about, 27))).quoted, undefined);
  const fragment = writeFrame({ ...TCP, moreFragments: true });
  assert.equal(packetOf(error(quoteOf(fragment))).quoted, undefined);
  const options = writeFrame({ ...TCP, options: Uint8Array.of(1, 1, 1, 0) });
  assert.equal(packetOf(error(quoteOf(options, 40))).quoted, undefined);
  const echo = writeFrame({ ...ICMP, icmp: { type: 8, identifier: 77 } });
  assert.equal(packetOf(error(quoteOf(echo))).quoted?.icmp?.identifier, 77);
});

test("no bytes make the reader throw", () => {
  const kinds = new Set<string>();
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 120 }), (bytes) => {
      kinds.add(readFrame(bytes).kind);
    }),
    { numRuns: 2000 },
  );
  // Random bytes hardly ever have an ethertype of ours: damage real frames too.
  const seeds = [TCP, UDP, ICMP, { ...ICMP, icmp: { type: 3 }, payload: quoteOf(writeFrame(TCP)) }];
  fc.assert(
    fc.property(
      fc.constantFrom(...seeds),
      fc.array(fc.tuple(fc.nat(80), fc.nat(255)), { maxLength: 3 }),
      fc.nat(80),
      (spec, damage, size) => {
        const bytes = writeFrame(spec);
        for (const [offset, value] of damage) if (offset < bytes.length) bytes[offset] = value;
        kinds.add(readFrame(bytes.subarray(0, Math.max(size, 14))).kind);
        kinds.add(readFrame(bytes).kind);
      },
    ),
    { numRuns: 5000 },
  );
  assert.deepEqual([...kinds].sort().slice(-2), ["packet", "refused"]);
});
