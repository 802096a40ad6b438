/** All listeners of one gate process. */
import type { GateEvent } from "./events.ts";
import { Listening, listenerId } from "./listening.ts";
import type { GateListener } from "./protocol.ts";
import type { Clock } from "./reporter.ts";

/** How often idle, slow and unanswered connections are looked for. */
const SWEEP_MS = 1_000;

export interface GateOptions {
  readonly listeners: readonly GateListener[];
  readonly onEvent: (event: GateEvent) => void;
  readonly clock: Clock;
  /** Default 1,000; 0: the caller calls `sweep`. */
  readonly sweepMs?: number;
}

export interface Reloaded {
  readonly opened: number;
  /** Stayed, with their connections, under the limits of the new set. */
  readonly kept: number;
  readonly closed: number;
  /** Could not be opened; each was told as `listener-failed`. A later reload tries again. */
  readonly failed: number;
}

export interface Gate {
  /** What the first set came to. */
  readonly started: Reloaded;
  /**
   * A new set of listeners. One whose place and route stay keeps its connections; all others are
   * closed with `revoked`. Sets are taken one after the other.
   */
  reload(listeners: readonly GateListener[]): Promise<Reloaded>;
  /** Stops listening; connections may go on for `forMs`, then the rest is ended. */
  drain(forMs: number): Promise<void>;
  close(): Promise<void>;
  sweep(): void;
  readonly connections: number;
}

export async function startGate(options: GateOptions): Promise<Gate> {
  const gate = new Listenings(options);
  const started = await gate.reload(options.listeners);
  return Object.assign(gate, { started });
}

class Listenings {
  readonly #clock: Clock;
  readonly #onEvent: (event: GateEvent) => void;
  readonly #timer: NodeJS.Timeout | undefined;
  /** By address and port. */
  readonly #open = new Map<string, Listening>();
  #turn: Promise<unknown> = Promise.resolve();

  constructor(options: GateOptions) {
    this.#clock = options.clock;
    this.#onEvent = options.onEvent;
    const sweepMs = options.sweepMs ?? SWEEP_MS;
    if (sweepMs > 0) this.#timer = setInterval(() => this.sweep(), sweepMs);
  }

  get connections(): number {
    let sum = 0;
    for (const listening of this.#open.values()) sum += listening.size;
    return sum;
  }

  sweep(): void {
    const nowMs = this.#clock.nowMs();
    for (const listening of this.#open.values()) listening.sweep(nowMs);
  }

  reload(listeners: readonly GateListener[]): Promise<Reloaded> {
    return this.#inTurn(() => this.#load(listeners));
  }

  drain(forMs: number): Promise<void> {
    return this.#inTurn(async () => {
      const late = setTimeout(() => {
        void this.#each((listening) => listening.close("drained"));
      }, forMs);
      await this.#each((listening) => listening.drain());
      clearTimeout(late);
      await this.#closeAll();
    });
  }

  close(): Promise<void> {
    return this.#inTurn(() => this.#closeAll());
  }

  #inTurn<T>(work: () => Promise<T>): Promise<T> {
    const result = this.#turn.then(work);
    this.#turn = result.catch(() => undefined);
    return result;
  }

  async #each(how: (listening: Listening) => Promise<void>): Promise<void> {
    await Promise.all([...this.#open.values()].map(how));
  }

  async #closeAll(): Promise<void> {
    await this.#each((listening) => listening.close("gate-closed"));
    this.#open.clear();
    clearInterval(this.#timer);
  }

  async #load(listeners: readonly GateListener[]): Promise<Reloaded> {
    const wanted = new Map(listeners.map((listener) => [listenerId(listener), listener]));
    const closing: Promise<void>[] = [];
    let kept = 0;
    for (const [id, listening] of this.#open) {
      const next = wanted.get(id);
      if (next !== undefined && listening.isSameRoute(next)) {
        listening.use(next);
        wanted.delete(id);
        kept++;
      } else {
        this.#open.delete(id);
        closing.push(listening.close("revoked"));
      }
    }
    // An address can be taken again only when it is free.
    await Promise.all(closing);
    const results = await Promise.all([...wanted.values()].map((next) => this.#start(next)));
    const opened = results.filter(Boolean).length;
    return { opened, kept, closed: closing.length, failed: results.length - opened };
  }

  async #start(listener: GateListener): Promise<boolean> {
    const listening = new Listening(listener, this.#clock, this.#onEvent);
    const isOpen = await listening.open();
    if (isOpen) this.#open.set(listenerId(listener), listening);
    return isOpen;
  }
}
