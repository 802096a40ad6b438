import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { LINKTYPE_NFLOG, PcapReader, pcapFileHeader, pcapRecord, readNflog } from "./index.ts";

const FRAME = new Uint8Array([1, 2, 3, 4, 5]);

function stream(): Uint8Array {
  return Uint8Array.from([
    ...pcapFileHeader(1),
    ...pcapRecord(1_700_000_000_123, FRAME),
    ...pcapRecord(1_700_000_001_000, new Uint8Array(0), 60),
  ]);
}

test("gives the records of a capture whatever the sizes it arrives in", () => {
  const bytes = stream();
  for (let size = 1; size <= bytes.length; size++) {
    const reader = new PcapReader();
    const records: { atMs: number; bytes: number[]; originalBytes: number }[] = [];
    for (let at = 0; at < bytes.length; at += size) {
      for (const record of reader.push(bytes.subarray(at, at + size))) {
        records.push({ ...record, bytes: [...record.bytes] });
      }
    }
    assert.equal(reader.linkType, 1);
    assert.deepEqual(records, [
      { atMs: 1_700_000_000_123, bytes: [...FRAME], originalBytes: 5 },
      { atMs: 1_700_000_001_000, bytes: [], originalBytes: 60 },
    ]);
  }
});

test("says that a stream is not a capture, and stays silent after", () => {
  const reader = new PcapReader();
  assert.deepEqual(reader.push(new Uint8Array(24).fill(7)), []);
  assert.match(reader.malformed ?? "", /file header/);
  assert.deepEqual(reader.push(stream()), []);
});

test("refuses a record above libpcap's own limit instead of waiting for its bytes", () => {
  const reader = new PcapReader();
  const huge = pcapRecord(0, FRAME);
  new DataView(huge.buffer).setUint32(8, 262_145, true);
  reader.push(Uint8Array.from([...pcapFileHeader(1), ...huge]));
  assert.match(reader.malformed ?? "", /262145/);
});

test("reads mark, prefix, packet and its link-layer header of a logged packet", () => {
  const bytes = Uint8Array.from([
    ...[2, 0, 0, 5],
    ...[8, 0, 2, 0, 0, 0, 1, 44], // mark 300, big-endian
    ...[7, 0, 10, 0, 118, 49, 0, 0], // "v1", then padding
    ...[7, 0, 16, 0, 0x88, 0xcc, 0x01, 0], // the end of a header, and padding
    ...[6, 0, 9, 0, 0x45, 0x00, 0, 0],
  ]);
  assert.equal(LINKTYPE_NFLOG, 239);
  const packet = readNflog(bytes);
  assert.deepEqual(
    [packet?.mark, packet?.prefix, [...(packet?.payload ?? [])]],
    [300, "v1", [0x45, 0]],
  );
  assert.deepEqual([...(packet?.linkHeader ?? [])], [0x88, 0xcc, 0x01]);
});

test("never throws on bytes that are no log record and no capture", () => {
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 200 }), (bytes) => {
      readNflog(bytes);
      new PcapReader().push(bytes);
      new PcapReader().push(Uint8Array.from([...pcapFileHeader(1), ...bytes]));
    }),
  );
});
