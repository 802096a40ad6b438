/** The store's interface in memory, for tests: each method runs to its end before the next. */
import type { IdentityStore, Records } from "./ports.ts";
import type { Stored } from "./records.ts";

export class MemoryRecords<T extends Stored> implements Records<T> {
  readonly kept: Map<string, T> = new Map();

  async get(id: string): Promise<T | undefined> {
    return structuredClone(this.kept.get(id));
  }

  async add(record: T): Promise<boolean> {
    if (this.kept.has(record.id)) return false;
    this.kept.set(record.id, structuredClone(record));
    return true;
  }

  async replace(before: T, after: T): Promise<boolean> {
    const kept = this.kept.get(before.id);
    if (kept === undefined || kept.revision !== before.revision || before.id !== after.id) {
      return false;
    }
    this.kept.set(after.id, structuredClone(after));
    return true;
  }

  async take(id: string): Promise<T | undefined> {
    const kept = this.kept.get(id);
    this.kept.delete(id);
    return kept;
  }

  async ofPerson(person: string): Promise<readonly T[]> {
    return structuredClone([...this.kept.values()].filter((one) => one.person === person));
  }

  async all(): Promise<readonly T[]> {
    return structuredClone([...this.kept.values()]);
  }

  async removeExpired(nowMs: number): Promise<number> {
    const over = [...this.kept.values()].filter((one) => (one.expiresAtMs ?? Infinity) <= nowMs);
    for (const one of over) this.kept.delete(one.id);
    return over.length;
  }
}

type MemoryStore = {
  readonly [Kind in keyof IdentityStore]: IdentityStore[Kind] extends Records<
    infer T extends Stored
  >
    ? MemoryRecords<T>
    : never;
};

export function memoryStore(): MemoryStore {
  return {
    people: new MemoryRecords(),
    passkeys: new MemoryRecords(),
    passwords: new MemoryRecords(),
    recoveryCodes: new MemoryRecords(),
    signIns: new MemoryRecords(),
    apiKeys: new MemoryRecords(),
    links: new MemoryRecords(),
    attempts: new MemoryRecords(),
    used: new MemoryRecords(),
    oidcSubjects: new MemoryRecords(),
    breakGlass: new MemoryRecords(),
  };
}
