import assert from "node:assert/strict";
import fs from "node:fs";
import path from "node:path";
import { DatabaseSync } from "node:sqlite";
import { test } from "node:test";
import fc from "fast-check";
import type { SallyportError } from "@sallyport/core";
import { checkCheckpoint, parseCheckpoint } from "./checkpoint.ts";
import { commitmentOf } from "./leaf.ts";
import type { Ledger } from "./ledger.ts";
import { act, acts, Folder, LOG_KEY, SIGNER, START_MS } from "./ledger.test-kit.ts";
import { isConsistent, leafHashOfText, treeHash } from "./merkle.ts";
import { signerFromSeed } from "./signer.ts";
import { checkProof } from "./tlog-proof.ts";

const TRUST = { logKeys: [LOG_KEY], witnessKeys: [], threshold: 0 };
const code = (wanted: string) => (error: SallyportError) => {
  assert.equal(error.code, wanted, error.message);
  return true;
};

async function fill(ledger: Ledger, count: number): Promise<void> {
  for (let from = 0; from < count; from += 500) {
    await ledger.append(acts(Math.min(500, count - from), from));
  }
}

test("records have consecutive numbers, and the root is the one of RFC 6962 at every size", async () => {
  using folder = new Folder();
  const ledger = folder.open();
  const hashes: Uint8Array[] = [];
  for (const size of [1, 2, 1, 252, 1, 255, 300]) {
    const { first, count } = await ledger.append(acts(size, hashes.length));
    assert.deepEqual([first, count], [hashes.length, size]);
    for (let index = first; index < first + count; index++) {
      hashes.push(leafHashOfText(ledger.record(index)?.leaf ?? ""));
    }
    assert.deepEqual(ledger.head(), {
      origin: SIGNER.name,
      size: hashes.length,
      root: treeHash(hashes),
    });
  }
  await ledger.close();
});

test("a ledger goes on where it was, from any size around the edges of tiles", async () => {
  using folder = new Folder();
  for (const step of [255, 1, 1, 254, 2, 600]) {
    const ledger = folder.open();
    await fill(ledger, step);
    const { size, root } = ledger.head();
    await ledger.close();
    const again = folder.open();
    assert.equal(again.head().size, size);
    assert.equal(Buffer.compare(again.head().root, root), 0);
    const checkpoint = await again.checkpoint();
    assert.equal(checkCheckpoint(checkpoint, TRUST).kind, "good");
    for (const index of [0, Math.floor(size / 2), size - 1]) {
      assert.equal(checkProof(again.prove(index), TRUST).kind, "good");
    }
    await again.close();
  }
});

test("appends of one turn share a commit, and each learns its own numbers", async () => {
  using folder = new Folder();
  const ledger = folder.open();
  const all = await Promise.all([3, 0, 2, 1].map((count) => ledger.append(acts(count))));
  assert.deepEqual(
    all.map(({ first, count }) => [first, count]),
    [
      [0, 3],
      [3, 0],
      [3, 2],
      [5, 1],
    ],
  );
  await ledger.close();
});

test("a bad record refuses its own append and no other", async () => {
  using folder = new Folder();
  const ledger = folder.open();
  const good = ledger.append([act(1)]);
  const bad: [string, object][] = [
    ["record-refused", { ...act(1), type: "Grant Approved" }],
    ["record-refused", { ...act(1), type: `a${"b".repeat(64)}` }],
    ["record-refused", { ...act(1), at: 1.5 }],
    ["record-refused", { ...act(1), commit: {} }],
    ["record-refused", { ...act(1), personal: {} }],
    ["record-refused", { ...act(1), personal: { "not a name": 1 } }],
    ["record-refused", { ...act(1), personal: { note: "x".repeat(65_536) } }],
    ["not-canonical", { ...act(1), value: Number.NaN }],
    ["not-canonical", { ...act(1), text: "\ud800" }],
  ];
  for (const [wanted, record] of bad) {
    // What a caller without types may hand in.
    await assert.rejects(ledger.append([act(2), record as ReturnType<typeof act>]), code(wanted));
  }
  assert.deepEqual(await good, { first: 0, count: 1 });
  assert.equal(ledger.head().size, 1);
  await ledger.close();
});

test("a leaf may have 65,535 bytes, not one more, and nest 64 deep, not deeper", async () => {
  using folder = new Folder();
  const ledger = folder.open();
  const plain = { type: "a", at: START_MS, text: "" };
  const room = 65_535 - JSON.stringify(plain).length;
  await ledger.append([{ ...plain, text: "x".repeat(room) }]);
  await assert.rejects(
    ledger.append([{ ...plain, text: "x".repeat(room + 1) }]),
    code("record-too-long"),
  );
  await assert.rejects(
    ledger.append([{ ...plain, text: "€".repeat(room / 3 + 1) }]),
    code("record-too-long"),
  );
  const nested = (depth: number): unknown => (depth === 0 ? 1 : [nested(depth - 1)]);
  await ledger.append([{ ...plain, deep: nested(63) as 1 }]);
  await assert.rejects(ledger.append([{ ...plain, deep: nested(64) as 1 }]), code("not-canonical"));
  assert.equal(ledger.head().size, 2);
  await ledger.close();
});

