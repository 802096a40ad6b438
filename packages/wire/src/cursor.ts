const NO_BYTES = new Uint8Array(0);

/**
 * Reads big-endian numbers from a part of one Uint8Array. It is reused for message after message.
 * Reading past the end never throws: it gives 0 and sets `failed`, which stays set until `reset`, so a
 * decoder reads a whole structure and asks once whether all of it was there.
 */
export class Cursor {
  bytes: Uint8Array = NO_BYTES;
  offset = 0;
  end = 0;
  failed = false;

  /** Guarantee: nothing outside [start, end) is read, nor outside `bytes` if `end` is beyond it. */
  reset(bytes: Uint8Array, start: number, end: number): void {
    this.bytes = bytes;
    this.offset = start;
    this.end = Math.min(end, bytes.length);
    this.failed = start < 0 || start > this.end;
  }

  get remainingBytes(): number {
    return this.failed ? 0 : this.end - this.offset;
  }

  u8(): number {
    const at = this.offset;
    if (this.failed || at >= this.end) {
      this.failed = true;
      return 0;
    }
    this.offset = at + 1;
    return this.bytes[at] ?? 0;
  }

  u16(): number {
    const at = this.offset;
    if (this.failed || at + 2 > this.end) {
      this.failed = true;
      return 0;
    }
    this.offset = at + 2;
    return ((this.bytes[at] ?? 0) << 8) | (this.bytes[at + 1] ?? 0);
  }

  u32(): number {
    const high = this.u16();
    const low = this.u16();
    return this.failed ? 0 : high * 65_536 + low;
  }

  skip(sizeBytes: number): void {
    if (this.failed || sizeBytes < 0 || this.offset + sizeBytes > this.end) this.failed = true;
    else this.offset += sizeBytes;
  }
}
