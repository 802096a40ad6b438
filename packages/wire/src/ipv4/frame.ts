/**
 * Ethernet frames with IPv4 and the first bytes of TCP, UDP and ICMP: what a packet filter reads.
 * Specifications: RFC 791 §3.1 (IPv4), RFC 9293 §3.1 (TCP), RFC 768 (UDP), RFC 792 (ICMP).
 * The steps and their order are those of `docs/reference/packet-semantics.md`, 1 to 6.
 * Not read here: payloads, transport checksums, IP options, tags, IPv6.
 */

// Ethernet II:
//   0                6           12          14
//   | destination    | source    | ethertype | IPv4 …
const ETHERTYPE = 12;
const ETHERNET_BYTES = 14;
const ETHERTYPE_IPV4 = 0x0800;
const ETHERTYPE_ARP = 0x0806;

// IPv4, from the start of the header:
//   0             2              4              6                 8     9      10         12   16
//   | version ihl | total length | identification | flags, offset | ttl | proto | checksum | src | dst
const TOTAL_LENGTH = 2;
const FRAGMENT = 6;
const PROTOCOL = 9;
const SOURCE = 12;
const DESTINATION = 16;
const IPV4_BYTES = 20;
/** More-fragments flag and fragment offset; the don't-fragment bit is no concern of a filter. */
const FRAGMENT_MASK = 0x3fff;

export const IP_PROTOCOL = { icmp: 1, tcp: 6, udp: 17 } as const;
const TCP_BYTES = 20;
const UDP_BYTES = 8;
const ICMP_BYTES = 8;

export const TCP_FLAG = { fin: 1, syn: 2, rst: 4, psh: 8, ack: 16, urg: 32 } as const;
/** The flags that drive a connection; URG, PSH, ECE and CWR may come with any of them. */
const TCP_CONTROL = TCP_FLAG.fin | TCP_FLAG.syn | TCP_FLAG.rst | TCP_FLAG.ack;

export const ICMP_TYPE = {
  echoReply: 0,
  unreachable: 3,
  echoRequest: 8,
  timeExceeded: 11,
  parameterProblem: 12,
} as const;

export type FrameRefusal = "not-ipv4" | "short" | "fragment" | "ip-options";

/** What a frame is to a packet filter. Any bytes have an answer; none is an exception. */
export type Frame =
  | { readonly kind: "arp" }
  | { readonly kind: "refused"; readonly reason: FrameRefusal }
  | { readonly kind: "packet"; readonly packet: Packet };

/** The addresses and ports of a packet. Ports are 0 where the protocol has none. */
export interface Tuple {
  /** IANA protocol number, 0 to 255. */
  readonly protocol: number;
  readonly source: number;
  readonly destination: number;
  readonly sourcePort: number;
  readonly destinationPort: number;
  readonly icmp: IcmpHead | undefined;
}

export interface Packet extends Tuple {
  /** All eight flag bits; 0 unless TCP. */
  readonly tcpFlags: number;
  /**
   * TCP: the data offset is in range and the flags are one of `SYN, SYN+ACK, ACK, FIN+ACK, RST,
   * RST+ACK`. UDP: the length field is in range. ICMP: an echo with code 0. Others: false.
   */
  readonly wellFormed: boolean;
  /** The packet that an ICMP error (type 3, 11 or 12) is about, if its quote can be read. */
  readonly quoted: Tuple | undefined;
}

export interface IcmpHead {
  readonly type: number;
  readonly code: number;
  /** Of an echo; for other types whatever stands in that place. */
  readonly identifier: number;
}

export function readFrame(bytes: Uint8Array): Frame {
  if (bytes.length < ETHERNET_BYTES) return refused("not-ipv4");
  const ethertype = uint16(bytes, ETHERTYPE);
  if (ethertype === ETHERTYPE_ARP) return { kind: "arp" };
  if (ethertype !== ETHERTYPE_IPV4) return refused("not-ipv4");

  const ip = ETHERNET_BYTES;
  const arrived = bytes.length - ip;
  if (arrived < IPV4_BYTES || uint8(bytes, ip) >> 4 !== 4) return refused("short");
  const header = (uint8(bytes, ip) & 15) * 4;
  const total = uint16(bytes, ip + TOTAL_LENGTH);
  if (header < IPV4_BYTES || total < header || total > arrived) return refused("short");
  if (!checksumHolds(bytes, ip, header)) return refused("short");
  if ((uint16(bytes, ip + FRAGMENT) & FRAGMENT_MASK) !== 0) return refused("fragment");
  if (header > IPV4_BYTES) return refused("ip-options");
  return readTransport(bytes, ip, ip + header, ip + total);
}