test("a follower's place moves with its records or not at all", async () => {
  using folder = new Folder();
  const ledger = folder.open();
  assert.equal(ledger.placeOf("events"), undefined);
  await ledger.append(acts(2), { source: "events", place: "17:2" });
  await ledger.append([], { source: "events", place: "17:3", after: "17:2" });
  const stale = ledger.append(acts(2), { source: "events", place: "17:4", after: "17:2" });
  const other = ledger.append(acts(1), { source: "other", place: "1" });
  await assert.rejects(stale, code("place-moved"));
  assert.deepEqual(await other, { first: 2, count: 1 });
  await ledger.close();
  const again = folder.open();
  assert.deepEqual([again.placeOf("events"), again.head().size], ["17:3", 3]);
  await again.close();
});

test("personal values are commitments in the leaf; erasing them leaves every proof as it was", async () => {
  using folder = new Folder();
  const ledger = folder.open();
  await fill(ledger, 20);
  await ledger.checkpoint();
  const before = ledger.record(3);
  assert.deepEqual(before?.personal, { actor: "vendor-3", address: "10.20.30.40" });
  assert.ok(!before.leaf.includes("vendor-3"));
  const proof = ledger.prove(3);
  assert.equal(
    await ledger.erase({ value: "vendor-3" }, { type: "personal.erased", at: START_MS }),
    4,
  );
  assert.equal(
    await ledger.erase({ index: 4, name: "actor" }, { type: "personal.erased", at: START_MS }),
    1,
  );
  assert.deepEqual(ledger.record(3)?.personal, { address: "10.20.30.40" });
  assert.equal(ledger.record(3)?.leaf, before.leaf);
  assert.equal(ledger.prove(3), proof);
  const checkpoint = await ledger.checkpoint();
  assert.equal(checkProof(ledger.prove(3), TRUST).kind, "good");
  assert.equal(parseCheckpoint(checkpoint).kind, "parsed");
  const told = JSON.parse(ledger.record(20)?.leaf ?? "{}") as { erased: unknown };
  assert.deepEqual(told.erased, [
    [3, "actor"],
    [8, "actor"],
    [13, "actor"],
    [18, "actor"],
  ]);
  for (const file of fs.readdirSync(folder.directory)) {
    const bytes = fs.readFileSync(path.join(folder.directory, file));
    assert.ok(!bytes.includes("vendor-3"), `${file} still holds the value`);
  }
  await ledger.close();
});

test("a commitment is salted: the same value is another one in each record", async () => {
  using folder = new Folder();
  const ledger = folder.open();
  await fill(ledger, 2);
  const leaves = [0, 1].map(
    (index) => JSON.parse(ledger.record(index)?.leaf ?? "{}") as { commit: Record<string, string> },
  );
  assert.notEqual(leaves[0]?.commit["address"], leaves[1]?.commit["address"]);
  assert.notEqual(leaves[0]?.commit["address"], commitmentOf(new Uint8Array(16), '"10.20.30.40"'));
  await ledger.close();
});

test("records are found by type and time, page by page, also where times go back", async () => {
  using folder = new Folder();
  const ledger = folder.open();
  await fill(ledger, 1300);
  await ledger.append([{ type: "clock.step", at: START_MS - 5000 }]);
  await fill(ledger, 700);
  const all = Array.from({ length: 2001 }, (_, index) => ledger.record(index)).filter(
    (one) => one !== undefined,
  );
  assert.equal(all.length, 2001);
  const number = fc.integer({ min: -10_000, max: 1_400_000 }).map((ms) => START_MS + ms);
  const types = fc.constantFrom(undefined, "grant.approved", "clock.step", "never.seen");
  fc.assert(
    fc.property(
      types,
      number,
      number,
      fc.nat(2100),
      fc.integer({ min: 1, max: 1000 }),
      (type, fromMs, toMs, from, limit) => {
        const matches = all.filter(
          (one) =>
            one.index >= from &&
            one.at >= fromMs &&
            one.at < toMs &&
            (type === undefined || one.type === type),
        );
        const seen: number[] = [];
        for (let next: number | undefined = from; next !== undefined; ) {
          const page = ledger.list({
            ...(type === undefined ? {} : { type }),
            fromMs,
            toMs,
            from: next,
            limit,
          });
          assert.ok(page.records.length <= limit);
          seen.push(...page.records.map(({ index }) => index));
          next = page.next;
        }
        assert.deepEqual(
          seen,
          matches.map(({ index }) => index),
        );
      },
    ),
    { numRuns: 40 },
  );
  for (const limit of [0, 1001, 1.5])
    assert.throws(() => ledger.list({ limit }), code("record-question"));
  await ledger.close();
});

