/** The flow store in SQL: the same statements on SQLite and on PostgreSQL. */
import { SallyportError } from "@sallyport/core";
import { type Expression, type Kysely, type RawBuilder, sql, type Transaction } from "kysely";
import { atMost, flowsQuery, peersQuery } from "./flow-queries.ts";
import {
  COUNT_MAX,
  type Flow,
  type FlowBatch,
  type FlowCounts,
  type FlowLimits,
  type FlowQuestion,
  type FlowRow,
  type FlowStore,
  type Peer,
  type PeersQuestion,
  type Place,
} from "./flow-store.ts";
import { bounded, byKey, columnsOf, floor, keyOf, otherOf, sameFlow, sumOf } from "./flow-words.ts";
import type { Engine } from "./migrations.ts";
import type { Tables } from "./schema.ts";

const MINUTE_MS = 60_000;
const HOUR_MS = 3_600_000;

export class SqlFlowStore implements FlowStore {
  readonly #db: Kysely<Tables>;
  readonly #engine: Engine;
  readonly #limits: FlowLimits;
  /** Rows of `flow`; only this process writes them. */
  #flows: number;

  private constructor(db: Kysely<Tables>, engine: Engine, limits: FlowLimits, flows: number) {
    this.#db = db;
    this.#engine = engine;
    this.#limits = limits;
    this.#flows = flows;
  }

  /** On tables that are made already. */
  static async on(db: Kysely<Tables>, engine: Engine, limits: FlowLimits): Promise<SqlFlowStore> {
    const { flows } = await db
      .selectFrom("flow")
      .select((eb) => eb.fn.countAll<number>().as("flows"))
      .executeTakeFirstOrThrow();
    return new SqlFlowStore(db, engine, limits, flows);
  }

  async places(): Promise<ReadonlyMap<string, Place>> {
    const rows = await this.#db.selectFrom("place").selectAll().execute();
    return new Map(rows.map((row) => [row.file, placeOf(row)]));
  }

  async record(batch: FlowBatch): Promise<void> {
    const made = await this.#transaction(async (trx) => {
      await advance(trx, batch);
      const before = this.#flows;
      let flows = before;
      const ids = new Map<string, number>();
      for (const [start, entries] of byKey(batch.entries, (entry) =>
        floor(entry.atMs, MINUTE_MS),
      )) {
        for (const [key, same] of byKey(entries, (entry) => keyOf(entry, this.#limits.textChars))) {
          const [first] = same;
          if (first === undefined) continue;
          let id = ids.get(key);
          if (id === undefined) {
            const known = await this.#idOf(trx, bounded(first, this.#limits.textChars), flows);
            flows += known.isNew ? 1 : 0;
            id = known.id;
            ids.set(key, id);
          }
          const counts = sumOf(same);
          await count(trx, "flow_minute", start, id, counts);
          await count(trx, "flow_hour", floor(start, HOUR_MS), id, counts);
        }
      }
      return flows - before;
    });
    this.#flows += made;
  }

