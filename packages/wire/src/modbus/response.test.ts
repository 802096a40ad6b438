import assert from "node:assert/strict";
import { test } from "node:test";
import { answers, needsCopy } from "./answers.ts";
import { encodeException } from "./encode.ts";
import { FUNCTION_NAMES } from "./functions.ts";
import { ModbusRequest, parseRequest } from "./request.ts";
import { ModbusResponse, parseResponse } from "./response.ts";
import { decodeResponse } from "./words.ts";

function hex(text: string): Uint8Array {
  return Uint8Array.from(Buffer.from(text.replaceAll(" ", ""), "hex"));
}

/** An ADU from unit and PDU: transaction 7, the length as it must be. */
function adu(text: string, transaction = 7): Uint8Array {
  const body = hex(text);
  return Uint8Array.from([0, transaction, 0, 0, 0, body.length, ...body]);
}

interface Exchange {
  readonly request: string;
  readonly response: string;
  /** Well-formed, but not what was asked. */
  readonly foreign?: readonly string[];
  readonly malformed?: readonly string[];
}

/** By function: unit, function, data. */
const EXCHANGES: Readonly<Record<string, Exchange>> = {
  "read-coils": {
    request: "11 01 0013 0013",
    response: "11 01 03 cd6b05",
    foreign: ["11 01 02 cd6b", "11 01 04 cd6b0500", "11 02 03 cd6b05"],
    malformed: ["11 01 03 cd6b", "11 01 00", "11 01 02 cd6b05", "11 01"],
  },
  "read-discrete-inputs": {
    request: "11 02 00c4 0016",
    response: "11 02 03 acdb35",
    foreign: ["11 02 02 acdb"],
  },
  "read-holding-registers": {
    request: "11 03 006b 0003",
    response: "11 03 06 022b 0000 0064",
    foreign: ["11 03 04 022b 0000", "11 03 08 022b 0000 0064 0000", "11 04 06 022b 0000 0064"],
    malformed: ["11 03 05 022b 0000 00", "11 03 06 022b 0000", "11 03 00"],
  },
  "read-input-registers": {
    request: "11 04 0008 0001",
    response: "11 04 02 000a",
    foreign: ["11 04 04 000a 0000"],
  },
  "write-single-coil": {
    request: "11 05 00ac ff00",
    response: "11 05 00ac ff00",
    foreign: ["11 05 00ad ff00", "11 05 00ac 0000"],
    malformed: ["11 05 00ac 0001", "11 05 00ac ff", "11 05 00ac ff00 00"],
  },
  "write-single-register": {
    request: "11 06 0001 0003",
    response: "11 06 0001 0003",
    foreign: ["11 06 0002 0003", "11 06 0001 0004"],
  },
  "read-exception-status": {
    request: "11 07",
    response: "11 07 6d",
    malformed: ["11 07", "11 07 6d00"],
  },
  diagnostics: {
    request: "11 08 0000 a537",
    response: "11 08 0000 a537",
    foreign: ["11 08 0000 a538", "11 08 000b a537"],
    malformed: ["11 08 0000", "11 08 00", "11 08 000b 0000 00"],
  },
  "get-comm-event-counter": {
    request: "11 0b",
    response: "11 0b ffff 0108",
    malformed: ["11 0b ffff"],
  },
  "get-comm-event-log": {
    request: "11 0c",
    response: "11 0c 08 0000 0108 0121 2000",
    malformed: ["11 0c 05 0000 0108 01", "11 0c 08 0000 0108 0121"],
  },
  "write-multiple-coils": {
    request: "11 0f 0013 000a 02 cd01",
    response: "11 0f 0013 000a",
    foreign: ["11 0f 0013 000b", "11 0f 0014 000a"],
    malformed: ["11 0f 0013 0000", "11 0f 0013 07b1", "11 0f 0013"],
  },
  "write-multiple-registers": {
    request: "11 10 0001 0002 04 000a 0102",
    response: "11 10 0001 0002",
    foreign: ["11 10 0001 0001", "11 10 0000 0002"],
    malformed: ["11 10 0001 007c", "11 10 0001 0000"],
  },
  "report-server-id": {
    request: "11 11",
    response: "11 11 03 4142 ff",
    malformed: ["11 11 04 4142ff", "11 11 00"],
  },
  "read-file-record": {
    request: "11 14 0e 06 0004 0001 0002 06 0003 0009 0002",
    response: "11 14 0c 05 06 0dfe 0020 05 06 33cd 0040",
    foreign: ["11 14 06 05 06 0dfe 0020", "11 14 0a 03 06 0dfe 05 06 33cd 0040"],
    malformed: ["11 14 06 05 07 0dfe 0020", "11 14 06 04 06 0dfe 0020", "11 14 06 07 06 0dfe 0020"],
  },
  "write-file-record": {
    request: "11 15 0d 06 0004 0007 0003 06af 04be 100d",
    response: "11 15 0d 06 0004 0007 0003 06af 04be 100d",
    foreign: ["11 15 0d 06 0004 0007 0003 06af 04be 100e"],
    malformed: ["11 15 0d 06 0004 0007 0003 06af 04be"],
  },
  "mask-write-register": {
    request: "11 16 0004 00f2 0025",
    response: "11 16 0004 00f2 0025",
    foreign: ["11 16 0005 00f2 0025", "11 16 0004 00f3 0025", "11 16 0004 00f2 0026"],
  },
  "read-write-multiple-registers": {
    request: "11 17 0003 0002 000e 0001 02 00ff",
    response: "11 17 04 00fe 0acd",
    foreign: ["11 17 02 00fe"],
  },
  "read-fifo-queue": {
    request: "11 18 04de",
    response: "11 18 0006 0002 01b8 1284",
    malformed: ["11 18 0006 0003 01b8 1284", "11 18 0042 0020", "11 18 0006 0002 01b8"],
  },
  "canopen-general-reference": {
    request: "11 2b 0d 0102",
    response: "11 2b 0d 0304",
    foreign: ["11 2b 0e 01 01 00 00 00"],
  },
  "read-device-identification": {
    request: "11 2b 0e 01 00",
    response: "11 2b 0e 01 01 00 00 02 00 03 41 42 43 01 01 31",
    foreign: ["11 2b 0d 01"],
    malformed: ["11 2b 0e 01 01 00 00 02 00 03 41 42 43", "11 2b 0e 01 01 01 00 00", "11 2b 0e 01"],
  },
};

