import fs from "node:fs";
import path from "node:path";
import { pcapFileHeader, pcapRecord } from "@sallyport/wire";

const LINKTYPE_ETHERNET = 1;
/** Four files of 4 MiB: a fixed 16 MiB of evidence, the oldest quarter overwritten at a time. */
const FILES = 4;
const FILE_MAX_BYTES = 4 * 1024 * 1024;

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

  constructor(directory: string) {
    this.#directory = directory;
    const newest = [...Array(FILES).keys()]
      .map((index) => fs.statSync(this.#path(index), { throwIfNoEntry: false })?.mtimeMs ?? -1)
      .reduce((best, mtime, index, all) => (mtime > (all[best] ?? -1) ? index : best), 0);
    this.#index = (newest + 1) % FILES;
    this.#next();
  }

  /** Where the packet is kept, until the ring has come round. */
  add(atMs: number, frame: Uint8Array, originalBytes: number): PacketPlace {
    const record = pcapRecord(atMs, frame, originalBytes);
    if (this.#sizeBytes + record.length > FILE_MAX_BYTES) this.#next();
    const place = { file: path.basename(this.#path(this.#index)), offsetBytes: this.#sizeBytes };
    this.#sizeBytes += fs.writeSync(this.#fd, record);
    return place;
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
    this.#sizeBytes = fs.writeSync(this.#fd, pcapFileHeader(LINKTYPE_ETHERNET));
  }
}
