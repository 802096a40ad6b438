import assert from "node:assert/strict";
import { test } from "node:test";
import { encodeAdu, encodeRequest, type RequestWords } from "./encode.ts";
import { frameLength } from "./frame.ts";
import { FUNCTION_NAMES, functionInfo } from "./functions.ts";
import { ModbusRequest, parseRequest, type Problem } from "./request.ts";
import { decodeRequest } from "./words.ts";

function hex(text: string): Uint8Array {
  return Uint8Array.from(Buffer.from(text.replaceAll(" ", ""), "hex"));
}

/** One request of each function, as the specification's own examples in §6 where it gives one. */
//                            trans prot len  un fn data
const REQUESTS: Readonly<Record<string, string>> = {
  "read-coils": "             0001  0000 0006 11 01 0013 0013",
  "read-discrete-inputs": "   0002  0000 0006 11 02 00c4 0016",
  "read-holding-registers": " 0003  0000 0006 11 03 006b 0003",
  "read-input-registers": "   0004  0000 0006 11 04 0008 0001",
  "write-single-coil": "      0005  0000 0006 11 05 00ac ff00",
  "write-single-register": "  0006  0000 0006 11 06 0001 0003",
  "read-exception-status": "  0007  0000 0002 11 07",
  diagnostics: "              0008  0000 0006 11 08 0000 a537",
  "get-comm-event-counter": " 0009  0000 0002 11 0b",
  "get-comm-event-log": "     000a  0000 0002 11 0c",
  "write-multiple-coils": "   000b  0000 0009 11 0f 0013 000a 02 cd01",
  "write-multiple-registers": "000c 0000 000b 11 10 0001 0002 04 000a 0102",
  "report-server-id": "       000d  0000 0002 11 11",
  "read-file-record": "       000e  0000 0011 11 14 0e 06 0004 0001 0002 06 0003 0009 0002",
  "write-file-record": "      000f  0000 0010 11 15 0d 06 0004 0007 0003 06af 04be 100d",
  "mask-write-register": "    0010  0000 0008 11 16 0004 00f2 0025",
  "read-write-multiple-registers":
    "                         0011  0000 0011 11 17 0003 0006 000e 0003 06 00ff 00ff 00ff",
  "read-fifo-queue": "        0012  0000 0004 11 18 04de",
  "canopen-general-reference": "0013 0000 0006 11 2b 0d 0102 03",
  "read-device-identification": "0014 0000 0005 11 2b 0e 01 00",
};

test("every function is recognized from the bytes of its example", () => {
  assert.deepEqual(Object.keys(REQUESTS), [...FUNCTION_NAMES]);
  for (const [name, text] of Object.entries(REQUESTS)) {
    const bytes = hex(text);
    const decoded = decodeRequest(bytes);
    assert.equal(decoded.kind, "message", `${name}: ${JSON.stringify(decoded)}`);
    assert.ok(decoded.kind === "message");
    assert.equal(decoded.message.function, name);
    assert.equal(decoded.sizeBytes, bytes.length);
  }
});

test("targets and values are those that the bytes name", () => {
  const of = (name: string): unknown => {
    const decoded = decodeRequest(hex(REQUESTS[name] ?? ""));
    return decoded.kind === "message" ? decoded.message : decoded;
  };
  const memory = (area: string, address: number, count: number): object => ({
    kind: "memory",
    unit: 0x11,
    area,
    address,
    count,
  });
  assert.deepEqual(of("read-coils"), {
    protocol: "modbus",
    direction: "request",
    operation: "read",
    function: "read-coils",
    functionCode: 1,
    target: memory("coils", 0x13, 19),
  });
  assert.deepEqual(of("write-multiple-coils"), {
    protocol: "modbus",
    direction: "request",
    operation: "write",
    function: "write-multiple-coils",
    functionCode: 15,
    target: memory("coils", 0x13, 10),
    values: [1, 0, 1, 1, 0, 0, 1, 1, 1, 0],
  });
  assert.deepEqual(of("read-write-multiple-registers"), {
    protocol: "modbus",
    direction: "request",
    operation: "write",
    function: "read-write-multiple-registers",
    functionCode: 23,
    target: memory("holding-registers", 14, 3),
    readTarget: memory("holding-registers", 3, 6),
    values: [255, 255, 255],
  });
  assert.deepEqual(of("mask-write-register"), {
    protocol: "modbus",
    direction: "request",
    operation: "write",
    function: "mask-write-register",
    functionCode: 22,
    target: memory("holding-registers", 4, 1),
    values: [0xf2, 0x25],
  });
});

