/**
 * Writes Ethernet frames for tests and traffic generators: correct ones unless told what to break.
 * Numbers that break something are written as they are, so that every check of a reader has a frame.
 */
import { ICMP_TYPE, IP_PROTOCOL, onesComplementSum, TCP_FLAG } from "./frame.ts";

export interface FrameSpec {
  readonly source: number;
  readonly destination: number;
  /** A name, or an IANA protocol number whose payload is written as it stands. */
  readonly protocol: "tcp" | "udp" | "icmp" | number;
  readonly sourcePort?: number;
  readonly destinationPort?: number;
  /** TCP flags; SYN if absent. */
  readonly flags?: number;
  readonly sequence?: number;
  readonly acknowledgement?: number;
  /** An echo request with identifier 1 if absent. */
  readonly icmp?: { readonly type: number; readonly code?: number; readonly identifier?: number };
  /** After the transport header; for an ICMP error the quote, see `quoteOf`. */
  readonly payload?: Uint8Array;
  readonly ttl?: number;
  readonly identification?: number;
  readonly sourceMac?: Uint8Array;
  readonly destinationMac?: Uint8Array;
  /** 802.1Q tag with this VLAN, 0 to 4095. */
  readonly vlan?: number;
  /** In place of 0x0800, over the same bytes. */
  readonly ethertype?: number;
  readonly version?: number;
  /** In 32-bit words, whatever the options take. */
  readonly ihl?: number;
  /** A multiple of 4 bytes, at most 40. */
  readonly options?: Uint8Array;
  readonly totalLength?: number;
  readonly badChecksum?: boolean;
  readonly moreFragments?: boolean;
  /** In units of 8 bytes, 0 to 8191. */
  readonly fragmentOffset?: number;
  readonly dontFragment?: boolean;
  /** TCP, in 32-bit words. */
  readonly dataOffset?: number;
  readonly udpLength?: number;
  readonly badTransportChecksum?: boolean;
  /** Only this many bytes of the transport header and payload; the total length says so too. */
  readonly transportBytes?: number;
  /** Zero bytes after the datagram, as short Ethernet frames have. */
  readonly padding?: number;
  /** The frame ends after this many bytes, whatever its headers claim. */
  readonly truncateTo?: number;
}

const MAC_A = Uint8Array.of(0x02, 0, 0, 0, 0, 0x0a);
const MAC_B = Uint8Array.of(0x02, 0, 0, 0, 0, 0x0b);
const IPV4_BYTES = 20;

export function writeFrame(spec: FrameSpec): Uint8Array {
  const whole = transport(spec);
  const body = spec.transportBytes === undefined ? whole : whole.subarray(0, spec.transportBytes);
  const ip = ipv4Header(spec, body.length);
  const ethernet = [
    ...(spec.destinationMac ?? MAC_B),
    ...(spec.sourceMac ?? MAC_A),
    ...(spec.vlan === undefined ? [] : [0x81, 0x00, ...pair(spec.vlan)]),
    ...pair(spec.ethertype ?? 0x0800),
  ];
  const frame = Uint8Array.from([...ethernet, ...ip, ...body, ...zeros(spec.padding ?? 0)]);
  return spec.truncateTo === undefined ? frame : frame.subarray(0, spec.truncateTo);
}

/** What an ICMP error about this frame quotes: its IP header and 8 bytes (RFC 792). */
export function quoteOf(frame: Uint8Array, bytes: number = IPV4_BYTES + 8): Uint8Array {
  return frame.slice(14, 14 + bytes);
}

/** An ARP request, "who has `target`, tell `sender`" (RFC 826). */
export function writeArp(sender: number, target: number): Uint8Array {
  const broadcast = [255, 255, 255, 255, 255, 255];
  const head = [...broadcast, ...MAC_A, 0x08, 0x06, 0, 1, 0x08, 0, 6, 4, 0, 1];
  return Uint8Array.from([...head, ...MAC_A, ...quad(sender), ...zeros(6), ...quad(target)]);
}

