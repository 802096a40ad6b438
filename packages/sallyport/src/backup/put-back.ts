/** A backup in the place of a stopped gateway's state. */
import { randomBytes } from "node:crypto";
import fs from "node:fs";
import path from "node:path";
import { DatabaseSync } from "node:sqlite";
import { SallyportError } from "@sallyport/core";
import {
  type Head,
  parseCheckpoint,
  parseVerifierKey,
  problemOfLedgerCopy,
} from "@sallyport/ledger";
import {
  backupDamaged,
  type Manifest,
  type Restored,
  restoreBackup,
  verifyBackup,
} from "@sallyport/store";
import type { ApproverKey } from "@sallyport/identity/approval";
import type { Instance } from "../instance.ts";
import {
  isSealingKeyOf,
  openWithRecoveryKey,
  readPlain,
  SEALED_FOR_RECOVERY,
  SEALING_KEY,
  SITE_CA,
} from "./recovery-key.ts";

const LEDGER = "archivist/ledger/ledger.sqlite";
/** What the backup has none of goes on where it was: events not yet read into the ledger, counted flows, packets. */
const CARRIED = ["events", "flows", "packets", "exports", "backups", "supervisor.log"];
/** Sessions and links that were ended or used since would be good again. */
const ENDED_KINDS = ["sign-in", "link"];
const EPOCH_BYTES = 6;
const BOOK_MAX_BYTES = 64 * 1024 * 1024;

export interface PutBackOptions {
  /** Text of the recovery key; not needed where the sealing key is still in place. */
  readonly recoveryKey?: string;
  /** What a witness holds, as the operator says: a checkpoint of this ledger, or how many records. */
  readonly witnessed?: string;
  /** The ledger that is in place stays; all else is restored. */
  readonly keepLedger: boolean;
}

/** Reads every byte, every page, and every record of the ledger. Throws `backup-damaged` with what is wrong. */
export async function checkBackup(directory: string): Promise<Manifest> {
  const manifest = await verifyBackup(directory);
  const problem = ledgerProblem(directory, manifest);
  if (problem !== undefined) throw backupDamaged([`${LEDGER}: ${problem}`]);
  return manifest;
}

function ledgerProblem(directory: string, { ledgerHead, entries }: Manifest): string | undefined {
  if (!entries.some(({ name }) => name === LEDGER)) return "is not there";
  const key = parseVerifierKey(readText(directory, "archivist/before/key").trim());
  if (key.kind === "malformed") return `its key ${key.why}`;
  const checkpoint = readText(directory, "archivist/before/checkpoint");
  if (checkpoint !== ledgerHead) return "its checkpoint is not that of the manifest";
  return problemOfLedgerCopy(path.join(directory, LEDGER), checkpoint, key.value);
}

function readText(directory: string, name: string): string {
  const file = path.join(directory, name);
  return fs.existsSync(file) ? readPlain(file).toString("utf8") : "";
}

export async function putBack(
  instance: Instance,
  directory: string,
  options: PutBackOptions,
): Promise<Restored> {
  requireStopped(instance);
  const manifest = await checkBackup(directory);
  const place = instance.stateDir;
  const size = options.keepLedger ? undefined : witnessedSize(place, manifest, options.witnessed);
  const sealingKey = sealingKeyFor(directory, place, options.recoveryKey);
  return await restoreBackup(directory, place, {
    ...(size === undefined ? {} : { witnessedSize: size }),
    skip: (name) => options.keepLedger && name.startsWith("archivist/"),
    carry: options.keepLedger ? [...CARRIED, "archivist"] : CARRIED,
    prepare: (staging, { entries }) => {
      const owner = entries.find(({ name }) => name === `keyholder/${SITE_CA}`);
      writeFor(path.join(staging, "keyholder", SEALING_KEY), sealingKey, owner);
      newEpoch(staging, place);
      endSignIns(path.join(staging, "control/state.sqlite"));
    },
  });
}

/** Rooms of a gateway that was killed have its rules still, numbered as the state that would be moved aside. */
function requireStopped({ runDir }: Instance): void {
  if (!fs.existsSync(runDir)) return;
  throw new SallyportError("backup-place-in-use", "the gateway runs, or its rooms still stand", {
    hint: "sallyport down; then restore again",
  });
}