test("asks for the missing bytes of every proper prefix", () => {
  let checked = 0;
  for (const text of Object.values(REQUESTS)) {
    const bytes = hex(text);
    for (let size = 0; size < bytes.length; size++) {
      const decoded = decodeRequest(bytes.subarray(0, size));
      assert.equal(decoded.kind, "incomplete");
      assert.ok(decoded.kind === "incomplete" && decoded.missingBytes >= 1);
      assert.ok(size + decoded.missingBytes <= bytes.length, "it never asks for too much");
      checked++;
    }
  }
  assert.ok(checked > 200);
});

test("a message whose length is too short or too long for its function is malformed", () => {
  for (const [name, text] of Object.entries(REQUESTS)) {
    const bytes = hex(text);
    const pdu = [...bytes.subarray(7)];
    const longer = encodeAdu({ transaction: 1, unit: 1 }, [...pdu, 0]);
    const free = name === "canopen-general-reference";
    assert.equal(decodeRequest(longer).kind, free ? "message" : "malformed", `${name} + 1`);
    if (pdu.length === 1 || free) continue;
    const shorter = encodeAdu({ transaction: 1, unit: 1 }, pdu.slice(0, -1));
    // 43 without its MEI type names no function at all.
    assert.equal(decodeRequest(shorter).kind, "malformed", `${name} - 1`);
  }
});

function problemOf(words: RequestWords): Problem {
  const bytes = encodeRequest({ transaction: 1, unit: 1 }, words);
  const request = new ModbusRequest();
  assert.equal(parseRequest(bytes, 0, bytes.length, request), request.problem === "none");
  return request.problem;
}

test("quantities are accepted up to the specification's limits and refused above", () => {
  const reads = [
    ["read-coils", 2000],
    ["read-discrete-inputs", 2000],
    ["read-holding-registers", 125],
    ["read-input-registers", 125],
  ] as const;
  for (const [name, max] of reads) {
    assert.equal(problemOf({ function: name, address: 0, quantity: 0 }), "bad-quantity");
    assert.equal(problemOf({ function: name, address: 0, quantity: 1 }), "none");
    assert.equal(problemOf({ function: name, address: 0, quantity: max }), "none");
    assert.equal(problemOf({ function: name, address: 0, quantity: max + 1 }), "bad-quantity");
    assert.equal(problemOf({ function: name, address: 0xffff, quantity: 1 }), "none");
    assert.equal(problemOf({ function: name, address: 0xffff, quantity: 2 }), "bad-address");
  }
  const writes = [
    ["write-multiple-coils", 0x7b0],
    ["write-multiple-registers", 0x7b],
  ] as const;
  for (const [name, max] of writes) {
    const values = (count: number): number[] => Array.from({ length: count }, () => 1);
    assert.equal(problemOf({ function: name, address: 0, values: [] }), "bad-quantity");
    assert.equal(problemOf({ function: name, address: 0, values: values(1) }), "none");
    assert.equal(problemOf({ function: name, address: 0, values: values(max) }), "none");
    assert.equal(problemOf({ function: name, address: 0xffff, values: [1, 1] }), "bad-address");
  }
  const both = (readQuantity: number, count: number, address = 0): Problem =>
    problemOf({
      function: "read-write-multiple-registers",
      readAddress: 0,
      readQuantity,
      address,
      values: Array.from({ length: count }, () => 7),
    });
  assert.equal(both(125, 121), "none");
  assert.equal(both(126, 1), "bad-quantity");
  assert.equal(both(0, 1), "bad-quantity");
  assert.equal(both(1, 0), "bad-quantity");
  assert.equal(both(1, 2, 0xffff), "bad-address");
});

