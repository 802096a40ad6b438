/** How the kernels differ from what they were given. */
import type { Legs, Point } from "@sallyport/policy/legs";
import type { Slot } from "../engine.ts";
import { POINTS } from "../rooms/plan.ts";
import type { RoomSet } from "../rooms/room-set.ts";

export interface Difference {
  readonly what: string;
  /** Whether it could let more pass than the policy says; such are reloaded at once. */
  readonly opens: boolean;
}

/** Legs that are in the kernels; the first are the confirmed ones. */
export interface Held {
  readonly legs: Legs;
  readonly generation: { readonly slot: Slot };
}

export class Drift {
  private readonly rooms: RoomSet;
  /** The engines' own digests of what they were given last. */
  private readonly expected = new Map<Point, string>();

  constructor(rooms: RoomSet) {
    this.rooms = rooms;
  }

  /** Only right after writing, and only where what stood before was as expected. */
  async remember(held: readonly Held[]): Promise<void> {
    this.expected.clear();
    if (held.length === 0) return;
    for (const point of POINTS) {
      this.expected.set(point, (await this.rooms.engines[point].readBack()).digest);
    }
  }

  /** While a change waits, links of two generations stand: only the engines are compared. */
  async all(held: readonly Held[]): Promise<Difference[]> {
    const [only, pending] = held;
    const settled = only !== undefined && pending === undefined;
    const rooms = settled ? await this.rooms.check(only.legs) : [];
    return [
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
    if (shown.digest !== this.expected.get(point))
      out.push(`${point}: rules differ from what was loaded`);
    if (!held.some(({ generation }) => generation.slot === shown.slot)) {
      out.push(`${point}: slot ${shown.slot} is in force`);
    }
    const on = shown.interfaces;
    if (on === undefined) return out;
    const bare = this.rooms.interfaces(legs, point).filter((dev) => !on.includes(dev));
    return [...out, ...bare.map((dev) => `${point}: the engine is not on ${dev}`)];
  }
}
