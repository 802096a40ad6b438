/** The tables of state, and how a database of any earlier release becomes one of this. Forward only. */
import { type Kysely, type RawBuilder, sql } from "kysely";
import type { Engine, Schema } from "../migrations.ts";

export interface StateTables {
  record: RecordTable;
}

export interface RecordTable {
  kind: string;
  id: string;
  revision: number;
  person: string | null;
  expires_at_ms: number | null;
  /** JSON of the whole record. The columns beside it repeat what is searched for. */
  body: string;
}

export function stateSchema(engine: Engine): Schema {
  return {
    store: "state store",
    table: "state_migration",
    migrations: { "0001-records": { up: (db) => createRecords(db, engine) } },
    whenNewer: "run that release, or restore a backup from before its migration",
  };
}

/** Texts are compared by their bytes in both, so that order and equality do not depend on a language. */
function textOf(engine: Engine): RawBuilder<unknown> {
  return engine === "sqlite" ? sql`text` : sql`text collate "C"`;
}

async function createRecords(db: Kysely<unknown>, engine: Engine): Promise<void> {
  const table = db.schema
    .createTable("record")
    .addColumn("kind", textOf(engine), (column) => column.notNull())
    .addColumn("id", textOf(engine), (column) => column.notNull())
    .addColumn("revision", wholeOf(engine), (column) => column.notNull())
    .addColumn("person", textOf(engine))
    .addColumn("expires_at_ms", wholeOf(engine))
    .addColumn("body", sql`text`, (column) => column.notNull())
    .addPrimaryKeyConstraint("record_key", ["kind", "id"]);
  await (engine === "sqlite" ? table.modifyEnd(sql`strict`) : table).execute();
  await db.schema
    .createIndex("record_person")
    .on("record")
    .columns(["kind", "person"])
    .where("person", "is not", null)
    .execute();
  await db.schema
    .createIndex("record_expiry")
    .on("record")
    .columns(["kind", "expires_at_ms"])
    .where("expires_at_ms", "is not", null)
    .execute();
}

function wholeOf(engine: Engine): RawBuilder<unknown> {
  return engine === "sqlite" ? sql`integer` : sql`bigint`;
}
