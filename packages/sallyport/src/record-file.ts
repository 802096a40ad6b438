/**
 * What one process keeps, in one SQLite file of its own: records as JSON, each kind by its id. Every method is one
 * transaction, on disk when it answers.
 */
import { DatabaseSync } from "node:sqlite";
import type { IdentityStore, Records, Stored } from "@sallyport/identity";

/** Another process has the file open only while a backup is read. */
const BUSY_MS = 5000;

export class RecordFile {
  readonly #database: DatabaseSync;

  constructor(file: string) {
    this.#database = new DatabaseSync(file, { timeout: BUSY_MS });
    this.#database.exec(`
      pragma journal_mode = wal;
      pragma synchronous = full;
      create table if not exists record (
        kind text not null, id text not null, revision integer not null,
        person text, expires_at_ms integer, body text not null,
        primary key (kind, id)
      ) strict, without rowid;
      create index if not exists record_person on record (kind, person);
    `);
  }

  records<T extends Stored>(kind: string): Records<T> {
    return new FileRecords<T>(this.#database, kind);
  }

  close(): void {
    this.#database.close();
  }
}

export function identityRecords(file: RecordFile): IdentityStore {
  return {
    people: file.records("person"),
    passkeys: file.records("passkey"),
    passwords: file.records("password"),
    recoveryCodes: file.records("recovery-code"),
    signIns: file.records("sign-in"),
    apiKeys: file.records("api-key"),
    links: file.records("link"),
    attempts: file.records("attempts"),
    used: file.records("used"),
    oidcSubjects: file.records("oidc-subject"),
    breakGlass: file.records("break-glass"),
  };
}

type Row = Readonly<Record<string, unknown>> | undefined;

/** What is read is what `add` or `replace` of the same kind wrote. */
class FileRecords<T extends Stored> implements Records<T> {
  readonly #database: DatabaseSync;
  readonly #kind: string;

  constructor(database: DatabaseSync, kind: string) {
    this.#database = database;
    this.#kind = kind;
  }

  async get(id: string): Promise<T | undefined> {
    return bodyOf(
      this.#database
        .prepare("select body from record where kind = ? and id = ?")
        .get(this.#kind, id),
    ) as T | undefined;
  }

  async add(record: T): Promise<boolean> {
    const { changes } = this.#database
      .prepare("insert into record values (?, ?, ?, ?, ?, ?) on conflict do nothing")
      .run(
        ...[this.#kind, record.id, record.revision],
        ...[record.person ?? null, record.expiresAtMs ?? null, JSON.stringify(record)],
      );
    return Number(changes) === 1;
  }

  async replace(before: T, after: T): Promise<boolean> {
    if (before.id !== after.id) return false;
    const { changes } = this.#database
      .prepare(
        "update record set revision = ?, person = ?, expires_at_ms = ?, body = ? where kind = ? and id = ? and revision = ?",
      )
      .run(
        ...[after.revision, after.person ?? null, after.expiresAtMs ?? null, JSON.stringify(after)],
        ...[this.#kind, after.id, before.revision],
      );
    return Number(changes) === 1;
  }

  async take(id: string): Promise<T | undefined> {
    return bodyOf(
      this.#database
        .prepare("delete from record where kind = ? and id = ? returning body")
        .get(this.#kind, id),
    ) as T | undefined;
  }

  async ofPerson(person: string): Promise<readonly T[]> {
    return this.#list("and person = ?", person);
  }

  async all(): Promise<readonly T[]> {
    return this.#list("");
  }

  async removeExpired(nowMs: number): Promise<number> {
    const { changes } = this.#database
      .prepare("delete from record where kind = ? and expires_at_ms <= ?")
      .run(this.#kind, nowMs);
    return Number(changes);
  }

  #list(where: string, ...values: readonly string[]): readonly T[] {
    return this.#database
      .prepare(`select body from record where kind = ? ${where} order by id`)
      .all(this.#kind, ...values)
      .map((row) => bodyOf(row) as T);
  }
}

function bodyOf(row: Row): unknown {
  return row === undefined ? undefined : JSON.parse(String(row["body"]));
}
