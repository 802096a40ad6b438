/** SQLite files by `node:sqlite`, in the form that Kysely's own SQLite dialect asks for. */
import { DatabaseSync, type SQLInputValue } from "node:sqlite";
import { SqliteAdapter, type SqliteDatabase, SqliteDialect } from "kysely";

/** What a commit waits for. The product has `full`; a test has `normal` to show that nothing less will do. */
export type Synchronous = "full" | "normal";

/** A reader may hold the file for a moment; a writer that waits longer says so instead. */
const BUSY_MS = 5000;
/** What a write-ahead log keeps on disk once it was carried over. */
const JOURNAL_MAX_BYTES = 16 * 1024 * 1024;

/**
 * WAL: readers do not stop the writer. FULL: what was committed is on disk after a power loss (research: WAL
 * with NORMAL lost all of it).
 */
export function openForWriting(file: string, synchronous: Synchronous = "full"): DatabaseSync {
  const database = new DatabaseSync(file, { timeout: BUSY_MS, enableForeignKeyConstraints: true });
  try {
    database.exec("pragma journal_mode = wal");
    database.exec(`pragma synchronous = ${synchronous}`);
    database.exec(`pragma journal_size_limit = ${JOURNAL_MAX_BYTES}`);
    // A file's schema may name functions; one that somebody tampered with gets none with side effects.
    database.exec("pragma trusted_schema = off");
  } catch (error) {
    database.close();
    throw error;
  }
  return database;
}

export function openForReading(file: string): DatabaseSync {
  const database = new DatabaseSync(file, { timeout: BUSY_MS, readOnly: true });
  database.exec("pragma trusted_schema = off");
  return database;
}

/** Kysely would run migrations on SQLite outside of a transaction, though SQLite can undo changes to tables. */
class TransactionalAdapter extends SqliteAdapter {
  override get supportsTransactionalDdl(): boolean {
    return true;
  }
}

class TransactionalDialect extends SqliteDialect {
  override createAdapter(): SqliteAdapter {
    return new TransactionalAdapter();
  }
}

export function sqliteDialect(database: DatabaseSync): SqliteDialect {
  return new TransactionalDialect({ database: asKyselyDatabase(database) });
}

/** `node:sqlite` as Kysely's `SqliteDialect` expects a driver: a statement tells whether it has rows. */
function asKyselyDatabase(database: DatabaseSync): SqliteDatabase {
  return {
    close: () => database.close(),
    prepare: (text) => {
      const statement = database.prepare(text);
      return {
        reader: statement.columns().length > 0,
        all: (parameters) => statement.all(...bound(parameters)),
        run: (parameters) => statement.run(...bound(parameters)),
        iterate: (parameters) => statement.iterate(...bound(parameters)),
      };
    },
  };
}

/** `node:sqlite` binds every number as REAL, which makes a division one of fractions: whole ones go as integers. */
export function bound(parameters: readonly unknown[]): SQLInputValue[] {
  return parameters.map((value) => {
    if (typeof value === "number") return Number.isInteger(value) ? BigInt(value) : value;
    if (typeof value === "string" || typeof value === "bigint" || value === null) return value;
    throw new TypeError(`a query parameter is a ${typeof value}`);
  });
}

/** SQLite's result code of a thrown error; undefined for other errors. */
export function sqliteCode(error: unknown): number | undefined {
  if (!(error instanceof Error) || !("errcode" in error)) return undefined;
  // Extended codes carry the primary one in the low byte.
  return typeof error.errcode === "number" ? error.errcode & 0xff : undefined;
}

export const SQLITE = { busy: 5, locked: 6, corrupt: 11, notADatabase: 26 } as const;
