/** All destinations: settings in the state store, one pump for each. */
import type { Sender } from "@sallyport/api";
import type { Clock, Records, Stored } from "@sallyport/identity";
import { setTimeout as sleep } from "node:timers/promises";
import type { Destination } from "./destination.ts";
import { type Cursor, Pump, type PumpState, type Receiver } from "./pump.ts";
import type { RecordSource } from "./source.ts";
import { SyslogReceiver } from "./syslog-receiver.ts";
import { WebhookReceiver } from "./webhook-receiver.ts";

export interface KeptDestinations extends Stored {
  readonly all: readonly Destination[];
}

export const SETTINGS_ID = "destinations";

export interface ForwarderMeans {
  readonly source: RecordSource;
  readonly settings: Records<KeptDestinations>;
  readonly cursors: Records<Cursor>;
  readonly clock: Clock;
  readonly sender: Sender;
}

interface Running {
  readonly pump: Pump;
  readonly end: AbortController;
  readonly over: Promise<void>;
}

export class Forwarder {
  readonly #means: ForwarderMeans;
  readonly #running = new Map<string, Running>();

  constructor(means: ForwarderMeans) {
    this.#means = means;
  }

  async kept(): Promise<KeptDestinations> {
    const none = { id: SETTINGS_ID, revision: 0, all: [] };
    return (await this.#means.settings.get(SETTINGS_ID)) ?? none;
  }

  /** With what is on record, as the process starts. */
  async start(): Promise<void> {
    this.#runAll((await this.kept()).all);
  }

  /** Answers whether it is on record now; not when somebody else was faster. */
  async replace(before: KeptDestinations, all: readonly Destination[]): Promise<boolean> {
    const { settings, cursors } = this.#means;
    const after = { ...before, revision: before.revision + 1, all };
    const isKept =
      before.revision === 0 ? await settings.add(after) : await settings.replace(before, after);
    if (!isKept) return false;
    await this.stop();
    const names = new Set(all.map(({ name }) => name));
    // A destination that comes back under its name begins like a new one.
    for (const { name } of before.all) if (!names.has(name)) await cursors.take(name);
    this.#runAll(all);
    return true;
  }

  states(): readonly PumpState[] {
    return [...this.#running.values()].map(({ pump }) => pump.state());
  }

  /** Waits for what is under way: two pumps of one destination would send twice. */
  async stop(): Promise<void> {
    const running = [...this.#running.values()];
    this.#running.clear();
    for (const { pump, end } of running) {
      pump.stop();
      end.abort();
    }
    await Promise.all(running.map(({ over }) => over));
  }

  #runAll(all: readonly Destination[]): void {
    const { source, cursors, clock, sender } = this.#means;
    for (const destination of all) {
      const end = new AbortController();
      const wait = async (ms: number): Promise<void> => {
        await sleep(ms, undefined, { signal: end.signal }).catch(() => undefined);
      };
      const pump = new Pump(destination, this.#receiverOf(destination), {
        ...{ source, cursors, clock, sender, wait },
      });
      this.#running.set(destination.name, { pump, end, over: pump.run() });
    }
  }

  #receiverOf(destination: Destination): Receiver {
    if (destination.kind === "syslog") return new SyslogReceiver(destination);
    return new WebhookReceiver(destination, () => this.#means.clock.nowMs());
  }
}
