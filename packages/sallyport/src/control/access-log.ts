/** Who asked what: JSON lines in files of bounded size. A log that cannot be written stops nobody; what it lost is counted. */
import fs from "node:fs";
import { type AccessEntry, accessLine } from "@sallyport/api";

/** Some weeks of a console and a few scripts; hours of a flood, of which the newest part is what matters. */
const FILE_MAX_BYTES = 8 * 1024 * 1024;
const FILES_KEPT = 3;
/** Written together: a line for each request would cost more than many a request. */
const WAITING_MAX_BYTES = 64 * 1024;

export class AccessFile {
  readonly #file: string;
  readonly #fileMaxBytes: number;
  #waiting: string[] = [];
  #waitingBytes = 0;
  #sizeBytes: number;
  /** Lines that no disk took. */
  lost = 0;

  constructor(file: string, fileMaxBytes: number = FILE_MAX_BYTES) {
    this.#file = file;
    this.#fileMaxBytes = fileMaxBytes;
    this.#sizeBytes = fs.statSync(file, { throwIfNoEntry: false })?.size ?? 0;
  }

  add(entry: AccessEntry): void {
    const line = `${accessLine(entry)}\n`;
    this.#waiting.push(line);
    this.#waitingBytes += line.length;
    if (this.#waitingBytes >= WAITING_MAX_BYTES) this.flush();
  }

  /** Called every second too, so that the newest line is on its way. */
  flush(): void {
    if (this.#waiting.length === 0) return;
    const [lines, bytes] = [this.#waiting, this.#waitingBytes];
    this.#waiting = [];
    this.#waitingBytes = 0;
    try {
      if (this.#sizeBytes + bytes > this.#fileMaxBytes) this.#rotate();
      fs.appendFileSync(this.#file, lines.join(""), { mode: 0o600 });
      this.#sizeBytes += bytes;
    } catch {
      this.lost += lines.length;
    }
  }

  #rotate(): void {
    for (let n = FILES_KEPT - 1; n >= 0; n--) {
      const from = n === 0 ? this.#file : `${this.#file}.${n}`;
      if (fs.existsSync(from)) fs.renameSync(from, `${this.#file}.${n + 1}`);
    }
    this.#sizeBytes = 0;
  }
}
