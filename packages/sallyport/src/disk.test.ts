import assert from "node:assert/strict";
import { test } from "node:test";
import { diskFrom } from "./disk.ts";

const GIB = 1024 ** 3;

test("a disk warns at 80, sheds at 90, drops at 95 percent, and is full below what closing acts need", () => {
  const state = (used: number): string =>
    diskFrom({ usedBytes: used * GIB, freeBytes: (100 - used) * GIB }).state;
  assert.deepEqual([79, 80, 89, 90, 94, 95, 99].map(state), [
    ...["good", "warn", "warn", "shed", "shed", "drop", "drop"],
  ]);
  assert.equal(diskFrom({ usedBytes: GIB, freeBytes: 4 * 1024 * 1024 - 1 }).state, "full");
  assert.equal(diskFrom({ usedBytes: 100 * GIB, freeBytes: 0 }).state, "full");
});
