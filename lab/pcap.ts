/**
 * A reader for what tcpdump writes: pcap in the machine's byte order, microseconds, Ethernet.
 * Written for the lab only, so that what a capture shows does not depend on the product's decoders.
 * Not decoded here: pcapng, VLAN tags, IPv6, anything above TCP, UDP and ICMP headers.
 */

/** Per file, then per packet: seconds, microseconds, captured length, original length. */
const FILE_HEADER_BYTES = 24;
const PACKET_HEADER_BYTES = 16;
const MAGIC_MICROSECONDS = 0xa1b2c3d4;
/** tcpdump's own snapshot limit. */
const PACKET_MAX_BYTES = 262_144;
const ETHERNET_BYTES = 14;
const IPV4 = 0x0800;

/** One frame as it passed a link; fields that it does not have are 0 or empty. */
export interface Packet {
  /** Milliseconds since 1970. */
  readonly at: number;
  readonly ethertype: number;
  readonly source: string;
  readonly destination: string;
  /** IP protocol number: 1 ICMP, 6 TCP, 17 UDP. */
  readonly protocol: number;
  readonly sourcePort: number;
  readonly port: number;
  /** TCP flags as letters out of FSRPAU, e.g. `SA`. */
  readonly flags: string;
  /** Bytes after the TCP or UDP header. */
  readonly payload: Buffer;
  /** True for any part of a fragmented datagram. */
  readonly isFragment: boolean;
  readonly hasIpOptions: boolean;
}

/** Takes the stream in pieces of any size and gives back packets as they become complete. */
export class PcapStream {
  #rest: Buffer = Buffer.alloc(0);
  #headerSeen = false;
  /** Set once the bytes are not a pcap stream; nothing more comes then. */
  fault: string | undefined;

  push(chunk: Buffer): Packet[] {
    const out: Packet[] = [];
    if (this.fault !== undefined) return out;
    this.#rest = this.#rest.length === 0 ? chunk : Buffer.concat([this.#rest, chunk]);
    if (!this.#headerSeen) {
      if (this.#rest.length < FILE_HEADER_BYTES) return out;
      if (this.#rest.readUInt32LE(0) !== MAGIC_MICROSECONDS) {
        this.fault = "not a little-endian microsecond pcap";
        return out;
      }
      this.#rest = this.#rest.subarray(FILE_HEADER_BYTES);
      this.#headerSeen = true;
    }
    while (this.#rest.length >= PACKET_HEADER_BYTES) {
      const captured = this.#rest.readUInt32LE(8);
      if (captured > PACKET_MAX_BYTES) {
        this.fault = `a packet of ${captured} bytes`;
        return out;
      }
      const size = PACKET_HEADER_BYTES + captured;
      if (this.#rest.length < size) return out;
      const at = this.#rest.readUInt32LE(0) * 1000 + this.#rest.readUInt32LE(4) / 1000;
      out.push(readFrame(at, this.#rest.subarray(PACKET_HEADER_BYTES, size)));
      this.#rest = this.#rest.subarray(size);
    }
    return out;
  }
}

function readFrame(at: number, frame: Buffer): Packet {
  const ethertype = frame.length >= ETHERNET_BYTES ? frame.readUInt16BE(12) : 0;
  const bare: Packet = {
    at,
    ethertype,
    source: "",
    destination: "",
    protocol: 0,
    sourcePort: 0,
    port: 0,
    flags: "",
    payload: Buffer.alloc(0),
    isFragment: false,
    hasIpOptions: false,
  };
  const packet = frame.subarray(ETHERNET_BYTES);
  if (ethertype !== IPV4 || packet.length < 20) return bare;
  const headerBytes = (packet.readUInt8(0) & 15) * 4;
  const totalBytes = Math.min(packet.readUInt16BE(2), packet.length);
  const fragment = packet.readUInt16BE(6);
  const ip: Packet = {
    ...bare,
    source: dotted(packet, 12),
    destination: dotted(packet, 16),
    protocol: packet.readUInt8(9),
    isFragment: (fragment & 0x3fff) !== 0,
    hasIpOptions: headerBytes > 20,
  };
  // Only a first fragment has a transport header.
  if ((fragment & 0x1fff) !== 0 || headerBytes < 20 || headerBytes > totalBytes) return ip;
  return withTransport(ip, packet.subarray(headerBytes, totalBytes));
}

const FLAG_LETTERS = ["F", "S", "R", "P", "A", "U"];

function withTransport(ip: Packet, segment: Buffer): Packet {
  if (ip.protocol === 17 && segment.length >= 8) {
    return { ...ip, ...ports(segment), payload: segment.subarray(8) };
  }
  if (ip.protocol === 6 && segment.length >= 20) {
    const bits = segment.readUInt8(13);
    const flags = FLAG_LETTERS.filter((_, bit) => (bits & (1 << bit)) !== 0).join("");
    return {
      ...ip,
      ...ports(segment),
      flags,
      payload: segment.subarray((segment.readUInt8(12) >> 4) * 4),
    };
  }
  return ip;
}

function ports(segment: Buffer): { sourcePort: number; port: number } {
  return { sourcePort: segment.readUInt16BE(0), port: segment.readUInt16BE(2) };
}

function dotted(packet: Buffer, offset: number): string {
  return [...packet.subarray(offset, offset + 4)].join(".");
}

const NAMES: ReadonlyMap<number, string> = new Map([
  [1, "icmp"],
  [6, "tcp"],
  [17, "udp"],
]);

/** `10.10.0.66:40000 > 10.41.0.10:502 tcp S`. */
export function describePacket(packet: Packet): string {
  if (packet.source === "") return `ethertype 0x${packet.ethertype.toString(16).padStart(4, "0")}`;
  const name = NAMES.get(packet.protocol) ?? `protocol ${packet.protocol}`;
  const flags = packet.flags === "" ? "" : ` ${packet.flags}`;
  const { source, sourcePort, destination, port } = packet;
  return `${source}:${sourcePort} > ${destination}:${port} ${name}${flags}`;
}
