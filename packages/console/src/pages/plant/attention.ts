/** What somebody should act on, most urgent first. Each card has one action; an empty list is what a plant wants. */
import type { AnswerOf, ItemOf } from "../../api/client.ts";
import type { Change, Conduit, Flow } from "../../api/queries.ts";
import type { Priority } from "../../parts/basics.tsx";

export type Card = {
  readonly id: string;
  readonly priority: Priority;
  readonly atMs?: number;
  readonly to: string;
  readonly search: Readonly<Record<string, string>>;
} & (
  | { readonly kind: "degraded"; readonly text: string }
  | { readonly kind: "drift"; readonly count: number; readonly text: string }
  | { readonly kind: "time" }
  | { readonly kind: "island"; readonly zone: string }
  | { readonly kind: "approve"; readonly reason: string; readonly author: string }
  | { readonly kind: "apply"; readonly reason: string; readonly author: string }
  | { readonly kind: "request"; readonly person: string; readonly asset: string }
  | { readonly kind: "ends"; readonly conduit: string; readonly until: string }
  | {
      readonly kind: "denied";
      readonly fromZone: string;
      readonly toZone: string;
      readonly refused: number;
      readonly reason: string;
      readonly source: string;
      readonly destination: string;
      readonly port: number;
      readonly protocol: string;
      readonly what: string;
    }
);

export interface AttentionFacts {
  readonly status: AnswerOf<"GET /v1/status"> | undefined;
  readonly drift: AnswerOf<"GET /v1/drift"> | undefined;
  readonly changes: readonly Change[];
  readonly requests: readonly ItemOf<"GET /v1/grant-requests">[];
  readonly conduits: readonly Conduit[];
  readonly denials: readonly Flow[];
  readonly person: string;
  readonly nowMs: number;
}

const ORDER: readonly Priority[] = ["urgent", "high", "medium", "low"];
/** A conduit that ends within two weeks is somebody's to renew or to let go. */
const ENDS_SOON_MS = 14 * 24 * 3600 * 1000;
/** A refusal in the last ten minutes is happening now. */
const RECENT_MS = 10 * 60 * 1000;
/** Of a source that tries many ports one card is enough. */
const DENIED_CARDS_MAX = 6;

export function attention(facts: AttentionFacts): readonly Card[] {
  const cards = [
    ...stateCards(facts),
    ...waitingCards(facts),
    ...endCards(facts),
    ...deniedCards(facts),
  ];
  return cards.toSorted(
    (one, other) =>
      ORDER.indexOf(one.priority) - ORDER.indexOf(other.priority) ||
      (other.atMs ?? 0) - (one.atMs ?? 0) ||
      (one.id < other.id ? -1 : 1),
  );
}

function stateCards({ status, drift }: AttentionFacts): Card[] {
  const health = { to: "/settings", search: { tab: "health" } };
  const degraded = (status?.degraded ?? []).map((text): Card => {
    return { id: `degraded ${text}`, kind: "degraded", priority: "high", text, ...health };
  });
  const [first = ""] = drift?.differences ?? [];
  const count = drift?.differences.length ?? 0;
  const islands = (status?.islands ?? []).map((zone): Card => {
    const where = { to: "/", search: { zone } };
    return { id: `island ${zone}`, kind: "island", priority: "medium", zone, ...where };
  });
  return [
    ...degraded,
    ...islands,
    ...(count === 0
      ? []
      : [
          {
            id: "drift",
            kind: "drift",
            priority: "urgent",
            count,
            text: first,
            ...health,
          } as const,
        ]),
    ...(status?.timeTrusted === false
      ? [{ id: "time", kind: "time", priority: "high", ...health } as const]
      : []),
  ];
}

function waitingCards({ changes, requests, person }: AttentionFacts): Card[] {
  const open = changes
    .filter(({ state }) => state === "planned" || state === "approved")
    .map(({ id, state, reason, author, createdAt }): Card => {
      const where = { to: "/conduits", search: { tab: "changes", change: id } };
      const kind = state === "planned" ? "approve" : "apply";
      const priority = author === person && kind === "approve" ? "low" : "medium";
      return { id, kind, priority, reason, author, atMs: Date.parse(createdAt), ...where };
    });
  const asked = requests.map(({ id, person: who, asset, createdAt }): Card => {
    const where = { to: "/people", search: { tab: "access" } };
    const atMs = Date.parse(createdAt);
    return { id, kind: "request", priority: "medium", person: who, asset, atMs, ...where };
  });
  return [...open, ...asked];
}

function endCards({ conduits, nowMs }: AttentionFacts): Card[] {
  return conduits.flatMap(({ name, until, open }): Card[] => {
    if (until === undefined || !open) return [];
    const leftMs = Date.parse(until) - nowMs;
    if (!(leftMs < ENDS_SOON_MS)) return [];
    const where = { to: "/conduits", search: { conduit: name } };
    return [{ id: `ends ${name}`, kind: "ends", priority: "low", conduit: name, until, ...where }];
  });
}

function deniedCards({ denials, nowMs }: AttentionFacts): Card[] {
  const groups = new Map<string, Flow[]>();
  for (const denial of denials) {
    const { source, destination, reason, conduit } = denial;
    const id = `${source} ${destination} ${reason} ${conduit}`;
    const group = groups.get(id) ?? [];
    group.push(denial);
    groups.set(id, group);
  }
  const cards = [...groups].map(([id, group]): Card => {
    const latest = group.reduce((one, other) => (other.start > one.start ? other : one));
    const { source, destination, sourceZone, destinationZone, reason, port, protocol } = latest;
    const atMs = Date.parse(latest.start);
    return {
      ...{ id: `denied ${id}`, kind: "denied", atMs, to: "/" },
      priority: nowMs - atMs < RECENT_MS ? "urgent" : "low",
      ...{ fromZone: sourceZone, toZone: destinationZone, source, destination, reason },
      ...{ port, protocol, what: latest.function },
      refused: group.reduce((sum, { refused }) => sum + refused, 0),
      search: { from: sourceZone, to: destinationZone },
    };
  });
  return cards
    .toSorted((one, other) => (other.atMs ?? 0) - (one.atMs ?? 0))
    .slice(0, DENIED_CARDS_MAX);
}
