import fs from "node:fs";
import { Kysely } from "kysely";
import { FLOW_LIMITS, type FlowLimits, type FlowStore } from "./flow-store.ts";
import { migrate } from "./migrations.ts";
import { flowSchema, type Tables } from "./schema.ts";
import { SqlFlowStore } from "./sql-flow-store.ts";
import { openForWriting, SQLITE, sqliteCode, sqliteDialect } from "./sqlite.ts";
import { replaceCopy } from "./sqlite-copy.ts";

/** What became of the file: a damaged one is put aside, because counts can be missed and traffic seen cannot wait. */
export interface OpenedFlowStore {
  readonly store: FlowStore;
  /** Where a damaged file was put. Only the newest one is kept. */
  readonly damaged?: string;
}

/** One process at a time writes; `limits` are the product's unless a test hands in smaller ones. */
export async function openFlowStore(
  file: string,
  limits: FlowLimits = FLOW_LIMITS,
): Promise<OpenedFlowStore> {
  try {
    return { store: await open(file, limits) };
  } catch (error) {
    const code = sqliteCode(error);
    if (code !== SQLITE.corrupt && code !== SQLITE.notADatabase) throw error;
    const damaged = `${file}.damaged`;
    fs.renameSync(file, damaged);
    for (const rest of ["-wal", "-shm"]) fs.rmSync(`${file}${rest}`, { force: true });
    return { store: await open(file, limits), damaged };
  }
}

async function open(file: string, limits: FlowLimits): Promise<FlowStore> {
  const database = openForWriting(file);
  const db = new Kysely<Tables>({ dialect: sqliteDialect(database) });
  try {
    const checked = database.prepare("pragma quick_check(1)").get();
    if (checked?.["quick_check"] !== "ok") throw damagedError();
    const schema = flowSchema("sqlite");
    await migrate(db, schema, (name) => replaceCopy(database, `${file}.before-${name}`));
    return await SqlFlowStore.on(db, "sqlite", limits);
  } catch (error) {
    if (database.isOpen) database.close();
    throw error;
  }
}

function damagedError(): Error {
  return Object.assign(new Error("quick_check found damage"), { errcode: SQLITE.corrupt });
}
