import assert from "node:assert/strict";
import fs from "node:fs";
import path from "node:path";
import { test } from "node:test";

const ROOT = path.join(import.meta.dirname, "../../..");
/** Where events are made, and how each place names their types. */
const MADE: readonly (readonly [file: string, naming: RegExp])[] = [
  ["packages/sallyport/src/enforcer-service.ts", /#record\("([a-z-]+)"/g],
  ["packages/sallyport/src/enforcer.main.ts", /append\(Date\.now\(\), "([a-z-]+)"/g],
  ["packages/sallyport/src/supervisor.main.ts", /append\(Date\.now\(\), "([a-z-]+)"/g],
  ["packages/sallyport/src/worker.ts", /append\([\w.()]+, "([a-z-]+)"/g],
  ["packages/sallyport/src/journal.main.ts", /\btell\("([a-z-]+)"/g],
  ["packages/sallyport/src/journal.ts", /"(journal-[a-z]+)"/g],
  ["packages/sallyport/src/events.ts", /type: "([a-z-]+)"/g],
  ["packages/gate/src/events.ts", /type: "([a-z-]+)"/g],
  ["packages/gate/src/run.ts", /readonly type: "([a-z-]+)"/g],
];

test("every type of event that a process writes is on the reference page", () => {
  const page = fs.readFileSync(path.join(ROOT, "docs/reference/events.md"), "utf8");
  for (const [file, naming] of MADE) {
    const text = fs.readFileSync(path.join(ROOT, file), "utf8");
    const types = [...text.matchAll(naming)].map(([, type = ""]) => type);
    assert.ok(types.length > 0, `${file} names no event as this test knows it`);
    for (const type of types) assert.ok(page.includes(`\`${type}\``), `${type} of ${file}`);
  }
});
