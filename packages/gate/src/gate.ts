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
  const { clock, onEvent } = options;
  const open = new Map<string, Listening>();
  let turn: Promise<unknown> = Promise.resolve();
  const inTurn = <T>(work: () => Promise<T>): Promise<T> => {
    const result = turn.then(work);
    turn = result.catch(() => undefined);
    return result;
  };
  const load = async (listeners: readonly GateListener[]): Promise<Reloaded> => {
    const wanted = new Map(listeners.map((listener) => [listenerId(listener), listener]));
    const closing: Promise<void>[] = [];
    let kept = 0;
    for (const [id, listening] of open) {
      const next = wanted.get(id);
      if (next !== undefined && listening.isSameRoute(next)) {
        listening.use(next);
        wanted.delete(id);
        kept++;
      } else {
        open.delete(id);
        closing.push(listening.close("revoked"));
      }
    }
    // An address can be taken again only when it is free.
    await Promise.all(closing);
    const results = await Promise.all(
      [...wanted].map(async ([id, listener]) => {
        const listening = new Listening(listener, clock, onEvent);
        const isOpen = await listening.open();
        if (isOpen) open.set(id, listening);
        return isOpen;
      }),
    );
    const opened = results.filter(Boolean).length;
    return { opened, kept, closed: closing.length, failed: results.length - opened };
  };
  const endAll = async (how: (listening: Listening) => Promise<void>): Promise<void> => {
    await Promise.all([...open.values()].map(how));
  };

  const sweep = (): void => {
    const nowMs = clock.nowMs();
    for (const listening of open.values()) listening.sweep(nowMs);
  };
  const sweepMs = options.sweepMs ?? SWEEP_MS;
  const timer = sweepMs > 0 ? setInterval(sweep, sweepMs) : undefined;
  const started = await inTurn(() => load(options.listeners));
  const close = async (): Promise<void> => {
    await endAll((listening) => listening.close("gate-closed"));
    open.clear();
    clearInterval(timer);
  };
  return {
    started,
    reload: (listeners) => inTurn(() => load(listeners)),
    drain: (forMs) =>
      inTurn(async () => {
        const late = setTimeout(() => {
          void endAll((listening) => listening.close("drained"));
        }, forMs);
        await endAll((listening) => listening.drain());
        clearTimeout(late);
        await close();
      }),
    close: () => inTurn(close),
    sweep,
    get connections() {
      let sum = 0;
      for (const listening of open.values()) sum += listening.size;
      return sum;
    },
  };
}
