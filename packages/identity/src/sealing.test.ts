import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { TestRandom } from "./desk.test-kit.ts";
import { SEALED_MAX_BYTES, seal, unseal } from "./sealing.ts";

const KEY = Buffer.alloc(32, 1);
const NEXT = Buffer.alloc(32, 2);
const SECRET = Buffer.from("seed of ines");
const random = new TestRandom();

function said(...args: Parameters<typeof unseal>): string {
  const opened = unseal(...args);
  return opened.kind === "refused" ? opened.code : Buffer.from(opened.secret).toString();
}

test("a sealed secret opens under its key and its record's name, and under no other", () => {
  const envelope = seal([KEY], "totp/ines", SECRET, random);
  assert.equal(said([KEY], "totp/ines", envelope), "seed of ines");
  assert.equal(said([KEY], "totp/eve", envelope), "seal-broken");
  assert.equal(said([NEXT], "totp/ines", envelope), "seal-key-unknown");
  assert.ok(!Buffer.from(envelope).includes(SECRET));
});

test("after a rotation the old key still opens, and says that it is old", () => {
  const old = seal([KEY], "a", SECRET, random);
  const opened = unseal([NEXT, KEY], "a", old);
  assert.ok(opened.kind === "opened" && !opened.isCurrent);
  const fresh = unseal([NEXT, KEY], "a", seal([NEXT, KEY], "a", SECRET, random));
  assert.ok(fresh.kind === "opened" && fresh.isCurrent);
});

test("one flipped bit anywhere is noticed", () => {
  const envelope = Buffer.from(seal([KEY], "a", SECRET, random));
  for (let bit = 0; bit < envelope.length * 8; bit++) {
    const bent = Buffer.from(envelope);
    bent[bit >> 3] = (bent[bit >> 3] ?? 0) ^ (1 << (bit & 7));
    assert.equal(unseal([KEY], "a", bent).kind, "refused", `bit ${bit}`);
  }
});

test("every prefix, and any bytes, are refused without a throw", () => {
  const envelope = seal([KEY], "a", SECRET, random);
  for (let size = 0; size < envelope.length; size++) {
    assert.equal(unseal([KEY], "a", envelope.subarray(0, size)).kind, "refused");
    if (size < 37) assert.equal(said([KEY], "a", envelope.subarray(0, size)), "seal-malformed");
  }
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 100 }), (bytes) => {
      assert.equal(unseal([KEY], "a", bytes).kind, "refused");
    }),
  );
});

test("gives back what was sealed, up to 64 KiB", () => {
  for (const size of [0, 1, SEALED_MAX_BYTES]) {
    const opened = unseal([KEY], "a", seal([KEY], "a", Buffer.alloc(size, 5), random));
    assert.ok(opened.kind === "opened" && opened.secret.length === size);
  }
  assert.throws(() => seal([KEY], "a", Buffer.alloc(SEALED_MAX_BYTES + 1), random), RangeError);
  assert.throws(() => seal([KEY.subarray(1)], "a", SECRET, random), RangeError);
});

test("the same secret is never sealed to the same bytes", () => {
  const one = Buffer.from(seal([KEY], "a", SECRET, random));
  assert.notDeepEqual(one, Buffer.from(seal([KEY], "a", SECRET, random)));
});
