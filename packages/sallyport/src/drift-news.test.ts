import assert from "node:assert/strict";
import { test } from "node:test";
import type { Finding } from "@sallyport/enforce";
import { DriftNews } from "./drift-news.ts";

const finding = (what: string, isKnown: boolean): Finding => ({ what, opens: true, isKnown });
const NIC = "inner: has link evil0";
const RULES = "outer: rules differ from what was loaded";

test("a strange NIC is recorded once, again when more is found, and once more when it is gone", () => {
  const news = new DriftNews();
  const looks = [
    [],
    [finding(NIC, false)],
    [finding(NIC, true)],
    [finding(NIC, true)],
    [finding(NIC, true), finding(RULES, false)],
    [finding(NIC, true)],
    [],
    [],
  ];
  assert.deepEqual(
    looks.map((found) => news.of(found)?.type),
    [undefined, "drift", undefined, undefined, "drift", "drift", "drift-gone", undefined],
  );
});

test("the same rule slipped in again after it was undone is recorded every time", () => {
  const news = new DriftNews();
  const differences = [RULES];
  for (let round = 0; round < 3; round++) {
    assert.deepEqual(news.of([finding(RULES, false)]), { type: "drift", fields: { differences } });
  }
});
