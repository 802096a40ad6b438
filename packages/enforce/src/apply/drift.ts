/** How the kernels differ from what they were given. */
import { SallyportError } from "@sallyport/core";
import type { Legs, Point } from "@sallyport/policy/legs";
import type { Slot } from "../engine.ts";
import { POINTS } from "../rooms/plan.ts";
import type { RoomSet } from "../rooms/room-set.ts";
import type { EngineState, Entries } from "./engine-port.ts";

export interface Difference {
  readonly what: string;
  /** Whether it could let more pass than the policy says; such are reloaded at once. */
  readonly opens: boolean;
}

export interface Finding extends Difference {
  /** The look before found it too, and nothing could be done about it. */
  readonly isKnown: boolean;
}

/** Legs that are in the kernels; the first are the confirmed ones. */
export interface Held {
  readonly legs: Legs;
  readonly generation: { readonly slot: Slot };
}

type Expected = Pick<EngineState, "digest"> & { readonly entries: Map<string, string> };

export class Drift {
  private readonly rooms: RoomSet;
  /** What the engines held when all of it was read last, and what grants wrote since. */
  private readonly expected = new Map<Point, Expected>();
  private suspected: Difference[] = [];
  /** What the last look found, or the reload after it left. */
  private known: ReadonlySet<string> = new Set();

  constructor(rooms: RoomSet) {
    this.rooms = rooms;
  }

  /** Only right after writing, and only where what stood before was as expected. */
  async remember(held: readonly Held[]): Promise<void> {
    this.expected.clear();
    if (held.length === 0) return;
    for (const point of POINTS) {
      const { digest, entries } = await this.rooms.engines[point].readBack();
      this.expected.set(point, { digest, entries: new Map(entries) });
    }
  }

  /**
   * What a grant wrote and read back joins what is expected. Nothing else is looked at, so nothing that
   * somebody slipped in is adopted: the next whole read-back finds it.
   */
  wrote(point: Point, entries: Entries): void {
    const expected = this.expected.get(point)?.entries;
    for (const [place, value] of entries) {
      if (value === undefined) expected?.delete(place);
      else expected?.set(place, value);
    }
  }

  /** A write that did not arrive is a finding of the next look, though it was undone by then. */
  suspect(cause: unknown): void {
    if (!(cause instanceof SallyportError) || cause.code !== "grant-not-as-written") return;
    this.suspected.push({ what: cause.message, opens: true });
  }

  /**
   * A look that may lead to a reload: where something opens, but not if this is exactly what the last look,
   * or a reload after it, left as it was. A NIC that nobody declared stays until somebody removes it.
   */
  async seek(held: readonly Held[]): Promise<{ found: Finding[]; isReloadDue: boolean }> {
    const known = this.known;
    const found = (await this.all(held)).map((each) => ({
      ...each,
      isKnown: known.has(each.what),
    }));
    this.known = new Set(found.map(({ what }) => what));
    const isNews = found.some(({ isKnown }) => !isKnown) || found.length < known.size;
    return { found, isReloadDue: isNews && found.some(({ opens }) => opens) };
  }

  async reloaded(held: readonly Held[]): Promise<void> {
    this.known = new Set((await this.all(held)).map(({ what }) => what));
  }

  /** While a change waits, links of two generations stand: only the engines are compared. */
  async all(held: readonly Held[]): Promise<Difference[]> {
    const [only, pending] = held;
    const settled = only !== undefined && pending === undefined;
    const rooms = settled ? await this.rooms.check(only.legs) : [];
    const suspected = this.suspected;
    this.suspected = [];
    return [
      ...suspected,
      ...rooms.map((what) => ({
        what,
        opens: what.includes("guard: ") || !what.includes(": lacks "),
      })),
      ...(await this.engines(held)).map((what) => ({ what, opens: true })),
    ];
  }

  async engines(held: readonly Held[]): Promise<string[]> {
    const [confirmed] = held;
    if (confirmed === undefined) return [];
    const found = await Promise.all(
      POINTS.map((point) => this.engine(point, confirmed.legs, held)),
    );
    return found.flat();
  }

  private async engine(point: Point, legs: Legs, held: readonly Held[]): Promise<string[]> {
    const shown = await this.rooms.engines[point].readBack().catch(() => undefined);
    if (shown === undefined) return [`${point}: the engine cannot be read`];
    const out: string[] = [];
    if (!isSame(shown, this.expected.get(point))) {
      out.push(`${point}: rules differ from what was loaded`);
    }
    if (!held.some(({ generation }) => generation.slot === shown.slot)) {
      out.push(`${point}: slot ${shown.slot} is in force`);
    }
    const on = shown.interfaces;
    if (on === undefined) return out;
    const bare = this.rooms.interfaces(legs, point).filter((dev) => !on.includes(dev));
    return [...out, ...bare.map((dev) => `${point}: the engine is not on ${dev}`)];
  }
}

function isSame(shown: EngineState, expected: Expected | undefined): boolean {
  if (shown.digest !== expected?.digest || shown.entries.size !== expected.entries.size)
    return false;
  return [...shown.entries].every(([place, value]) => expected.entries.get(place) === value);
}
