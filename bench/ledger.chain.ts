/** Peers of the ledger: a hash chain with the same records and commits, and a bare insert. */
import * as crypto from "node:crypto";
import fs from "node:fs";
import os from "node:os";
import path from "node:path";
import { DatabaseSync } from "node:sqlite";
import { canonicalJson, type Json } from "@sallyport/core";
import { type Ledger, type NewRecord, openLedger, signerFromSeed } from "@sallyport/ledger";

const SALT_BYTES = 16;

export function makeFolder(): string {
  return fs.mkdtempSync(path.join(os.tmpdir(), "sallyport-bench-"));
}

export function openBenchLedger(directory: string): Ledger {
  return openLedger({
    directory,
    signer: signerFromSeed("bench.example/audit", new Uint8Array(32)),
    nowMs: Date.now,
    randomness: (sizeBytes) => crypto.randomBytes(sizeBytes),
  });
}

/** About 300 bytes of leaf, with two personal values, as a session's records are. */
export function act(number: number): NewRecord {
  return {
    type: number % 3 === 0 ? "session.opened" : "session.request",
    at: 1_777_874_400_000 + number * 100,
    site: "brewery",
    conduit: "vendor-to-press",
    asset: "press-plc",
    protocol: "modbus",
    operation: "write",
    target: { unit: 1, area: "holding", address: 107 + (number % 50), count: 2 },
    verdict: "allow",
    number,
    personal: { actor: `vendor-${number % 40}@example.com`, address: `10.20.30.${number % 250}` },
  };
}

function openDatabase(file: string, schema: string): DatabaseSync {
  const database = new DatabaseSync(file);
  database.exec("pragma locking_mode = exclusive");
  database.exec("pragma journal_mode = wal");
  database.exec("pragma synchronous = full");
  database.exec("pragma secure_delete = on");
  database.exec(schema);
  return database;
}

/** Each record's hash covers the one before it; the head moves with each commit. */
export function openChain(directory: string) {
  const database = openDatabase(
    path.join(directory, "chain.sqlite"),
    `create table record (
       idx integer primary key, type text not null, at integer not null, leaf text not null, hash blob not null
     ) strict;
     create table personal (
       idx integer, name text, salt blob, value text, primary key (idx, name)
     ) strict, without rowid;
     create table head (id integer primary key, size integer, hash blob) strict;
     insert into head values (1, 0, zeroblob(32));`,
  );
  const insert = database.prepare("insert into record values (?, ?, ?, ?, ?)");
  const personal = database.prepare("insert into personal values (?, ?, ?, ?)");
  const head = database.prepare("update head set size = ?, hash = ? where id = 1");
  let size = 0;
  let last: Buffer = Buffer.alloc(32);
  const input = Buffer.alloc(65_536 + 32);
  return {
    append(records: readonly NewRecord[]): void {
      const encoded = records.map((record) => encode(record));
      database.exec("begin immediate");
      for (const { record, leaf, values } of encoded) {
        last.copy(input);
        last = crypto.hash("sha256", input.subarray(0, 32 + input.write(leaf, 32)), "buffer");
        insert.run(size, record.type, record.at, leaf, last);
        for (const { name, salt, value } of values) personal.run(size, name, salt, value);
        size++;
      }
      head.run(size, last);
      database.exec("commit");
    },
    close: () => database.close(),
  };
}

/** As the ledger does: one draw for many salts. */
let [pool, used] = [new Uint8Array(0), 0];

function drawSalts(sizeBytes: number): Uint8Array {
  if (used + sizeBytes > pool.length) [pool, used] = [crypto.randomBytes(4096), 0];
  used += sizeBytes;
  return pool.slice(used - sizeBytes, used);
}

function encode(record: NewRecord) {
  const { personal = {}, ...plain } = record;
  const entries = Object.entries(personal);
  const salts = drawSalts(entries.length * SALT_BYTES);
  const commit: { [name: string]: Json } = {};
  const values = entries.map(([name, member], at) => {
    const salt = salts.subarray(at * SALT_BYTES, (at + 1) * SALT_BYTES);
    const value = canonicalJson(member);
    commit[name] = crypto.hash("sha256", Buffer.concat([salt, Buffer.from(value)]), "base64");
    return { name, salt, value };
  });
  return { record, leaf: canonicalJson({ ...plain, commit }), values };
}

/** Each text is a commit of its own. */
export function openBare(directory: string) {
  const database = openDatabase(path.join(directory, "bare.sqlite"), "create table t (text text)");
  const insert = database.prepare("insert into t values (?)");
  return {
    insert: (text: string): void => void insert.run(text),
    close: () => database.close(),
  };
}