function readTransport(bytes: Uint8Array, ip: number, start: number, end: number): Frame {
  const size = end - start;
  const protocol = uint8(bytes, ip + PROTOCOL);
  const tuple = {
    protocol,
    source: uint32(bytes, ip + SOURCE),
    destination: uint32(bytes, ip + DESTINATION),
  };
  if (protocol === IP_PROTOCOL.tcp) {
    if (size < TCP_BYTES) return refused("short");
    const dataOffset = (uint8(bytes, start + 12) >> 4) * 4;
    const tcpFlags = uint8(bytes, start + 13);
    const wellFormed = dataOffset >= TCP_BYTES && dataOffset <= size && knownFlags(tcpFlags);
    return packet({ ...tuple, ...ports(bytes, start), tcpFlags, wellFormed });
  }
  if (protocol === IP_PROTOCOL.udp) {
    if (size < UDP_BYTES) return refused("short");
    const length = uint16(bytes, start + 4);
    const wellFormed = length >= UDP_BYTES && length <= size;
    return packet({ ...tuple, ...ports(bytes, start), tcpFlags: 0, wellFormed });
  }
  if (protocol === IP_PROTOCOL.icmp) {
    if (size < ICMP_BYTES) return refused("short");
    const icmp = readIcmp(bytes, start);
    const quoted = isIcmpError(icmp.type) ? readQuote(bytes, start + ICMP_BYTES, end) : undefined;
    const head = { ...tuple, sourcePort: 0, destinationPort: 0, tcpFlags: 0 };
    const wellFormed = isEcho(icmp.type) && icmp.code === 0;
    return { kind: "packet", packet: { ...head, wellFormed, icmp, quoted } };
  }
  return packet({ ...tuple, sourcePort: 0, destinationPort: 0, tcpFlags: 0, wellFormed: false });
}

/**
 * RFC 792: the IP header and the first 8 bytes of what it carried. No packet with options or in
 * fragments ever passed, so a quote of one is about nothing of ours.
 */
function readQuote(bytes: Uint8Array, ip: number, end: number): Tuple | undefined {
  const start = ip + IPV4_BYTES;
  if (end < start + ICMP_BYTES || uint8(bytes, ip) !== 0x45) return undefined;
  if ((uint16(bytes, ip + FRAGMENT) & FRAGMENT_MASK) !== 0) return undefined;
  const protocol = uint8(bytes, ip + PROTOCOL);
  const source = uint32(bytes, ip + SOURCE);
  const destination = uint32(bytes, ip + DESTINATION);
  if (protocol === IP_PROTOCOL.icmp) {
    const icmp = readIcmp(bytes, start);
    return { protocol, source, destination, sourcePort: 0, destinationPort: 0, icmp };
  }
  if (protocol !== IP_PROTOCOL.tcp && protocol !== IP_PROTOCOL.udp) return undefined;
  return { protocol, source, destination, ...ports(bytes, start), icmp: undefined };
}

export function isIcmpError(type: number): boolean {
  return (
    type === ICMP_TYPE.unreachable ||
    type === ICMP_TYPE.timeExceeded ||
    type === ICMP_TYPE.parameterProblem
  );
}

function isEcho(type: number): boolean {
  return type === ICMP_TYPE.echoRequest || type === ICMP_TYPE.echoReply;
}

function knownFlags(flags: number): boolean {
  const { fin, syn, rst, ack } = TCP_FLAG;
  const control = flags & TCP_CONTROL;
  return (
    control === syn ||
    control === (syn | ack) ||
    control === ack ||
    control === (fin | ack) ||
    control === rst ||
    control === (rst | ack)
  );
}

function readIcmp(bytes: Uint8Array, start: number): IcmpHead {
  const identifier = uint16(bytes, start + 4);
  return { type: uint8(bytes, start), code: uint8(bytes, start + 1), identifier };
}

function ports(bytes: Uint8Array, start: number): { sourcePort: number; destinationPort: number } {
  return { sourcePort: uint16(bytes, start), destinationPort: uint16(bytes, start + 2) };
}

function packet(fields: Omit<Packet, "icmp" | "quoted">): Frame {
  return { kind: "packet", packet: { ...fields, icmp: undefined, quoted: undefined } };
}

function refused(reason: FrameRefusal): Frame {
  return { kind: "refused", reason };
}

/** RFC 1071: the ones' complement sum of a header with its checksum in place is all ones. */
function checksumHolds(bytes: Uint8Array, start: number, size: number): boolean {
  return onesComplementSum(bytes, start, size) === 0xffff;
}

/** RFC 1071 §1; an odd last byte is padded with zero. */
export function onesComplementSum(bytes: Uint8Array, start: number, size: number): number {
  let sum = 0;
  for (let offset = 0; offset < size; offset += 2) {
    sum += uint8(bytes, start + offset) << 8;
    if (offset + 1 < size) sum += uint8(bytes, start + offset + 1);
  }
  while (sum > 0xffff) sum = (sum & 0xffff) + (sum >>> 16);
  return sum;
}

// Every caller has checked its bounds; a zero in place of a missing byte keeps the reader total.
function uint8(bytes: Uint8Array, offset: number): number {
  return bytes[offset] ?? 0;
}

function uint16(bytes: Uint8Array, offset: number): number {
  return (uint8(bytes, offset) << 8) | uint8(bytes, offset + 1);
}

function uint32(bytes: Uint8Array, offset: number): number {
  return ((uint16(bytes, offset) << 16) | uint16(bytes, offset + 2)) >>> 0;
}