function fits(request: string, response: string, transaction = 7): boolean {
  const asked = adu(request);
  const answered = adu(response, transaction);
  const left = new ModbusRequest();
  const right = new ModbusResponse();
  assert.equal(parseRequest(asked, 0, asked.length, left), true, `${request}: ${left.problem}`);
  assert.equal(parseResponse(answered, 0, answered.length, right), true, response);
  const copy = needsCopy(left.functionCode) ? asked : undefined;
  return answers(left, copy, right, answered, 0);
}

test("the response of every function answers its request, and no other transaction or unit", () => {
  assert.deepEqual(Object.keys(EXCHANGES), [...FUNCTION_NAMES]);
  for (const [name, { request, response }] of Object.entries(EXCHANGES)) {
    assert.equal(fits(request, response), true, name);
    assert.equal(fits(request, response, 8), false, `${name}: another transaction`);
    assert.equal(fits(request, `12${response.slice(2)}`), false, `${name}: another unit`);
  }
});

test("a response of another quantity, address, value or function answers nothing", () => {
  let checked = 0;
  for (const [name, { request, foreign = [] }] of Object.entries(EXCHANGES)) {
    for (const response of foreign) {
      assert.equal(fits(request, response), false, `${name}: ${response}`);
      checked++;
    }
  }
  assert.ok(checked >= 20);
});

test("a response that breaks its own lengths or values is malformed", () => {
  let checked = 0;
  for (const [name, { malformed = [] }] of Object.entries(EXCHANGES)) {
    for (const response of malformed) {
      assert.equal(decodeResponse(adu(response)).kind, "malformed", `${name}: ${response}`);
      checked++;
    }
  }
  assert.ok(checked >= 25);
});

test("every proper prefix of a response asks for more", () => {
  for (const { response } of Object.values(EXCHANGES)) {
    const bytes = adu(response);
    for (let size = 0; size < bytes.length; size++) {
      assert.equal(decodeResponse(bytes.subarray(0, size)).kind, "incomplete");
    }
  }
});

test("an exception answers any request of its function and carries its name", () => {
  for (const { request } of Object.values(EXCHANGES)) {
    const code = hex(request)[1] ?? 0;
    const bytes = encodeException({ transaction: 7, unit: 0x11 }, code, 2);
    assert.equal(fits(request, Buffer.from(bytes.subarray(6)).toString("hex")), true);
    const decoded = decodeResponse(bytes);
    assert.ok(decoded.kind === "message");
    assert.deepEqual(decoded.message.status, {
      kind: "error",
      code: 2,
      name: "illegal-data-address",
    });
  }
  assert.equal(decodeResponse(adu("11 83")).kind, "malformed");
  assert.equal(decodeResponse(adu("11 83 00")).kind, "malformed");
  assert.equal(decodeResponse(adu("11 83 02 00")).kind, "malformed");
  assert.equal(decodeResponse(adu("11 80 01")).kind, "malformed");
  const strange = decodeResponse(adu("11 83 7f"));
  assert.ok(strange.kind === "message");
  assert.deepEqual(strange.message.status, { kind: "error", code: 127, name: "exception-127" });
});

test("a read's response gives its values, a write's what it wrote", () => {
  const read = decodeResponse(adu("11 03 06 022b 0000 0064"));
  assert.ok(read.kind === "message");
  assert.deepEqual(read.message.values, [0x022b, 0, 100]);
  const written = decodeResponse(adu("11 10 0001 0002"));
  assert.ok(written.kind === "message");
  assert.deepEqual(written.message.target, {
    kind: "memory",
    unit: 0x11,
    area: "holding-registers",
    address: 1,
    count: 2,
  });
});

test("a reused response keeps nothing of the one before", () => {
  const reused = new ModbusResponse();
  const all = Object.values(EXCHANGES).map(({ response }) => adu(response));
  for (const first of all) {
    for (const second of all) {
      parseResponse(first, 0, first.length, reused);
      parseResponse(second, 0, second.length, reused);
      const fresh = new ModbusResponse();
      parseResponse(second, 0, second.length, fresh);
      assert.deepEqual(reused, fresh);
    }
  }
});
