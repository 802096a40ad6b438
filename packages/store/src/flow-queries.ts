/** What is asked of the flow tables: the same text for the store, for a reader, and on another SQL database. */
import { type CompiledQuery, type Expression, type Kysely, type RawBuilder, sql } from "kysely";
import {
  FLOW_LIMITS,
  type FlowQuestion,
  type FlowRow,
  type Peer,
  type PeersQuestion,
} from "./flow-store.ts";
import type { Tables } from "./schema.ts";

const MINUTE_MS = 60_000;

const FLOW_COLUMNS = [
  "flow.point as point",
  "flow.conduit as conduit",
  "flow.source as source",
  "flow.destination as destination",
  "flow.source_zone as sourceZone",
  "flow.destination_zone as destinationZone",
  "flow.protocol as protocol",
  "flow.port as port",
  "flow.function as function",
  "flow.reason as reason",
] as const;

/** A query that answers rows of this kind. */
export interface Asks<Row> {
  compile(): CompiledQuery<Row>;
  execute(): Promise<Row[]>;
}

export function flowsQuery(db: Kysely<Tables>, question: FlowQuestion): Asks<FlowRow> {
  const { sinceMs, untilMs, conduit, limit, by = "minute" } = question;
  const table = by === "minute" ? "flow_minute" : "flow_hour";
  let query = db
    .selectFrom(`${table} as counts`)
    .innerJoin("flow", "flow.id", "counts.flow")
    .select([...FLOW_COLUMNS, "counts.start_ms as startMs"])
    .select(["counts.accepted", "counts.refused", "counts.sampled"])
    .orderBy("counts.start_ms", "desc")
    .orderBy("counts.flow")
    .limit(bounded(limit));
  if (sinceMs !== undefined) query = query.where("counts.start_ms", ">=", Math.floor(sinceMs));
  if (untilMs !== undefined) query = query.where("counts.start_ms", "<", Math.floor(untilMs));
  if (conduit !== undefined) query = query.where("flow.conduit", "=", conduit);
  return query;
}

export function peersQuery(db: Kysely<Tables>, { sinceMs, everyMs }: PeersQuestion): Asks<Peer> {
  if (!Number.isInteger(everyMs / MINUTE_MS) || everyMs <= 0) {
    throw new RangeError(`${everyMs} ms is no multiple of a minute`);
  }
  const total = (column: "accepted" | "refused" | "sampled"): RawBuilder<number> =>
    atMost(sql`sum(${sql.ref(`counts.${column}`)})`, Number.MAX_SAFE_INTEGER);
  const query = db
    .selectFrom("flow_minute as counts")
    .innerJoin("flow", "flow.id", "counts.flow")
    .select(FLOW_COLUMNS)
    .select([
      total("accepted").as("accepted"),
      total("refused").as("refused"),
      total("sampled").as("sampled"),
      sql<number>`max(counts.start_ms)`.as("lastMs"),
    ])
    .where("counts.start_ms", ">=", Math.floor(sinceMs))
    .groupBy(["flow.id", sql`counts.start_ms / ${everyMs}`])
    .orderBy("lastMs", "desc")
    .orderBy("flow.id")
    .limit(FLOW_LIMITS.answerRows);
  return query;
}

/** The same on both databases: one calls the smaller of two `min`, the other `least`. */
export function atMost(value: Expression<unknown>, bound: number): RawBuilder<number> {
  // The bound is ours, a whole number; as text the database needs not guess its type.
  const most = sql.raw(String(bound));
  return sql<number>`cast(case when ${value} < ${most} then ${value} else ${most} end as bigint)`;
}

function bounded(limit: number): number {
  if (Number.isInteger(limit) && limit >= 1 && limit <= FLOW_LIMITS.answerRows) return limit;
  throw new RangeError(`a limit is 1 to ${FLOW_LIMITS.answerRows}, not ${limit}`);
}
