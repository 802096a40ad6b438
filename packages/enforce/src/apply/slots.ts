/** Writes policies and grants into the slots of both engines. */
import { SallyportError } from "@sallyport/core";
import { type Legs, livenessOf, type Point } from "@sallyport/policy/legs";
import type { LiveEntry, Lowering, Slot } from "../engine.ts";
import { POINTS } from "../rooms/plan.ts";
import type { RoomSet } from "../rooms/room-set.ts";
import type { Engine, Entries, GrantRow } from "./engine-port.ts";
import type { GrantBook, HeldGrant, Terms } from "./grants.ts";
import type { Generation } from "./state.ts";

/** A policy that is in a slot of both engines. */
export interface Loaded {
  readonly generation: Generation;
  readonly legs: Legs;
  /** What the kernels were told last, by conduit key. */
  readonly live: Map<string, LiveEntry>;
  /** When they were told all of it, in milliseconds since 1970. */
  toldAt: number;
}

/**
 * nftables holds an end for 23 days at most, so a later one is told again in time: with the enforcer
 * gone for that long a conduit closes early, never late.
 */
const RENEW_MS = 24 * 3600 * 1000;

/** nftables counts whole seconds, from when it has read them. */
const SECOND_MS = 1000;
/** Where all grants' ends are told again, they are reckoned from this much later: none comes late. */
const RETOLD_AHEAD_MS = 500;
/** Ends that came late are told again this often: on a machine that is slower than that nothing helps. */
const TELL_TRIES = 5;

export interface SlotsOptions {
  readonly rooms: RoomSet;
  readonly grants: GrantBook;
  readonly clock: () => number;
  readonly terms: () => Terms;
  /** The number of a conduit, by its key. */
  readonly idOf: (key: string) => number;
  /** Hears of every write outside `load`. */
  readonly wrote: (point: Point, entries: Entries) => void;
}

export class Slots {
  private readonly options: SlotsOptions;

  constructor(options: SlotsOptions) {
    this.options = options;
  }

  async load(generation: Generation, legs: Legs): Promise<Loaded> {
    const toldAt = this.options.clock();
    const loaded = { generation, legs, live: this.entries(legs), toldAt };
    await this.both((engine, point) => engine.load(this.lowering(loaded, point)));
    const grants = this.rows(legs).map(({ entry }) => entry);
    await this.keepEnds(loaded, toldAt, [...loaded.live.values(), ...grants]);
    return loaded;
  }

  /** Makes a slot the confirmed one, and reads back that it is. */
  async confirm(slot: Slot): Promise<void> {
    const { engines } = this.options.rooms;
    await engines.inner.select({ confirmed: slot });
    await engines.outer.select({ confirmed: slot });
    await this.both(async (engine, point) => {
      if ((await engine.readBack()).slot === slot) return;
      throw new SallyportError("slot-not-selected", `${point} kept its old slot`);
    });
  }

  /**
   * Puts a slot in force for what is left, then the other one is again; false where too little is left. No
   * engine may fall back late: one counts whole seconds, from when it was told, so where telling took
   * longer than what was rounded off it is told again.
   */
  async pend(slot: Slot, confirmed: Slot, leftMs: () => number): Promise<boolean> {
    const { engines } = this.options.rooms;
    // Inner first: what a half-made change opens there still has to pass outer.
    for (const engine of [engines.inner, engines.outer]) {
      for (let [tries, told] = [0, Number.POSITIVE_INFINITY]; leftMs() < told; tries++) {
        const forMs = leftMs();
        // Less than a second would be rounded up.
        if (forMs < SECOND_MS || tries === TELL_TRIES) return false;
        await engine.select({ confirmed, pending: { slot, forMs } });
        told = forMs - (forMs % SECOND_MS);
      }
    }
    return true;
  }

