/**
 * The decoder on captures of real plants and test benches, against what TShark 4.0.17 made of them.
 * TShark knows the direction by port 502 and tells, per frame, unit, function and exception of each PDU.
 */
import assert from "node:assert/strict";
import fs from "node:fs";
import path from "node:path";
import { test } from "node:test";
import { frameLength } from "./frame.ts";
import { decodeRequest, decodeResponse } from "./words.ts";

const ROOT = process.env["SALLYPORT_PCAPS"] ?? path.resolve("../shared/pcaps");
const SKIP = fs.existsSync(path.join(ROOT, "MANIFEST.tsv"))
  ? ""
  : `needs captures: set SALLYPORT_PCAPS to a folder with MANIFEST.tsv (looked in ${ROOT})`;
const MODBUS_PORT = 502;

interface Capture {
  readonly name: string;
  /** Messages framed, both directions. */
  readonly pdus: number;
  /** Of these, what the specification forbids. */
  readonly malformed?: number;
  /** Segments that hold something else than Modbus. */
  readonly foreign?: number;
  /** Where TShark tells another number, by how many we tell more; each with its reason. */
  readonly differs?: Readonly<Record<string, number>>;
}

const CAPTURES: readonly Capture[] = [
  // Function 23 with quantities of 0.
  { name: "modbus/4sics_min", pdus: 2, malformed: 1 },
  // An identification whose "more follows" is 0x4d.
  { name: "modbus/eit_mei", pdus: 4, malformed: 1 },
  { name: "modbus/fuzz72_malformed", pdus: 17, foreign: 4 },
  // File records without a record.
  { name: "modbus/icsnpp_modbus_example", pdus: 48, malformed: 4 },
  { name: "modbus/iti_modbus_test_2", pdus: 3975 },
  { name: "modbus/mask_write", pdus: 2 },
  // An identification that ends after its first bytes.
  { name: "modbus/mei_encapsulated", pdus: 2, malformed: 1 },
  // Two UMAS messages are longer than Modbus allows, so the decoder does not take them.
  {
    name: "modbus/modicon_umas_ident",
    pdus: 178,
    foreign: 2,
    differs: { "request 0 90": -1, "response 0 90": -1 },
  },
  { name: "modbus/non_modbus_on_502", pdus: 12, foreign: 11 },
  { name: "modbus/plant1_modbus", pdus: 15_976 },
  // One response that TShark does not tell; the capture begins in the middle of the connection.
  { name: "modbus/plant_mixed_big", pdus: 5549, differs: { "response 255 1": 1 } },
  // Exceptions with a byte too many, identifications too, and one response followed by two stray
  // bytes, after which TShark tells no message in the next segment.
  {
    name: "modbus/quickdraw_part1",
    pdus: 46,
    malformed: 12,
    foreign: 6,
    differs: { "response 10 42": 1 },
  },
  { name: "modbus/read_write_multiple", pdus: 2 },
  { name: "modbus/suricata_modbus", pdus: 39, malformed: 7, foreign: 4 },
  { name: "attack/modbus_characterization", pdus: 7919 },
  { name: "attack/modbus_fake_command", pdus: 2466 },
  // Segments that were sent again together with new ones: TShark does not tell the new ones.
  {
    name: "mixed/plant_mb2_multiprotocol",
    pdus: 3584,
    differs: { "response 255 2": 1, "request 255 4": 4, "response 255 4": 1 },
  },
];

interface Segment {
  readonly from: string;
  readonly toServer: boolean;
  readonly sequence: number;
  readonly isSyn: boolean;
  readonly data: Uint8Array;
}

/** TCP segments on the Modbus port of a little-endian pcap file with Ethernet frames. */
function* segments(file: string): Generator<Segment> {
  const bytes = fs.readFileSync(file);
  assert.equal(bytes.readUInt32LE(0), 0xa1b2c3d4);
  assert.equal(bytes.readUInt32LE(20), 1, "Ethernet");
  for (let at = 24; at + 16 <= bytes.length; ) {
    const size = bytes.readUInt32LE(at + 8);
    const frame = bytes.subarray(at + 16, at + 16 + size);
    at += 16 + size;
    if (frame.length < 54 || frame.readUInt16BE(12) !== 0x0800 || frame[23] !== 6) continue;
    const ip = 14;
    const tcp = ip + ((frame[ip] ?? 0) & 15) * 4;
    const end = Math.min(frame.length, ip + frame.readUInt16BE(ip + 2));
    if (tcp + 20 > end) continue;
    const source = frame.readUInt16BE(tcp);
    const target = frame.readUInt16BE(tcp + 2);
    if (source !== MODBUS_PORT && target !== MODBUS_PORT) continue;
    const data = frame.subarray(tcp + ((frame[tcp + 12] ?? 0) >> 4) * 4, end);
    yield {
      from: `${frame.subarray(ip + 12, ip + 20).toString("hex")}:${source}>${target}`,
      toServer: target === MODBUS_PORT,
      sequence: frame.readUInt32BE(tcp + 4),
      isSyn: ((frame[tcp + 13] ?? 0) & 2) !== 0,
      data,
    };
  }
}

