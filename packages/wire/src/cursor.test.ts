import assert from "node:assert/strict";
import { test } from "node:test";
import { Cursor } from "./cursor.ts";

const BYTES = Uint8Array.of(0x01, 0x02, 0x03, 0xff, 0xfe, 0xfd, 0xfc);

test("reads big-endian numbers inside its part and nothing outside it", () => {
  const cursor = new Cursor();
  cursor.reset(BYTES, 1, 4);
  assert.equal(cursor.u16(), 0x0203);
  assert.equal(cursor.remainingBytes, 1);
  assert.equal(cursor.u16(), 0, "one byte is left, so no number is");
  assert.equal(cursor.failed, true);
  assert.equal(cursor.u8(), 0, "a failed cursor gives nothing more");
  assert.equal(cursor.remainingBytes, 0);
  cursor.reset(BYTES, 3, 7);
  assert.equal(cursor.failed, false);
  assert.equal(cursor.u32(), 0xfffefdfc);
  assert.equal(cursor.failed, false);
});

test("an end beyond the bytes is no licence to read there", () => {
  const cursor = new Cursor();
  cursor.reset(BYTES, 6, 100);
  assert.equal(cursor.u8(), 0xfc);
  assert.equal(cursor.u8(), 0);
  assert.equal(cursor.failed, true);
});

test("a skip past the end, or backwards, fails and does not move", () => {
  const cursor = new Cursor();
  for (const size of [8, -1]) {
    cursor.reset(BYTES, 0, 7);
    cursor.skip(size);
    assert.equal(cursor.failed, true);
    assert.equal(cursor.offset, 0);
  }
  cursor.reset(BYTES, 0, 7);
  cursor.skip(7);
  assert.equal(cursor.failed, false);
  cursor.reset(BYTES, 8, 9);
  assert.equal(cursor.failed, true, "a part that begins behind the bytes");
});
