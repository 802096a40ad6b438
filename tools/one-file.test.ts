import assert from "node:assert/strict";
import fs from "node:fs";
import path from "node:path";
import { test } from "node:test";
import { fileURLToPath } from "node:url";
import { makeScript, SCRIPTS } from "./one-file.ts";

const ROOT = fileURLToPath(new URL("..", import.meta.url));

test("the scripts of one file are what their sources make", () => {
  assert.equal(SCRIPTS.length, 2);
  for (const { main, script } of SCRIPTS) {
    const made = makeScript(main);
    assert.equal(
      made,
      fs.readFileSync(path.join(ROOT, script), "utf8"),
      `run node tools/one-file.ts: ${script}`,
    );
    const imports = [...made.matchAll(/^import .* from "(.*)";$/gm)].map((match) => match[1] ?? "");
    assert.ok(
      imports.length > 1 && imports.every((one) => one.startsWith("node:")),
      imports.join(),
    );
  }
});
