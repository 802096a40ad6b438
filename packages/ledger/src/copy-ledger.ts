/** A copy of a ledger at work, and what is wrong with one, looked at without the process that wrote it. */
import fs from "node:fs";
import { backup, DatabaseSync } from "node:sqlite";
import { parseCheckpoint } from "./checkpoint.ts";
import { Frontier } from "./frontier.ts";
import { isSameHash, leafHashOfText } from "./merkle.ts";
import { isFrom, isSignedBy, type VerifierKey } from "./note.ts";

/** All pages in one step: records that come meanwhile go to the write-ahead log, and wait for nothing. */
const ALL_PAGES = 2 ** 31 - 1;
const OWNER_ONLY = 0o600;

/** Into a new file that needs no other beside it, synced. Leaves none behind when it fails. */
export async function copyLedger(database: DatabaseSync, target: string): Promise<void> {
  fs.closeSync(fs.openSync(target, "wx", OWNER_ONLY));
  try {
    await backup(database, target, { rate: ALL_PAGES });
    const copy = new DatabaseSync(target);
    try {
      copy.exec("pragma journal_mode = delete");
    } finally {
      copy.close();
    }
    const file = fs.openSync(target, "r");
    fs.fsyncSync(file);
    fs.closeSync(file);
  } catch (error) {
    for (const rest of ["", "-wal", "-shm", "-journal"]) {
      fs.rmSync(`${target}${rest}`, { force: true });
    }
    throw error;
  }
}

/**
 * Hashes every record of a copy and compares the tree with a checkpoint. Undefined when the copy holds all that the
 * checkpoint does, unchanged, and nothing between its last record and its own head.
 */
export function problemOfLedgerCopy(
  file: string,
  checkpoint: string,
  key: VerifierKey,
): string | undefined {
  const parsed = parseCheckpoint(checkpoint);
  if (parsed.kind === "malformed") return `its checkpoint ${parsed.why}`;
  const { head, note } = parsed.value;
  if (!note.signatures.some((one) => isFrom(key, one) && isSignedBy(key, note.text, one))) {
    return `its checkpoint is not signed by ${key.name}`;
  }
  const database = new DatabaseSync(file, { readOnly: true });
  try {
    database.exec("pragma trusted_schema = off");
    const tree = Frontier.empty();
    if (head.size === 0 && !isSameHash(tree.root(), head.root)) return "it is another ledger";
    for (const row of database.prepare("select idx, leaf from record order by idx").iterate()) {
      if (row["idx"] !== tree.size) return `it has no record ${tree.size}`;
      tree.add(leafHashOfText(String(row["leaf"])));
      if (tree.size === head.size && !isSameHash(tree.root(), head.root)) {
        return `its first ${head.size} records are not those that were signed`;
      }
    }
    if (tree.size < head.size) return `it has ${tree.size} records, ${head.size} were signed`;
    const kept = database.prepare("select size, frontier from head where id = 1").get();
    const same = kept?.["size"] === tree.size && isSameFrontier(kept["frontier"], tree);
    return same ? undefined : "its records are not those of its own head";
  } finally {
    database.close();
  }
}

function isSameFrontier(bytes: unknown, tree: Frontier): boolean {
  return bytes instanceof Uint8Array && isSameHash(bytes, tree.toBytes());
}
