import assert from "node:assert/strict";
import fs from "node:fs";
import os from "node:os";
import path from "node:path";
import { test } from "node:test";
import { EventLog } from "./event-log.ts";
import { EventReader } from "./event-reader.ts";

function withDirectory(use: (directory: string) => void): void {
  const directory = fs.mkdtempSync(path.join(os.tmpdir(), "sallyport-events-"));
  try {
    use(directory);
  } finally {
    fs.rmSync(directory, { recursive: true });
  }
}

test("events of all processes are read as one stream in order of time", () => {
  withDirectory((directory) => {
    const gate = new EventLog(directory, "gate-erp");
    const watch = new EventLog(directory, "watch");
    gate.append(2000, "pdu-refused", { conduit: "a" });
    watch.append(1000, "packet-denied", { reason: "no-conduit" });
    const reader = new EventReader(directory);
    assert.deepEqual(
      reader.poll().map(({ process, type }) => `${process} ${type}`),
      ["watch packet-denied", "gate-erp pdu-refused"],
    );
    assert.deepEqual(reader.poll(), [], "nothing is read twice");
    gate.append(3000, "closed", {});
    assert.equal(reader.poll().length, 1);
  });
});

test("a file that was cut is read from its start again, and a cut line is counted, not fatal", () => {
  withDirectory((directory) => {
    const file = path.join(directory, "watch.ndjson");
    fs.writeFileSync(file, '{"at":"2026-01-01T00:00:00Z","type":"one"}\n{"at":"2026');
    const reader = new EventReader(directory);
    assert.equal(reader.poll().length, 1);
    fs.truncateSync(file);
    fs.appendFileSync(file, '{"at":"2026-01-01T00:00:01Z","type":"two"}\nnot json\n');
    assert.deepEqual(
      reader.poll().map(({ type }) => type),
      ["two"],
    );
    assert.equal(reader.unreadable, 1);
  });
});

test("a log of fixed size keeps the newest events", () => {
  withDirectory((directory) => {
    const log = new EventLog(directory, "enforcer");
    const filler = "x".repeat(1024 * 1024);
    for (let index = 0; index < 40; index++) log.append(index, "event", { index, filler });
    const sizes = fs
      .readdirSync(directory)
      .map((name) => fs.statSync(path.join(directory, name)).size);
    assert.equal(sizes.length, 2);
    for (const size of sizes) assert.ok(size <= 16 * 1024 * 1024);
    const last = fs
      .readFileSync(path.join(directory, "enforcer.ndjson"), "utf8")
      .trim()
      .split("\n")
      .at(-1);
    assert.match(last ?? "", /"index":39,/);
  });
});
