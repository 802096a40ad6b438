import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { SallyportError } from "@sallyport/core";
import { clearSlot, contentDigest, readHits, readSelection } from "./read.ts";
import { readSample } from "./sample.ts";

//               target mac   source mac   type ve re po fl generation id
const HEAD =
  "   020000000000 020000000000 88b5 01 05 01 00 00000029 0000002a" +
  //  src zone dst zone ifindex  length   vlan
  "   11223344 55667788 00000007 0000003c 0005 0000";
const FRAME = "ffffffffffff 020000000002 0800";

function hex(text: string): Uint8Array {
  return Uint8Array.from(Buffer.from(text.replaceAll(" ", ""), "hex"));
}

const SAMPLE = hex(HEAD + FRAME);

test("a sample says what was refused, why, by which generation and conduit", () => {
  const read = readSample(SAMPLE);
  assert.ok(read.kind === "message");
  assert.deepEqual(read.message, {
    point: "inner",
    reason: "no-conduit",
    allowed: false,
    cut: false,
    generation: 41,
    id: 42,
    sourceZone: 0x11223344,
    destinationZone: 0x55667788,
    ifindex: 7,
    originalBytes: 60,
    vlan: 5,
    frame: hex(FRAME),
  });
});

test("every proper prefix of the header is incomplete", () => {
  for (let size = 0; size < 46; size++) {
    const read = readSample(SAMPLE.subarray(0, size));
    assert.deepEqual(read, { kind: "incomplete", missingBytes: 46 - size });
  }
});

test("another ethertype, version, reason or point is malformed", () => {
  for (const [offset, value] of [
    [12, 0x08],
    [14, 2],
    [15, 200],
    [16, 3],
  ] as const) {
    const bytes = SAMPLE.slice();
    bytes[offset] = value;
    const read = readSample(bytes);
    assert.deepEqual([read.kind, "offsetBytes" in read && read.offsetBytes], ["malformed", offset]);
  }
});

test("no bytes make the reader throw, and it claims no more than it was given", () => {
  const header = fc.uint8Array({ maxLength: 64 }).map((tail) => {
    const bytes = SAMPLE.slice();
    bytes.set(tail.subarray(0, 34), 12);
    return bytes;
  });
  fc.assert(
    fc.property(fc.oneof(fc.uint8Array({ maxLength: 2000 }), header), (bytes) => {
      const read = readSample(bytes);
      if (read.kind === "message") assert.ok(read.sizeBytes <= bytes.length);
    }),
    { numRuns: 2000 },
  );
});

// As `bpftool -j map dump` prints it, shortened: numbers 32 to 63, of which 42 has passed packets.
const HIT = `"0x03","0x00","0x00","0x00","0x00","0x00","0x00","0x00",
  "0x00","0x02","0x00","0x00","0x00","0x00","0x00","0x00"`;
const ZEROS = (count: number): string => `"0x00",`.repeat(count * 16).slice(0, -1);
const HITS = `[{"key":["0x01","0x00","0x00","0x00"],
  "value":[${ZEROS(10)},${HIT},${ZEROS(21)}],"formatted":{}}]`;

test("counters are read from bpftool's dump; an answer of another form is an error", () => {
  assert.deepEqual(readHits(HITS), [{ id: 42, packets: 3, bytes: 512 }]);
  for (const bad of ["{}", '[{"error":"no"}]']) {
    assert.throws(
      () => readHits(bad),
      (error) => error instanceof SallyportError && error.code === "ebpf-dump-unreadable",
    );
  }
});

test("the slot in force is the pending one until its time", () => {
  const bytes = [0, 0, 0, 0, 1, 0, 0, 0, 100, 0, 0, 0, 0, 0, 0, 0];
  const dump = JSON.stringify([{ key: [0, 0, 0, 0], value: bytes }]);
  assert.equal(readSelection(dump, 99n), 1);
  assert.equal(readSelection(dump, 100n), 0);
});

test("only entries of slots that are gone are cleared", () => {
  const entry = (table: number): object => ({ key: [table, 0, 0, 0, 9, 0, 0, 0], value: [0] });
  const dump = JSON.stringify([entry(2), entry(5), entry(7)]);
  const cleared = clearSlot("live", dump, [5]);
  assert.deepEqual(
    cleared.map(({ key }) => key.slice(0, 2)),
    ["02", "07"],
  );
  assert.deepEqual(clearSlot("hits", dump, []), []);
});

test("a digest depends on content and program, not on the order of writing", () => {
  const a = { map: "live", key: "01", value: "02" } as const;
  const b = { map: "live", key: "03", value: "04" } as const;
  const digest = contentDigest("tag", [a, b]);
  assert.equal(contentDigest("tag", [b, { ...a, value: "09" }, a]), digest);
  assert.equal(contentDigest("tag", [a, b, { ...b, key: "05", value: undefined }]), digest);
  assert.notEqual(contentDigest("gat", [a, b]), digest);
  assert.notEqual(contentDigest("tag", [a]), digest);
});
