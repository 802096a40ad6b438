/** Live events in memory: the last ones for who comes back, a bounded queue for each who listens. */
import { REPLAY_EVENTS_MAX, STREAM_EVENTS_MAX } from "../http/limits.ts";
import type { Caller } from "../services/caller.ts";
import type { Events, Subscription } from "../services/watch.ts";
import type { LiveEvent } from "../shapes/watch.ts";

interface Listener {
  readonly queue: LiveEvent[];
  readonly types: ReadonlySet<string> | undefined;
  isEnded: boolean;
  wake: () => void;
}

export class EventHub implements Events {
  readonly #kept: LiveEvent[] = [];
  readonly #listeners = new Set<Listener>();
  #lastId: number;
  #tooSlow = 0;

  /** A process that starts later must begin higher, so that an id never names two events. */
  constructor(firstId: number) {
    this.#lastId = firstId - 1;
  }

  get listeners(): number {
    return this.#listeners.size;
  }

  /** Streams that were ended because their client read too slowly. */
  get tooSlow(): number {
    return this.#tooSlow;
  }

  publish(event: Omit<LiveEvent, "id">): LiveEvent {
    this.#lastId += 1;
    const made = { ...event, id: this.#lastId };
    this.#kept.push(made);
    if (this.#kept.length > REPLAY_EVENTS_MAX) this.#kept.shift();
    for (const listener of this.#listeners) {
      if (listener.types?.has(made.type) === false) continue;
      if (listener.queue.length >= STREAM_EVENTS_MAX) {
        this.#tooSlow += 1;
        this.#end(listener);
      } else listener.queue.push(made);
      listener.wake();
    }
    return made;
  }

  subscribe(
    caller: Caller,
    question: { readonly lastId?: number; readonly types?: ReadonlySet<string> },
  ): Subscription {
    const { lastId, types } = question;
    const missed = lastId === undefined ? [] : this.#kept.filter(({ id }) => id > lastId);
    const firstKept = this.#kept[0]?.id ?? this.#lastId + 1;
    const complete = lastId === undefined || (lastId >= firstKept - 1 && lastId <= this.#lastId);
    const queue = complete ? missed.filter(({ type }) => types?.has(type) !== false) : [];
    const listener: Listener = { queue, types, isEnded: false, wake: () => undefined };
    this.#listeners.add(listener);
    const leave = (): void => {
      this.#end(listener);
      listener.wake();
    };
    caller.signal.addEventListener("abort", leave, { once: true });
    if (caller.signal.aborted) leave();
    return { complete, events: this.#read(listener) };
  }

  async *#read(listener: Listener): AsyncGenerator<LiveEvent> {
    try {
      for (;;) {
        for (let next = listener.queue.shift(); next !== undefined; next = listener.queue.shift()) {
          yield next;
        }
        if (listener.isEnded) return;
        await new Promise<void>((resolve) => {
          listener.wake = resolve;
        });
      }
    } finally {
      this.#end(listener);
    }
  }

  #end(listener: Listener): void {
    listener.isEnded = true;
    this.#listeners.delete(listener);
  }
}
