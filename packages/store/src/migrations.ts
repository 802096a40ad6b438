/** Forward migrations of any database of this package. Each one and its note are one transaction. */
import { SallyportError } from "@sallyport/core";
import { type Kysely, sql } from "kysely";
import { type Migration, Migrator } from "kysely/migration";

/** Types of columns have other names, and a few clauses exist in only one of them. */
export type Engine = "sqlite" | "postgres";

export interface Schema {
  /** What people call the database, e.g. `flow store`. */
  readonly store: string;
  /** Where it is noted which migrations were made. */
  readonly table: string;
  /** By name, in order. An entry that was released is never changed: databases in the field went through it. */
  readonly migrations: Readonly<Record<string, Migration>>;
  /** What to do when a later release has written the database. */
  readonly whenNewer: string;
}

/**
 * Makes the database one of this release. `before` is called with the name of each migration that would change
 * a database that is in use, and nothing is changed when it fails.
 */
export async function migrate<Tables>(
  db: Kysely<Tables>,
  schema: Schema,
  before: (migration: string) => Promise<void> = async () => {},
): Promise<void> {
  const done = await doneIn(db, schema.table);
  refuseNewer(done, schema);
  const { migrations } = schema;
  const migrator = new Migrator({
    db,
    provider: { getMigrations: async () => ({ ...migrations }) },
    migrationTableName: schema.table,
    migrationLockTableName: `${schema.table}_lock`,
  });
  const isInUse = done.length > 0;
  for (const name of Object.keys(migrations).filter((one) => !done.includes(one))) {
    if (isInUse) await before(name);
    const { error } = await migrator.migrateTo(name);
    if (error === undefined) continue;
    if (error instanceof Error) throw error;
    throw new Error(`the tables of the ${schema.store} could not be made`, { cause: error });
  }
}

async function doneIn<Tables>(db: Kysely<Tables>, table: string): Promise<readonly string[]> {
  const tables = await db.introspection.getTables({ withInternalKyselyTables: true });
  if (!tables.some(({ name }) => name === table)) return [];
  const { rows } = await sql<{ name: string }>`select name from ${sql.table(table)}`.execute(db);
  return rows.map(({ name }) => name);
}

/** A database of a later release is left alone: guessing at its tables could spoil it. */
export function refuseNewer(names: readonly string[], schema: Schema): void {
  const unknown = names.find((name) => !Object.hasOwn(schema.migrations, name));
  if (unknown === undefined) return;
  throw new SallyportError(
    "store-too-new",
    `the ${schema.store} was written by a later release of Sallyport (it has ${unknown})`,
    { hint: schema.whenNewer },
  );
}
