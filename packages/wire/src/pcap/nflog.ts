/**
 * Packets from the kernel's netlink log, as pcap carries them (LINKTYPE_NFLOG, 239).
 * Specification: the tcpdump project's link type page for LINKTYPE_NFLOG.
 * Decoded here: mark, payload, prefix and link-layer header; the other attributes are passed over.
 */
// family 1 | version 1 | group 2 (big-endian) | TLVs
// TLV: length 2 | type 2 (both in the host's order) | value | padding to 4
//      the length counts its own four bytes and not the padding
export const LINKTYPE_NFLOG = 239;
const HEADER_BYTES = 4;
const TLV_HEADER_BYTES = 4;
const MARK = 2;
const PAYLOAD = 9;
const PREFIX = 10;
const LINK_HEADER = 16;
const VERSION = 0;

export interface NflogPacket {
  /** The packet's mark, 0 if it had none. */
  readonly mark: number;
  readonly prefix: string;
  /** The packet from its IP header on. */
  readonly payload: Uint8Array;
  /** What stood before it on the link, as the engine left it; empty where nobody told. */
  readonly linkHeader: Uint8Array;
}

/** Answers undefined for bytes that are not such a record. */
export function readNflog(bytes: Uint8Array): NflogPacket | undefined {
  if (bytes.length < HEADER_BYTES || bytes[1] !== VERSION) return undefined;
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  let mark = 0;
  let prefix = "";
  let payload: Uint8Array | undefined;
  let linkHeader: Uint8Array = new Uint8Array(0);
  let offset = HEADER_BYTES;
  while (offset + TLV_HEADER_BYTES <= bytes.length) {
    const length = view.getUint16(offset, true);
    const type = view.getUint16(offset + 2, true);
    if (length < TLV_HEADER_BYTES || offset + length > bytes.length) return undefined;
    const value = bytes.subarray(offset + TLV_HEADER_BYTES, offset + length);
    if (type === MARK && value.length === 4) mark = view.getUint32(offset + TLV_HEADER_BYTES);
    else if (type === PAYLOAD) payload = value;
    else if (type === LINK_HEADER) linkHeader = value;
    else if (type === PREFIX) prefix = new TextDecoder().decode(value).split("\0")[0] ?? "";
    offset += (length + 3) & ~3;
  }
  return payload === undefined ? undefined : { mark, prefix, payload, linkHeader };
}
