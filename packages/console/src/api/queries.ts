/** What pages read. One key a question, so that an event can say what is old. */
import { QueryClient, queryOptions } from "@tanstack/react-query";
import { call, type ItemOf } from "./client.ts";
import { Problem } from "./problem.ts";

const STATUS_EVERY_MS = 5_000;
const COUNTERS_EVERY_MS = 5_000;
const FLOWS_EVERY_MS = 30_000;
const SLOW_EVERY_MS = 60_000;
/** The largest page that the API gives. */
const PAGE = 200;
/** Pages read of one list: 2,000 rows are more than a person looks through. */
const PAGES_MAX = 10;

export const queryClient = new QueryClient({
  defaultOptions: {
    queries: {
      // A refusal is an answer; only a connection that failed is tried again.
      retry: (count, error) => count < 1 && error instanceof Problem && error.told.status === 0,
      staleTime: 2_000,
      // Otherwise a browser that thinks it is offline would not even ask a box beside it.
      networkMode: "always",
    },
    mutations: { networkMode: "always" },
  },
});

export interface Listed<Item> {
  readonly items: readonly Item[];
  /** Whether there is more than was read. */
  readonly isCut: boolean;
}

async function all<Item>(
  read: (cursor: string | undefined) => Promise<{
    readonly value: { readonly items: readonly Item[]; readonly next?: string | undefined };
  }>,
): Promise<Listed<Item>> {
  const items: Item[] = [];
  let cursor: string | undefined;
  for (let page = 0; page < PAGES_MAX; page += 1) {
    const { value } = await read(cursor);
    items.push(...value.items);
    cursor = value.next;
    if (cursor === undefined) return { items, isCut: false };
  }
  return { items, isCut: true };
}

const paged = (cursor: string | undefined) => ({
  limit: PAGE,
  ...(cursor === undefined ? {} : { cursor }),
});

export const sessionQuery = queryOptions({
  queryKey: ["session"],
  queryFn: async () => (await call("GET /v1/session")).value,
  refetchInterval: SLOW_EVERY_MS,
});

export const statusQuery = queryOptions({
  queryKey: ["status"],
  queryFn: async () => (await call("GET /v1/status")).value,
  refetchInterval: STATUS_EVERY_MS,
  refetchIntervalInBackground: true,
});

export const zonesQuery = queryOptions({
  queryKey: ["zones"],
  queryFn: async () => (await call("GET /v1/zones")).value.items,
  refetchInterval: FLOWS_EVERY_MS,
});

export type Zone = ItemOf<"GET /v1/zones">;
export type Conduit = ItemOf<"GET /v1/conduits">;
export type Flow = ItemOf<"GET /v1/flows">;

export const conduitsQuery = queryOptions({
  queryKey: ["conduits"],
  queryFn: async () =>
    await all(async (cursor) => await call("GET /v1/conduits", { query: paged(cursor) })),
  refetchInterval: COUNTERS_EVERY_MS,
});

export const DAY_MS = 24 * 3600 * 1000;
const since = (): string => new Date(Date.now() - DAY_MS).toISOString();

export const denialsQuery = queryOptions({
  queryKey: ["denials"],
  queryFn: async () =>
    await all(
      async (cursor) =>
        await call("GET /v1/denials", { query: { since: since(), ...paged(cursor) } }),
    ),
  refetchInterval: COUNTERS_EVERY_MS,
});

export const hoursQuery = queryOptions({
  queryKey: ["flows", "hour"],
  queryFn: async () =>
    await all(
      async (cursor) =>
        await call("GET /v1/flows", { query: { since: since(), by: "hour", ...paged(cursor) } }),
    ),
  refetchInterval: FLOWS_EVERY_MS,
});

export const flowsOf = (conduit: string) =>
  queryOptions({
    queryKey: ["flows", "of", conduit],
    queryFn: async () =>
      (await call("GET /v1/flows", { query: { conduit, since: since(), limit: 50 } })).value.items,
    refetchInterval: FLOWS_EVERY_MS,
  });

export const changesQuery = queryOptions({
  queryKey: ["changes"],
  queryFn: async () => (await call("GET /v1/changes", { query: { limit: 50 } })).value.items,
  refetchInterval: FLOWS_EVERY_MS,
});

export type Change = ItemOf<"GET /v1/changes">;

export const requestsQuery = queryOptions({
  queryKey: ["grant-requests"],
  queryFn: async () =>
    (await call("GET /v1/grant-requests", { query: { state: "waiting", limit: 50 } })).value.items,
  refetchInterval: FLOWS_EVERY_MS,
});

export const grantsQuery = queryOptions({
  queryKey: ["grants"],
  queryFn: async () => (await call("GET /v1/grants", { query: { limit: PAGE } })).value.items,
  refetchInterval: FLOWS_EVERY_MS,
});

export const driftQuery = queryOptions({
  queryKey: ["drift"],
  queryFn: async () => (await call("GET /v1/drift")).value,
  refetchInterval: SLOW_EVERY_MS,
});

export const runningQuery = queryOptions({
  queryKey: ["policy", "running"],
  queryFn: async () => (await call("GET /v1/policy/running")).value,
});

export const draftQuery = queryOptions({
  queryKey: ["policy", "draft"],
  queryFn: async () => (await call("GET /v1/policy/draft")).value,
});

export const matrixOf = (of: "running" | "draft") =>
  queryOptions({
    queryKey: ["policy", "matrix", of],
    queryFn: async () => (await call("GET /v1/policy/matrix", { query: { of } })).value,
  });

export const approversQuery = queryOptions({
  queryKey: ["approvers"],
  queryFn: async () => (await call("GET /v1/approvers")).value.items,
});

/** Told by live events alone; nothing is asked. */
export const LIVE_DENIALS = ["live-denials"] as const;

export const liveDenialsQuery = queryOptions<readonly Flow[]>({
  queryKey: LIVE_DENIALS,
  queryFn: () => queryClient.getQueryData<readonly Flow[]>(LIVE_DENIALS) ?? [],
  staleTime: Number.POSITIVE_INFINITY,
  gcTime: Number.POSITIVE_INFINITY,
});

/** What each live event makes old. */
export const TOUCHED: Readonly<Record<string, readonly string[]>> = {
  status: ["status", "conduits"],
  change: ["changes", "status", "policy", "zones"],
  grant: ["grants", "grant-requests", "status"],
  island: ["zones", "status", "conduits"],
  denial: ["denials", "status"],
  record: ["records", "head"],
  process: ["processes", "readiness"],
  session: ["sessions", "session"],
  finding: ["doctor", "drift"],
};