test("one coil or register more than fits, and a byte count that lies, are malformed", () => {
  //                 fn addr qty  count
  const cases: readonly (readonly [string, Problem])[] = [
    ["0f 0000 07b1 f7", "bad-quantity"],
    ["10 0000 007c f8", "bad-quantity"],
    ["17 0000 0001 0000 007a f4", "bad-quantity"],
    ["0f 0000 0009 01 ff", "bad-byte-count"],
    ["0f 0000 0008 02 ffff", "bad-byte-count"],
    ["10 0000 0001 04 0000 0000", "bad-byte-count"],
    ["10 0000 0002 02 0000", "bad-byte-count"],
    ["10 0000 0002 04 0000", "bad-length"],
    ["17 0000 0001 0000 0001 01 00", "bad-byte-count"],
    ["05 0000 0001", "bad-value"],
    ["05 0000 ff01", "bad-value"],
    ["08 0001 0001", "bad-value"],
    ["08 000a 0001", "bad-value"],
    ["08 0000", "bad-length"],
    ["08 0000 01", "bad-length"],
    ["14 06 06 0001 0000 00", "bad-byte-count"],
    ["14 07 05 0001 0000 0001", "bad-file-record"],
    ["14 07 06 0000 0000 0001", "bad-file-record"],
    ["14 07 06 0001 2710 0001", "bad-file-record"],
    ["14 07 06 0001 0000 0000", "bad-file-record"],
    ["14 07 06 0001 0000 007a", "bad-file-record"],
    ["14 00", "bad-byte-count"],
    ["15 09 06 0001 0000 0002 0000", "bad-length"],
    ["15 07 06 0001 0000 0000", "bad-byte-count"],
    ["2b 0e 00 00", "bad-value"],
    ["2b 0e 05 00", "bad-value"],
    ["2b 0e 01", "bad-length"],
    ["00", "bad-function"],
    ["80", "bad-function"],
    ["83 02", "bad-function"],
    ["ff", "bad-function"],
  ];
  for (const [pdu, problem] of cases) {
    const bytes = encodeAdu({ transaction: 1, unit: 1 }, [...hex(pdu)]);
    const request = new ModbusRequest();
    assert.equal(parseRequest(bytes, 0, bytes.length, request), false, pdu);
    assert.equal(request.problem, problem, pdu);
  }
});

test("a vendor's function, a reserved one and a reserved sub-function are `other`, not malformed", () => {
  //              UMAS       user-def reserved  8/5 (reserved) 43/0
  for (const pdu of ["5a 00 02", "41 00", "09", "08 0005 0000", "2b 00 00", "7f"]) {
    const decoded = decodeRequest(encodeAdu({ transaction: 1, unit: 1 }, [...hex(pdu)]));
    assert.ok(decoded.kind === "message", pdu);
    assert.equal(decoded.message.function, "other");
    assert.equal(decoded.message.operation, "other");
    assert.equal(decoded.message.functionCode, hex(pdu)[0]);
  }
});

test("a header that cannot become Modbus is told as soon as its byte is there", () => {
  const frame = (text: string): number => {
    const bytes = hex(text);
    return frameLength(bytes, 0, bytes.length);
  };
  assert.equal(frame("0001"), 0);
  assert.equal(frame("0001 01"), -1);
  assert.equal(frame("0001 0001"), -1);
  assert.equal(frame("0001 0000 01"), -2);
  assert.equal(frame("0001 0000 00"), 0);
  assert.equal(frame("0001 0000 0001"), -2);
  assert.equal(frame("0001 0000 0002"), 8);
  assert.equal(frame("0001 0000 00fe"), 260);
  assert.equal(frame("0001 0000 00ff"), -2);
  // "GET / HT", a TLS hello
  assert.equal(frame("4745 5420 2f20 4854"), -1);
  assert.equal(frame("1603 0102 0001 00"), -1);
});

test("a reused request keeps nothing of the one before", () => {
  const reused = new ModbusRequest();
  const all = Object.values(REQUESTS).map(hex);
  for (const first of all) {
    for (const second of all) {
      parseRequest(first, 0, first.length, reused);
      parseRequest(second, 0, second.length, reused);
      const fresh = new ModbusRequest();
      parseRequest(second, 0, second.length, fresh);
      assert.deepEqual(reused, fresh);
    }
  }
});

test("names and codes of functions belong together", () => {
  for (const name of FUNCTION_NAMES) {
    const decoded = decodeRequest(hex(REQUESTS[name] ?? ""));
    assert.ok(decoded.kind === "message");
    assert.equal(functionInfo(FUNCTION_NAMES.indexOf(name) + 1).code, decoded.message.functionCode);
  }
});
