import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import { test } from "node:test";
import fc from "fast-check";
import { sha256Hex, sha256HexOfText } from "./sha256.ts";

test("gives the digests of FIPS 180-4's examples and NIST's empty and long messages", () => {
  const known = new Map([
    ["", "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"],
    ["abc", "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"],
    [
      "abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq",
      "248d6a61d20638b8e5c026930c3e6039a33ce45964ff2167f6ecedd419db06c1",
    ],
    ["a".repeat(1_000_000), "cdc76e5c9914fb9281a1c7e284d73e67f1809a48a497200e046d39ccc7112cd0"],
  ]);
  for (const [text, digest] of known) assert.equal(sha256HexOfText(text), digest);
});

test("agrees with OpenSSL at every length around the block boundaries", () => {
  for (let size = 0; size <= 200; size++) {
    const bytes = Uint8Array.from({ length: size }, (_, index) => (index * 7 + size) & 255);
    assert.equal(sha256Hex(bytes), createHash("sha256").update(bytes).digest("hex"));
  }
});

test("agrees with OpenSSL on random bytes, also inside a larger buffer", () => {
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 300 }), fc.nat({ max: 20 }), (bytes, skip) => {
      const part = bytes.subarray(Math.min(skip, bytes.length));
      assert.equal(sha256Hex(part), createHash("sha256").update(part).digest("hex"));
    }),
  );
});
