import assert from "node:assert/strict";
import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import fs from "node:fs";
import os from "node:os";
import path from "node:path";
import { DatabaseSync } from "node:sqlite";
import { test } from "node:test";
import type { Stored } from "@sallyport/identity";
import { openStateStore } from "../state/open-state-store.ts";
import { type BackupSource, createBackup } from "./create-backup.ts";
import { restoreBackup } from "./restore-backup.ts";
import { verifyBackup } from "./verify-backup.ts";

const NOON = Date.UTC(2026, 10, 18, 12, 0);

/** A signed head of so many records, as the ledger writes it. */
function headOf(size: number): string {
  return `sallyport.example/brewery/audit\n${size}\nTszzRgjTG6xce+z2AG31kAXYKBgQVtCSCE40HmuwBb0=\n\n— a b\n`;
}

/** A gateway's state directory with real databases in it. */
class Site implements Disposable {
  readonly root: string = fs.mkdtempSync(path.join(os.tmpdir(), "sallyport-backup-"));
  readonly place: string = path.join(this.root, "main");
  readonly state: string = path.join(this.place, "state.sqlite");
  readonly ledger: string = path.join(this.place, "ledger", "ledger.sqlite");
  readonly signer: string = path.join(this.place, "ledger", "signer.state");
  readonly target: string = path.join(this.root, "backup");

  async fill(records: number): Promise<void> {
    fs.mkdirSync(path.dirname(this.ledger), { recursive: true, mode: 0o750 });
    const state = await openStateStore({ kind: "sqlite", file: this.state });
    for (let n = 0; n < records; n++) await state.records("draft").add({ id: `${n}`, revision: 1 });
    await state.close();
    using database = new DatabaseSync(this.ledger);
    database.exec("pragma journal_mode = wal; create table record (leaf text)");
    const insert = database.prepare("insert into record values (?)");
    for (let n = 0; n < records; n++) insert.run(`leaf ${n}`);
    fs.writeFileSync(this.signer, "signed up to here", { mode: 0o640 });
  }

  source(more: Partial<BackupSource> = {}): BackupSource {
    return {
      release: "0.1.0",
      atMs: NOON,
      databases: [
        { name: "state.sqlite", file: this.state },
        { name: "ledger/ledger.sqlite", file: this.ledger },
      ],
      files: [{ name: "ledger/signer.state", file: this.signer }],
      ...more,
    };
  }

  async drafts(): Promise<readonly string[]> {
    const state = await openStateStore({ kind: "sqlite", file: this.state });
    try {
      return (await state.records<Stored>("draft").all()).map(({ id }) => id);
    } finally {
      await state.close();
    }
  }

  below(): readonly string[] {
    return fs.readdirSync(this.root).sort();
  }

  [Symbol.dispose](): void {
    fs.rmSync(this.root, { recursive: true });
  }
}

function ledgerSize(directory: string): number {
  using database = new DatabaseSync(path.join(directory, "ledger", "ledger.sqlite"));
  return Number(database.prepare("select count(*) as n from record").get()?.["n"]);
}

/** Writes as fast as the disk lets it, each in a transaction, and says what was acknowledged. */
const WRITER = `
const { openStateStore } = await import(process.argv[1]);
const state = await openStateStore({ kind: "sqlite", file: process.argv[2] });
const drafts = state.records("draft");
for (let n = 0; n < 200_000; n++) {
  await drafts.add({ id: String(n).padStart(6, "0"), revision: 1, person: "p".repeat(400) });
  process.stdout.write(n + "\\n");
}`;

function startWriter(file: string): ChildProcess {
  const source = path.join(import.meta.dirname, "..", "state", "open-state-store.ts");
  return spawn(process.execPath, ["--input-type=module", "-e", WRITER, source, file], {
    stdio: ["ignore", "pipe", "inherit"],
  });
}

test("a backup made while a process writes has all that was acknowledged before, and opens", async () => {
  using site = new Site();
  await site.fill(0);
  const writer = startWriter(site.state);
  let last = -1;
  const isWarm = new Promise<void>((resolve, reject) => {
    writer.once("exit", () => reject(new Error("the writer ended")));
    writer.stdout?.on("data", (chunk: Buffer) => {
      last = Number(chunk.toString().trimEnd().split("\n").at(-1));
      if (last >= 300) resolve();
    });
  });
  const places: { before: number; after: number; target: string }[] = [];
  try {
    await isWarm;
    for (let round = 0; round < 3; round++) {
      const target = `${site.target}-${round}`;
      const before = last;
      await createBackup(site.source(), target);
      places.push({ before, after: last, target });
    }
  } finally {
    writer.kill("SIGKILL");
    await once(writer, "close");
  }
  assert.ok(
    places.some(({ before, after }) => after > before),
    "it wrote meanwhile",
  );
  for (const { before, target } of places) {
    await verifyBackup(target);
    await restoreBackup(target, site.place);
    const ids = await site.drafts();
    assert.ok(ids.length > before, `${before} was acknowledged, ${ids.length} are there`);
    assert.deepEqual(ids.map(Number), [...ids.keys()], "one moment: no gap");
  }
});

