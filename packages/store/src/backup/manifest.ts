/** What a backup says of itself: one JSON file, written last. */
import { SallyportError } from "@sallyport/core";

export const MANIFEST_NAME = "manifest.json";
export const FORMAT = 1;
/** A manifest of that many entries is still below the size. */
export const ENTRIES_MAX = 10_000;
export const MANIFEST_MAX_BYTES: number = 4 * 1024 * 1024;
/** A checkpoint is an origin, a size, a root and a signature a witness. */
const HEAD_MAX_CHARS = 64 * 1024;

export interface BackupEntry {
  /** Where it stands below the state directory, e.g. `ledger/ledger.sqlite`. */
  readonly name: string;
  readonly kind: "database" | "file";
  readonly sizeBytes: number;
  /** Lower-case hexadecimal. */
  readonly sha256: string;
  /** Permission bits and owner of the original. */
  readonly mode: number;
  readonly uid: number;
  readonly gid: number;
}

export interface Manifest {
  readonly format: typeof FORMAT;
  /** Version of Sallyport that made it. */
  readonly release: string;
  readonly atMs: number;
  /** The last signed checkpoint, as text, from before the copying began: the copy has at least its records. */
  readonly ledgerHead?: string;
  readonly entries: readonly BackupEntry[];
}

/** `word` or `words/below/each-other`: nothing absolute, hidden, or upwards. */
const NAME = /^[A-Za-z0-9_][A-Za-z0-9._-]*(?:\/[A-Za-z0-9_][A-Za-z0-9._-]*){0,7}$/;
const NAME_MAX_CHARS = 512;
const SHA256 = /^[0-9a-f]{64}$/;

export function isEntryName(name: string): boolean {
  return name.length <= NAME_MAX_CHARS && NAME.test(name) && name !== MANIFEST_NAME;
}

/** Throws `backup-damaged` or `backup-too-new`. A backup may come from anywhere, so nothing in it is believed. */
export function parseManifest(text: string): Manifest {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch (cause) {
    throw damaged(["the manifest is no JSON"], cause);
  }
  if (!isObject(value)) throw damaged(["the manifest is no object"]);
  const { format, release, atMs, ledgerHead, entries } = value;
  if (typeof format === "number" && format > FORMAT) {
    throw new SallyportError(
      "backup-too-new",
      `the backup has format ${format}, this release knows ${FORMAT}`,
      {
        hint: "restore it with the release that made it",
      },
    );
  }
  const isWhole =
    format === FORMAT &&
    typeof release === "string" &&
    isCount(atMs) &&
    (ledgerHead === undefined ||
      (typeof ledgerHead === "string" && ledgerHead.length <= HEAD_MAX_CHARS)) &&
    Array.isArray(entries) &&
    entries.length <= ENTRIES_MAX &&
    entries.every(isEntry);
  if (!isWhole) throw damaged(["the manifest has fields that no release writes"]);
  const names = new Set(entries.map(({ name }) => name));
  if (names.size !== entries.length) throw damaged(["the manifest names a file twice"]);
  return {
    format,
    release,
    atMs,
    entries,
    ...(ledgerHead === undefined ? {} : { ledgerHead }),
  };
}

export function damaged(problems: readonly string[], cause?: unknown): SallyportError {
  const shown = problems.slice(0, PROBLEMS_SHOWN_MAX).join("; ");
  return new SallyportError("backup-damaged", `the backup is not as it was made: ${shown}`, {
    cause,
    hint: "take an earlier backup; nothing was restored",
  });
}

const PROBLEMS_SHOWN_MAX = 20;

/** Number of records in a checkpoint: its second line. Undefined when the text is none. */
export function sizeOfHead(head: string): number | undefined {
  const line = head.split("\n")[1] ?? "";
  const size = Number(line);
  return /^(?:0|[1-9][0-9]{0,15})$/.test(line) && Number.isSafeInteger(size) ? size : undefined;
}

function isEntry(value: unknown): value is BackupEntry {
  if (!isObject(value)) return false;
  const { name, kind, sizeBytes, sha256, mode, uid, gid } = value;
  return (
    typeof name === "string" &&
    isEntryName(name) &&
    (kind === "database" || kind === "file") &&
    isCount(sizeBytes) &&
    typeof sha256 === "string" &&
    SHA256.test(sha256) &&
    // No bit that would give somebody else's rights to who runs it.
    isCount(mode) &&
    mode <= 0o777 &&
    isCount(uid) &&
    isCount(gid)
  );
}

function isCount(value: unknown): value is number {
  return typeof value === "number" && Number.isSafeInteger(value) && value >= 0;
}

function isObject(value: unknown): value is Readonly<Record<string, unknown>> {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}
