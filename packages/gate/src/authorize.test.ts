import assert from "node:assert/strict";
import { test } from "node:test";
import type { ModbusLimits } from "@sallyport/policy/legs";
import type { modbus } from "@sallyport/wire";
import { authorizeModbus } from "./authorize.ts";

const range = (first: number, last: number): { first: number; last: number } => ({ first, last });

const LIMITS: ModbusLimits = {
  protocol: "modbus",
  functions: [
    "read-coils",
    "read-discrete-inputs",
    "read-holding-registers",
    "read-input-registers",
    "write-single-coil",
    "write-single-register",
    "write-multiple-coils",
    "write-multiple-registers",
    "mask-write-register",
    "read-write-multiple-registers",
    "read-fifo-queue",
    "read-device-identification",
    "write-file-record",
  ],
  units: [range(1, 1), range(10, 12)],
  coils: [range(0, 15)],
  discreteInputs: [range(5, 5)],
  holdingRegisters: [range(0, 49), range(50, 99), range(200, 299)],
  inputRegisters: [],
  maxQuantity: 20,
  writeValues: [],
};

/** The reason, or `allowed`. */
function ask(request: modbus.RequestWords, limits: ModbusLimits = LIMITS, unit = 1): string {
  const answer = authorizeModbus(limits, { unit, request });
  if (answer.allowed) return "allowed";
  assert.ok(answer.why.length > 10, "a refusal says why");
  return answer.reason;
}

const read = (address: number, quantity: number): modbus.RequestWords => ({
  function: "read-holding-registers",
  address,
  quantity,
});
const write = (address: number, ...values: number[]): modbus.RequestWords => ({
  function: "write-multiple-registers",
  address,
  values,
});

test("a function that the conduit does not name is refused, whatever else is allowed", () => {
  assert.equal(ask(read(0, 1)), "allowed");
  assert.equal(ask(read(0, 1), { ...LIMITS, functions: [] }), "l7.function-not-allowed");
  assert.equal(ask({ function: "report-server-id" }), "l7.function-not-allowed");
  assert.equal(
    ask({ function: "canopen-general-reference", bytes: [1] }),
    "l7.function-not-allowed",
    "the other function of code 43 is another function",
  );
  assert.equal(ask({ function: "read-device-identification", access: 1, object: 0 }), "allowed");
  // A name that is none allows nothing, least of all what is not decoded.
  const odd = { ...LIMITS, functions: ["other", "read-everything"] };
  assert.equal(
    ask({ function: "diagnostics", subFunction: 5, data: [0] }, odd),
    "l7.function-not-decoded",
  );
});

test("units on both sides of each range", () => {
  const at = (unit: number): string => ask(read(0, 1), LIMITS, unit);
  assert.deepEqual([0, 1, 2, 9, 10, 12, 13, 255].map(at), [
    "l7.unit-not-allowed",
    "allowed",
    "l7.unit-not-allowed",
    "l7.unit-not-allowed",
    "allowed",
    "allowed",
    "l7.unit-not-allowed",
    "l7.unit-not-allowed",
  ]);
});

test("register ranges on both sides; neighboring ranges are one", () => {
  assert.equal(ask(read(99, 1)), "allowed");
  assert.equal(ask(read(100, 1)), "l7.address-not-allowed");
  assert.equal(ask(read(99, 2)), "l7.address-not-allowed");
  assert.equal(ask(read(45, 10)), "allowed");
  assert.equal(ask(read(199, 2)), "l7.address-not-allowed");
  assert.equal(ask(read(200, 1)), "allowed");
  assert.equal(ask(read(299, 1)), "allowed");
  assert.equal(ask(read(299, 2)), "l7.address-not-allowed");
  assert.equal(ask(read(65_535, 1)), "l7.address-not-allowed");
});

test("each area has its own ranges, and one that is not listed is closed", () => {
  assert.equal(ask({ function: "read-coils", address: 15, quantity: 1 }), "allowed");
  assert.equal(ask({ function: "read-coils", address: 15, quantity: 2 }), "l7.address-not-allowed");
  assert.equal(
    ask({ function: "write-single-coil", address: 16, value: 1 }),
    "l7.address-not-allowed",
  );
  assert.equal(
    ask({ function: "write-multiple-coils", address: 10, values: [1, 1, 1, 1, 1, 1, 1] }),
    "l7.address-not-allowed",
  );
  assert.equal(ask({ function: "read-discrete-inputs", address: 5, quantity: 1 }), "allowed");
  assert.equal(
    ask({ function: "read-discrete-inputs", address: 4, quantity: 1 }),
    "l7.address-not-allowed",
  );
  assert.equal(
    ask({ function: "read-input-registers", address: 0, quantity: 1 }),
    "l7.address-not-allowed",
  );
  assert.equal(ask({ function: "read-fifo-queue", address: 99 }), "allowed");
  assert.equal(ask({ function: "read-fifo-queue", address: 100 }), "l7.address-not-allowed");
});

