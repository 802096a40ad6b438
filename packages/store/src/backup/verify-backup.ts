import fs from "node:fs";
import path from "node:path";
import { openCopy } from "../sqlite-copy.ts";
import { digestOf } from "./files.ts";
import {
  type BackupEntry,
  damaged,
  MANIFEST_MAX_BYTES,
  MANIFEST_NAME,
  type Manifest,
  parseManifest,
} from "./manifest.ts";

/**
 * Reads every byte of a backup and every page of its databases, and changes nothing. Throws `backup-damaged`
 * with all that is wrong. The manifest is not signed: who can write to a backup can make another one; what a
 * witness holds shows that for the ledger.
 */
export async function verifyBackup(directory: string): Promise<Manifest> {
  const manifest = readManifest(directory);
  const problems: string[] = [];
  const names = new Set([MANIFEST_NAME, ...manifest.entries.map(({ name }) => name)]);
  for (const name of namesIn(directory)) {
    if (!names.has(name)) problems.push(`${JSON.stringify(name)} does not belong to it`);
  }
  for (const entry of manifest.entries) {
    const problem = await problemOf(entry, path.join(directory, entry.name));
    if (problem !== undefined) problems.push(`${entry.name} ${problem}`);
  }
  if (problems.length > 0) throw damaged(problems);
  return manifest;
}

function readManifest(directory: string): Manifest {
  const file = path.join(directory, MANIFEST_NAME);
  let text: string;
  try {
    const { size } = fs.statSync(file);
    if (size > MANIFEST_MAX_BYTES) throw new Error("it is too long");
    text = fs.readFileSync(file, "utf8");
  } catch (cause) {
    const why = cause instanceof Error ? cause.message : String(cause);
    throw damaged([`its ${MANIFEST_NAME} cannot be read: ${why}`], cause);
  }
  return parseManifest(text);
}

function namesIn(directory: string): readonly string[] {
  const names: string[] = [];
  const entries = fs.readdirSync(directory, { recursive: true, withFileTypes: true });
  for (const entry of entries) {
    if (entry.isDirectory()) continue;
    names.push(path.relative(directory, path.join(entry.parentPath, entry.name)));
  }
  return names;
}

/** What is wrong with a copy of this entry, if anything. */
export async function problemOf(entry: BackupEntry, file: string): Promise<string | undefined> {
  try {
    const { sizeBytes, sha256 } = await digestOf(file);
    if (sizeBytes !== entry.sizeBytes) return `has ${sizeBytes} bytes, not ${entry.sizeBytes}`;
    if (sha256 !== entry.sha256) return "has other bytes than when it was made";
    return entry.kind === "database" ? problemOfDatabase(file) : undefined;
  } catch (error) {
    return `cannot be read: ${error instanceof Error ? error.message : String(error)}`;
  }
}

function problemOfDatabase(file: string): string | undefined {
  const database = openCopy(file);
  try {
    const found = database.prepare("pragma integrity_check(1)").get()?.["integrity_check"];
    return found === "ok" ? undefined : `is a damaged database: ${String(found)}`;
  } finally {
    database.close();
  }
}

/** For what somebody else finds wrong in a copy, such as a ledger whose records are not those that were signed. */
export function backupDamaged(problems: readonly string[]): Error {
  return damaged(problems);
}
