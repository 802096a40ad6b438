/** `Records` in SQL. Every method is one statement: neither database runs half of one, or two on a row at once. */
import type { Records, Stored } from "@sallyport/identity";
import type { Kysely } from "kysely";
import { damagedRecord, type Translate } from "./state-errors.ts";
import type { StateTables } from "./state-schema.ts";
import { isStorable, recordOf, rowOf } from "./stored-form.ts";

/** A text that cannot be an id is asked for by somebody who guesses: nothing is there, as under any other wrong id. */
export class SqlRecords<T extends Stored> implements Records<T> {
  readonly #db: Kysely<StateTables>;
  readonly #kind: string;
  readonly #translate: Translate;

  constructor(db: Kysely<StateTables>, kind: string, translate: Translate) {
    this.#db = db;
    this.#kind = kind;
    this.#translate = translate;
  }

  async get(id: string): Promise<T | undefined> {
    if (!isStorable(id)) return undefined;
    return await this.#ask(async () => {
      const row = await this.#db
        .selectFrom("record")
        .select(["id", "body"])
        .where("kind", "=", this.#kind)
        .where("id", "=", id)
        .executeTakeFirst();
      return row === undefined ? undefined : this.#read(row);
    });
  }

  async add(record: T): Promise<boolean> {
    const row = rowOf(this.#kind, record);
    return await this.#ask(async () => {
      const { numInsertedOrUpdatedRows = 0n } = await this.#db
        .insertInto("record")
        .values(row)
        .onConflict((conflict) => conflict.columns(["kind", "id"]).doNothing())
        .executeTakeFirstOrThrow();
      return numInsertedOrUpdatedRows === 1n;
    });
  }

  async replace(before: T, after: T): Promise<boolean> {
    const { revision, person, expires_at_ms, body } = rowOf(this.#kind, after);
    if (before.id !== after.id) return false;
    return await this.#ask(async () => {
      const { numUpdatedRows } = await this.#db
        .updateTable("record")
        .set({ revision, person, expires_at_ms, body })
        .where("kind", "=", this.#kind)
        .where("id", "=", after.id)
        .where("revision", "=", before.revision)
        .executeTakeFirstOrThrow();
      return numUpdatedRows === 1n;
    });
  }

  async take(id: string): Promise<T | undefined> {
    if (!isStorable(id)) return undefined;
    return await this.#ask(async () => {
      const row = await this.#db
        .deleteFrom("record")
        .where("kind", "=", this.#kind)
        .where("id", "=", id)
        .returning(["id", "body"])
        .executeTakeFirst();
      return row === undefined ? undefined : this.#read(row);
    });
  }

  async ofPerson(person: string): Promise<readonly T[]> {
    if (!isStorable(person)) return [];
    return await this.#ask(async () => {
      const rows = await this.#db
        .selectFrom("record")
        .select(["id", "body"])
        .where("kind", "=", this.#kind)
        .where("person", "=", person)
        .orderBy("id")
        .execute();
      return rows.map((row) => this.#read(row));
    });
  }

  async all(): Promise<readonly T[]> {
    return await this.#ask(async () => {
      const rows = await this.#db
        .selectFrom("record")
        .select(["id", "body"])
        .where("kind", "=", this.#kind)
        .orderBy("id")
        .execute();
      return rows.map((row) => this.#read(row));
    });
  }

  async removeExpired(nowMs: number): Promise<number> {
    return await this.#ask(async () => {
      const { numDeletedRows } = await this.#db
        .deleteFrom("record")
        .where("kind", "=", this.#kind)
        .where("expires_at_ms", "<=", Math.floor(nowMs))
        .executeTakeFirstOrThrow();
      return Number(numDeletedRows);
    });
  }

  #read(row: { id: string; body: string }): T {
    const record = recordOf(row);
    if (record === undefined) throw damagedRecord(this.#kind);
    // Only records of type T are ever written under this kind, and this row is one.
    return record as T;
  }

  async #ask<Answer>(query: () => Promise<Answer>): Promise<Answer> {
    try {
      return await query();
    } catch (error) {
      throw this.#translate(error);
    }
  }
}