test("a restored place has every byte, right and record, and the old one stands aside whole", async () => {
  using site = new Site();
  await site.fill(5);
  const manifest = await createBackup(site.source({ ledgerHead: headOf(5) }), site.target);
  assert.deepEqual(await verifyBackup(site.target), manifest);
  assert.equal(manifest.ledgerHead, headOf(5));
  for (const name of fs.readdirSync(site.target, { recursive: true }).map(String)) {
    assert.equal(fs.statSync(path.join(site.target, name)).mode & 0o077, 0, name);
  }
  const state = await openStateStore({ kind: "sqlite", file: site.state });
  await state.records("draft").add({ id: "since", revision: 1 });
  await state.close();
  const { movedTo } = await restoreBackup(site.target, site.place, {
    witnessedSize: 5,
    ledgerSize,
  });
  assert.equal(movedTo, `${site.place}.before-restore-1`);
  assert.deepEqual(await site.drafts(), ["0", "1", "2", "3", "4"]);
  assert.equal(ledgerSize(site.place), 5);
  assert.equal(fs.readFileSync(site.signer, "utf8"), "signed up to here");
  assert.equal(fs.statSync(site.signer).mode & 0o777, 0o640);
  assert.equal(fs.statSync(path.dirname(site.ledger)).mode & 0o777, 0o750);
  await restoreBackup(site.target, site.place);
  assert.deepEqual(site.below(), [
    "backup",
    "main",
    "main.before-restore-1",
    "main.before-restore-2",
  ]);
  fs.renameSync(`${site.place}.before-restore-1`, site.place + "-old");
  fs.rmSync(site.place, { recursive: true });
  fs.renameSync(`${site.place}-old`, site.place);
  assert.ok((await site.drafts()).includes("since"), "nothing of the old state was lost");
});

test("a place that is gone is restored, with what an interrupted restore left cleared away", async () => {
  using site = new Site();
  await site.fill(2);
  await createBackup(site.source(), site.target);
  fs.rmSync(site.place, { recursive: true });
  fs.mkdirSync(`${site.place}.restoring`);
  fs.writeFileSync(`${site.place}.restoring/state.sqlite`, "half of it");
  assert.deepEqual(Object.keys(await restoreBackup(site.target, site.place)), ["manifest"]);
  assert.deepEqual(await site.drafts(), ["0", "1"]);
  assert.deepEqual(site.below(), ["backup", "main"]);
});

test("a ledger of fewer records than a witness holds is not restored", async () => {
  using site = new Site();
  await site.fill(5);
  await createBackup(site.source({ ledgerHead: headOf(5) }), site.target);
  const refused = { code: "backup-older-than-witness" };
  await assert.rejects(restoreBackup(site.target, site.place, { witnessedSize: 6 }), refused);
  const headless = `${site.target}-headless`;
  await createBackup(site.source(), headless);
  await assert.rejects(restoreBackup(headless, site.place, { witnessedSize: 1 }), refused);
  const strange = `${site.target}-strange`;
  await createBackup(site.source({ ledgerHead: "brewery\n1e9\n" }), strange);
  await assert.rejects(restoreBackup(strange, site.place, { witnessedSize: 1 }), refused);
  // A manifest that somebody changed says 9; the ledger itself has 5.
  const lying = `${site.target}-lying`;
  await createBackup(site.source({ ledgerHead: headOf(9) }), lying);
  const question = { witnessedSize: 6, ledgerSize };
  await assert.rejects(restoreBackup(lying, site.place, question), refused);
  assert.deepEqual(
    site.below().filter((name) => name.startsWith("main")),
    ["main"],
  );
  await restoreBackup(site.target, site.place, { witnessedSize: 5, ledgerSize });
});

test("a backup in which one byte, size or file is another is refused, and says which", async () => {
  using site = new Site();
  await site.fill(50);
  await createBackup(site.source(), site.target);
  const files = ["state.sqlite", "ledger/ledger.sqlite", "ledger/signer.state"];
  const attempts: [RegExp, (target: string) => void][] = files.flatMap((name) => [
    [
      new RegExp(`${name} has other bytes`),
      (target) => {
        const file = path.join(target, name);
        const bytes = fs.readFileSync(file);
        const middle = bytes.length >> 1;
        bytes[middle] = (bytes[middle] ?? 0) ^ 1;
        fs.writeFileSync(file, bytes);
      },
    ],
    [
      new RegExp(`${name} has \\d+ bytes, not`),
      (target) => fs.appendFileSync(path.join(target, name), "x"),
    ],
    [new RegExp(`${name} cannot be read`), (target) => fs.rmSync(path.join(target, name))],
    [
      new RegExp(`${name} cannot be read`),
      (target) => {
        const file = path.join(target, name);
        fs.renameSync(file, path.join(site.root, "elsewhere"));
        fs.symlinkSync(path.join(site.root, "elsewhere"), file);
      },
    ],
  ]);
  attempts.push([
    /"state.sqlite-wal" does not belong/,
    (target) => fs.writeFileSync(path.join(target, "state.sqlite-wal"), "x"),
  ]);
  attempts.push([
    /manifest.json cannot be read/,
    (target) => fs.rmSync(path.join(target, "manifest.json")),
  ]);
  for (const [n, [message, spoil]] of attempts.entries()) {
    const target = path.join(site.root, `spoiled-${n}`);
    fs.cpSync(site.target, target, { recursive: true });
    spoil(target);
    await assert.rejects(verifyBackup(target), { code: "backup-damaged", message });
    await assert.rejects(restoreBackup(target, site.place), { code: "backup-damaged", message });
  }
  assert.equal(attempts.length, 14);
  assert.equal((await site.drafts()).length, 50);
  await verifyBackup(site.target);
});

