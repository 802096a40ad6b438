import assert from "node:assert/strict";
import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import fs from "node:fs";
import os from "node:os";
import path from "node:path";
import { DatabaseSync } from "node:sqlite";
import { test } from "node:test";
import type { Stored } from "@sallyport/identity";
import { openStateStore, openStateStoreWith } from "./open-state-store.ts";
import { type StateTables, stateSchema } from "./state-schema.ts";
import { holdsAsStateStore } from "./state-store.suite.test-kit.ts";
import type { StateStore } from "./state-store.ts";

async function withFile(use: (file: string) => Promise<void>): Promise<void> {
  const directory = fs.mkdtempSync(path.join(os.tmpdir(), "sallyport-state-"));
  try {
    await use(path.join(directory, "state.sqlite"));
  } finally {
    fs.rmSync(directory, { recursive: true });
  }
}

function rowsOf(file: string, text: string): readonly Record<string, unknown>[] {
  const database = new DatabaseSync(file);
  try {
    return database.prepare(text).all();
  } finally {
    database.close();
  }
}

holdsAsStateStore((use) =>
  withFile((file) =>
    use({ place: { kind: "sqlite", file }, run: async (text) => rowsOf(file, text) }),
  ),
);

async function open(file: string): Promise<StateStore> {
  return await openStateStore({ kind: "sqlite", file });
}

async function openLater(file: string, name: string): Promise<StateStore> {
  return await openStateStoreWith({ kind: "sqlite", file }, (engine) => {
    const schema = stateSchema(engine);
    const up: (typeof schema.migrations)[string]["up"] = async (db) => {
      await db.updateTable<keyof StateTables>("record").set({ revision: 99 }).execute();
    };
    return { ...schema, migrations: { ...schema.migrations, [name]: { up } } };
  });
}

test("before a migration changes state, a copy of it stands beside it, which opens as it was", async () => {
  await withFile(async (file) => {
    const state = await open(file);
    await state.records("draft").add({ id: "a", revision: 1 });
    await state.close();
    assert.deepEqual(fs.readdirSync(path.dirname(file)), ["state.sqlite"], "none for a new one");
    const later = await openLater(file, "0002-later");
    await later.close();
    assert.deepEqual(
      rowsOf(file, "select revision from record"),
      rowsOf(file, "select 99 as revision"),
    );
    const copy = `${file}.before-0002-later`;
    const { mode } = fs.statSync(copy);
    assert.equal(mode & 0o777, 0o600);
    const restored = await open(copy);
    assert.deepEqual(await restored.records("draft").all(), [{ id: "a", revision: 1 }]);
    await restored.close();
  });
});

test("without a copy there is no migration", async () => {
  await withFile(async (file) => {
    const state = await open(file);
    await state.records("draft").add({ id: "a", revision: 1 });
    await state.close();
    // A directory of that name, which nothing can replace.
    fs.mkdirSync(`${file}.before-0002-later`);
    await assert.rejects(openLater(file, "0002-later"), { code: "store-unavailable" });
    const again = await open(file);
    assert.deepEqual(await again.records("draft").all(), [{ id: "a", revision: 1 }]);
    await again.close();
  });
});

test("state that is damaged is refused with what to do, and not one byte of it is changed", async () => {
  await withFile(async (file) => {
    const state = await open(file);
    for (let n = 0; n < 200; n++) {
      await state.records("draft").add({ id: `${n}`, revision: 1, person: "p".repeat(500) });
    }
    await state.close();
    const whole = fs.readFileSync(file);
    const torn = Buffer.from(whole);
    torn.fill(0xa5, 3 * 4096);
    const foreign = Buffer.from("not a database, and long enough to look at".repeat(200));
    for (const bytes of [torn, foreign]) {
      fs.writeFileSync(file, bytes);
      await assert.rejects(open(file), (error: Error & { code?: string; hint?: string }) => {
        assert.equal(error.code, "store-damaged");
        assert.match(error.hint ?? "", /backup restore/);
        return true;
      });
      assert.deepEqual(fs.readFileSync(file), bytes);
    }
    fs.writeFileSync(file, whole);
    await (await open(file)).close();
  });
});

test("a log whose database is gone is not thrown away", async () => {
  await withFile(async (file) => {
    fs.writeFileSync(`${file}-wal`, "the last that was acknowledged");
    await assert.rejects(open(file), { code: "store-damaged" });
    assert.equal(fs.readFileSync(`${file}-wal`, "utf8"), "the last that was acknowledged");
  });
});

test("only the owner of state can read it, and a place that is no file is told", async () => {
  await withFile(async (file) => {
    const state = await open(file);
    await state.records("draft").add({ id: "a", revision: 1 });
    for (const name of fs.readdirSync(path.dirname(file))) {
      const { mode } = fs.statSync(path.join(path.dirname(file), name));
      assert.equal(mode & 0o077, 0, name);
    }
    assert.throws(() => state.records("Draft"), { code: "record-not-storable" });
    await state.close();
    await assert.rejects(open(path.join(file, "below")), { code: "store-unavailable" });
  });
});

/** Adds records one by one and says each that was acknowledged, until it is killed. */
const WRITER = `
const { openStateStore } = await import(process.argv[1]);
const state = await openStateStore({ kind: "sqlite", file: process.argv[2] });
const drafts = state.records("draft");
for (let n = (await drafts.all()).length; ; n++) {
  if (await drafts.add({ id: String(n), revision: 1 })) process.stdout.write(n + "\\n");
}`;

function startWriter(file: string): ChildProcess {
  const source = path.join(import.meta.dirname, "open-state-store.ts");
  return spawn(process.execPath, ["--input-type=module", "-e", WRITER, source, file], {
    stdio: ["ignore", "pipe", "inherit"],
  });
}

test("kill -9 in the middle of writing loses nothing that was acknowledged", async () => {
  await withFile(async (file) => {
    const acknowledged = new Set<string>();
    for (let round = 0; round < 3; round++) {
      const writer = startWriter(file);
      let said = "";
      writer.stdout?.on("data", (chunk: Buffer) => {
        said += chunk.toString();
        if (said.length > 60 + 7 * round) writer.kill("SIGKILL");
      });
      await once(writer, "close");
      assert.equal(writer.signalCode, "SIGKILL");
      for (const id of said.split("\n").slice(0, -1)) acknowledged.add(id);
    }
    assert.ok(acknowledged.size > 20, `${acknowledged.size}`);
    const state = await open(file);
    const kept = new Set((await state.records<Stored>("draft").all()).map(({ id }) => id));
    assert.deepEqual(
      [...acknowledged].filter((id) => !kept.has(id)),
      [],
    );
    await state.close();
  });
});

test("of two processes that add the same ids each id is acknowledged to one of them", async () => {
  await withFile(async (file) => {
    await (await open(file)).close();
    const writers = [startWriter(file), startWriter(file)];
    const said = await Promise.all(
      writers.map(async (writer) => {
        let text = "";
        writer.stdout?.on("data", (chunk: Buffer) => {
          text += chunk.toString();
          if (text.length > 400) writer.kill("SIGKILL");
        });
        await once(writer, "close");
        return text.split("\n").slice(0, -1);
      }),
    );
    const all = said.flat();
    assert.ok(said.every((ids) => ids.length > 50));
    assert.equal(new Set(all).size, all.length);
  });
});
