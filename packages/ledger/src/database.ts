/** The ledger's SQLite file, and what SQLite's refusals mean. */
import { DatabaseSync } from "node:sqlite";
import { SallyportError } from "@sallyport/core";

/**
 * What a commit waits for. The product has `full`: WAL with an fdatasync at each commit. A test has `normal`
 * to show that nothing less will do.
 */
export type Synchronous = "full" | "normal";

/** Somebody who starts a second archivist learns it at once. */
const BUSY_MS = 500;
/** What a write-ahead log keeps on disk once it was carried over. */
const JOURNAL_MAX_BYTES = 16 * 1024 * 1024;
/** "SPLG": other programs can tell the file apart. */
const APPLICATION_ID = 0x5350_4c47;
const SCHEMA_VERSION = 1;

const SCHEMA = `
  create table record (
    idx integer primary key, type text not null, at integer not null, leaf text not null, hash blob not null
  ) strict;
  create table personal (
    idx integer not null, name text not null, salt blob not null, value text not null,
    primary key (idx, name)
  ) strict, without rowid;
  create table tile (id integer primary key, hashes blob not null) strict;
  create table span (n integer primary key, first_at integer not null, last_at integer not null) strict;
  create table span_type (
    type text not null, n integer not null, primary key (type, n)
  ) strict, without rowid;
  create table head (
    id integer primary key check (id = 1), size integer not null, frontier blob not null
  ) strict;
  create table place (source text primary key, place text not null) strict, without rowid;
  insert into head values (1, 0, x'');
  pragma application_id = ${APPLICATION_ID};
  pragma user_version = ${SCHEMA_VERSION};
`;

/** Tiles of all levels share a table; 2^44 tiles of a level are 2^52 records. */
const TILES_OF_LEVEL = 2 ** 44;

export function tileId(level: number, n: number): number {
  return level * TILES_OF_LEVEL + n;
}

/** Opens or makes the file. One process at a time has it, so that no second one can fork the tree. */
export function openDatabase(file: string, synchronous: Synchronous): DatabaseSync {
  const database = new DatabaseSync(file, { timeout: BUSY_MS });
  try {
    database.exec("pragma locking_mode = exclusive");
    database.exec("pragma journal_mode = wal");
    database.exec(`pragma synchronous = ${synchronous}`);
    database.exec(`pragma journal_size_limit = ${JOURNAL_MAX_BYTES}`);
    // A file's schema may name functions; one that somebody tampered with gets none with side effects.
    database.exec("pragma trusted_schema = off");
    // Erased values leave the pages, too.
    database.exec("pragma secure_delete = on");
    const version = number(database, "pragma user_version", "user_version");
    if (version > SCHEMA_VERSION) {
      throw new SallyportError("ledger-too-new", `the ledger is of a later release (${version})`);
    }
    if (version === 0) database.exec(`begin immediate; ${SCHEMA} commit`);
    return database;
  } catch (error) {
    database.close();
    throw openingError(file, error);
  }
}

function number(database: DatabaseSync, question: string, column: string): number {
  const value = database.prepare(question).get()?.[column];
  return typeof value === "number" ? value : 0;
}

const SQLITE = { busy: 5, locked: 6, corrupt: 11, full: 13, notADatabase: 26 } as const;
/** SQLITE_IOERR_SHMSIZE: the index of the write-ahead log found no room to grow. */
const NO_ROOM_FOR_INDEX = 4874;

/** SQLite's extended result code of a thrown error. */
function sqliteCode(error: unknown): number | undefined {
  if (!(error instanceof Error) || !("errcode" in error)) return undefined;
  return typeof error.errcode === "number" ? error.errcode : undefined;
}

export function diskFull(what: string, cause: unknown): SallyportError {
  const hint = "What must be recorded is refused until there is room.";
  return new SallyportError("ledger-disk-full", `the disk of the ledger is full: ${what}`, {
    cause,
    hint,
  });
}

function openingError(file: string, error: unknown): unknown {
  if (isDiskFull(error)) return diskFull(`${file} cannot be opened`, error);
  const code = (sqliteCode(error) ?? 0) & 0xff;
  if (code === SQLITE.busy || code === SQLITE.locked) {
    return new SallyportError("ledger-busy", `another process has ${file}`, { cause: error });
  }
  if (code === SQLITE.corrupt || code === SQLITE.notADatabase) {
    return new SallyportError("ledger-damaged", `${file} is no whole SQLite file`, {
      cause: error,
    });
  }
  return error;
}

/** Of SQLite, and of the files beside it. */
export function isDiskFull(error: unknown): boolean {
  if (error instanceof Error && "code" in error && error.code === "ENOSPC") return true;
  const code = sqliteCode(error) ?? 0;
  return (code & 0xff) === SQLITE.full || code === NO_ROOM_FOR_INDEX;
}
