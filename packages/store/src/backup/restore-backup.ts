import fs from "node:fs";
import path from "node:path";
import { DatabaseSync } from "node:sqlite";
import { SallyportError } from "@sallyport/core";
import { SQLITE, sqliteCode } from "../sqlite.ts";
import { syncPath } from "../sqlite-copy.ts";
import { directoriesOf, placeFor } from "./create-backup.ts";
import { copyFile } from "./files.ts";
import { damaged, type Manifest, sizeOfHead } from "./manifest.ts";
import { problemOf, verifyBackup } from "./verify-backup.ts";

export interface RestoreOptions {
  /** Records that a witness has cosigned: a ledger of fewer would deny what was already vouched for. */
  readonly witnessedSize?: number;
  /** Reads how many records the ledger in a restored directory has; the manifest is only what somebody wrote. */
  readonly ledgerSize?: (directory: string) => number | Promise<number>;
  /** Entries that are not restored, by name. */
  readonly skip?: (name: string) => boolean;
  /** Changes the restored files before they stand in their place; throws when they must not. */
  readonly prepare?: (directory: string, manifest: Manifest) => void | Promise<void>;
  /** What is taken over from the state that was there before, where the backup has none of it. */
  readonly carry?: readonly string[];
}

export interface Restored {
  readonly manifest: Manifest;
  /** Where the state that was there before stands now. */
  readonly movedTo?: string;
}

/** So many restores of one place leave what was before each; then somebody has to look. */
const MOVED_MAX = 1000;

/**
 * Puts a backup in place of a state directory whose processes are stopped. Everything is copied and checked
 * beside it first; the old directory is moved aside and never removed. When it fails, the old state is in place.
 */
export async function restoreBackup(
  directory: string,
  place: string,
  options: RestoreOptions = {},
): Promise<Restored> {
  const whole = await verifyBackup(directory);
  const entries = whole.entries.filter(({ name }) => options.skip?.(name) !== true);
  const manifest: Manifest = { ...whole, entries };
  requireNotOlder(sizeIn(manifest), options.witnessedSize);
  requireUnused(place, manifest);
  const staging = `${place}.restoring`;
  try {
    // What an interrupted restore left; the state itself is never under this name.
    fs.rmSync(staging, { recursive: true, force: true });
    fs.mkdirSync(staging, { mode: 0o700 });
    await copyInto(staging, directory, manifest);
    if (options.ledgerSize !== undefined && options.witnessedSize !== undefined) {
      requireNotOlder(await options.ledgerSize(staging), options.witnessedSize);
    }
    giveOwners(staging, place, manifest);
    await options.prepare?.(staging, manifest);
    const movedTo = exchange(staging, place);
    if (movedTo !== undefined) carryOver(movedTo, place, options.carry ?? []);
    return movedTo === undefined ? { manifest } : { manifest, movedTo };
  } catch (cause) {
    fs.rmSync(staging, { recursive: true, force: true });
    if (cause instanceof SallyportError) throw cause;
    const why = cause instanceof Error ? cause.message : String(cause);
    throw new SallyportError("backup-failed", `nothing was restored: ${why}`, { cause });
  }
}

function sizeIn({ ledgerHead }: Manifest): number | undefined {
  return ledgerHead === undefined ? undefined : sizeOfHead(ledgerHead);
}

function requireNotOlder(size: number | undefined, witnessedSize: number | undefined): void {
  if (witnessedSize === undefined || (size !== undefined && size >= witnessedSize)) return;
  const has = size === undefined ? "no ledger head" : `a ledger of ${size} records`;
  throw new SallyportError(
    "backup-older-than-witness",
    `the backup has ${has}, and a witness holds ${witnessedSize}: nothing was restored`,
    { hint: "take a newer backup; state alone can be restored beside the present ledger" },
  );
}

/** A process that still has a database would go on writing to what was moved aside. */
function requireUnused(place: string, { entries }: Manifest): void {
  for (const { name, kind } of entries) {
    const file = path.join(place, name);
    if (kind !== "database" || !fs.existsSync(file)) continue;
    let database: DatabaseSync | undefined;
    try {
      database = new DatabaseSync(file, { timeout: 0 });
      // Whoever has a database in WAL mode open holds a shared lock on it, so this is refused.
      database.exec("pragma locking_mode = exclusive");
      database.prepare("select count(*) from sqlite_schema").get();
    } catch (error) {
      const code = sqliteCode(error);
      // What is damaged is why somebody restores.
      if (code !== SQLITE.busy && code !== SQLITE.locked) continue;
      throw new SallyportError("backup-place-in-use", `a process has ${file} open`, {
        cause: error,
        hint: "stop the gateway first",
      });
    } finally {
      database?.close();
    }
  }
}

async function copyInto(staging: string, directory: string, manifest: Manifest): Promise<void> {
  for (const entry of manifest.entries) {
    const to = placeFor(staging, entry.name);
    await copyFile(path.join(directory, entry.name), to);
    // Somebody may have changed the backup since it was verified.
    const problem = await problemOf(entry, to);
    if (problem !== undefined) throw damaged([`${entry.name} ${problem}`]);
  }
}

/** Rights as they were; owners, too, when root restores. Directories are like those that stand there now. */
function giveOwners(staging: string, place: string, { entries }: Manifest): void {
  // Who makes a directory owns it.
  const isRoot = fs.statSync(staging).uid === 0;
  for (const { name, mode, uid, gid } of entries) {
    const file = path.join(staging, name);
    if (isRoot) fs.chownSync(file, uid, gid);
    fs.chmodSync(file, mode);
  }
  for (const directory of directoriesOf(staging, entries)) {
    const model = path.join(place, path.relative(staging, directory));
    // A place that is gone gets directories of the owner of what stands in them.
    const inside = entries.find(({ name }) => path.join(staging, name).startsWith(`${directory}/`));
    const stat = fs.existsSync(model) ? fs.statSync(model) : undefined;
    const owner = stat ?? inside;
    if (isRoot && owner !== undefined) fs.chownSync(directory, owner.uid, owner.gid);
    if (stat !== undefined) fs.chmodSync(directory, stat.mode & 0o777);
    syncPath(directory);
  }
}

/** Two renames. When the power goes between them the old state stands aside whole, and the restore is repeated. */
function exchange(staging: string, place: string): string | undefined {
  const parent = path.dirname(place);
  if (!fs.existsSync(place)) {
    fs.renameSync(staging, place);
    syncPath(parent);
    return undefined;
  }
  const movedTo = freeName(place);
  fs.renameSync(place, movedTo);
  try {
    fs.renameSync(staging, place);
  } catch (error) {
    fs.renameSync(movedTo, place);
    throw error;
  }
  syncPath(parent);
  return movedTo;
}

/** Each is one rename. What a power cut left behind stands in the old state, and is moved by hand or not at all. */
function carryOver(from: string, to: string, names: readonly string[]): void {
  for (const name of names) {
    const [old, here] = [path.join(from, name), path.join(to, name)];
    if (fs.existsSync(old) && !fs.existsSync(here)) fs.renameSync(old, here);
  }
  for (const directory of [from, to]) syncPath(directory);
}

function freeName(place: string): string {
  for (let n = 1; n <= MOVED_MAX; n++) {
    const name = `${place}.before-restore-${n}`;
    if (!fs.existsSync(name)) return name;
  }
  throw new Error(`${MOVED_MAX} earlier states stand beside ${place}`);
}
