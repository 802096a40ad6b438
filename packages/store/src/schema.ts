/** Tables, and how a database of any earlier release becomes one of this. Forward only. */
import { SallyportError } from "@sallyport/core";
import { type CreateTableBuilder, type Generated, type Kysely, sql } from "kysely";
import { type Migration, Migrator } from "kysely/migration";

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

export const MIGRATION_TABLE = "kysely_migration";

/** By name, in order. An entry that was released is never changed: databases in the field went through it. */
export const MIGRATIONS: Readonly<Record<string, Migration>> = {
  "0001-flows": { up: createFlows },
};

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

async function createFlows(db: Kysely<unknown>): Promise<void> {
  const texts = db.schema.createTable("flow").addColumn("id", "integer", (id) => id.primaryKey());
  const flow = FLOW_TEXTS.reduce(
    (table, name) => table.addColumn(name, "text", (column) => column.notNull()),
    texts.addColumn("port", "integer", (column) => column.notNull()) as CreateTableBuilder<
      string,
      string
    >,
  );
  await flow.addUniqueConstraint("flow_once", [...FLOW_TEXTS, "port"]).execute();
  for (const table of ["flow_minute", "flow_hour"]) {
    await db.schema
      .createTable(table)
      .addColumn("start_ms", "integer", (column) => column.notNull())
      .addColumn("flow", "integer", (column) => column.notNull().references("flow.id"))
      .addColumn("accepted", "integer", (column) => column.notNull())
      .addColumn("refused", "integer", (column) => column.notNull())
      .addColumn("sampled", "integer", (column) => column.notNull())
      .addPrimaryKeyConstraint(`${table}_key`, ["start_ms", "flow"])
      .modifyEnd(sql`without rowid`)
      .execute();
    // Asked when a flow is forgotten: does anything still count it?
    await db.schema.createIndex(`${table}_flow`).on(table).column("flow").execute();
  }
  await db.schema
    .createTable("place")
    .addColumn("file", "text", (column) => column.primaryKey().notNull())
    .addColumn("inode", "text", (column) => column.notNull())
    .addColumn("offset_bytes", "integer", (column) => column.notNull())
    .addColumn("tail", "text", (column) => column.notNull())
    .execute();
}

/** Each migration and its note in `kysely_migration` are one transaction. */
export async function migrate(
  db: Kysely<Tables>,
  migrations: Readonly<Record<string, Migration>> = MIGRATIONS,
): Promise<void> {
  const migrator = new Migrator({
    db,
    provider: { getMigrations: async () => ({ ...migrations }) },
    migrationTableName: MIGRATION_TABLE,
  });
  const { error } = await migrator.migrateToLatest();
  if (error instanceof Error) throw error;
  if (error !== undefined)
    throw new Error("the flow store's tables could not be made", { cause: error });
}

/** A database of a later release is left alone: guessing at its tables could spoil it. */
export function refuseNewer(names: readonly string[]): void {
  const unknown = names.find((name) => !Object.hasOwn(MIGRATIONS, name));
  if (unknown === undefined) return;
  throw new SallyportError(
    "store-too-new",
    `the flow store was written by a later release of Sallyport (it has ${unknown})`,
    { hint: "run that release, or move flows.sqlite away to start a new one" },
  );
}
