import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { SallyportError } from "@sallyport/core";
import { readJson } from "./json.ts";
import { JSON_DEPTH_MAX } from "./limits.ts";

const read = (text: string): unknown => readJson(new TextEncoder().encode(text));
const refused = (text: string): void =>
  assert.throws(
    () => read(text),
    (error) => error instanceof SallyportError && error.code === "bad-json",
  );

test("reads what JSON.parse reads, for any value without odd names", () => {
  const names = new Set(["__proto__", "constructor", "prototype"]);
  fc.assert(
    fc.property(fc.jsonValue({ stringUnit: "binary", maxDepth: 6 }), (value) => {
      const text = JSON.stringify(value);
      if ([...names].some((name) => text.includes(name))) return;
      assert.deepEqual(read(text), JSON.parse(text));
    }),
  );
});

test("throws nothing but bad-json, whatever the bytes", () => {
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 200 }), (bytes) => {
      try {
        readJson(bytes);
      } catch (error) {
        assert.ok(error instanceof SallyportError && error.code === "bad-json");
      }
    }),
  );
});

test("refuses a name that stands twice in one object, however it is written", () => {
  for (const text of [
    '{"a":1,"a":1}',
    '{"a":1,"\\u0061":2}',
    '{"x":{"b":1 , "b" : 2}}',
    '[{"a":[],"a":[]}]',
    '{"a":"a","b":{"a":1},"a":0}',
  ]) {
    refused(text);
  }
  assert.deepEqual(read('{"a":"a","b":{"a":1},"c":["a","a"]}'), {
    a: "a",
    b: { a: 1 },
    c: ["a", "a"],
  });
});

test("refuses names of the prototype at any depth", () => {
  for (const name of ["__proto__", "constructor", "prototype", "\\u005f_proto__"]) {
    refused(`{"a":[{"${name}":1}]}`);
  }
});

test("refuses a byte order mark, bytes that are not UTF-8, lone surrogates and deep nesting", () => {
  refused("\ufeff{}");
  assert.throws(() => readJson(Uint8Array.of(0x22, 0xff, 0x22)), /UTF-8/);
  refused('"\\udfff"');
  const nested = (depth: number): string => "[".repeat(depth) + "]".repeat(depth);
  assert.doesNotThrow(() => read(nested(JSON_DEPTH_MAX)));
  refused(nested(JSON_DEPTH_MAX + 1));
  refused(nested(30_000));
});
