import fs from "node:fs";
import { SallyportError } from "@sallyport/core";
import {
  type Expression,
  Kysely,
  type RawBuilder,
  SqliteDialect,
  sql,
  type Transaction,
} from "kysely";
import { flowsQuery, peersQuery } from "./flow-queries.ts";
import {
  COUNT_MAX,
  FLOW_LIMITS,
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
import { MIGRATION_TABLE, migrate, refuseNewer, type Tables } from "./schema.ts";
import { asKyselyDatabase, openForWriting, SQLITE, sqliteCode } from "./sqlite.ts";

const MINUTE_MS = 60_000;
const HOUR_MS = 3_600_000;

/** What became of the file: a damaged one is put aside, because counts can be missed and traffic seen cannot wait. */
export interface OpenedFlowStore {
  readonly store: FlowStore;
  /** Where a damaged file was put. Only the newest one is kept. */
  readonly damaged?: string;
}

/** One process at a time writes; `limits` are the product's unless a test hands in smaller ones. */
export async function openFlowStore(
  file: string,
  limits: FlowLimits = FLOW_LIMITS,
): Promise<OpenedFlowStore> {
  try {
    return { store: await open(file, limits) };
  } catch (error) {
    const code = sqliteCode(error);
    if (code !== SQLITE.corrupt && code !== SQLITE.notADatabase) throw error;
    const damaged = `${file}.damaged`;
    fs.renameSync(file, damaged);
    for (const rest of ["-wal", "-shm"]) fs.rmSync(`${file}${rest}`, { force: true });
    return { store: await open(file, limits), damaged };
  }
}

async function open(file: string, limits: FlowLimits): Promise<FlowStore> {
  const database = openForWriting(file);
  const db = new Kysely<Tables>({
    dialect: new SqliteDialect({ database: asKyselyDatabase(database) }),
  });
  try {
    const checked = database.prepare("pragma quick_check(1)").get();
    if (checked?.["quick_check"] !== "ok") throw damagedError();
    const tables = await db.introspection.getTables({ withInternalKyselyTables: true });
    if (tables.some(({ name }) => name === MIGRATION_TABLE)) {
      const done = await sql<{
        name: string;
      }>`select name from ${sql.table(MIGRATION_TABLE)}`.execute(db);
      refuseNewer(done.rows.map(({ name }) => name));
    }
    await migrate(db);
    const { flows } = await db
      .selectFrom("flow")
      .select((eb) => eb.fn.countAll<number>().as("flows"))
      .executeTakeFirstOrThrow();
    return new SqliteFlowStore(db, limits, flows);
  } catch (error) {
    if (database.isOpen) database.close();
    throw error;
  }
}

function damagedError(): Error {
  return Object.assign(new Error("quick_check found damage"), { errcode: SQLITE.corrupt });
}

class SqliteFlowStore implements FlowStore {
  readonly #db: Kysely<Tables>;
  readonly #limits: FlowLimits;
  /** Rows of `flow`; only this process writes them. */
  #flows: number;

  constructor(db: Kysely<Tables>, limits: FlowLimits, flows: number) {
    this.#db = db;
    this.#limits = limits;
    this.#flows = flows;
  }

  async places(): Promise<ReadonlyMap<string, Place>> {
    const rows = await this.#db.selectFrom("place").selectAll().execute();
    return new Map(rows.map((row) => [row.file, placeOf(row)]));
  }

  async record(batch: FlowBatch): Promise<void> {
    const made = await this.#db.transaction().execute(async (trx) => {
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
    throw new SallyportError(
      "flow-place-moved",
      `${file} was read up to byte ${recorded?.offsetBytes ?? 0}, not ${from?.offsetBytes ?? 0}: nothing is recorded`,
      { hint: "another process writes to the same store; only one may" },
    );
  }
  const columns = { inode: to.inode, offset_bytes: to.offsetBytes, tail: to.tail };
  await trx
    .insertInto("place")
    .values({ file, ...columns })
    .onConflict((conflict) => conflict.column("file").doUpdateSet(columns))
    .execute();
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
  return sql`min(${present} + ${more}, ${COUNT_MAX})`;
}

async function find(trx: Transaction<Tables>, flow: Flow): Promise<number | undefined> {
  let query = trx.selectFrom("flow").select("id");
  for (const [column, value] of Object.entries(columnsOf(flow))) {
    query = query.where(column as keyof ReturnType<typeof columnsOf>, "=", value);
  }
  return (await query.executeTakeFirst())?.id;
}