test("max-quantity holds for reads and writes, on both sides", () => {
  assert.equal(ask(read(0, 20)), "allowed");
  assert.equal(ask(read(0, 21)), "l7.quantity-not-allowed");
  assert.equal(ask(write(0, ...Array.from({ length: 20 }, () => 1))), "allowed");
  assert.equal(ask(write(0, ...Array.from({ length: 21 }, () => 1))), "l7.quantity-not-allowed");
  const { maxQuantity: _, ...unbounded } = LIMITS;
  assert.equal(ask(read(0, 100), unbounded), "allowed");
  assert.equal(
    ask(read(0, 126), unbounded),
    "l7.request-bad-quantity",
    "the specification's own limit",
  );
});

test("both ranges of function 23 must be allowed", () => {
  const both = (readAddress: number, address: number, readQuantity = 1): string =>
    ask({
      function: "read-write-multiple-registers",
      readAddress,
      readQuantity,
      address,
      values: [1],
    });
  assert.equal(both(0, 99), "allowed");
  assert.equal(both(100, 0), "l7.address-not-allowed");
  assert.equal(both(0, 100), "l7.address-not-allowed");
  assert.equal(both(0, 0, 21), "l7.quantity-not-allowed");
});

const VALUES: ModbusLimits = {
  ...LIMITS,
  writeValues: [
    { registers: range(10, 12), values: range(100, 800) },
    { registers: range(12, 12), values: range(0, 0) },
  ],
};

test("write-values: only the named registers, only the named values, in every writing function", () => {
  const single = (address: number, value: number): string =>
    ask({ function: "write-single-register", address, value }, VALUES);
  assert.equal(single(10, 99), "l7.value-not-allowed");
  assert.equal(single(10, 100), "allowed");
  assert.equal(single(10, 800), "allowed");
  assert.equal(single(10, 801), "l7.value-not-allowed");
  assert.equal(single(9, 100), "l7.value-not-allowed", "a register in none of the ranges");
  assert.equal(single(13, 100), "l7.value-not-allowed");
  assert.equal(single(12, 0), "allowed", "two rules for one register");
  assert.equal(single(11, 0), "l7.value-not-allowed");
  assert.equal(ask(write(10, 100, 800, 0), VALUES), "allowed");
  assert.equal(ask(write(10, 100, 801), VALUES), "l7.value-not-allowed");
  assert.equal(ask(write(12, 100, 100), VALUES), "l7.value-not-allowed");
  const both = (values: number[]): string =>
    ask(
      {
        function: "read-write-multiple-registers",
        readAddress: 0,
        readQuantity: 1,
        address: 11,
        values,
      },
      VALUES,
    );
  assert.equal(both([100, 800]), "allowed");
  assert.equal(both([100, 801]), "l7.value-not-allowed");
  assert.equal(ask(read(0, 20), VALUES), "allowed", "reading is not writing");
  assert.equal(ask({ function: "write-single-coil", address: 0, value: 1 }, VALUES), "allowed");
  const files = [{ file: 1, record: 0, values: [1] }];
  assert.equal(ask({ function: "write-file-record", records: files }), "allowed");
  assert.equal(
    ask({ function: "write-file-record", records: files }, VALUES),
    "l7.value-not-allowed",
  );
});

test("a mask write is judged by every value it could leave", () => {
  const mask = (andMask: number, orMask: number): string =>
    ask({ function: "mask-write-register", address: 10, andMask, orMask }, VALUES);
  assert.equal(mask(0x0000, 0x0064), "allowed", "always leaves 100");
  assert.equal(mask(0x0000, 0x0063), "l7.value-not-allowed", "always leaves 99");
  assert.equal(mask(0x003f, 0x0080), "allowed", "leaves 128 to 191");
  assert.equal(mask(0xffff, 0x0000), "l7.value-not-allowed", "keeps what nobody here knows");
  assert.equal(mask(0x0300, 0x00ff), "l7.value-not-allowed", "may leave 1023");
  // Exhaustive check of the bounds against what a device computes, §6.16.
  for (const [and, or] of [
    [0x003f, 0x0080],
    [0x00f0, 0x0105],
    [0x0101, 0x0064],
  ] as const) {
    const left = Array.from({ length: 0x10000 }, (_, now) => (now & and) | (or & ~and & 0xffff));
    const isInside = left.every((value) => value >= 100 && value <= 800);
    assert.equal(mask(and, or) === "allowed", isInside, `${and} ${or}`);
  }
});
