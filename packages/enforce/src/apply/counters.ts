/** What both engines and all rooms counted, in the policy's words. */
import type { Legs, Point } from "@sallyport/policy/legs";
import type { DenialCounter, HitCounter, PeerCounter } from "../engine.ts";
import { POINTS } from "../rooms/plan.ts";
import type { RoomSet, Tripwire } from "../rooms/room-set.ts";

export interface Counters {
  readonly generation: number | null;
  /** `name` is the conduit's; `grant` the grant's id where it is one's, otherwise empty. */
  readonly hits: readonly (HitCounter & Told)[];
  readonly denials: readonly (DenialCounter & { readonly name: string })[];
  readonly peers: readonly (PeerCounter & Told)[];
  readonly tripwires: readonly Tripwire[];
}

interface Told {
  readonly point: Point;
  readonly name: string;
  readonly grant: string;
}

export interface Named {
  readonly id: number;
  /** The conduit's. */
  readonly name: string;
  readonly source: string;
  /** A grant's id; empty for a conduit. */
  readonly grant: string;
}

/**
 * Of the conduits in these legs, all numbers that they and their grants ever had: what a number counted
 * belongs to its conduit for good, whatever took its place.
 */
export function numbersOf(
  legs: readonly Legs[],
  conduits: Readonly<Record<string, number>>,
  grants: Iterable<readonly [number, { readonly conduit: string; readonly grant: string }]>,
): Named[] {
  const all = legs.flatMap((each) => each.conduits);
  const sources = new Map(all.map(({ name, source }) => [name, source]));
  const named = Object.entries(conduits).flatMap(([key, id]): Named[] => {
    // A key is a conduit's name, `#` and what it allows.
    const [name = ""] = key.split("#");
    const source = sources.get(name);
    return source === undefined ? [] : [{ id, name, source, grant: "" }];
  });
  for (const [id, { conduit: name, grant }] of grants) {
    named.push({ id, name, source: sources.get(name) ?? "", grant });
  }
  return named;
}

export async function countersOf(
  rooms: RoomSet,
  legs: Legs,
  generation: number | null,
  names: readonly Named[],
): Promise<Counters> {
  const named = new Map(names.map((one) => [one.id, one]));
  const told = (id: number): { name: string; grant: string } => ({
    name: named.get(id)?.name ?? "",
    grant: named.get(id)?.grant ?? "",
  });
  const found = await Promise.all(
    POINTS.map(async (point) => ({ point, ...(await rooms.engines[point].counters()) })),
  );
  return {
    generation,
    hits: found.flatMap(({ point, hits }) =>
      hits.map((hit) => ({ ...hit, point, ...told(hit.id) })),
    ),
    denials: found.flatMap(({ denials }) =>
      denials.map((denial) => ({ ...denial, name: told(denial.id).name })),
    ),
    peers: found.flatMap(({ point, peers }) =>
      peers.map((peer) => ({ ...peer, point, ...told(peer.id) })),
    ),
    tripwires: await rooms.tripwire(legs),
  };
}
