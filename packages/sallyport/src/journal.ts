import type { FlowStore, Place } from "@sallyport/store";
import { entryOf } from "./journal-entries.ts";
import { eventFiles, nextStretch, type Stretch } from "./journal-files.ts";

/** Stretches recorded in one turn before retention and other files get theirs. */
const STRETCHES_PER_TURN = 64;

/** What the journal tells of itself. */
export interface JournalNews {
  readonly type: "journal-gap" | "journal-unreadable";
  /** Whose events. */
  readonly process: string;
  /** Lines that are no event; 0 for a gap, whose events nobody can count. */
  readonly lines: number;
}

/** Reads every process's events into the store, from where the store says that it was. */
export class Journal {
  readonly #store: FlowStore;
  readonly #directory: string;
  readonly #onNews: (news: JournalNews) => void;
  #places: Map<string, Place> | undefined;

  constructor(store: FlowStore, eventsDirectory: string, onNews: (news: JournalNews) => void) {
    this.#store = store;
    this.#directory = eventsDirectory;
    this.#onNews = onNews;
  }

  /** Records what is new; answers whether there may be more already. */
  async turn(): Promise<boolean> {
    this.#places ??= new Map(await this.#store.places());
    const places = this.#places;
    let stretches = 0;
    let progressed = true;
    // A stretch of each file in turn, so that a flood in one does not keep the others waiting.
    while (progressed) {
      progressed = false;
      for (const name of eventFiles(this.#directory)) {
        if (stretches >= STRETCHES_PER_TURN) return true;
        const from = places.get(name);
        const stretch = nextStretch(this.#directory, name, from);
        if (stretch === undefined) continue;
        await this.#record(name, from, stretch);
        places.set(name, stretch.to);
        stretches++;
        progressed = true;
      }
    }
    return false;
  }

  async #record(name: string, from: Place | undefined, stretch: Stretch): Promise<void> {
    const process = name.replace(/\.ndjson$/, "");
    const lines = stretch.lines.map((line) => entryOf(line, process));
    const entries = lines.flatMap(({ entry }) => (entry === undefined ? [] : [entry]));
    await this.#store.record({ file: name, from, to: stretch.to, entries });
    if (stretch.gap) this.#onNews({ type: "journal-gap", process, lines: 0 });
    const unreadable = lines.filter(({ readable }) => !readable).length + Number(stretch.overlong);
    if (unreadable > 0) {
      this.#onNews({ type: "journal-unreadable", process, lines: unreadable });
    }
  }
}

const PRUNE_EVERY_MS = 60_000;

/** Counts by the minute are kept for 30 days and by the hour for 400: what is older goes, a step at a time. */
export class Retention {
  readonly #store: Pick<FlowStore, "prune">;
  #dueMs = 0;

  constructor(store: Pick<FlowStore, "prune">) {
    this.#store = store;
  }

  /** Removes one step of what is too old, when it is time to look; the next follows after the next turn. */
  async turn(nowMs: number): Promise<number> {
    if (nowMs < this.#dueMs) return 0;
    const removed = await this.#store.prune(nowMs);
    this.#dueMs = removed > 0 ? 0 : nowMs + PRUNE_EVERY_MS;
    return removed;
  }
}
