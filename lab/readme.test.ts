import assert from "node:assert/strict";
import fs from "node:fs";
import path from "node:path";
import { test } from "node:test";
import { ROWS } from "./story-rows.ts";

const README = path.join(import.meta.dirname, "../README.md");

test("the README shows every row of the story with its present verdict and reason, and no other", () => {
  const text = fs.readFileSync(README, "utf8");
  const block = /<!-- demo:begin -->(.*)<!-- demo:end -->/s.exec(text)?.[1] ?? "";
  const [, body = ""] = block.split(/^what +expected +seen$/m);
  const shown = (body.split("\n\n")[0] ?? "").trim().split("\n");
  assert.ok(ROWS.length > 20, `${ROWS.length} rows`);
  assert.deepEqual(
    shown.map((line) => line.split(/ {2,}/)),
    ROWS.map(({ what, expect: { verdict, reason = "" } }) => [
      what,
      `${verdict} ${reason}`.trim(),
      "same",
    ]),
  );
  assert.ok(block.includes(`${ROWS.length} as expected, 0 not, 0 not enforced here`));
});
