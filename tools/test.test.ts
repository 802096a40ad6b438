import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import fs from "node:fs";
import os from "node:os";
import path from "node:path";
import process from "node:process";
import { after, test } from "node:test";
import { fileURLToPath } from "node:url";

const runner = fileURLToPath(new URL("./test.ts", import.meta.url));
const scratch = fs.mkdtempSync(path.join(os.tmpdir(), "sallyport-runner-"));
after(() => fs.rmSync(scratch, { recursive: true, force: true }));

const IMPORT = `import { test } from "node:test";\n`;

/** A tree of test files, run; gives the exit code and what was printed. */
function run(files: Record<string, string>, ...args: string[]): { code: number; text: string } {
  const root = fs.mkdtempSync(path.join(scratch, "tree-"));
  for (const [name, text] of Object.entries(files)) {
    const file = path.join(root, name);
    fs.mkdirSync(path.dirname(file), { recursive: true });
    fs.writeFileSync(file, text);
  }
  const done = spawnSync(process.execPath, [runner, "--root", root, ...args], { encoding: "utf8" });
  return { code: done.status ?? -1, text: done.stdout + done.stderr };
}

function lastLine(text: string): string {
  return text.trimEnd().split("\n").at(-1) ?? "";
}

test("counts passes, and tells what was left out and why", () => {
  const { code, text } = run({
    "packages/a/src/x.test.ts": `${IMPORT}test("holds", () => {});
test("needs the kernel", (t) => t.skip("no network namespaces here"));`,
  });
  assert.equal(lastLine(text), "1 passed, 0 failed, 1 skipped");
  assert.match(text, /x\.test\.ts: needs the kernel because no network namespaces here/);
  assert.equal(code, 0);
});

test("fails when a test fails, and shows where and why", () => {
  const { code, text } = run({
    "e2e/01-x.test.ts": `${IMPORT}test("holds", () => {});
test("breaks", () => { throw new Error("boom"); });`,
  });
  assert.equal(lastLine(text), "1 passed, 1 failed, 0 skipped");
  assert.match(text, /e2e\/01-x\.test\.ts:3: breaks\n\s+Error: boom/);
  assert.equal(code, 1);
});

test("fails for a file that does not load, holds no test, or never ends", () => {
  const { code, text } = run(
    {
      "tools/empty.test.ts": "export const nothing = 1;",
      "tools/throws.test.ts": `throw new Error("at load");`,
      "tools/hangs.test.ts": `${IMPORT}process.on("SIGTERM", () => process.exit(3));
test("waits", () => new Promise(() => setInterval(() => {}, 1000)));`,
    },
    "--limit-s=2",
  );
  assert.equal(lastLine(text), "0 passed, 3 failed, 0 skipped");
  assert.match(text, /the file holds no test/);
  assert.match(text, /the file ended by exit 1 outside its tests/);
  assert.match(text, /the file was ended: it ran longer than 2 s/);
  assert.equal(code, 1);
});

test("fails when it finds no test, or a path that names none", () => {
  const files = { "lab/x.test.ts": `${IMPORT}test("holds", () => {});` };
  assert.equal(run({}).code, 1);
  assert.equal(run(files, "lab", "nowhere").code, 1);
  assert.equal(run(files, "lab/x").code, 0);
});
