/** What somebody must look at: seen though the ledger may be down, and said in the status until it is over. */
import fs from "node:fs";
import type { EventHub } from "@sallyport/api";
import type {
  Alarms as Raised,
  BreakGlass,
  Clock,
  EventFields,
  Records,
} from "@sallyport/identity";

export interface AlarmsMeans {
  /** Of its own, synced: an alarm that the ledger did not take is here. */
  readonly file: string;
  readonly hub: EventHub;
  readonly clock: Clock;
  readonly accounts: Records<BreakGlass>;
}

export class Alarms implements Raised {
  readonly #means: AlarmsMeans;
  readonly #standing = new Map<string, string>();

  constructor(means: AlarmsMeans) {
    this.#means = means;
  }

  /** On disk when it answers; whoever is looking hears of it at once. */
  async raise(what: string, fields: EventFields): Promise<void> {
    const { file, hub, clock } = this.#means;
    const at = new Date(clock.nowMs()).toISOString();
    // Who and why are in the ledger, where they can be erased.
    const { person, account = person } = fields;
    const about = typeof account === "string" ? { about: account } : {};
    hub.publish({ type: "finding", at, ...about, data: { alarm: what } });
    const line = JSON.stringify({ at, alarm: what, ...fields });
    const handle = await fs.promises.open(file, "a", 0o600);
    try {
      await handle.appendFile(`${line}\n`);
      await handle.datasync();
    } finally {
      await handle.close();
    }
  }

  /** Said until it is taken back. */
  stand(what: string, text: string | undefined): void {
    if (text === undefined) this.#standing.delete(what);
    else this.#standing.set(what, text);
  }

  async standing(): Promise<readonly string[]> {
    const opened = (await this.#means.accounts.all()).flatMap(({ id, openedAtMs }) =>
      openedAtMs === undefined
        ? []
        : [`break-glass ${id} was opened at ${new Date(openedAtMs).toISOString()}: seal it anew`],
    );
    return [...opened, ...this.#standing.values()];
  }
}