  async prune(nowMs: number): Promise<number> {
    const minutes = await this.#pruneCounts(
      "flow_minute",
      nowMs - this.#limits.minutesMs,
      this.#limits.minuteRows,
    );
    const hours = await this.#pruneCounts(
      "flow_hour",
      nowMs - this.#limits.hoursMs,
      this.#limits.hourRows,
    );
    const flows = await this.#pruneFlows();
    this.#flows -= flows;
    return minutes + hours + flows;
  }

  async flows(question: FlowQuestion): Promise<FlowRow[]> {
    return await flowsQuery(this.#db, question).execute();
  }

  async peers(question: PeersQuestion): Promise<Peer[]> {
    return await peersQuery(this.#db, question).execute();
  }

  async close(): Promise<void> {
    await this.#db.destroy();
  }

  /** Serializable, so that of two processes that read the same stretch one records it and one is refused. */
  async #transaction<Answer>(run: (trx: Transaction<Tables>) => Promise<Answer>): Promise<Answer> {
    // SQLite's transactions always are, and it knows no word for it.
    if (this.#engine === "sqlite") return await this.#db.transaction().execute(run);
    try {
      return await this.#db.transaction().setIsolationLevel("serializable").execute(run);
    } catch (error) {
      throw isSerializationFailure(error) ? placeMoved("nothing is recorded", error) : error;
    }
  }

  /** The flow's row, made if need be; when no more are told apart, that of the others of its kind. */
  async #idOf(
    trx: Transaction<Tables>,
    flow: Flow,
    flows: number,
  ): Promise<{ id: number; isNew: boolean }> {
    const known = await find(trx, flow);
    if (known !== undefined) return { id: known, isNew: false };
    const folded =
      flows < this.#limits.flows ? flow : otherOf(flow, flows >= 2 * this.#limits.flows);
    if (!sameFlow(folded, flow)) return await this.#idOf(trx, folded, flows);
    const { id } = await trx
      .insertInto("flow")
      .values(columnsOf(flow))
      .returning("id")
      .executeTakeFirstOrThrow();
    return { id, isNew: true };
  }

  async #pruneCounts(
    table: "flow_minute" | "flow_hour",
    keepFromMs: number,
    rowsMax: number,
  ): Promise<number> {
    const { rows } = await this.#db
      .selectFrom(table)
      .select((eb) => eb.fn.countAll<number>().as("rows"))
      .executeTakeFirstOrThrow();
    const surplus = Math.max(0, rows - rowsMax);
    const oldest = this.#db
      .selectFrom(table)
      .select(["start_ms", "flow"])
      .orderBy("start_ms")
      .orderBy("flow");
    // Too many goes before too old: both are the oldest rows.
    const chosen =
      surplus > 0
        ? oldest.limit(Math.min(surplus, this.#limits.pruneRows))
        : oldest.where("start_ms", "<", Math.floor(keepFromMs)).limit(this.#limits.pruneRows);
    const removed = await this.#db
      .deleteFrom(table)
      .where((eb) => eb(eb.refTuple("start_ms", "flow"), "in", chosen.$asTuple("start_ms", "flow")))
      .executeTakeFirst();
    return Number(removed.numDeletedRows);
  }

  async #pruneFlows(): Promise<number> {
    const unused = this.#db
      .selectFrom("flow")
      .select("id")
      .where((eb) => {
        const counted = eb
          .selectFrom("flow_minute")
          .select("flow")
          .whereRef("flow", "=", "flow.id");
        return eb.not(eb.exists(counted));
      })
      .where((eb) => {
        const counted = eb.selectFrom("flow_hour").select("flow").whereRef("flow", "=", "flow.id");
        return eb.not(eb.exists(counted));
      })
      .limit(this.#limits.pruneRows);
    const removed = await this.#db.deleteFrom("flow").where("id", "in", unused).executeTakeFirst();
    return Number(removed.numDeletedRows);
  }
}

/** Moves the file's place, if it is where the batch began. */
async function advance(trx: Transaction<Tables>, { file, from, to }: FlowBatch): Promise<void> {
  const row = await trx.selectFrom("place").selectAll().where("file", "=", file).executeTakeFirst();
  const recorded = row === undefined ? undefined : placeOf(row);
  if (!samePlace(recorded, from)) {
    throw placeMoved(
      `${file} was read up to byte ${recorded?.offsetBytes ?? 0}, not ${from?.offsetBytes ?? 0}: nothing is recorded`,
    );
  }
  const columns = { inode: to.inode, offset_bytes: to.offsetBytes, tail: to.tail };
  await trx
    .insertInto("place")
    .values({ file, ...columns })
    .onConflict((conflict) => conflict.column("file").doUpdateSet(columns))
    .execute();
}

function placeMoved(what: string, cause?: unknown): SallyportError {
  return new SallyportError("flow-place-moved", what, {
    cause,
    hint: "another process writes to the same store; only one may",
  });
}

function isSerializationFailure(error: unknown): boolean {
  return error instanceof Error && "code" in error && error.code === "40001";
}

function samePlace(a: Place | undefined, b: Place | undefined): boolean {
  return a?.inode === b?.inode && a?.offsetBytes === b?.offsetBytes && a?.tail === b?.tail;
}

function placeOf(row: { inode: string; offset_bytes: number; tail: string }): Place {
  return { inode: row.inode, offsetBytes: row.offset_bytes, tail: row.tail };
}

async function count(
  trx: Transaction<Tables>,
  table: "flow_minute" | "flow_hour",
  startMs: number,
  flow: number,
  counts: FlowCounts,
): Promise<void> {
  await trx
    .insertInto(table)
    .values({ start_ms: startMs, flow, ...counts })
    .onConflict((conflict) =>
      conflict.columns(["start_ms", "flow"]).doUpdateSet((eb) => ({
        accepted: added(eb.ref(`${table}.accepted`), eb.ref("excluded.accepted")),
        refused: added(eb.ref(`${table}.refused`), eb.ref("excluded.refused")),
        sampled: added(eb.ref(`${table}.sampled`), eb.ref("excluded.sampled")),
      })),
    )
    .execute();
}

function added(present: Expression<number>, more: Expression<number>): RawBuilder<number> {
  return atMost(sql`${present} + ${more}`, COUNT_MAX);
}

async function find(trx: Transaction<Tables>, flow: Flow): Promise<number | undefined> {
  let query = trx.selectFrom("flow").select("id");
  for (const [column, value] of Object.entries(columnsOf(flow))) {
    query = query.where(column as keyof ReturnType<typeof columnsOf>, "=", value);
  }
  return (await query.executeTakeFirst())?.id;
}
