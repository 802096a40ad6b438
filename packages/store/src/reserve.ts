/** Room inside a SQLite file for what must still be written when the disk is full. */
import type { DatabaseSync } from "node:sqlite";

/**
 * More than the 1000 pages after which SQLite carries its log over: the log has grown so far once, and is written over
 * from then on, and the file has as many free pages. Neither asks the file system for room again.
 */
const RESERVE_BYTES = 5 * 1024 * 1024;

/**
 * Sees that the file has that much room of its own again; answers whether it has. The pages are written once and carried
 * over into the file before they are freed, because a page that was never written is a hole, and a hole is no room.
 */
export function keepReserve(database: DatabaseSync): boolean {
  if (freeBytes(database) >= RESERVE_BYTES / 2) return true;
  try {
    database.exec("create table reserve_room (room blob) strict");
    database.exec(`insert into reserve_room values (zeroblob(${RESERVE_BYTES}))`);
    database.exec("pragma wal_checkpoint(passive)");
    database.exec("drop table reserve_room");
    database.exec("pragma wal_checkpoint(passive)");
  } catch {
    // A disk that is full already. What was begun is undone, or found by the next look.
    try {
      database.exec("drop table if exists reserve_room");
    } catch {
      return false;
    }
  }
  return freeBytes(database) >= RESERVE_BYTES / 2;
}

function freeBytes(database: DatabaseSync): number {
  const free = Number(database.prepare("pragma freelist_count").get()?.["freelist_count"] ?? 0);
  return free * Number(database.prepare("pragma page_size").get()?.["page_size"] ?? 0);
}
