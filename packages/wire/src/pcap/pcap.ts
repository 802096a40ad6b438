/**
 * pcap capture files, as a stream.
 * Specification: draft-ietf-opsawg-pcap (the classic format, microseconds or nanoseconds).
 * Not decoded here: pcapng; and no link type, which is the caller's.
 */
// File header, 24 bytes, in the writer's byte order:
//   magic 4 | major 2 | minor 2 | reserved 8 | snap length 4 | link type 4
// Record header, 16 bytes:
//   seconds 4 | micro- or nanoseconds 4 | captured length 4 | original length 4
const FILE_HEADER_BYTES = 24;
const RECORD_HEADER_BYTES = 16;
const MAGIC_MICROSECONDS = 0xa1b2c3d4;
const MAGIC_NANOSECONDS = 0xa1b23c4d;
/** The largest snap length that libpcap itself accepts (MAXIMUM_SNAPLEN). */
const CAPTURED_MAX_BYTES = 262_144;

export interface PcapRecord {
  /** Milliseconds since 1970, with fractions. */
  readonly atMs: number;
  /** Captured bytes: a view, good until the next `push`. */
  readonly bytes: Uint8Array;
  readonly originalBytes: number;
}

/**
 * Takes chunks of a pcap stream and gives records. A stream that is not pcap, or claims a record
 * beyond the limit, sets `malformed` and gives nothing more: the writer must be restarted.
 */
export class PcapReader {
  malformed: string | undefined;
  linkType: number | undefined;
  #pending: Uint8Array = new Uint8Array(0);
  #littleEndian = true;
  #fractionPerMs = 1000;

  push(chunk: Uint8Array): PcapRecord[] {
    if (this.malformed !== undefined) return [];
    const bytes = new Uint8Array(this.#pending.length + chunk.length);
    bytes.set(this.#pending);
    bytes.set(chunk, this.#pending.length);
    const view = new DataView(bytes.buffer);
    let offset = 0;
    if (this.linkType === undefined) {
      if (bytes.length < FILE_HEADER_BYTES) {
        this.#pending = bytes;
        return [];
      }
      if (!this.#readFileHeader(view)) return [];
      offset = FILE_HEADER_BYTES;
    }
    const records: PcapRecord[] = [];
    while (bytes.length - offset >= RECORD_HEADER_BYTES) {
      const captured = view.getUint32(offset + 8, this.#littleEndian);
      if (captured > CAPTURED_MAX_BYTES) {
        this.malformed = `a record claims ${captured} bytes, the most is ${CAPTURED_MAX_BYTES}`;
        break;
      }
      const end = offset + RECORD_HEADER_BYTES + captured;
      if (end > bytes.length) break;
      records.push({
        atMs:
          view.getUint32(offset, this.#littleEndian) * 1000 +
          view.getUint32(offset + 4, this.#littleEndian) / this.#fractionPerMs,
        bytes: bytes.subarray(offset + RECORD_HEADER_BYTES, end),
        originalBytes: view.getUint32(offset + 12, this.#littleEndian),
      });
      offset = end;
    }
    this.#pending = bytes.subarray(offset);
    return records;
  }

  #readFileHeader(view: DataView): boolean {
    for (const littleEndian of [true, false]) {
      const magic = view.getUint32(0, littleEndian);
      if (magic !== MAGIC_MICROSECONDS && magic !== MAGIC_NANOSECONDS) continue;
      this.#littleEndian = littleEndian;
      this.#fractionPerMs = magic === MAGIC_NANOSECONDS ? 1_000_000 : 1000;
      this.linkType = view.getUint32(20, littleEndian);
      return true;
    }
    this.malformed = "the stream does not start with a pcap file header";
    return false;
  }
}

export function pcapFileHeader(linkType: number): Uint8Array {
  const bytes = new Uint8Array(FILE_HEADER_BYTES);
  const view = new DataView(bytes.buffer);
  view.setUint32(0, MAGIC_MICROSECONDS, true);
  view.setUint16(4, 2, true);
  view.setUint16(6, 4, true);
  view.setUint32(16, CAPTURED_MAX_BYTES, true);
  view.setUint32(20, linkType, true);
  return bytes;
}

export function pcapRecord(atMs: number, frame: Uint8Array, originalBytes?: number): Uint8Array {
  const bytes = new Uint8Array(RECORD_HEADER_BYTES + frame.length);
  const view = new DataView(bytes.buffer);
  view.setUint32(0, Math.floor(atMs / 1000), true);
  view.setUint32(4, Math.floor((atMs % 1000) * 1000), true);
  view.setUint32(8, frame.length, true);
  view.setUint32(12, originalBytes ?? frame.length, true);
  bytes.set(frame, RECORD_HEADER_BYTES);
  return bytes;
}
