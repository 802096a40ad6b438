/** The flow store's tables, and how a database of any earlier release becomes one of this. Forward only. */
import { type CreateTableBuilder, type Generated, type Kysely, sql } from "kysely";
import type { Engine, Schema } from "./migrations.ts";

export interface Tables {
  flow: FlowTable;
  flow_minute: CountsTable;
  flow_hour: CountsTable;
  place: PlaceTable;
}

export interface FlowTable {
  id: Generated<number>;
  point: string;
  conduit: string;
  source: string;
  destination: string;
  source_zone: string;
  destination_zone: string;
  protocol: string;
  port: number;
  function: string;
  reason: string;
}

/** Counts of one flow in one minute or hour. */
export interface CountsTable {
  start_ms: number;
  flow: number;
  accepted: number;
  refused: number;
  sampled: number;
}

interface PlaceTable {
  file: string;
  inode: string;
  offset_bytes: number;
  tail: string;
}

const MIGRATION_TABLE = "kysely_migration";

export function flowSchema(engine: Engine): Schema {
  return {
    store: "flow store",
    table: MIGRATION_TABLE,
    migrations: { "0001-flows": { up: (db) => createFlows(db, engine) } },
    whenNewer: "run that release, or move flows.sqlite away to start a new one",
  };
}

/** What identifies a flow. The index makes each one a single row. */
const FLOW_TEXTS = [
  "point",
  "conduit",
  "source",
  "destination",
  "source_zone",
  "destination_zone",
  "protocol",
  "function",
  "reason",
] as const;

async function createFlows(db: Kysely<unknown>, engine: Engine): Promise<void> {
  const whole = engine === "sqlite" ? sql`integer` : sql`bigint`;
  // In SQLite such a column numbers itself; PostgreSQL has to be told.
  const id = engine === "sqlite" ? whole : sql`bigint generated always as identity`;
  const texts = db.schema.createTable("flow").addColumn("id", id, (column) => column.primaryKey());
  const flow = FLOW_TEXTS.reduce(
    (table, name) => table.addColumn(name, "text", (column) => column.notNull()),
    texts.addColumn("port", whole, (column) => column.notNull()) as CreateTableBuilder<
      string,
      string
    >,
  );
  await flow.addUniqueConstraint("flow_once", [...FLOW_TEXTS, "port"]).execute();
  for (const table of ["flow_minute", "flow_hour"]) {
    const counts = db.schema
      .createTable(table)
      .addColumn("start_ms", whole, (column) => column.notNull())
      .addColumn("flow", whole, (column) => column.notNull().references("flow.id"))
      .addColumn("accepted", whole, (column) => column.notNull())
      .addColumn("refused", whole, (column) => column.notNull())
      .addColumn("sampled", whole, (column) => column.notNull())
      .addPrimaryKeyConstraint(`${table}_key`, ["start_ms", "flow"]);
    await (engine === "sqlite" ? counts.modifyEnd(sql`without rowid`) : counts).execute();
    // Asked when a flow is forgotten: does anything still count it?
    await db.schema.createIndex(`${table}_flow`).on(table).column("flow").execute();
  }
  await db.schema
    .createTable("place")
    .addColumn("file", "text", (column) => column.primaryKey().notNull())
    .addColumn("inode", "text", (column) => column.notNull())
    .addColumn("offset_bytes", whole, (column) => column.notNull())
    .addColumn("tail", "text", (column) => column.notNull())
    .execute();
}
