/**
 * After a restore: the records are those of a ledger whose key and name are gone on purpose. A new key and a new name
 * sign them on, so that nothing is ever signed twice under one name; the first new record says what came before.
 */
import fs from "node:fs";
import path from "node:path";
import type { Ledger } from "@sallyport/ledger";

export interface Before {
  /** The last checkpoint that was signed when the backup was made. */
  readonly checkpoint: string;
  /** Of the ledger that signed it. */
  readonly key: string;
}

const CHECKPOINT = "checkpoint";
const KEY = "key";

export function readBefore(directory: string): Before | undefined {
  if (!fs.existsSync(path.join(directory, KEY))) return undefined;
  const read = (name: string): string => fs.readFileSync(path.join(directory, name), "utf8");
  return { checkpoint: read(CHECKPOINT), key: read(KEY).trim() };
}

/** Once, whatever is killed when: the place is stored with the record. */
export async function recordRestore(ledger: Ledger, before: Before, nowMs: number): Promise<void> {
  const source = "restore";
  if (ledger.placeOf(source) === before.key) return;
  const after = ledger.placeOf(source);
  await ledger.append(
    [
      {
        ...{ type: "archivist.restored", at: nowMs, key: before.key },
        checkpoint: before.checkpoint,
        records: ledger.head().size,
      },
    ],
    { source, place: before.key, ...(after === undefined ? {} : { after }) },
  );
}
