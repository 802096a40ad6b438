import assert from "node:assert/strict";
import fs from "node:fs";
import { test } from "node:test";
import fc from "fast-check";
import type { SallyportError } from "@sallyport/core";
import { Folder } from "./ledger.test-kit.ts";
import { sha256 } from "./merkle.ts";
import { SignerState } from "./signer-state.ts";
import { openWitnessMemory } from "./witness-memory.ts";

const ORIGIN = "sallyport.example/brewery/audit";
const rootOf = (text: string): Uint8Array => sha256(Buffer.from(text));
const EMPTY = sha256(new Uint8Array(0));
const nobody = new Set<string>();
const code = (wanted: string) => (error: SallyportError) => {
  assert.equal(error.code, wanted, error.message);
  return true;
};

/** A history: the root at a size is the same each time it is asked for. */
function history(name: string): (size: number) => Uint8Array {
  return (size) => (size === 0 ? EMPTY : rootOf(`${name} ${size}`));
}

test("one size is signed with one root only, and no size below it, also after a restart", () => {
  using folder = new Folder();
  const file = folder.path("state");
  const [honest, forged] = [history("honest"), history("forged")];
  const first = SignerState.create(file, ORIGIN);
  first.allow(5, honest(5), honest, nobody);
  first.allow(5, honest(5), honest, nobody);
  for (const state of [first, SignerState.read(file, ORIGIN)]) {
    assert.ok(state !== undefined);
    assert.throws(() => state.allow(5, forged(5), forged, nobody), code("ledger-forked"));
    assert.throws(() => state.allow(9, forged(9), forged, nobody), code("ledger-forked"));
    assert.throws(() => state.allow(4, honest(4), honest, nobody), code("ledger-rolled-back"));
    state.allow(5, honest(5), honest, nobody);
  }
});

test("nothing is signed below or beside what a witness holds, while it is one of ours", () => {
  using folder = new Folder();
  const honest = history("honest");
  const state = SignerState.create(folder.path("state"), ORIGIN);
  const ours = new Set(["w.example/1"]);
  state.allow(5, honest(5), honest, ours);
  state.witnessed("w.example/1", 8, honest(8));
  assert.throws(() => state.allow(7, honest(7), honest, ours), code("ledger-rolled-back"));
  state.allow(8, honest(8), honest, ours);
  state.witnessed("w.example/2", 8, rootOf("another"));
  const both = new Set([...ours, "w.example/2"]);
  assert.throws(() => state.allow(8, honest(8), honest, both), code("ledger-forked"));
  state.allow(8, honest(8), honest, ours);
  state.witnessed("w.example/1", 8);
  state.allow(8, honest(8), honest, ours);
  state.witnessed("w.example/1", 20);
  assert.throws(() => state.allow(30, honest(30), honest, ours), code("ledger-rolled-back"));
});

test("a state file that was changed anywhere, or is anything else, is damage and not a beginning", () => {
  using folder = new Folder();
  const file = folder.path("state");
  SignerState.create(file, ORIGIN).allow(
    5,
    rootOf("5"),
    (size) => (size === 0 ? EMPTY : rootOf("5")),
    nobody,
  );
  const text = fs.readFileSync(file, "utf8");
  assert.equal(SignerState.read(folder.path("none"), ORIGIN), undefined);
  for (let at = 0; at < text.length; at++) {
    fs.writeFileSync(file, text.slice(0, at));
    assert.throws(
      () => SignerState.read(file, ORIGIN),
      code("signer-state-damaged"),
      `cut at ${at}`,
    );
  }
  fc.assert(
    fc.property(fc.string(), (other) => {
      fs.writeFileSync(file, other);
      assert.throws(() => SignerState.read(file, ORIGIN), code("signer-state-damaged"));
    }),
    { numRuns: 50 },
  );
});

test("a witness's memory is what was put in, and anything else in its file is an error", () => {
  using folder = new Folder();
  const file = folder.path("memory");
  const head = { size: 3, root: "AA==", checkpoint: "x" };
  openWitnessMemory(file).put(ORIGIN, head);
  assert.deepEqual(openWitnessMemory(file).get(ORIGIN), head);
  assert.equal(openWitnessMemory(file).get("another"), undefined);
  for (const text of ["", "{}", "[1]", '[["a",{"size":1.5,"root":"","checkpoint":""}]]', "[[]"]) {
    fs.writeFileSync(file, text);
    assert.throws(() => openWitnessMemory(file), Error, text);
  }
});
