/**
 * Reading records. There is no index beside the record's own number: a span of times and the types that occur
 * are kept for each 256 records, which costs a row in 256 and skips what cannot match.
 */
import type { DatabaseSync } from "node:sqlite";
import { canonicalJson, type Json, SallyportError } from "@sallyport/core";
import type { RecordPage, RecordQuestion, StoredRecord } from "./ledger.ts";
import { damaged } from "./log-store.ts";
import { TILE_WIDTH } from "./tiles.ts";

const PAGE_MAX = 1000;
const PAGE_USUAL = 100;
/** Newest first, records are looked at one by one: so many take about a tenth of a second. */
const NEWEST_LOOKED_MAX = 200_000;
/** A question that matches nothing ends after so many blocks of records and says where to go on. */
const BLOCKS_MAX = 1000;

export class RecordReader {
  readonly #database: DatabaseSync;

  constructor(database: DatabaseSync) {
    this.#database = database;
  }

  record(index: number): StoredRecord | undefined {
    const row = this.#database.prepare("select * from record where idx = ?").get(index);
    return row === undefined ? undefined : this.#stored(row);
  }

  list(question: RecordQuestion, size: number): RecordPage {
    const { type, fromMs = Number.MIN_SAFE_INTEGER, toMs = Number.MAX_SAFE_INTEGER } = question;
    const { from = 0, limit = PAGE_USUAL } = question;
    if (!Number.isInteger(limit) || limit < 1 || limit > PAGE_MAX) {
      throw new SallyportError("record-question", `a page has 1 to ${PAGE_MAX} records`);
    }
    if (!Number.isSafeInteger(from) || from < 0) {
      throw new SallyportError("record-question", "a page begins at a record's number");
    }
    const { before, person } = question;
    if (before !== undefined) return this.#newest({ ...question, before: Math.min(before, size) });
    if (person !== undefined) {
      throw new SallyportError("record-question", "records of a person are listed newest first");
    }
    const rows = this.#database.prepare(
      `select * from record where idx >= ? and idx < ? and at >= ? and at < ?
       and (?5 is null or type = ?5) order by idx limit ?6`,
    );
    const records: StoredRecord[] = [];
    let block = Math.floor(from / TILE_WIDTH);
    for (let looked = 0; block * TILE_WIDTH < size; looked++, block++) {
      block = this.#nextBlock(block, size, type, fromMs, toMs);
      const begin = Math.max(from, block * TILE_WIDTH);
      if (begin >= size) break;
      if (looked >= BLOCKS_MAX) return { records, next: begin };
      const end = (block + 1) * TILE_WIDTH;
      const wanted = limit - records.length;
      for (const row of rows.all(begin, end, fromMs, toMs, type ?? null, wanted)) {
        records.push(this.#stored(row));
      }
      const last = records.at(-1);
      if (records.length === limit && last !== undefined) {
        return last.index + 1 < size ? { records, next: last.index + 1 } : { records };
      }
    }
    return { records };
  }

  /** Looks at a bounded stretch; what was not looked at is where the next page begins. */
  #newest(question: RecordQuestion & { readonly before: number }): RecordPage {
    const { type, person, before } = question;
    const { fromMs = Number.MIN_SAFE_INTEGER, toMs = Number.MAX_SAFE_INTEGER } = question;
    const { limit = PAGE_USUAL } = question;
    if (!Number.isSafeInteger(before) || before < 0) {
      throw new SallyportError("record-question", "a page begins before a record's number");
    }
    const from = Math.max(0, before - NEWEST_LOOKED_MAX);
    const value = person === undefined ? null : canonicalJson(person);
    const rows = this.#database
      .prepare(
        `select * from record where idx >= ? and idx < ? and at >= ? and at < ?
         and (?5 is null or type = ?5)
         and (?6 is null or exists (select 1 from personal where personal.idx = record.idx
              and name in ('person', 'by', 'author') and value = ?6))
         order by idx desc limit ?7`,
      )
      .all(from, before, fromMs, toMs, type ?? null, value, limit);
    const records = rows.map((row) => this.#stored(row));
    const last = records.length === limit ? (records.at(-1)?.index ?? from) : from;
    return last > 0 ? { records, next: last } : { records };
  }

  /** The next block that may hold a match; the one at the right edge always may. */
  #nextBlock(
    from: number,
    size: number,
    type: string | undefined,
    fromMs: number,
    toMs: number,
  ): number {
    const edge = Math.floor(size / TILE_WIDTH);
    const row =
      type === undefined
        ? this.#database
            .prepare(
              "select n from span where n >= ? and first_at < ? and last_at >= ? order by n limit 1",
            )
            .get(from, toMs, fromMs)
        : this.#database
            .prepare(
              `select n from span_type join span using (n)
               where type = ? and n >= ? and first_at < ? and last_at >= ? order by n limit 1`,
            )
            .get(type, from, toMs, fromMs);
    return typeof row?.["n"] === "number" ? row["n"] : Math.max(from, edge);
  }

  /** Personal values with their salts of records `from` to `to`, in order. */
  personal(
    from: number,
    to: number,
  ): { index: number; name: string; salt: Uint8Array; value: Json }[] {
    const rows = this.#database
      .prepare("select * from personal where idx >= ? and idx < ? order by idx, name")
      .all(from, to);
    return rows.map(({ idx, name, salt, value }) => {
      const isRow =
        typeof idx === "number" && typeof name === "string" && typeof value === "string";
      if (!isRow || !(salt instanceof Uint8Array)) throw damaged("a personal value cannot be read");
      return { index: idx, name, salt, value: parseValue(value) };
    });
  }

  /** Leaves of records `from` to `to`, in order. */
  leaves(from: number, to: number): Uint8Array[] {
    const rows = this.#database
      .prepare("select leaf from record where idx >= ? and idx < ? order by idx")
      .all(from, to);
    return rows.map(({ leaf }) => {
      if (typeof leaf !== "string") throw damaged("a record cannot be read");
      return Buffer.from(leaf);
    });
  }

  #stored(row: Record<string, unknown>): StoredRecord {
    const { idx, type, at, leaf } = row;
    const isRow = typeof idx === "number" && typeof at === "number" && typeof type === "string";
    if (!isRow || typeof leaf !== "string") throw damaged("a record cannot be read");
    const personal = this.personal(idx, idx + 1).map(({ name, value }) => [name, value] as const);
    return { index: idx, type, at, leaf, personal: Object.fromEntries(personal) };
  }
}

/** We wrote it as canonical JSON; a value that is none was altered. */
function parseValue(text: string): Json {
  try {
    return JSON.parse(text) as Json;
  } catch (error) {
    throw new SallyportError("ledger-damaged", "a personal value is no JSON", { cause: error });
  }
}
