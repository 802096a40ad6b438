import fs from "node:fs";
import path from "node:path";

/** One event as any process wrote it: when, what, and the fields of its type. */
export interface StoredEvent {
  readonly at: string;
  readonly type: string;
  /** Which process's file it came from: `watch`, `gate-erp`, `enforcer`, `supervisor`. */
  readonly process: string;
  readonly [field: string]: unknown;
}

/** An event line is far shorter; a longer one was cut and is passed over. */
const LINE_MAX_BYTES = 64 * 1024;
const READ_BYTES = 1024 * 1024;

/**
 * Follows all event files of an instance as one stream in the order of time within each `poll`.
 * A file that was cut or replaced is read from its start again.
 */
export class EventReader {
  readonly #directory: string;
  readonly #offsets = new Map<string, { inode: number; offset: number; rest: string }>();
  /** Lines that were no event: never silently lost. */
  unreadable = 0;

  constructor(directory: string) {
    this.#directory = directory;
  }

  /** Everything new since the last call; the first call gives all that is kept. */
  poll(): StoredEvent[] {
    if (!fs.existsSync(this.#directory)) return [];
    const names = fs.readdirSync(this.#directory).filter((name) => name.endsWith(".ndjson"));
    const events = names.flatMap((name) => this.#read(name));
    return events.sort((a, b) => (a.at < b.at ? -1 : a.at > b.at ? 1 : 0));
  }

  #read(name: string): StoredEvent[] {
    const fd = fs.openSync(path.join(this.#directory, name), "r");
    try {
      const stat = fs.fstatSync(fd);
      let place = this.#offsets.get(name);
      if (place === undefined || place.inode !== stat.ino || stat.size < place.offset) {
        place = { inode: stat.ino, offset: 0, rest: "" };
        this.#offsets.set(name, place);
      }
      const events: StoredEvent[] = [];
      const buffer = Buffer.alloc(READ_BYTES);
      while (place.offset < stat.size) {
        const size = fs.readSync(fd, buffer, 0, READ_BYTES, place.offset);
        if (size === 0) break;
        place.offset += size;
        const lines = (place.rest + buffer.toString("utf8", 0, size)).split("\n");
        place.rest = (lines.pop() ?? "").slice(0, LINE_MAX_BYTES);
        for (const line of lines) this.#parse(line, name, events);
      }
      return events;
    } finally {
      fs.closeSync(fd);
    }
  }

  #parse(line: string, name: string, events: StoredEvent[]): void {
    if (line === "") return;
    try {
      const value: unknown = JSON.parse(line);
      const event = eventOf(value);
      if (event !== undefined) {
        events.push({
          ...event,
          at: event.at,
          type: event.type,
          process: name.replace(/\.ndjson$/, ""),
        });
        return;
      }
    } catch {
      // Counted below: a cut line is no reason to stop reading.
    }
    this.unreadable++;
  }
}

/**
 * The event with its time and ends under the stream's names: a gate tells milliseconds, its peer and its
 * asset. What has no time of its own is older than all that has.
 */
function eventOf(value: unknown): { at: string; type: string } | undefined {
  if (typeof value !== "object" || value === null) return undefined;
  const fields: Record<string, unknown> = Object.fromEntries(Object.entries(value));
  const { type, at, atMs, minuteMs, peer, asset, pdu } = fields;
  if (typeof type !== "string") return undefined;
  const ms = typeof atMs === "number" ? atMs : minuteMs;
  const told =
    typeof pdu === "object" && pdu !== null && "function" in pdu ? pdu.function : undefined;
  return {
    ...(peer === undefined ? {} : { source: peer }),
    ...(asset === undefined ? {} : { destination: asset }),
    ...(told === undefined ? {} : { function: told }),
    ...fields,
    type,
    at: typeof at === "string" ? at : typeof ms === "number" ? new Date(ms).toISOString() : "",
  };
}
