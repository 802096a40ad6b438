import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { encodeRequest, type RequestWords } from "./encode.ts";
import { frameLength } from "./frame.ts";
import { ModbusRequest, parseRequest } from "./request.ts";
import { ModbusResponse, parseResponse } from "./response.ts";
import { decodeRequest, decodeResponse } from "./words.ts";

const u16 = fc.integer({ min: 0, max: 0xffff });
const bit = fc.integer({ min: 0, max: 1 });

function run(max: number): fc.Arbitrary<{ address: number; quantity: number }> {
  return fc.integer({ min: 1, max }).chain((quantity) =>
    fc.record({
      address: fc.integer({ min: 0, max: 0x10000 - quantity }),
      quantity: fc.constant(quantity),
    }),
  );
}

function writes(max: number, value: fc.Arbitrary<number>) {
  return fc.array(value, { minLength: 1, maxLength: max }).chain((values) =>
    fc.record({
      address: fc.integer({ min: 0, max: 0x10000 - values.length }),
      values: fc.constant(values),
    }),
  );
}

const words: fc.Arbitrary<RequestWords> = fc.oneof(
  fc
    .tuple(fc.constantFrom("read-coils" as const, "read-discrete-inputs" as const), run(2000))
    .map(([name, range]) => ({ function: name, ...range })),
  fc
    .tuple(
      fc.constantFrom("read-holding-registers" as const, "read-input-registers" as const),
      run(125),
    )
    .map(([name, range]) => ({ function: name, ...range })),
  fc.record({ function: fc.constant("write-single-coil" as const), address: u16, value: bit }),
  fc.record({ function: fc.constant("write-single-register" as const), address: u16, value: u16 }),
  writes(1968, bit).map((write) => ({ function: "write-multiple-coils" as const, ...write })),
  writes(123, u16).map((write) => ({ function: "write-multiple-registers" as const, ...write })),
  fc.record({
    function: fc.constant("mask-write-register" as const),
    address: u16,
    andMask: u16,
    orMask: u16,
  }),
  fc.tuple(run(125), writes(121, u16)).map(([read, write]) => ({
    function: "read-write-multiple-registers" as const,
    readAddress: read.address,
    readQuantity: read.quantity,
    ...write,
  })),
);

test("gives back every request that encodeRequest wrote, whatever follows it", () => {
  fc.assert(
    fc.property(words, u16, fc.nat(255), fc.uint8Array(), (asked, transaction, unit, rest) => {
      const bytes = encodeRequest({ transaction, unit }, asked);
      const decoded = decodeRequest(Uint8Array.from([...bytes, ...rest]));
      assert.ok(decoded.kind === "message", JSON.stringify(decoded));
      assert.equal(decoded.sizeBytes, bytes.length);
      const { message } = decoded;
      assert.equal(message.function, asked.function);
      const target = message.target;
      assert.ok(target?.kind === "memory" && "address" in asked);
      assert.equal(target.unit, unit);
      assert.equal(target.address, asked.address);
      if ("quantity" in asked) assert.equal(target.count, asked.quantity);
      if ("values" in asked) assert.deepEqual(message.values, asked.values);
      if ("value" in asked) assert.deepEqual(message.values, [asked.value]);
      if ("readQuantity" in asked) {
        assert.ok(message.readTarget?.kind === "memory");
        assert.equal(message.readTarget.address, asked.readAddress);
        assert.equal(message.readTarget.count, asked.readQuantity);
      }
      if ("andMask" in asked) assert.deepEqual(message.values, [asked.andMask, asked.orMask]);
    }),
    { numRuns: 2000 },
  );
});

test("random bytes never throw, and never claim more bytes than they are", () => {
  const nearly = fc
    .tuple(u16, fc.uint8Array({ minLength: 2, maxLength: 254 }))
    .map(([transaction, body]) =>
      Uint8Array.from([transaction >> 8, transaction & 255, 0, 0, 0, body.length, ...body]),
    );
  fc.assert(
    fc.property(fc.oneof(fc.uint8Array({ maxLength: 300 }), nearly), (bytes) => {
      for (const decoded of [decodeRequest(bytes), decodeResponse(bytes)]) {
        if (decoded.kind === "message") assert.ok(decoded.sizeBytes <= bytes.length);
        if (decoded.kind === "incomplete") assert.ok(decoded.missingBytes > 0);
        if (decoded.kind === "malformed") assert.ok(decoded.offsetBytes <= bytes.length);
      }
    }),
    { numRuns: 20_000 },
  );
});

test("where a message lies in a buffer changes nothing, nor what lies around it", () => {
  fc.assert(
    fc.property(
      fc.uint8Array({ minLength: 2, maxLength: 64 }),
      fc.uint8Array({ maxLength: 40 }),
      fc.uint8Array({ maxLength: 40 }),
      (body, before, after) => {
        const alone = Uint8Array.from([0, 1, 0, 0, 0, body.length, ...body]);
        const within = Uint8Array.from([...before, ...alone, ...after]);
        const start = before.length;
        const end = start + alone.length;
        assert.equal(frameLength(within, start, within.length), alone.length);
        const [one, other] = [new ModbusRequest(), new ModbusRequest()];
        parseRequest(alone, 0, alone.length, one);
        parseRequest(within, start, end, other);
        assert.deepEqual(one, other);
        const [first, second] = [new ModbusResponse(), new ModbusResponse()];
        parseResponse(alone, 0, alone.length, first);
        parseResponse(within, start, end, second);
        assert.deepEqual(first, second);
      },
    ),
    { numRuns: 5000 },
  );
});
