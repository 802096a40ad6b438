import assert from "node:assert/strict";
import { test } from "node:test";
import { asProblem, problemOf } from "../api/problem.ts";
import { nextStep } from "../pages/conduits/change-steps.ts";
import { readKept } from "../pages/conduits/kept-text.ts";
import { readSeen } from "../pages/evidence/seen-head.ts";
import { freshnessOf } from "./live.ts";
import { keyFollower, PLACES } from "./navigation.ts";
import { searchOf } from "./search.ts";

test("an address's filters are a few short texts; anything else in it is left out", () => {
  assert.deepEqual(searchOf({ zone: "cell-a", record: 7, evil: "x", tab: { a: 1 } }), {
    ...{ zone: "cell-a", record: "7" },
  });
  assert.deepEqual(searchOf({ type: "x".repeat(201), from: "" }), {});
});

test("g and a letter goes to a page, but not while a person types, nor long after", () => {
  let now = 0;
  const follow = keyFollower(() => now);
  const press = (key: string, isTyping = false, isControl = false) =>
    follow({ key, isTyping, isControl });
  press("g");
  assert.deepEqual(press("c"), { kind: "go", to: "/conduits" });
  assert.equal(press("c"), undefined);
  press("g", true);
  assert.equal(press("c", true), undefined);
  press("g");
  now += 5000;
  assert.equal(press("c"), undefined);
  assert.deepEqual(press("k", true, true), { kind: "palette" });
  assert.deepEqual(press("?"), { kind: "help" });
  assert.equal(new Set(PLACES.map(({ letter }) => letter)).size, PLACES.length);
});

test("data is called live only while it is young and the last read worked", () => {
  assert.deepEqual(freshnessOf(1000, false, 2000), { kind: "live" });
  assert.deepEqual(freshnessOf(1000, false, 21_000), { kind: "old", ageMs: 20_000 });
  assert.deepEqual(freshnessOf(1000, true, 2000), { kind: "lost", ageMs: 1000 });
  assert.deepEqual(freshnessOf(0, false, 2000), { kind: "lost", ageMs: undefined });
});

test("a refusal keeps its code, its fields and its hint; another's answer is not taken for ours", () => {
  const text = JSON.stringify({
    ...{ code: "wrong-fields", detail: "no", hint: "look", requestId: "r" },
    errors: [{ field: "name", message: "too long" }, 7],
  });
  const { told } = problemOf(text, 422);
  assert.deepEqual([told.code, told.hint, told.errors.length], ["wrong-fields", "look", 1]);
  for (const foreign of ["<html>", "null", "[]", "{}", '{"code":1}']) {
    assert.equal(problemOf(foreign, 502).told.code, "api-unreachable");
  }
  assert.equal(asProblem(new Error("x")).told.code, "browser");
});

test("who asked for a change never gets the button to sign it", () => {
  const signable = { bytes: "", sha256: "", needed: 1, keyNeeded: false, approvals: [] };
  const step = (state: Parameters<typeof nextStep>[0]["state"], person: string) =>
    nextStep({ state, author: "erin", signable }, person);
  assert.equal(step("planned", "erin"), "wait-for-others");
  assert.equal(step("planned", "anna"), "sign");
  assert.equal(step("approved", "erin"), "apply");
  assert.equal(step("applied", "erin"), "confirm");
  assert.equal(step("rolled-back", "erin"), "rolled-back");
});

test("what a browser kept is used only when it is whole", () => {
  assert.deepEqual(readKept('{"base":"a","text":"b"}'), { base: "a", text: "b" });
  for (const broken of [null, "", "{", "null", '{"base":1,"text":"b"}']) {
    assert.equal(readKept(broken), undefined);
  }
  assert.equal(readSeen('{"origin":"a","size":1,"root":"r"}', "b"), undefined);
  assert.equal(readSeen('{"origin":"a","size":1,"root":"r"}', "a")?.size, 1);
});
