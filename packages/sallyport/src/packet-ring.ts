import fs from "node:fs";
import path from "node:path";
import { pcapFileHeader, pcapRecord } from "@sallyport/wire";

const LINKTYPE_ETHERNET = 1;
/** Four files of 4 MiB: a fixed 16 MiB of evidence, the oldest quarter overwritten at a time. */
const FILES = 4;
const FILE_MAX_BYTES = 4 * 1024 * 1024;
/** Of a pcap file; one that found no room for it holds no packet. */
const HEADER_BYTES = 24;

export interface PacketPlace {
  readonly file: string;
  readonly offsetBytes: number;
}

/** Refused packets as pcap files that any analyzer opens, in a ring of fixed size. */
export class PacketRing {
  readonly #directory: string;
  #index: number;
  #fd = -1;
  #sizeBytes = 0;
  #shed = 0;
  readonly #isShedding: () => boolean;

  constructor(directory: string, isShedding: () => boolean = () => false) {
    this.#directory = directory;
    this.#isShedding = isShedding;
    const newest = [...Array(FILES).keys()]
      .map((index) => fs.statSync(this.#path(index), { throwIfNoEntry: false })?.mtimeMs ?? -1)
      .reduce((best, mtime, index, all) => (mtime > (all[best] ?? -1) ? index : best), 0);
    this.#index = (newest + 1) % FILES;
    this.#next();
  }

  /** How many packets were not kept because the disk had no room for them, since this was asked last. */
  takeShed(): number {
    const shed = this.#shed;
    this.#shed = 0;
    return shed;
  }

  /** Makes room: the oldest files go. Answers how many did. */
  dropOldest(): number {
    const old = [...Array(FILES).keys()]
      .filter((index) => index !== this.#index)
      .map((index) => this.#path(index))
      .filter((file) => fs.existsSync(file));
    for (const file of old) fs.rmSync(file);
    return old.length;
  }

  /** Where the packet is kept, until the ring has come round; undefined when the disk is too full to keep any. */
  add(atMs: number, frame: Uint8Array, originalBytes: number): PacketPlace | undefined {
    if (this.#isShedding()) {
      this.#shed++;
      return undefined;
    }
    const record = pcapRecord(atMs, frame, originalBytes);
    const isHeaded = this.#sizeBytes >= HEADER_BYTES;
    if (!isHeaded || this.#sizeBytes + record.length > FILE_MAX_BYTES) this.#next();
    if (this.#sizeBytes < HEADER_BYTES) {
      this.#shed++;
      return undefined;
    }
    const place = { file: path.basename(this.#path(this.#index)), offsetBytes: this.#sizeBytes };
    const written = this.#write(record);
    if (written === record.length) return place;
    // Half a record would make what follows unreadable.
    fs.ftruncateSync(this.#fd, place.offsetBytes);
    this.#sizeBytes = place.offsetBytes;
    this.#shed++;
    return undefined;
  }

  #path(index: number): string {
    return path.join(this.#directory, `refused-${index}.pcap`);
  }

  #next(): void {
    if (this.#fd >= 0) {
      fs.closeSync(this.#fd);
      this.#index = (this.#index + 1) % FILES;
    }
    this.#fd = fs.openSync(this.#path(this.#index), "w", 0o644);
    this.#sizeBytes = 0;
    this.#write(pcapFileHeader(LINKTYPE_ETHERNET));
  }

  /** Bytes that found room. */
  #write(bytes: Uint8Array): number {
    try {
      const written = fs.writeSync(this.#fd, bytes);
      this.#sizeBytes += written;
      return written;
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code === "ENOSPC") return 0;
      throw error;
    }
  }
}
