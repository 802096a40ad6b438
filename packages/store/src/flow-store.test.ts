import assert from "node:assert/strict";
import fs from "node:fs";
import os from "node:os";
import path from "node:path";
import { DatabaseSync } from "node:sqlite";
import { test } from "node:test";
import { readFlowStore } from "./flow-reader.ts";
import { batch, HOUR, holdsAsFlowStore, NOON, POLL, SCAN } from "./flow-store.suite.test-kit.ts";
import { openFlowStore } from "./sqlite-flow-store.ts";

async function withFile(use: (file: string) => Promise<void>): Promise<void> {
  const directory = fs.mkdtempSync(path.join(os.tmpdir(), "sallyport-store-"));
  try {
    await use(path.join(directory, "flows.sqlite"));
  } finally {
    fs.rmSync(directory, { recursive: true });
  }
}

holdsAsFlowStore((use) =>
  withFile((file) =>
    use({
      open: async (limits) => (await openFlowStore(file, limits)).store,
      run: async (text) => {
        const database = new DatabaseSync(file);
        try {
          return database.prepare(text).all();
        } finally {
          database.close();
        }
      },
      writer: { module: "sqlite-flow-store.ts", opener: "openFlowStore", argument: file },
    }),
  ),
);

test("a reader beside the writer sees what was recorded, and can change nothing", async () => {
  await withFile(async (file) => {
    assert.equal(
      readFlowStore(file, () => "asked"),
      undefined,
      "no store yet",
    );
    const { store } = await openFlowStore(file);
    await store.record(batch(0, 10, [POLL, SCAN]));
    const question = { limit: 10 };
    const peers = { sinceMs: NOON, everyMs: HOUR };
    assert.deepEqual(
      readFlowStore(file, (answers) => answers.flows(question)),
      await store.flows(question),
    );
    assert.deepEqual(
      readFlowStore(file, (answers) => answers.peers(peers)),
      await store.peers(peers),
    );
    await store.close();
    assert.equal(
      readFlowStore(file, (answers) => answers.flows(question).length),
      2,
      "without it",
    );
  });
});

test("a store of a later release is neither read nor written", async () => {
  await withFile(async (file) => {
    const { store } = await openFlowStore(file);
    await store.close();
    const database = new DatabaseSync(file);
    database.exec("insert into kysely_migration values ('0099-later', '2027')");
    database.close();
    await assert.rejects(openFlowStore(file), { code: "store-too-new" });
    assert.throws(() => readFlowStore(file, () => 1), { code: "store-too-new" });
  });
});

test("a damaged store is put aside and a new one started, and a reader says that it is damaged", async () => {
  await withFile(async (file) => {
    fs.writeFileSync(file, "not a database, and long enough to look at".repeat(100));
    assert.throws(() => readFlowStore(file, () => 1), { code: "store-damaged" });
    const { store, damaged } = await openFlowStore(file);
    assert.equal(damaged, `${file}.damaged`);
    assert.match(fs.readFileSync(`${file}.damaged`, "utf8"), /^not a database/);
    await store.record(batch(0, 10, [POLL]));
    await store.close();
    // Torn pages in a file whose head is whole.
    const bytes = fs.readFileSync(file);
    bytes.fill(0xa5, 4096);
    fs.writeFileSync(file, bytes);
    assert.equal((await openFlowStore(file)).damaged, `${file}.damaged`);
  });
});
