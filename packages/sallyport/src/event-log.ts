import fs from "node:fs";
import path from "node:path";

/** Two files of this size are kept for each process: the newest events always survive. */
const FILE_MAX_BYTES = 16 * 1024 * 1024;
/** Below this no opening act begins: what closes has to be written, too. */
const KEPT_FREE_BYTES = 4 * 1024 * 1024;

/**
 * A process's own events, one JSON object a line. Appends synchronously: an event is in the kernel's hands
 * before the act it tells of is answered. Until the ledger exists this is the record.
 */
export class EventLog {
  readonly #file: string;
  #fd: number;
  #sizeBytes: number;
  /** Events that found no room on the disk; told of once there is room. */
  #lost = 0;

  constructor(directory: string, name: string) {
    fs.mkdirSync(directory, { recursive: true, mode: 0o755 });
    this.#file = path.join(directory, `${name}.ndjson`);
    this.#fd = fs.openSync(this.#file, "a", 0o644);
    this.#sizeBytes = fs.fstatSync(this.#fd).size;
  }

  append(atMs: number, type: string, fields: Readonly<Record<string, unknown>>): void {
    const line = eventLine(atMs, type, fields);
    if (this.#sizeBytes + line.length > FILE_MAX_BYTES) this.#rotate();
    // What may have been cut off by a full disk ends here, and how much is missing is told first.
    const lost = this.#lost > 0 ? `\n${eventLine(atMs, "events-lost", { count: this.#lost })}` : "";
    const bytes = Buffer.from(lost + line);
    const written = this.#write(bytes);
    this.#sizeBytes += written;
    this.#lost = written === bytes.length ? 0 : this.#lost + 1;
  }

  /** On disk when it returns; throws when that cannot be, or would take the room that closing acts need. */
  appendDurably(atMs: number, type: string, fields: Readonly<Record<string, unknown>>): void {
    const { bavail, bsize } = fs.statfsSync(path.dirname(this.#file));
    if (bavail * bsize < KEPT_FREE_BYTES) throw new Error("the disk is full");
    this.append(atMs, type, fields);
    if (this.#lost > 0) throw new Error("the disk is full");
    fs.fdatasyncSync(this.#fd);
  }

  /** A full disk stops no act that closes: such an event is counted, not written. */
  #write(bytes: Buffer): number {
    try {
      return fs.writeSync(this.#fd, bytes);
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code === "ENOSPC") return 0;
      throw error;
    }
  }

  #rotate(): void {
    fs.closeSync(this.#fd);
    fs.renameSync(this.#file, `${this.#file}.1`);
    this.#fd = fs.openSync(this.#file, "a", 0o644);
    this.#sizeBytes = 0;
  }
}

function eventLine(atMs: number, type: string, fields: object): string {
  return `${JSON.stringify({ at: new Date(atMs).toISOString(), type, ...fields })}\n`;
}
