import assert from "node:assert/strict";
import fs from "node:fs";
import os from "node:os";
import path from "node:path";
import { test } from "node:test";
import { openForReading, openForWriting } from "./sqlite.ts";

test("what is committed is on disk, and who reads cannot write", () => {
  const directory = fs.mkdtempSync(path.join(os.tmpdir(), "sallyport-sqlite-"));
  try {
    const file = path.join(directory, "a.sqlite");
    const writer = openForWriting(file);
    assert.equal(writer.prepare("pragma journal_mode").get()?.["journal_mode"], "wal");
    assert.equal(writer.prepare("pragma synchronous").get()?.["synchronous"], 2, "2 is FULL");
    writer.exec("create table t (a)");
    const reader = openForReading(file);
    assert.throws(() => reader.exec("insert into t values (1)"), /readonly/);
    reader.close();
    writer.close();
  } finally {
    fs.rmSync(directory, { recursive: true });
  }
});
