/** Records as lines for a SIEM: as the formats ask, and never more than one line. */
import assert from "node:assert/strict";
import fs from "node:fs";
import { test } from "node:test";
import fc from "fast-check";
import { ocsfLine } from "./ocsf.ts";
import type { ForwardedRecord, Sender } from "./record.ts";
import { cefLine, framed, LINE_BYTES_MAX, syslogLine } from "./syslog.ts";

const SENDER: Sender = {
  host: "gw1.site1.example",
  version: "0.1",
  processId: 812,
  enterprise: 32473,
};
const LEAF = "ab".repeat(32);

function record(change: Partial<ForwardedRecord> = {}): ForwardedRecord {
  const fields = { conduit: "c-eng-plc1", source: "10.1.2.9:50211", note: 'a]b"c\\d' };
  const atMs = Date.UTC(2026, 0, 15, 10, 0, 0, 123);
  return { index: 42, type: "packet-denied", atMs, fields, personal: {}, leaf: LEAF, ...change };
}

test("writes RFC 5424 with its escapes, and a warning for a refusal", () => {
  assert.equal(
    syslogLine(record(), SENDER),
    `<132>1 2026-01-15T10:00:00.123Z gw1.site1.example sallyport 812 packet-denied [sp@32473 index="42" leaf="${LEAF}" conduit="c-eng-plc1" source="10.1.2.9:50211" note="a\\]b\\"c\\\\d"] packet-denied #42`,
  );
});

test("writes CEF in RFC 5424, its header and extension each with their own escapes", () => {
  const odd = record({
    type: "grant-added",
    fields: { path: "a\\b=c|d" },
    personal: { person: "vic" },
  });
  assert.equal(
    cefLine(odd, { ...SENDER, version: "0|1" }),
    "<133>1 2026-01-15T10:00:00.123Z gw1.site1.example sallyport 812 - - CEF:0|Sallyport|Gateway|0\\|1|grant-added|grant added|3|rt=1768471200123 externalId=42 cs1Label=path cs1=a\\\\b\\=c|d suser=vic",
  );
});

test("tells CEF an address and its port apart", () => {
  const fields = { source: "10.1.2.9:50211", destination: "10.9.0.5:502" };
  assert.match(
    cefLine(record({ fields }), SENDER),
    / src=10\.1\.2\.9 spt=50211 dst=10\.9\.0\.5 dpt=502$/,
  );
});

test("counts bytes, not characters, in front of a line on a stream", () => {
  assert.equal(framed("aé").toString(), "3 aé");
});

interface Required {
  readonly classes: Readonly<
    Record<string, { class_uid: number; required: string[]; at_least_one?: string[] }>
  >;
}

const required = JSON.parse(
  fs.readFileSync(new URL("testdata/ocsf-required.json", import.meta.url), "utf8"),
) as Required;

test("writes OCSF with every attribute that its class requires", () => {
  const types = [
    "control.sign-in-refused",
    "enforcer.grant-added",
    "sign-in-failed",
    "signed.in",
    "sign-in",
    "sign-out",
    "grant-added",
    "grant-revoked",
    "packet-denied",
    "pdu-refused",
    "flow-minute",
    "drift",
    "clock-stepped",
    "applied",
  ];
  const seen = new Set<number>();
  for (const type of types) {
    for (const personal of [{}, { person: "vic" }]) {
      const event = JSON.parse(ocsfLine(record({ type, personal }), SENDER)) as Record<
        string,
        number
      >;
      const uid = event["class_uid"] ?? -1;
      seen.add(uid);
      assert.equal(event["type_uid"], uid * 100 + (event["activity_id"] ?? -1));
      const entry = Object.values(required.classes).find((one) => one.class_uid === uid);
      if (uid !== 0) assert.ok(entry, `${type}: class ${uid}`);
      for (const name of entry?.required ?? []) assert.ok(name in event, `${type} lacks ${name}`);
      const some = entry?.at_least_one;
      if (some)
        assert.ok(
          some.some((name) => name in event),
          `${type} lacks all of ${some.join()}`,
        );
    }
  }
  assert.deepEqual(
    [...seen].sort((a, b) => a - b),
    [0, 2004, 3002, 3003, 4001],
  );
});

test("tells the ends of a refused packet where a SIEM looks for them", () => {
  const fields = {
    source: "10.1.2.9:50211",
    sourceZone: "erp",
    destination: "10.9.0.5:502",
    destinationZone: "cell-1",
  };
  const event = JSON.parse(ocsfLine(record({ fields }), SENDER)) as Record<string, unknown>;
  assert.deepEqual(event["src_endpoint"], { ip: "10.1.2.9", port: 50211, zone: "erp" });
  assert.deepEqual(event["dst_endpoint"], { ip: "10.9.0.5", port: 502, zone: "cell-1" });
  assert.deepEqual([event["activity_id"], event["disposition_id"]], [5, 2]);
});

test("names no person to a target that is not to know them", () => {
  const without = record({ type: "grant-added" });
  const withOne = record({ type: "grant-added", personal: { person: "vic-the-vendor" } });
  for (const line of [syslogLine, cefLine, ocsfLine]) {
    assert.ok(!line(without, SENDER).includes("vic-the-vendor"));
    assert.ok(line(withOne, SENDER).includes("vic-the-vendor"));
  }
});

test("a record is one line of bounded length, whatever people wrote into it", () => {
  const anything = fc.dictionary(
    fc.string({ unit: "binary" }),
    fc.string({ unit: "binary", maxLength: 3000 }),
  );
  fc.assert(
    fc.property(anything, anything, fc.string({ unit: "binary" }), (fields, personal, host) => {
      const one = record({ fields, personal });
      for (const format of [syslogLine, cefLine]) {
        const line = format(one, { ...SENDER, host });
        assert.doesNotMatch(line, /[\p{Cc}\u2028\u2029]/u);
        assert.ok(Buffer.byteLength(line) <= LINE_BYTES_MAX);
      }
      const event = ocsfLine(one, SENDER);
      assert.doesNotMatch(event, /[\n\r]/);
      JSON.parse(event);
    }),
    { numRuns: 200 },
  );
});

test("a line that would be too long says how many fields are only in the ledger", () => {
  const fields = Object.fromEntries(
    Array.from({ length: 40 }, (_, i) => [`field-${i}`, "x".repeat(900)]),
  );
  const line = syslogLine(record({ fields }), SENDER);
  assert.ok(Buffer.byteLength(line) <= LINE_BYTES_MAX);
  const kept = line.match(/field-\d+=/g)?.length ?? 0;
  assert.ok(line.includes(`cut="${40 - kept}"`));
  assert.ok(kept >= 6);
});

/** §6.3: reads the structured data back, as a receiver does. */
function parametersOf(line: string): Map<string, string> {
  const data = /\[sp@32473 ((?:[^\]\\]|\\.)*)\]/s.exec(line)?.[1] ?? "";
  const pairs = data.matchAll(/([^ =]+)="((?:[^"\\]|\\.)*)"/g);
  return new Map(
    [...pairs].map(([, name = "", value = ""]) => [name, value.replaceAll(/\\(["\\\]])/g, "$1")]),
  );
}

test("a receiver reads back what was written", () => {
  fc.assert(
    fc.property(fc.string({ maxLength: 200 }), (note) => {
      assert.equal(
        parametersOf(syslogLine(record({ fields: { note } }), SENDER)).get("note"),
        note,
      );
    }),
  );
});
