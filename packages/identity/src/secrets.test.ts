import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { MemoryRecords } from "./memory-store.test-kit.ts";
import type { Used } from "./records.ts";
import { change, fromLetters, inGroups, toLetters } from "./secrets.ts";

test("bytes are written in Crockford's letters", () => {
  assert.equal(toLetters(Buffer.of(0xff, 0x00, 0x80)), "ZW0800".slice(0, 5));
  assert.equal(inGroups("ABCDEFG", 3), "ABC-DEF-G");
});

test("gives back every bytes that it wrote, as people type them", () => {
  fc.assert(
    fc.property(fc.uint8Array({ minLength: 1, maxLength: 40 }), (bytes) => {
      const typed = inGroups(toLetters(bytes), 5)
        .toLowerCase()
        .replaceAll("0", "o")
        .replaceAll("1", "l");
      assert.deepEqual(fromLetters(typed, bytes.length), Buffer.from(bytes));
    }),
  );
});

test("refuses other letters, other lengths and spare bits", () => {
  const text = toLetters(Buffer.of(1, 2, 3));
  assert.equal(fromLetters(`${text}0`, 3), undefined);
  assert.equal(fromLetters(text.slice(1), 3), undefined);
  assert.equal(fromLetters(text.replace(/.$/, "U"), 3), undefined);
  assert.equal(fromLetters(text.replace(/.$/, "7"), 3), undefined);
  fc.assert(fc.property(fc.string(), (any) => void fromLetters(any, 34)));
});

test("a record that changes each time while it is being changed is given up on, loudly", async () => {
  const records = new MemoryRecords<Used>();
  await records.add({ id: "a", revision: 1, expiresAtMs: 0 });
  let tries = 0;
  records.replace = () => {
    tries++;
    return Promise.resolve(false);
  };
  await assert.rejects(
    change(records, "a", (kept) => kept),
    /8 times/,
  );
  assert.equal(tries, 8);
  assert.equal(await change(records, "b", (kept) => kept), undefined);
});

test("what has expired is removed, and nothing else", async () => {
  const records = new MemoryRecords<Used>();
  for (const expiresAtMs of [9, 10, 11])
    await records.add({ id: `${expiresAtMs}`, revision: 1, expiresAtMs });
  assert.equal(await records.removeExpired(10), 2);
  assert.deepEqual(
    (await records.all()).map(({ id }) => id),
    ["11"],
  );
});
