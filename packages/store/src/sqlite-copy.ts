/** Copies of SQLite databases that somebody writes to meanwhile. */
import fs from "node:fs";
import path from "node:path";
import { backup, DatabaseSync } from "node:sqlite";
import { pathToFileURL } from "node:url";

/**
 * All pages in one step: SQLite begins anew when another process has written between two steps, which under
 * load never ends. Writers go on meanwhile, because the log is written ahead.
 */
const ALL_PAGES = 2 ** 31 - 1;

/** Only its owner reads a copy: it has what the database has. */
const OWNER_ONLY = 0o600;

/**
 * Copies the state of one moment into a new file that needs no other beside it, synced. Throws when the target
 * is there, and leaves none behind when it fails.
 */
export async function copyDatabase(from: DatabaseSync, target: string): Promise<void> {
  fs.closeSync(fs.openSync(target, "wx", OWNER_ONLY));
  try {
    await backup(from, target, { rate: ALL_PAGES });
    const copy = new DatabaseSync(target);
    try {
      copy.exec("pragma journal_mode = delete");
    } finally {
      copy.close();
    }
    syncPath(target);
  } catch (error) {
    for (const rest of ["", "-wal", "-shm", "-journal"])
      fs.rmSync(`${target}${rest}`, { force: true });
    throw error;
  }
}

/** The same in the place of an earlier copy, which stays until the new one is whole. */
export async function replaceCopy(from: DatabaseSync, target: string): Promise<void> {
  const making = `${target}.making`;
  fs.rmSync(making, { force: true });
  await copyDatabase(from, making);
  fs.renameSync(making, target);
  syncPath(path.dirname(target));
}

/** Opens a copy without writing anything beside it. It must not be written to meanwhile. */
export function openCopy(file: string): DatabaseSync {
  const url = pathToFileURL(file);
  url.searchParams.set("immutable", "1");
  const database = new DatabaseSync(url, { readOnly: true });
  database.exec("pragma trusted_schema = off");
  return database;
}

/** Waits until a file's bytes, or a directory's names, are on disk. */
export function syncPath(name: string): void {
  const file = fs.openSync(name, "r");
  try {
    fs.fsyncSync(file);
  } finally {
    fs.closeSync(file);
  }
}
