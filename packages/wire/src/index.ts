/**
 * Bytes to messages and back, one folder a protocol. Touches nothing: bytes come in as arguments.
 * @module
 */
export {
  type Frame,
  type FrameRefusal,
  type FrameSpec,
  ICMP_TYPE,
  type IcmpHead,
  IP_PROTOCOL,
  isIcmpError,
  type Packet,
  quoteOf,
  readFrame,
  TCP_FLAG,
  type Tuple,
  writeArp,
  writeFrame,
  writeIpv6,
} from "./ipv4/index.ts";
export { Cursor } from "./cursor.ts";
export * as modbus from "./modbus/index.ts";
export {
  LINKTYPE_NFLOG,
  type NflogPacket,
  PcapReader,
  type PcapRecord,
  pcapFileHeader,
  pcapRecord,
  readNflog,
} from "./pcap/index.ts";
export type { Direction, MemoryTarget, Operation, Pdu, Status, Target } from "./pdu.ts";
