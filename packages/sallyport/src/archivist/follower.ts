import type { Ledger, NewRecord } from "@sallyport/ledger";
import type { Place } from "@sallyport/store";
import { eventFiles, nextStretch } from "../journal-files.ts";
import { recordsOf } from "./records-of.ts";

/** Stretches in one turn, before whoever waits for an answer gets it. */
const STRETCHES_PER_TURN = 16;

/**
 * Reads every process's events into the ledger. Where it has come to is stored with what it read, so an event is one
 * record, whatever is killed when.
 */
export class Follower {
  readonly #ledger: Ledger;
  readonly #directory: string;
  readonly #nowMs: () => number;

  constructor(ledger: Ledger, eventsDirectory: string, nowMs: () => number) {
    this.#ledger = ledger;
    this.#directory = eventsDirectory;
    this.#nowMs = nowMs;
  }

  /** Records what is new; answers whether there may be more already. */
  async turn(): Promise<boolean> {
    let stretches = 0;
    let progressed = true;
    while (progressed) {
      progressed = false;
      for (const name of eventFiles(this.#directory)) {
        if (stretches >= STRETCHES_PER_TURN) return true;
        if (!(await this.#follow(name))) continue;
        stretches++;
        progressed = true;
      }
    }
    return false;
  }

  async #follow(name: string): Promise<boolean> {
    const source = `events/${name}`;
    const after = this.#ledger.placeOf(source);
    const from = after === undefined ? undefined : (JSON.parse(after) as Place);
    const stretch = nextStretch(this.#directory, name, from);
    if (stretch === undefined) return false;
    const process = name.replace(/\.ndjson$/, "");
    const { records, unreadable } = recordsOf(process, stretch.lines);
    const place = JSON.stringify(stretch.to);
    await this.#ledger.append(
      [...this.#faults(process, stretch.gap, unreadable + Number(stretch.overlong)), ...records],
      { source, place, ...(after === undefined ? {} : { after }) },
    );
    return true;
  }

  /** What could not be recorded is a record too. */
  #faults(process: string, gap: boolean, unreadable: number): NewRecord[] {
    const at = this.#nowMs();
    return [
      ...(gap ? [{ type: "archivist.gap", at, process }] : []),
      ...(unreadable > 0 ? [{ type: "archivist.unreadable", at, process, lines: unreadable }] : []),
    ];
  }
}
