import fs from "node:fs";
import path from "node:path";

/** Two files of this size are kept for each process: the newest events always survive. */
const FILE_MAX_BYTES = 16 * 1024 * 1024;

/**
 * A process's own events, one JSON object a line. Appends synchronously: an event is in the kernel's hands
 * before the act it tells of is answered. Until the ledger exists this is the record.
 */
export class EventLog {
  readonly #file: string;
  #fd: number;
  #sizeBytes: number;

  constructor(directory: string, name: string) {
    fs.mkdirSync(directory, { recursive: true, mode: 0o755 });
    this.#file = path.join(directory, `${name}.ndjson`);
    this.#fd = fs.openSync(this.#file, "a", 0o644);
    this.#sizeBytes = fs.fstatSync(this.#fd).size;
  }

  append(atMs: number, type: string, fields: Readonly<Record<string, unknown>>): void {
    const line = `${JSON.stringify({ at: new Date(atMs).toISOString(), type, ...fields })}\n`;
    if (this.#sizeBytes + line.length > FILE_MAX_BYTES) this.#rotate();
    this.#sizeBytes += fs.writeSync(this.#fd, line);
  }

  /** On disk when it returns; throws when that cannot be. */
  appendDurably(atMs: number, type: string, fields: Readonly<Record<string, unknown>>): void {
    this.append(atMs, type, fields);
    fs.fdatasyncSync(this.#fd);
  }

  #rotate(): void {
    fs.closeSync(this.#fd);
    fs.renameSync(this.#file, `${this.#file}.1`);
    this.#fd = fs.openSync(this.#file, "a", 0o644);
    this.#sizeBytes = 0;
  }
}
