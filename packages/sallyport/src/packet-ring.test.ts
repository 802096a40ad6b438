import assert from "node:assert/strict";
import fs from "node:fs";
import os from "node:os";
import path from "node:path";
import { test } from "node:test";
import { PcapReader } from "@sallyport/wire";
import { PacketRing } from "./packet-ring.ts";

const RING_MAX_BYTES = 16 * 1024 * 1024;
const FRAME_BYTES = 1500;
/** One and a half times round. */
const FRAMES = 16_800;

function withDirectory(use: (directory: string) => void): void {
  const directory = fs.mkdtempSync(path.join(os.tmpdir(), "sallyport-ring-"));
  try {
    use(directory);
  } finally {
    fs.rmSync(directory, { recursive: true });
  }
}

function sizeOf(directory: string): number {
  return fs
    .readdirSync(directory)
    .reduce((sum, name) => sum + fs.statSync(path.join(directory, name)).size, 0);
}

test("the ring never outgrows its size, and the newest packets are where they are said to be", () => {
  withDirectory((directory) => {
    const ring = new PacketRing(directory);
    const places = Array.from({ length: FRAMES }, (_, index) => {
      const place = ring.add(index, new Uint8Array(FRAME_BYTES).fill(index % 251), FRAME_BYTES);
      if (index % 1000 === 0) assert.ok(sizeOf(directory) <= RING_MAX_BYTES);
      return place;
    });
    assert.ok(sizeOf(directory) <= RING_MAX_BYTES);
    assert.ok(sizeOf(directory) > RING_MAX_BYTES / 2, "half of it is never lost at once");
    for (const index of [FRAMES - 1, FRAMES - 2000]) {
      const { file, offsetBytes } = places[index] ?? { file: "", offsetBytes: 0 };
      const bytes = fs.readFileSync(path.join(directory, file));
      const record = bytes.subarray(offsetBytes, offsetBytes + 16 + FRAME_BYTES);
      const reader = new PcapReader();
      const [read] = reader.push(Buffer.concat([bytes.subarray(0, 24), record]));
      assert.equal(read?.atMs, index);
      assert.deepEqual(new Set(read?.bytes), new Set([index % 251]));
    }
  });
});

test("a restarted ring goes on in the oldest file and keeps the newest", () => {
  withDirectory((directory) => {
    const before = new PacketRing(directory).add(0, new Uint8Array(60).fill(7), 60);
    const after = new PacketRing(directory).add(1, new Uint8Array(60).fill(8), 60);
    assert.ok(before !== undefined && after !== undefined);
    assert.notEqual(after.file, before.file);
    assert.ok(fs.readFileSync(path.join(directory, before.file)).includes(7));
  });
});

test("on a disk that fills up no packet is kept and each is counted; above that the oldest go", () => {
  withDirectory((directory) => {
    let isShedding = false;
    const ring = new PacketRing(directory, () => isShedding);
    const frame = new Uint8Array(FRAME_BYTES);
    for (let n = 0; n < 6000; n++) assert.ok(ring.add(n, frame, FRAME_BYTES));
    isShedding = true;
    assert.equal(ring.add(6001, frame, FRAME_BYTES), undefined);
    assert.equal(ring.add(6002, frame, FRAME_BYTES), undefined);
    assert.deepEqual([ring.takeShed(), ring.takeShed()], [2, 0]);
    assert.equal(ring.dropOldest(), 2);
    assert.equal(fs.readdirSync(directory).length, 1, "the file that is being written stays");
    isShedding = false;
    assert.ok(ring.add(6003, frame, FRAME_BYTES), "and it goes on when there is room");
  });
});