/** The most that anybody outside is known to hold of this ledger. */
function witnessedSize(
  place: string,
  { ledgerHead = "" }: Manifest,
  told: string | undefined,
): number | undefined {
  const origin = headOf(ledgerHead)?.origin;
  const heads = ["checkpoint.cosigned"].map((name) =>
    headOf(readText(path.join(place, "archivist/ledger"), name)),
  );
  const sizes = heads.filter((head) => head?.origin === origin).map((head) => head?.size ?? 0);
  const state = readText(path.join(place, "archivist/ledger"), "signer.state").split("\n")[0];
  if (state !== undefined && state !== "") sizes.push(...claims(state, origin));
  if (told !== undefined) sizes.push(toldSize(told, origin));
  return sizes.length === 0 ? undefined : Math.max(...sizes);
}

/** Of a damaged file nothing is believed; it is often why somebody restores. */
function claims(text: string, origin: string | undefined): readonly number[] {
  try {
    const state = JSON.parse(text) as {
      readonly origin?: string;
      readonly witnesses?: Readonly<Record<string, { readonly size?: number }>>;
    };
    if (state.origin !== origin) return [];
    return Object.values(state.witnesses ?? {}).map(({ size }) => size ?? 0);
  } catch {
    return [];
  }
}

function toldSize(told: string, origin: string | undefined): number {
  if (/^[0-9]{1,15}$/.test(told)) return Number(told);
  const head = headOf(fs.readFileSync(told, "utf8"));
  if (head !== undefined && head.origin === origin) return head.size;
  throw new SallyportError("usage", `${told} is no checkpoint of the ledger in the backup`, {
    hint: "--witnessed takes a number of records, or a file with the checkpoint that a witness holds",
  });
}

function headOf(checkpoint: string): Head | undefined {
  const parsed = parseCheckpoint(checkpoint);
  return parsed.kind === "malformed" ? undefined : parsed.value.head;
}

function sealingKeyFor(directory: string, place: string, told: string | undefined): Uint8Array {
  if (told !== undefined) {
    const sealed = readPlain(path.join(directory, "keyholder", SEALED_FOR_RECOVERY));
    return openWithRecoveryKey(told, sealed);
  }
  const file = path.join(place, "keyholder", SEALING_KEY);
  const kept = fs.existsSync(file) ? readPlain(file) : Buffer.alloc(0);
  if (isSealingKeyOf(kept, readText(path.join(directory, "keyholder"), SITE_CA))) return kept;
  throw new SallyportError("recovery-key-needed", "what the backup has sealed needs its key", {
    hint: "sallyport backup restore … --recovery-key FILE: what `sallyport backup key` printed",
  });
}

/** Also what was there is never shortened: a file is whole, or the restore has failed. */
function writeFor(
  file: string,
  content: string | Uint8Array,
  owner: { readonly uid: number; readonly gid: number } | undefined,
): void {
  const descriptor = fs.openSync(file, "w", 0o600);
  fs.writeFileSync(descriptor, content);
  if (owner !== undefined && process.geteuid?.() === 0) {
    fs.fchownSync(descriptor, owner.uid, owner.gid);
  }
  fs.fsyncSync(descriptor);
  fs.closeSync(descriptor);
}

interface Book {
  readonly format?: number;
  readonly keys?: readonly ApproverKey[];
}

/**
 * What was signed before the restore names another epoch, and opens nothing: ids used since are not in the backup.
 * Random, so that one backup restored twice has two. A key revoked since stays revoked where that is known here.
 */
function newEpoch(staging: string, place: string): void {
  const file = path.join(staging, "approvers.json");
  const book = bookIn(file) ?? { format: 1, keys: [], used: [], usedUntilMs: 0 };
  const present = bookIn(path.join(place, "approvers.json"))?.keys ?? [];
  const revoked = new Map(present.map(({ id, revokedAtMs }) => [id, revokedAtMs]));
  const keys = (book.keys ?? []).map((key) => {
    const revokedAtMs = key.revokedAtMs ?? revoked.get(key.id);
    return { ...key, ...(revokedAtMs === undefined ? {} : { revokedAtMs }) };
  });
  const nodeEpoch = randomBytes(EPOCH_BYTES).readUIntBE(0, EPOCH_BYTES);
  writeFor(file, JSON.stringify({ ...book, keys, nodeEpoch }), undefined);
}

function bookIn(file: string): Book | undefined {
  if (!fs.existsSync(file)) return undefined;
  try {
    return JSON.parse(readPlain(file, BOOK_MAX_BYTES).toString("utf8")) as Book;
  } catch {
    // A damaged one may be why somebody restores.
    return undefined;
  }
}

function endSignIns(file: string): void {
  if (!fs.existsSync(file)) return;
  const database = new DatabaseSync(file);
  try {
    database.exec("pragma trusted_schema = off; pragma journal_mode = delete");
    for (const kind of ENDED_KINDS) {
      database.prepare("delete from record where kind = ?").run(kind);
    }
  } finally {
    database.close();
  }
}
