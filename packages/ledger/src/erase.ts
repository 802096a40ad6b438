/** Erasing personal values: the rows go, the commitments in the leaves stay, and so does every proof. */
import type { DatabaseSync } from "node:sqlite";

/** What one record of an erasure can name, within the limit of a leaf. */
const BATCH = 500;

type Which = { readonly index: number; readonly name: string } | { readonly value: string };
/** Record number and name of each value. */
type Places = readonly (readonly [number, string])[];

/**
 * `commit` records which values went, and runs the deletion in the same transaction. Afterwards SQLite
 * carries its log over and empties it, so that the values are in no file of the ledger.
 */
export async function eraseValues(
  database: DatabaseSync,
  which: Which,
  commit: (erased: Places, also: () => void) => Promise<void>,
): Promise<number> {
  let count = 0;
  for (;;) {
    const places = find(database, which);
    if (places.length === 0) break;
    const remove = database.prepare("delete from personal where idx = ? and name = ?");
    await commit(places, () => {
      for (const [index, name] of places) remove.run(index, name);
    });
    count += places.length;
  }
  if (count > 0) database.exec("pragma wal_checkpoint(truncate)");
  return count;
}

function find(database: DatabaseSync, which: Which): Places {
  const rows =
    "value" in which
      ? database
          .prepare(`select idx, name from personal where value = ? limit ${BATCH}`)
          .all(which.value)
      : database
          .prepare("select idx, name from personal where idx = ? and name = ?")
          .all(which.index, which.name);
  return rows.flatMap(({ idx, name }) =>
    typeof idx === "number" && typeof name === "string" ? [[idx, name] as const] : [],
  );
}