/** An IPv6 frame with no payload (RFC 8200 §3); addresses are `fe80::1` and `fe80::2`. */
export function writeIpv6(): Uint8Array {
  const local = (last: number): number[] => [0xfe, 0x80, ...zeros(13), last];
  const ip = [0x60, 0, 0, 0, 0, 0, 59, 64, ...local(1), ...local(2)];
  return Uint8Array.from([...MAC_B, ...MAC_A, 0x86, 0xdd, ...ip]);
}

function ipv4Header(spec: FrameSpec, bodyBytes: number): Uint8Array {
  const options = spec.options ?? new Uint8Array(0);
  const size = IPV4_BYTES + options.length;
  const fragment =
    (spec.dontFragment === true ? 0x4000 : 0) |
    (spec.moreFragments === true ? 0x2000 : 0) |
    (spec.fragmentOffset ?? 0);
  const header = Uint8Array.from([
    ((spec.version ?? 4) << 4) | (spec.ihl ?? size / 4),
    0,
    ...pair(spec.totalLength ?? size + bodyBytes),
    ...pair(spec.identification ?? 0),
    ...pair(fragment),
    spec.ttl ?? 64,
    protocolNumber(spec.protocol),
    0,
    0,
    ...quad(spec.source),
    ...quad(spec.destination),
    ...options,
  ]);
  // Computed over the bytes that the IHL claims, or the reader would stop at the checksum first.
  const claimed = Math.min(Math.max((spec.ihl ?? size / 4) * 4, IPV4_BYTES), size);
  const checksum = ~onesComplementSum(header, 0, claimed) & 0xffff;
  header.set(pair(spec.badChecksum === true ? checksum ^ 0x0101 : checksum), 10);
  return header;
}

function transport(spec: FrameSpec): Uint8Array {
  const payload = spec.payload ?? new Uint8Array(0);
  if (typeof spec.protocol === "number") return payload;
  const ports = [...pair(spec.sourcePort ?? 0), ...pair(spec.destinationPort ?? 0)];
  if (spec.protocol === "tcp") {
    const offset = (spec.dataOffset ?? 5) << 4;
    const numbers = [...quad(spec.sequence ?? 1), ...quad(spec.acknowledgement ?? 0)];
    const rest = [offset, spec.flags ?? TCP_FLAG.syn, 0xff, 0xff, 0, 0, 0, 0];
    return summed(spec, Uint8Array.from([...ports, ...numbers, ...rest, ...payload]), 16);
  }
  if (spec.protocol === "udp") {
    const length = spec.udpLength ?? 8 + payload.length;
    return summed(spec, Uint8Array.from([...ports, ...pair(length), 0, 0, ...payload]), 6);
  }
  const { type, code = 0, identifier = 1 } = spec.icmp ?? { type: ICMP_TYPE.echoRequest };
  const head = [type, code, 0, 0, ...pair(identifier), 0, 1];
  return summed(spec, Uint8Array.from([...head, ...payload]), 2);
}

/** Puts the checksum in its place: over the pseudo-header too, unless ICMP (RFC 9293 §3.1, 792). */
function summed(spec: FrameSpec, segment: Uint8Array, place: number): Uint8Array {
  const protocol = protocolNumber(spec.protocol);
  const addresses = [...quad(spec.source), ...quad(spec.destination)];
  const pseudo =
    protocol === IP_PROTOCOL.icmp ? [] : [...addresses, 0, protocol, ...pair(segment.length)];
  const covered = Uint8Array.from([...pseudo, ...segment]);
  let checksum = ~onesComplementSum(covered, 0, covered.length) & 0xffff;
  // RFC 768: a computed zero is sent as all ones, because zero means "no checksum".
  if (protocol === IP_PROTOCOL.udp && checksum === 0) checksum = 0xffff;
  segment.set(pair(spec.badTransportChecksum === true ? checksum ^ 0x0101 : checksum), place);
  return segment;
}

function protocolNumber(protocol: FrameSpec["protocol"]): number {
  return typeof protocol === "number" ? protocol : IP_PROTOCOL[protocol];
}

function pair(value: number): number[] {
  return [(value >>> 8) & 255, value & 255];
}

function quad(value: number): number[] {
  return [...pair(value >>> 16), ...pair(value)];
}

function zeros(count: number): number[] {
  return new Array<number>(count).fill(0);
}
