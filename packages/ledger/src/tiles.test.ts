import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import {
  bundleMaxBytes,
  formatBundle,
  hashesAtLevel,
  levelsOf,
  parseBundle,
  tilePath,
  widthOf,
} from "./tiles.ts";

test("tiles have the paths of the specification's examples", () => {
  assert.equal(tilePath(0, 1_234_067), "tile/0/x001/x234/067");
  assert.equal(tilePath("entries", 0, 12), "tile/entries/000.p/12");
  assert.equal(tilePath(0, 1234, 17), "tile/0/x001/234.p/17");
  assert.equal(tilePath(1, 999), "tile/1/999");
  assert.equal(tilePath(1, 1000), "tile/1/x001/000");
});

test("a tree of 70,000 has the tiles that the specification counts, one of 256 has two", () => {
  const widths = (size: number): (readonly number[])[] =>
    Array.from({ length: levelsOf(size) }, (_, level) => {
      const count = hashesAtLevel(size, level);
      return [Math.floor(count / 256), widthOf(count, Math.floor(count / 256))];
    });
  assert.deepEqual(widths(70_000), [
    [273, 112],
    [1, 17],
    [0, 1],
  ]);
  assert.deepEqual(widths(256), [
    [1, 0],
    [0, 1],
  ]);
  assert.deepEqual(widths(0), []);
});

test("a bundle gives back what was put in, up to entries of 65,535 bytes", () => {
  const entry = fc.uint8Array({ maxLength: 300 });
  fc.assert(
    fc.property(fc.array(entry, { maxLength: 8 }), (entries) => {
      const parsed = parseBundle(formatBundle(entries), entries.length);
      assert.ok(parsed.kind === "parsed");
      assert.deepEqual(
        parsed.value.map((one) => [...one]),
        entries.map((one) => [...one]),
      );
    }),
  );
  const largest = formatBundle([new Uint8Array(65_535)]);
  assert.equal(largest.length, bundleMaxBytes(1));
  assert.equal(parseBundle(largest, 1).kind, "parsed");
  assert.throws(() => formatBundle([new Uint8Array(65_536)]), RangeError);
});

test("a bundle that is cut or goes on names the entry", () => {
  const bytes = formatBundle([Buffer.from("first"), Buffer.from("second")]);
  for (let size = 0; size < bytes.length; size++) {
    const cut = parseBundle(bytes.subarray(0, size), 2);
    assert.ok(cut.kind === "malformed");
    assert.equal(cut.at, size < 7 ? 0 : 1);
  }
  assert.equal(parseBundle(bytes, 1).kind, "malformed");
  assert.equal(parseBundle(bytes, 3).kind, "malformed");
});

test("random bytes never make it throw", () => {
  fc.assert(
    fc.property(
      fc.uint8Array({ maxLength: 600 }),
      fc.nat(256),
      (bytes, width) => void parseBundle(bytes, width),
    ),
  );
});
