/** Records of the processes that have no event file: each waits until the archivist has it on disk. */
import { type Json, SallyportError } from "@sallyport/core";
import { askSocket } from "./cli/enforcer-client.ts";

export type RecordFields = Readonly<Record<string, string | number | boolean | readonly string[]>>;

export interface Recorder {
  /** Throws `not-recorded` when it is not on disk. */
  record(type: string, fields: RecordFields): Promise<void>;
}

/** Members that are about a person: committed to, and erasable. */
const PERSONAL: ReadonlySet<string> = new Set([
  ...["person", "by", "author", "people", "holders", "source", "reason", "label"],
]);

export class ArchivistRecorder implements Recorder {
  readonly #socket: string;
  readonly #nowMs: () => number;

  constructor(socket: string, nowMs: () => number) {
    this.#socket = socket;
    this.#nowMs = nowMs;
  }

  async record(type: string, fields: RecordFields): Promise<void> {
    const plain: Record<string, Json> = {};
    const personal: Record<string, Json> = {};
    for (const [name, value] of Object.entries(fields)) {
      // A list is plain text items, so it is JSON.
      (PERSONAL.has(name) ? personal : plain)[name] = value as Json;
    }
    const record = {
      ...plain,
      type,
      at: this.#nowMs(),
      ...(Object.keys(personal).length === 0 ? {} : { personal }),
    };
    try {
      await askSocket(this.#socket, { type: "append", records: [record] });
    } catch (cause) {
      throw new SallyportError("not-recorded", "the ledger does not take the record of this", {
        cause,
        hint: "see that the archivist runs and its disk has room: sallyport ledger status",
      });
    }
  }
}
