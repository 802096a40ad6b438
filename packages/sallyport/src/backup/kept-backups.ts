/** Backups beside the state: root makes them, `control` may read them and nobody else may. */
import { createHash } from "node:crypto";
import fs from "node:fs";
import path from "node:path";
import { SallyportError } from "@sallyport/core";
import { type Manifest, MANIFEST_NAME, parseManifest } from "@sallyport/store";
import type { Instance } from "../instance.ts";

/** On one disk with what they are of: for a wrong act, not for a lost disk. More than these somebody should take away. */
const KEPT_MAX = 14;
const NAME = /^[0-9]{8}T[0-9]{6}Z$/;
const MANIFEST_MAX_BYTES = 4 * 1024 * 1024;

export interface KeptBackup {
  readonly id: string;
  readonly atMs: number;
  readonly sizeBytes: number;
  /** Of its manifest, which has the hash of every file. */
  readonly sha256: string;
}

export function backupsDir({ stateDir }: Pick<Instance, "stateDir">): string {
  return path.join(stateDir, "backups");
}

/** `20261128T190501Z`: sorts by time, and is a file name everywhere. */
export function backupName(atMs: number): string {
  return new Date(atMs).toISOString().replace(/[-:]|\.\d+/g, "");
}

/** A new one's place; throws when there is no room by number. */
export function placeForNew(instance: Instance, atMs: number): string {
  const directory = backupsDir(instance);
  fs.mkdirSync(directory, { recursive: true, mode: 0o750 });
  if (names(directory).length >= KEPT_MAX) {
    throw new SallyportError("backup-failed", `${KEPT_MAX} backups stand in ${directory}`, {
      hint: "move older ones to another machine",
    });
  }
  return path.join(directory, backupName(atMs));
}

/** Opens a finished backup to the group of `control`, as its directory is. */
export function shareWithControl(instance: Instance, target: string): void {
  const { gid } = fs.statSync(path.join(instance.stateDir, "control"));
  const directory = backupsDir(instance);
  const all = [
    target,
    ...fs.readdirSync(target, { recursive: true }).map((name) => path.join(target, String(name))),
  ];
  for (const file of [directory, ...all]) {
    if (process.geteuid?.() === 0) fs.chownSync(file, 0, gid);
    fs.chmodSync(file, fs.statSync(file).isDirectory() ? 0o750 : 0o640);
  }
}

export function keptBackups(directory: string): readonly KeptBackup[] {
  return names(directory).flatMap((id) => {
    const read = manifestIn(path.join(directory, id));
    if (read === undefined) return [];
    const { manifest, sha256 } = read;
    const sizeBytes = manifest.entries.reduce((sum, entry) => sum + entry.sizeBytes, 0);
    return [{ id, atMs: manifest.atMs, sizeBytes, sha256 }];
  });
}

function names(directory: string): readonly string[] {
  if (!fs.existsSync(directory)) return [];
  return fs
    .readdirSync(directory)
    .filter((name) => NAME.test(name))
    .sort();
}

function manifestIn(directory: string): { manifest: Manifest; sha256: string } | undefined {
  const file = path.join(directory, MANIFEST_NAME);
  try {
    if (fs.statSync(file).size > MANIFEST_MAX_BYTES) return undefined;
    const text = fs.readFileSync(file, "utf8");
    return {
      manifest: parseManifest(text),
      sha256: createHash("sha256").update(text).digest("hex"),
    };
  } catch {
    // A list shows what can be restored; `verify` says what is wrong with the others.
    return undefined;
  }
}