  /** Tells the kernels what is open now and until when, where that is not what they know. */
  async refresh(loaded: Loaded): Promise<void> {
    const now = this.options.clock();
    const isStale = now - loaded.toldAt >= RENEW_MS;
    if (isStale) loaded.toldAt = now;
    const changed = [...this.entries(loaded.legs)].filter(
      ([key, entry]) => isStale || JSON.stringify(entry) !== JSON.stringify(loaded.live.get(key)),
    );
    for (const [key, entry] of changed) loaded.live.set(key, entry);
    const grants = this.rows(loaded.legs).map(({ entry }) => entry);
    const all = [...changed.map(([, entry]) => entry), ...grants];
    if (all.length === 0) return;
    await this.setLive(loaded, all);
    await this.keepEnds(loaded, now, all);
  }

  /** The book has the grant already. */
  async addGrant(held: HeldGrant, loaded: Loaded): Promise<void> {
    const toldAt = this.options.clock();
    const row = this.row(held, loaded.legs);
    await this.both(async (engine, point) => {
      this.options.wrote(point, await engine.addGrant(this.lowering(loaded, point), row));
    });
    await this.keepEnds(loaded, toldAt, [row.entry]);
  }

  /** The book has the grant no longer. */
  async removeGrant(held: HeldGrant, loaded: Loaded): Promise<void> {
    const toldAt = this.options.clock() + RETOLD_AHEAD_MS;
    const row = this.row(held, loaded.legs);
    await this.both(async (engine, point) => {
      const lowering = { ...this.lowering(loaded, point), now: toldAt };
      this.options.wrote(point, await engine.removeGrant(lowering, row));
    });
    const others = this.rows(loaded.legs).map(({ entry }) => entry);
    await this.keepEnds(loaded, toldAt, others);
  }

  /**
   * No end may come late. An end is rounded down to a second when it is told, and counted from when the
   * kernel has it: where telling took longer than what was rounded off, it is told again.
   */
  private async keepEnds(
    loaded: Loaded,
    toldAt: number,
    entries: readonly LiveEntry[],
  ): Promise<void> {
    const { clock } = this.options;
    let [from, told] = [toldAt, entries];
    for (let tries = 0; tries < TELL_TRIES; tries++) {
      const tookMs = clock() - from;
      told = told.filter(({ liveness: { until } }) => {
        // Ends further ahead are told anew before they come.
        const isNear = until !== null && until - from < 2 * RENEW_MS;
        return isNear && until > from && (until - from) % SECOND_MS < tookMs;
      });
      if (told.length === 0) return;
      from = clock();
      await this.setLive(loaded, told);
    }
  }

  private async setLive(loaded: Loaded, entries: readonly LiveEntry[]): Promise<void> {
    await this.both(async (engine, point) => {
      this.options.wrote(point, await engine.setLive(this.lowering(loaded, point), entries));
    });
  }

  private lowering({ legs, generation, live }: Loaded, point: Point): Lowering {
    const { slot, number } = generation;
    const now = this.options.clock();
    return { legs, point, slot, generation: number, now, conduits: live, grants: this.rows(legs) };
  }

  private rows(legs: Legs): GrantRow[] {
    return this.options.grants.all().map((held) => this.row(held, legs));
  }

  private row(held: HeldGrant, legs: Legs): GrantRow {
    const { grants, clock, terms } = this.options;
    return { grant: held.grant, entry: grants.entry(held, legs, clock(), terms()) };
  }

  private entries(legs: Legs): Map<string, LiveEntry> {
    const { clock, idOf, terms } = this.options;
    const { islands, timeTrusted } = terms();
    return new Map(
      legs.conduits.map((conduit) => {
        const { key, audit } = conduit;
        const diode = conduit.legs.some(({ replies }) => !replies);
        const liveness = livenessOf(conduit, clock(), islands, timeTrusted);
        return [key, { id: idOf(key), liveness, audit, diode }];
      }),
    );
  }

  private async both(work: (engine: Engine, point: Point) => Promise<void>): Promise<void> {
    const { engines } = this.options.rooms;
    const done = await Promise.allSettled(POINTS.map((point) => work(engines[point], point)));
    // Only now, so that undoing what one refused does not overtake the other.
    for (const each of done) if (each.status === "rejected") throw each.reason;
  }
}