/** In-order bytes of each direction, in the order of the capture; what was sent again is left out. */
function* streams(file: string): Generator<{ segment: Segment; bytes: Uint8Array; gap: boolean }> {
  const expected = new Map<string, number>();
  for (const segment of segments(file)) {
    if (segment.isSyn) {
      expected.set(segment.from, (segment.sequence + 1) >>> 0);
      continue;
    }
    if (segment.data.length === 0) continue;
    const next = expected.get(segment.from) ?? segment.sequence;
    const ahead = (segment.sequence - next) | 0;
    const fresh = ahead < 0 ? segment.data.subarray(-ahead) : segment.data;
    if (fresh.length === 0) continue;
    expected.set(segment.from, (segment.sequence + segment.data.length) >>> 0);
    yield { segment, bytes: fresh, gap: ahead > 0 };
  }
}

interface Seen {
  /** `request unit function` or `response unit function exception`, how often. */
  readonly pdus: Map<string, number>;
  malformed: number;
  foreign: number;
}

function decodeCapture(file: string): Seen {
  const seen: Seen = { pdus: new Map(), malformed: 0, foreign: 0 };
  const rests = new Map<string, Uint8Array>();
  for (const { segment, bytes, gap } of streams(file)) {
    const before = gap ? undefined : rests.get(segment.from);
    const joined = before === undefined ? bytes : Uint8Array.from([...before, ...bytes]);
    let at = 0;
    for (;;) {
      const size = frameLength(joined, at, joined.length);
      if (size < 0) {
        seen.foreign++;
        at = joined.length;
      }
      if (size <= 0 || at + size > joined.length) break;
      count(seen, segment.toServer, joined.subarray(at, at + size));
      at += size;
    }
    rests.set(segment.from, joined.subarray(at));
  }
  return seen;
}

function count(seen: Seen, isRequest: boolean, adu: Uint8Array): void {
  const decoded = isRequest ? decodeRequest(adu) : decodeResponse(adu);
  assert.notEqual(decoded.kind, "incomplete");
  if (decoded.kind === "malformed") seen.malformed++;
  // The code is counted of malformed messages too: TShark tells it for any.
  const code = (adu[7] ?? 0) & 0x7f;
  if (decoded.kind === "message") assert.equal(decoded.message.functionCode, code);
  const key = `${isRequest ? "request" : "response"} ${adu[6] ?? 0} ${code}`;
  seen.pdus.set(key, (seen.pdus.get(key) ?? 0) + 1);
}

interface TruthRow {
  readonly kind: string;
  readonly dir?: string;
  readonly n: number;
  readonly "mbtcp.unit_id"?: number | readonly number[];
  readonly "modbus.func_code"?: number | readonly number[];
}

function truthOf(name: string): Map<string, number> {
  const pdus = new Map<string, number>();
  const lines = fs.readFileSync(
    path.join(ROOT, "truth", `${name.replace("/", "__")}.jsonl`),
    "utf8",
  );
  for (const line of lines.split("\n")) {
    if (line === "") continue;
    const row = JSON.parse(line) as TruthRow;
    if (row.kind !== "modbus" || row.dir === "unknown") continue;
    const units = [row["mbtcp.unit_id"] ?? []].flat();
    [row["modbus.func_code"] ?? []].flat().forEach((code, index) => {
      const key = `${row.dir ?? ""} ${units[index] ?? -1} ${code}`;
      pdus.set(key, (pdus.get(key) ?? 0) + row.n);
    });
  }
  return pdus;
}

const total = (pdus: ReadonlyMap<string, number>): number =>
  [...pdus.values()].reduce((sum, n) => sum + n, 0);

for (const { name, pdus, malformed = 0, foreign = 0, differs = {} } of CAPTURES) {
  test(`${name}: units and functions of ${pdus} messages are those of the ground truth`, (t) => {
    if (SKIP !== "") {
      t.skip(SKIP);
      return;
    }
    const seen = decodeCapture(path.join(ROOT, `${name}.pcap`));
    const truth = truthOf(name);
    for (const [key, more] of Object.entries(differs)) truth.set(key, (truth.get(key) ?? 0) + more);
    assert.deepEqual(seen.pdus, truth);
    assert.equal(total(seen.pdus), pdus);
    assert.equal(seen.malformed, malformed);
    assert.equal(seen.foreign, foreign);
  });
}
