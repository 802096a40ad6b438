import fs from "node:fs";
import path from "node:path";
import type { DatabaseSync } from "node:sqlite";
import { SallyportError } from "@sallyport/core";
import { openForReading } from "../sqlite.ts";
import { copyDatabase, syncPath } from "../sqlite-copy.ts";
import { copyFile, digestOf } from "./files.ts";
import {
  type BackupEntry,
  ENTRIES_MAX,
  FORMAT,
  isEntryName,
  MANIFEST_NAME,
  type Manifest,
} from "./manifest.ts";

export interface BackupSource {
  /** Version of Sallyport. */
  readonly release: string;
  readonly atMs: number;
  readonly databases: readonly {
    /** Where it stands below the state directory, e.g. `state.sqlite`. */
    readonly name: string;
    readonly file: string;
    /** Of a process that has the file for itself, as the ledger's does; otherwise the file is opened to read. */
    readonly opened?: DatabaseSync;
    /** Where the owner's process has made a whole copy of it already, whose bytes are taken as they are. */
    readonly copy?: string;
  }[];
  readonly files: readonly { readonly name: string; readonly file: string }[];
  /** What is made for the backup, and stands in no file as it is. */
  readonly texts?: readonly {
    readonly name: string;
    readonly text: string;
    /** Whose rights and owner it gets when it is restored. */
    readonly like: string;
  }[];
  /** The last signed checkpoint, asked for before this is called. */
  readonly ledgerHead?: string;
}

/**
 * Makes a backup of running databases in a new directory, which appears under its name only when it is whole and
 * on disk. Plain files are copied first: one that says how far a database went is then never ahead of it.
 */
export async function createBackup(source: BackupSource, target: string): Promise<Manifest> {
  checkNames(source);
  if (fs.existsSync(target)) {
    throw new SallyportError("backup-exists", `${target} is there already and was left alone`, {
      hint: "name a directory that does not exist",
    });
  }
  const making = `${target}.making`;
  try {
    // What an interrupted one left.
    fs.rmSync(making, { recursive: true, force: true });
    fs.mkdirSync(making, { mode: 0o700 });
    const entries: BackupEntry[] = [];
    for (const { name, file } of source.files) {
      const to = placeFor(making, name);
      entries.push({ name, kind: "file", ...(await copyFile(file, to)), ...ownerOf(file) });
    }
    for (const { name, text, like } of source.texts ?? []) {
      const to = placeFor(making, name);
      fs.writeFileSync(to, text, { mode: 0o600, flag: "wx", flush: true });
      entries.push({ name, kind: "file", ...(await digestOf(to)), ...ownerOf(like) });
    }
    for (const { name, file, opened, copy } of source.databases) {
      const to = placeFor(making, name);
      if (copy === undefined) await copyRunning(file, opened, to);
      else await copyFile(copy, to);
      entries.push({ name, kind: "database", ...(await digestOf(to)), ...ownerOf(file) });
    }
    const manifest: Manifest = {
      format: FORMAT,
      release: source.release,
      atMs: source.atMs,
      entries,
      ...(source.ledgerHead === undefined ? {} : { ledgerHead: source.ledgerHead }),
    };
    fs.writeFileSync(path.join(making, MANIFEST_NAME), `${JSON.stringify(manifest, null, 2)}\n`, {
      mode: 0o600,
      flush: true,
    });
    for (const directory of directoriesOf(making, entries)) syncPath(directory);
    fs.renameSync(making, target);
    syncPath(path.dirname(target));
    return manifest;
  } catch (cause) {
    fs.rmSync(making, { recursive: true, force: true });
    throw failed(cause);
  }
}

async function copyRunning(
  file: string,
  opened: DatabaseSync | undefined,
  to: string,
): Promise<void> {
  if (opened !== undefined) return await copyDatabase(opened, to);
  await copyRunningDatabase(file, to);
}

/** Copies a database that another process writes to; whoever calls has the rights of its owner. */
export async function copyRunningDatabase(file: string, to: string): Promise<void> {
  if (fs.lstatSync(file).isSymbolicLink()) throw new Error(`${file} is a link`);
  const database = openForReading(file);
  try {
    await copyDatabase(database, to);
  } finally {
    database.close();
  }
}

function checkNames({ databases, files, texts = [] }: BackupSource): void {
  const names = [...databases, ...files, ...texts].map(({ name }) => name);
  const bad = names.find((name, n) => !isEntryName(name) || names.indexOf(name) !== n);
  if (bad !== undefined) throw new RangeError(`${bad} is no name in a backup, or there twice`);
  if (names.length > ENTRIES_MAX) throw new RangeError(`a backup has at most ${ENTRIES_MAX} files`);
}

/** The entry's own place, its directories made. */
export function placeFor(root: string, name: string): string {
  const file = path.join(root, name);
  fs.mkdirSync(path.dirname(file), { recursive: true, mode: 0o700 });
  return file;
}

/** The deepest first, so that each is on disk before the name that leads to it. */
export function directoriesOf(root: string, entries: readonly BackupEntry[]): readonly string[] {
  const all = new Set([root]);
  for (const { name } of entries) {
    let directory = path.dirname(name);
    for (; directory !== "."; directory = path.dirname(directory)) {
      all.add(path.join(root, directory));
    }
  }
  return [...all].sort((a, b) => b.length - a.length);
}

function ownerOf(file: string): Pick<BackupEntry, "mode" | "uid" | "gid"> {
  const { mode, uid, gid } = fs.lstatSync(file);
  return { mode: mode & 0o777, uid, gid };
}

function failed(cause: unknown): SallyportError {
  if (cause instanceof SallyportError) return cause;
  const why = cause instanceof Error ? cause.message : String(cause);
  return new SallyportError("backup-failed", `no backup was made: ${why}`, {
    cause,
    hint: "see whether the target has room and every file is there; then try again",
  });
}