test("any two heads have a proof that one extends the other", async () => {
  using folder = new Folder();
  const ledger = folder.open();
  const heads = [];
  for (const step of [1, 6, 250, 300, 3]) {
    await fill(ledger, step);
    heads.push(ledger.head());
  }
  for (const older of heads) {
    for (const newer of heads.filter(({ size }) => size >= older.size)) {
      const proof = ledger.consistency(older.size, newer.size);
      assert.ok(isConsistent(older.size, newer.size, older.root, newer.root, proof));
    }
  }
  assert.throws(() => ledger.consistency(5, 561), code("record-question"));
  assert.throws(() => ledger.consistency(6, 5), code("record-question"));
  await ledger.close();
});

test("a second process is told that the ledger is taken", async () => {
  using folder = new Folder();
  const ledger = folder.open();
  await fill(ledger, 1);
  assert.throws(() => folder.open(), code("ledger-busy"));
  await ledger.close();
  await folder.open().close();
});

test("it is time to sign after 256 records or ten seconds, and never without a new one", async () => {
  using folder = new Folder();
  const ledger = folder.open();
  folder.nowMs += 60_000;
  assert.equal(ledger.isCheckpointDue(), false);
  await fill(ledger, 1);
  assert.equal(ledger.isCheckpointDue(), true, "ten seconds");
  await ledger.checkpoint();
  await fill(ledger, 255);
  assert.equal(ledger.isCheckpointDue(), false);
  await fill(ledger, 1);
  assert.equal(ledger.isCheckpointDue(), true, "256 records");
  await ledger.close();
});

test("signing one head twice gives the same note, and no proof leaves before a signature", async () => {
  using folder = new Folder();
  const ledger = folder.open();
  await fill(ledger, 3);
  assert.throws(() => ledger.prove(0), code("record-not-signed"));
  const first = await ledger.checkpoint();
  assert.equal(await ledger.checkpoint(), first);
  assert.equal(ledger.signed(), first);
  assert.throws(() => ledger.prove(3), code("record-not-signed"));
  assert.throws(() => ledger.prove(-1), code("record-not-signed"));
  await ledger.close();
});

test("without the signer's state, or with a damaged one, nothing is signed", async () => {
  using folder = new Folder();
  const ledger = folder.open();
  await fill(ledger, 3);
  await ledger.checkpoint();
  await ledger.close();
  const file = path.join(folder.directory, "signer.state");
  const text = fs.readFileSync(file, "utf8");
  fs.writeFileSync(file, text.replace('"size":3', '"size":2'));
  assert.throws(() => folder.open(), code("signer-state-damaged"));
  fs.writeFileSync(file, text);
  const otherOrigin = signerFromSeed("sallyport.example/other/audit", new Uint8Array(32));
  assert.throws(() => folder.open({ signer: otherOrigin }), code("signer-state-damaged"));
  fs.rmSync(file);
  const again = folder.open();
  await again.append([act(1)]);
  await assert.rejects(again.checkpoint(), code("signer-state-missing"));
  await again.close();
});

test("a database that was altered at its edge is refused before anything is added to it", async () => {
  using folder = new Folder();
  const ledger = folder.open();
  await fill(ledger, 300);
  await ledger.close();
  const change = (text: string): void => {
    const database = new DatabaseSync(path.join(folder.directory, "ledger.sqlite"));
    database.exec(text);
    database.close();
  };
  change("update record set hash = zeroblob(32) where idx = 280");
  const altered = folder.open();
  await assert.rejects(altered.append([act(1)]), code("ledger-damaged"));
  await assert.rejects(altered.append([act(1)]), code("ledger-damaged"), "and it stays so");
  await altered.close();
  change("delete from record where idx = 299");
  assert.throws(() => folder.open(), code("ledger-damaged"));
  fs.writeFileSync(
    path.join(folder.directory, "ledger.sqlite"),
    "no database at all, but long enough to look at",
  );
  assert.throws(() => folder.open(), code("ledger-damaged"));
});

test("an origin with a space, or a threshold without enough witnesses, is refused", () => {
  using folder = new Folder();
  assert.throws(() => folder.open({ signer: { ...SIGNER, name: "a b" } }), code("ledger-options"));
  assert.throws(() => folder.open({ threshold: 1 }), code("ledger-options"));
  assert.throws(() => folder.open({ witnesses: [LOG_KEY] }), code("ledger-options"));
});
