/** The flow store for those who only ask: read-only, and at once, so that a caller can hold its rights low. */
import fs from "node:fs";
import type { DatabaseSync } from "node:sqlite";
import { SallyportError } from "@sallyport/core";
import {
  DummyDriver,
  Kysely,
  SqliteAdapter,
  SqliteIntrospector,
  SqliteQueryCompiler,
} from "kysely";
import { type Asks, flowsQuery, peersQuery } from "./flow-queries.ts";
import type { FlowAnswers } from "./flow-store.ts";
import { refuseNewer } from "./migrations.ts";
import { flowSchema, type Tables } from "./schema.ts";
import { bound, openForReading, SQLITE, sqliteCode } from "./sqlite.ts";

/** Builds text and parameters only; there is nothing that it could run a query on. */
const builder = new Kysely<Tables>({
  dialect: {
    createAdapter: () => new SqliteAdapter(),
    createDriver: () => new DummyDriver(),
    createIntrospector: (db) => new SqliteIntrospector(db),
    createQueryCompiler: () => new SqliteQueryCompiler(),
  },
});

/** Undefined when there is no store yet. Valid during `use` only. */
export function readFlowStore<Answer>(
  file: string,
  use: (answers: FlowAnswers) => Answer,
): Answer | undefined {
  if (!fs.existsSync(file)) return undefined;
  let database: DatabaseSync | undefined;
  try {
    database = openForReading(file);
    if (!isReady(database)) return undefined;
    return use(answersFrom(database));
  } catch (cause) {
    const code = sqliteCode(cause);
    if (code !== SQLITE.corrupt && code !== SQLITE.notADatabase) throw cause;
    throw new SallyportError("store-damaged", `${file} is damaged`, {
      cause,
      hint: "restart the gateway: it puts the damaged file aside and starts a new one",
    });
  } finally {
    database?.close();
  }
}

const SCHEMA = flowSchema("sqlite");

/** The writer makes the tables with its first transaction; before that there is nothing to ask. */
function isReady(database: DatabaseSync): boolean {
  const made = database
    .prepare("select name from sqlite_master where type = 'table' and name = ?")
    .all(SCHEMA.table);
  if (made.length === 0) return false;
  const names = database
    .prepare(`select name from ${SCHEMA.table}`)
    .all()
    .map((row) => String(row["name"]));
  refuseNewer(names, SCHEMA);
  return names.length > 0;
}

function answersFrom(database: DatabaseSync): FlowAnswers {
  return {
    flows: (question) => ask(database, flowsQuery(builder, question)),
    peers: (question) => ask(database, peersQuery(builder, question)),
  };
}

function ask<Row>(database: DatabaseSync, query: Asks<Row>): Row[] {
  const { sql, parameters } = query.compile();
  // The query names the columns of `Row`, so its rows have that shape.
  return database.prepare(sql).all(...bound(parameters)) as Row[];
}
