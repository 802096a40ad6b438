/** All that a gateway must have back, gathered while it works. */
import fs from "node:fs";
import path from "node:path";
import process from "node:process";
import { SallyportError } from "@sallyport/core";
import {
  type BackupSource,
  copyRunningDatabase,
  createBackup,
  type Manifest,
} from "@sallyport/store";
import { askSocket, fields, word } from "../cli/enforcer-client.ts";
import { archivistSocket, type Instance } from "../instance.ts";
import { readPlain, SEALED_FOR_RECOVERY, SEALING_KEY } from "./recovery-key.ts";

/** Of an owner's directory only small files are taken: settings, keys of witnesses, sealed things. */
const FILE_MAX_BYTES = 1024 * 1024;
const COPY = "backup.copy";
/** Whose uid each file is restored for. */
const ROOT_FILES = ["uids.json", "settings.json"];

interface Owned {
  readonly databases: BackupSource["databases"];
  readonly files: BackupSource["files"];
}

/** Copies of what each process keeps go through their owner's rights, and are root's from there on. */
export async function backUp(
  instance: Instance,
  target: string,
  { release, atMs }: { readonly release: string; readonly atMs: number },
): Promise<Manifest> {
  const { stateDir } = instance;
  requireRecoverable(path.join(stateDir, "keyholder"));
  const archivist = archivistSocket(instance, "root");
  const copies: string[] = [];
  try {
    const control = await owned(stateDir, "control", copies);
    const keyholder = await owned(stateDir, "keyholder", copies);
    const ledger = fields(await askSocket(archivist, { type: "copy" }));
    const like = path.join(stateDir, "archivist");
    const before = (name: string, text: string) => ({
      ...{ name: `archivist/before/${name}`, text, like: path.join(like, "origin") },
    });
    const database = {
      name: "archivist/ledger/ledger.sqlite",
      file: path.join(like, "ledger/ledger.sqlite"),
      copy: word(ledger["file"]),
    };
    return await createBackup(
      {
        ...{ release, atMs, ledgerHead: word(ledger["checkpoint"]) },
        databases: [...control.databases, ...keyholder.databases, database],
        files: [
          ...control.files,
          ...keyholder.files,
          ...present(stateDir, "archivist", ["witnesses.json"]),
          ...present(stateDir, "", ROOT_FILES),
        ],
        texts: [
          ...enforcement(stateDir),
          before("checkpoint", word(ledger["checkpoint"])),
          before("key", word(ledger["key"])),
        ],
      },
      target,
    );
  } finally {
    for (const copy of copies) fs.rmSync(copy, { force: true });
    await askSocket(archivist, { type: "copy-done" }).catch(() => undefined);
  }
}

function requireRecoverable(keyholder: string): void {
  if (fs.existsSync(path.join(keyholder, SEALED_FOR_RECOVERY))) return;
  throw new SallyportError("recovery-key-missing", "no recovery key was made for backups yet", {
    hint: "sallyport backup key; keep what it prints away from this machine",
  });
}

/** The directory of an unprivileged process: databases copied with its rights, small plain files by their bytes. */
async function owned(stateDir: string, name: string, copies: string[]): Promise<Owned> {
  const directory = path.join(stateDir, name);
  const databases: BackupSource["databases"][number][] = [];
  const files: BackupSource["files"][number][] = [];
  const { uid, gid } = fs.statSync(directory);
  for (const entry of fs.readdirSync(directory, { withFileTypes: true })) {
    const file = path.join(directory, entry.name);
    const known = { name: `${name}/${entry.name}`, file };
    if (!entry.isFile()) continue;
    if (entry.name.endsWith(".sqlite")) {
      const copy = `${file}.${COPY}`;
      copies.push(copy);
      await withRightsOf({ uid, gid }, async () => {
        fs.rmSync(copy, { force: true });
        await copyRunningDatabase(file, copy);
      });
      databases.push({ ...known, copy });
    } else if (isKept(entry.name) && fs.lstatSync(file).size <= FILE_MAX_BYTES) {
      files.push(known);
    }
  }
  return { databases, files };
}

/** The sealing key itself is in no backup; what SQLite keeps beside a database is of that moment only. */
function isKept(name: string): boolean {
  return name !== SEALING_KEY && !/\.(?:new|making|copy)$|\.sqlite/.test(name);
}

function present(stateDir: string, below: string, names: readonly string[]): BackupSource["files"] {
  return names
    .map((name) => path.join(below, name))
    .map((name) => ({ name, file: path.join(stateDir, name) }))
    .filter(({ file }) => fs.existsSync(file));
}

/** What opens the file is done with its owner's rights: root must not write where somebody else may put a link. */
async function withRightsOf(
  { uid, gid }: { readonly uid: number; readonly gid: number },
  work: () => Promise<void>,
): Promise<void> {
  if (process.geteuid?.() !== 0 || uid === 0) return await work();
  const own = process.getegid?.() ?? 0;
  process.setegid?.(gid);
  process.seteuid?.(uid);
  try {
    await work();
  } finally {
    process.seteuid?.(0);
    process.setegid?.(own);
  }
}

interface StateText {
  readonly generations: readonly { readonly number: number; readonly state: string }[];
}

/** The last confirmed generation alone, and whose signatures count; the first approver's secret is in no backup. */
function enforcement(stateDir: string): NonNullable<BackupSource["texts"]> {
  const texts: NonNullable<BackupSource["texts"]>[number][] = [];
  const add = (name: string, text: string): void => {
    texts.push({ name, text, like: path.join(stateDir, name) });
  };
  const stateFile = path.join(stateDir, "state.json");
  if (fs.existsSync(stateFile)) {
    const state = JSON.parse(fs.readFileSync(stateFile, "utf8")) as StateText;
    const confirmed = state.generations.findLast(({ state: is }) => is === "confirmed");
    add("state.json", JSON.stringify({ ...state, generations: confirmed ? [confirmed] : [] }));
    for (const name of confirmed === undefined ? [] : ["legs.json", "policy"]) {
      const place = `generations/${confirmed?.number ?? 0}/${name}`;
      add(place, fs.readFileSync(path.join(stateDir, place), "utf8"));
    }
  }
  const book = path.join(stateDir, "approvers.json");
  if (fs.existsSync(book)) {
    const { first: _, ...rest } = JSON.parse(readPlain(book, 64 * FILE_MAX_BYTES).toString()) as {
      readonly first?: unknown;
    };
    add("approvers.json", JSON.stringify(rest));
  }
  return texts;
}
