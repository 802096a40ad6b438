/** Server-sent events (HTML living standard §9.2) over a stream that its reader pulls. */
import {
  STREAM_BEAT_MS,
  STREAM_MS_MAX,
  STREAMS_MAX,
  STREAMS_PER_PRINCIPAL,
} from "../http/limits.ts";
import { HttpError } from "../http/problem.ts";
import type { Permission } from "../services/permissions.ts";
import type { Subscription } from "../services/watch.ts";
import type { LiveEvent } from "../shapes/watch.ts";

/** Beside `plant.read`, which the route asks for. */
export const EVENT_PERMISSIONS: Readonly<Record<LiveEvent["type"], Permission>> = {
  status: "plant.read",
  change: "policy.read",
  grant: "plant.read",
  island: "plant.read",
  denial: "plant.read",
  record: "evidence.read",
  process: "plant.read",
  session: "person.read",
  finding: "plant.read",
};

export function isEventType(text: string): text is LiveEvent["type"] {
  return Object.hasOwn(EVENT_PERMISSIONS, text);
}

/** Places for streams: so many for each principal, so many in all. */
export class StreamPlaces {
  readonly #taken = new Map<string, number>();
  #all = 0;

  get all(): number {
    return this.#all;
  }

  /** Answers how to give the place back; throws `too-many-streams`. */
  take(principal: string): () => void {
    const own = this.#taken.get(principal) ?? 0;
    if (own >= STREAMS_PER_PRINCIPAL || this.#all >= STREAMS_MAX) {
      throw new HttpError("too-many-streams", "too many live streams are open", {
        headers: { "retry-after": "10" },
        hint: "close another page, or ask from time to time instead",
      });
    }
    this.#taken.set(principal, own + 1);
    this.#all += 1;
    let isTaken = true;
    return () => {
      if (!isTaken) return;
      isTaken = false;
      this.#all -= 1;
      const left = (this.#taken.get(principal) ?? 1) - 1;
      if (left === 0) this.#taken.delete(principal);
      else this.#taken.set(principal, left);
    };
  }
}

export interface StreamOptions {
  readonly beatMs?: number;
  readonly streamMsMax?: number;
  /** Looked at with each beat, so that a revoked session hears nothing more. */
  readonly isStillAllowed: () => Promise<boolean>;
  /** Called once, whatever ended the stream. */
  readonly onEnd: () => void;
}

/** Bytes that wait in the stream itself; behind it the subscription keeps its own bound. */
const WAITING_BYTES = 16 * 1024;

type Next = IteratorResult<LiveEvent, unknown>;

class Writer {
  readonly #iterator: AsyncIterator<LiveEvent>;
  readonly #options: StreamOptions;
  readonly #encoder = new TextEncoder();
  #next: Promise<Next> | undefined;
  readonly #beatMs: number;
  readonly #timer: NodeJS.Timeout;
  #leftMs: number;
  #isOver = false;

  constructor(subscription: Subscription, options: StreamOptions) {
    this.#iterator = subscription.events[Symbol.asyncIterator]();
    this.#options = options;
    this.#leftMs = options.streamMsMax ?? STREAM_MS_MAX;
    this.#beatMs = options.beatMs ?? STREAM_BEAT_MS;
    // Apart from what is written: a stream that never rests is looked at too.
    this.#timer = setInterval(() => void this.#look(), this.#beatMs);
  }

  async #look(): Promise<void> {
    this.#leftMs -= this.#beatMs;
    const isAllowed = await this.#options.isStillAllowed().catch(() => false);
    if (this.#leftMs <= 0 || !isAllowed) this.end();
  }

  bytes(text: string): Uint8Array {
    return this.#encoder.encode(text);
  }

  /** One event, or a beat; nothing when the stream is over. */
  async piece(): Promise<Uint8Array | undefined> {
    if (this.#isOver) return undefined;
    this.#next ??= this.#iterator.next();
    const next = await within(this.#next, this.#beatMs);
    if (this.#isOver) return undefined;
    if (next === undefined) return this.bytes(": beat\n\n");
    this.#next = undefined;
    return next.done === true ? undefined : this.bytes(eventText(next.value));
  }

  end(): void {
    if (this.#isOver) return;
    this.#isOver = true;
    clearInterval(this.#timer);
    // Ends the subscription, which lets a waiting read go.
    this.#options.onEnd();
  }
}

/** Nothing when the time is over first. */
async function within(promise: Promise<Next>, ms: number): Promise<Next | undefined> {
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<undefined>((resolve) => {
    timer = setTimeout(() => resolve(undefined), ms);
  });
  try {
    return await Promise.race([promise, late]);
  } finally {
    clearTimeout(timer);
  }
}

/** `data` is JSON on one line, so nothing in an event can begin a field of its own. */
export function eventText(event: LiveEvent): string {
  return `id: ${event.id}\nevent: ${event.type}\ndata: ${JSON.stringify(event)}\n\n`;
}

export function eventStream(
  subscription: Subscription,
  options: StreamOptions,
): ReadableStream<Uint8Array> {
  const writer = new Writer(subscription, options);
  return new ReadableStream<Uint8Array>(
    {
      start(controller) {
        const gap = subscription.complete ? "" : "event: gap\ndata: {}\n\n";
        controller.enqueue(writer.bytes(`retry: 3000\n\n${gap}`));
      },
      async pull(controller) {
        try {
          const piece = await writer.piece();
          if (piece !== undefined) {
            controller.enqueue(piece);
            return;
          }
        } catch (error) {
          writer.end();
          throw error;
        }
        writer.end();
        controller.close();
      },
      cancel() {
        writer.end();
      },
    },
    { highWaterMark: WAITING_BYTES, size: (piece) => piece?.byteLength ?? 0 },
  );
}
