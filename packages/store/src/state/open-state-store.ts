import fs from "node:fs";
import type { DatabaseSync } from "node:sqlite";
import type { Records, Stored } from "@sallyport/identity";
import { Kysely } from "kysely";
import { type Engine, migrate, type Schema } from "../migrations.ts";
import { keepReserve } from "../reserve.ts";
import { connectPostgres, type PostgresConnection, requireFitServer } from "../postgres.ts";
import { openForWriting, sqliteDialect, type Synchronous } from "../sqlite.ts";
import { replaceCopy } from "../sqlite-copy.ts";
import { SqlRecords } from "./sql-records.ts";
import { damagedState, type Translate, translateFor } from "./state-errors.ts";
import { stateSchema, type StateTables } from "./state-schema.ts";
import type { StatePlace, StateStore } from "./state-store.ts";
import { checkedKind } from "./stored-form.ts";

/** One gateway asks little; a fleet's server has connections to spare for others. */
const CONNECTIONS_MAX = 4;
const OWNER_ONLY = 0o600;

/**
 * Opens state, or makes an empty one where there is none. Throws `store-damaged`, `store-too-new`, `store-unfit`
 * or `store-unavailable`, and then has changed nothing that a backup beside the file does not hold.
 */
export async function openStateStore(place: StatePlace): Promise<StateStore> {
  return await openStateStoreWith(place, stateSchema);
}

/** A test hands in the schema of a later release, or less care than the product takes. */
export async function openStateStoreWith(
  place: StatePlace,
  schemaFor: (engine: Engine) => Schema,
  synchronous: Synchronous = "full",
): Promise<StateStore> {
  const schema = schemaFor(place.kind);
  return place.kind === "sqlite"
    ? await openFile(place.file, schema, synchronous)
    : await openServer(place.connection, schema);
}

async function openFile(
  file: string,
  schema: Schema,
  synchronous: Synchronous,
): Promise<StateStore> {
  const translate = translateFor(file);
  let database: DatabaseSync | undefined;
  try {
    prepare(file);
    database = openForWriting(file, synchronous);
    const checked = database.prepare("pragma integrity_check(1)").get();
    if (checked?.["integrity_check"] !== "ok") throw damagedState(file);
    const opened = database;
    const db = new Kysely<StateTables>({ dialect: sqliteDialect(opened) });
    await migrate(db, schema, (name) => replaceCopy(opened, `${file}.before-${name}`));
    return new SqlStateStore(db, translate, opened);
  } catch (error) {
    if (database?.isOpen === true) database.close();
    throw translate(error);
  }
}

/** Makes an empty file that only its owner reads, unless there is one. */
function prepare(file: string): void {
  if (fs.existsSync(file)) return;
  // SQLite would throw away a log without its database, and with it what was acknowledged last.
  if (fs.existsSync(`${file}-wal`)) throw damagedState(file);
  fs.closeSync(fs.openSync(file, "wx", OWNER_ONLY));
}

async function openServer(connection: PostgresConnection, schema: Schema): Promise<StateStore> {
  const { host, port, database } = connection;
  const translate = translateFor(`database ${database} of ${host}, port ${port}`);
  const db = connectPostgres<StateTables>(connection, CONNECTIONS_MAX);
  try {
    await requireFitServer(db);
    await migrate(db, schema);
    return new SqlStateStore(db, translate);
  } catch (error) {
    await db.destroy();
    throw translate(error);
  }
}

class SqlStateStore implements StateStore {
  readonly #db: Kysely<StateTables>;
  readonly #translate: Translate;
  readonly #file: DatabaseSync | undefined;

  constructor(db: Kysely<StateTables>, translate: Translate, file?: DatabaseSync) {
    this.#db = db;
    this.#translate = translate;
    this.#file = file;
  }

  keepReserve(): boolean {
    return this.#file === undefined || keepReserve(this.#file);
  }

  records<T extends Stored>(kind: string): Records<T> {
    return new SqlRecords<T>(this.#db, checkedKind(kind), this.#translate);
  }

  async close(): Promise<void> {
    await this.#db.destroy();
  }
}