test("a damaged database is no good backup, though its bytes are as they were written", async () => {
  using site = new Site();
  await site.fill(50);
  const file = path.join(site.root, "torn.sqlite");
  fs.copyFileSync(site.state, file);
  const bytes = fs.readFileSync(file);
  bytes.fill(0xa5, 3 * 4096, 4 * 4096);
  fs.writeFileSync(file, bytes);
  const databases = [{ name: "state.sqlite", file }];
  await createBackup(site.source({ databases }), site.target);
  await assert.rejects(verifyBackup(site.target), {
    code: "backup-damaged",
    message: /damaged database|malformed/,
  });
});

test("a manifest of somebody else's making reaches no file outside, and gives no rights", async () => {
  using site = new Site();
  await site.fill(1);
  await createBackup(site.source(), site.target);
  const file = path.join(site.target, "manifest.json");
  const whole = fs.readFileSync(file, "utf8");
  const [entry] = (JSON.parse(whole) as { entries: object[] }).entries;
  const bad: unknown[] = [
    "{",
    null,
    [],
    {},
    ...["../escape", "/etc/passwd", "a//b", "a/../b", ".hidden", "", "a\0b", "manifest.json"].map(
      (name) => ({ entries: [{ ...entry, name }] }),
    ),
    { entries: [{ ...entry, mode: 0o4755 }] },
    { entries: [{ ...entry, uid: -1 }] },
    { entries: [{ ...entry, sha256: "0" }] },
    { entries: [entry, entry] },
    { entries: Array.from({ length: 10_001 }, (_, n) => ({ ...entry, name: `f${n}` })) },
    { format: 0 },
    { atMs: "now" },
    { ledgerHead: 5 },
  ];
  for (const change of bad) {
    const isPart = typeof change === "object" && change !== null && Object.keys(change).length > 0;
    const text = typeof change === "string" ? change : JSON.stringify(change);
    fs.writeFileSync(file, isPart ? JSON.stringify({ ...JSON.parse(whole), ...change }) : text);
    await assert.rejects(restoreBackup(site.target, site.place), { code: "backup-damaged" }, text);
  }
  fs.writeFileSync(file, JSON.stringify({ ...JSON.parse(whole), format: 2 }));
  await assert.rejects(verifyBackup(site.target), { code: "backup-too-new" });
  assert.deepEqual(site.below(), ["backup", "main"]);
  fs.writeFileSync(file, whole);
  await verifyBackup(site.target);
});

test("a place whose database is open is not exchanged", async () => {
  using site = new Site();
  await site.fill(1);
  await createBackup(site.source(), site.target);
  const state = await openStateStore({ kind: "sqlite", file: site.state });
  await assert.rejects(restoreBackup(site.target, site.place), { code: "backup-place-in-use" });
  await state.records("draft").add({ id: "still", revision: 1 });
  await state.close();
  assert.deepEqual(site.below(), ["backup", "main"]);
  fs.writeFileSync(site.state, "damaged, which is why somebody restores");
  await restoreBackup(site.target, site.place);
  assert.deepEqual(await site.drafts(), ["0"]);
});

test("a database that one process has for itself is copied by that process", async () => {
  using site = new Site();
  await site.fill(3);
  using opened = new DatabaseSync(site.ledger);
  opened.exec("pragma locking_mode = exclusive; insert into record values ('a fourth')");
  const target = site.target;
  await assert.rejects(createBackup(site.source(), target), { code: "backup-failed" });
  assert.deepEqual(site.below(), ["main"], "nothing that looks like a backup");
  const databases = [{ name: "ledger/ledger.sqlite", file: site.ledger, opened }];
  await createBackup(site.source({ databases }), target);
  await verifyBackup(target);
  assert.equal(ledgerSize(target), 4);
});

test("an existing backup is never written over, and a link is not followed", async () => {
  using site = new Site();
  await site.fill(1);
  await createBackup(site.source(), site.target);
  await assert.rejects(createBackup(site.source(), site.target), { code: "backup-exists" });
  await verifyBackup(site.target);
  fs.rmSync(site.signer);
  fs.symlinkSync("/etc/hostname", site.signer);
  await assert.rejects(createBackup(site.source(), `${site.target}-2`), { code: "backup-failed" });
  await assert.rejects(
    createBackup(site.source({ files: [{ name: "../x", file: site.state }] }), "x"),
    RangeError,
  );
});
