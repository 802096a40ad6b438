/**
 * Small files that are whole after a power cut: the old text or the new one. Part of the one-file scripts,
 * so it runs on Node 18 and imports built-ins only.
 */
import * as fs from "node:fs";
import * as path from "node:path";

/** Has the disk take what was written to a file or directory: fsync, unless a test shows what it is for. */
export type Sync = (descriptor: number) => void;

export function writeDurably(file: string, text: string, sync: Sync = fs.fsyncSync): void {
  const temporary = `${file}.new`;
  const descriptor = fs.openSync(temporary, "w", 0o600);
  try {
    fs.writeFileSync(descriptor, text);
    sync(descriptor);
  } finally {
    fs.closeSync(descriptor);
  }
  fs.renameSync(temporary, file);
  syncDirectory(path.dirname(file), sync);
}

/** A new name is on disk only when its directory is. */
function syncDirectory(directory: string, sync: Sync): void {
  const descriptor = fs.openSync(directory, "r");
  try {
    sync(descriptor);
  } finally {
    fs.closeSync(descriptor);
  }
}

/** The file's text; undefined when there is none, or none that short. */
export function readText(file: string, maxBytes: number): string | undefined {
  try {
    return fs.statSync(file).size > maxBytes ? undefined : fs.readFileSync(file, "utf8");
  } catch (error) {
    if (error instanceof Error && "code" in error && error.code === "ENOENT") return undefined;
    throw error;
  }
}
