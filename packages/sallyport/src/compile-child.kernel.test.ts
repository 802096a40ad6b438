import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import fs from "node:fs";
import os from "node:os";
import path from "node:path";
import process from "node:process";
import { after, before, test } from "node:test";
import { SallyportError } from "@sallyport/core";
import { compileInChild } from "./compile-child.ts";

const SKIP =
  process.getuid?.() === 0 ? false : "needs root: the compiler gets a uid and a room of its own";
const ROOT = path.resolve(import.meta.dirname, "../../..");
const UID = 1_699_999;
const NOW = Date.parse("2026-11-22T12:00:00Z");

/**
 * The code where every uid can load it, as the supervisor mounts it: a checkout in a 0700 directory
 * is closed to the compiler's uid.
 */
const mounted = fs.mkdtempSync(path.join(os.tmpdir(), "sallyport-code-"));
before(() => {
  if (SKIP !== false) return;
  fs.chmodSync(mounted, 0o755);
  assert.equal(spawnSync("mount", ["--bind", ROOT, mounted]).status, 0);
});
after(() => {
  if (SKIP === false) assert.equal(spawnSync("umount", [mounted]).status, 0);
  fs.rmdirSync(mounted);
});
const NODE = process.execPath.startsWith(`${ROOT}/`)
  ? path.join(mounted, path.relative(ROOT, process.execPath))
  : process.execPath;

/** A checkout whose compiler is the given program: what the room does is tried from inside it. */
function homeOf(program: string): { codeDir: string; readonly remove: () => void } {
  const codeDir = fs.mkdtempSync(path.join(os.tmpdir(), "sallyport-compiler-"));
  fs.chmodSync(codeDir, 0o755);
  const at = path.join(codeDir, "packages/sallyport/src");
  fs.mkdirSync(at, { recursive: true });
  fs.writeFileSync(path.join(at, "compiler.main.ts"), program);
  return { codeDir, remove: () => fs.rmSync(codeDir, { recursive: true }) };
}

async function answerOf(program: string): Promise<unknown> {
  const { codeDir, remove } = homeOf(program);
  try {
    return await compileInChild({ node: NODE, codeDir, uid: UID }, [{ name: "x", text: "" }], NOW);
  } finally {
    remove();
  }
}

async function codeOf(program: string): Promise<string> {
  try {
    await answerOf(program);
    return "answered";
  } catch (error) {
    return error instanceof SallyportError ? error.code : String(error);
  }
}

test("the plant's policy compiles in the empty room", { skip: SKIP }, async () => {
  const text = fs.readFileSync(path.join(ROOT, "lab/plant/site.yaml"), "utf8");
  const home = { node: NODE, codeDir: mounted, uid: UID };
  const { legs, diagnostics } = await compileInChild(home, [{ name: "site.yaml", text }], NOW);
  assert.equal(legs?.site, "brewery-7");
  assert.deepEqual(
    diagnostics.filter(({ severity }) => severity === "error"),
    [],
  );
});

test("a compiler that never ends is ended, and the policy is called too complex", {
  skip: SKIP,
}, async () => {
  assert.equal(await codeOf("for (;;);"), "policy-too-complex");
});

test("a compiler that takes all memory is ended, and the policy is called too complex", {
  skip: SKIP,
}, async () => {
  const program = "const held = []; for (;;) held.push(Buffer.alloc(16 * 1024 * 1024, 1));";
  assert.equal(await codeOf(program), "policy-too-complex");
});

test("a compiler that dies is told apart from one that refuses", { skip: SKIP }, async () => {
  assert.equal(await codeOf('throw new Error("broken");'), "compiler-failed");
});

test("inside there is no network, no other process, no right, and no file but the code", {
  skip: SKIP,
}, async () => {
  const seen = await answerOf(`
    import fs from "node:fs";
    import os from "node:os";
    const tries = {};
    const attempt = (name, act) => { try { tries[name] = act(); } catch (error) { tries[name] = error.code; } };
    attempt("uid", () => process.getuid());
    attempt("pid", () => process.pid);
    attempt("links", () => Object.keys(os.networkInterfaces()));
    attempt("passwd", () => fs.readFileSync("/etc/passwd").length);
    attempt("write", () => fs.writeFileSync("/tmp/from-the-compiler", "x"));
    attempt("environment", () => Object.keys(process.env));
    const { spawnSync } = await import("node:child_process");
    attempt("child", () => spawnSync("true").status);
    console.log(JSON.stringify({ diagnostics: [], tries }));
  `);
  assert.deepEqual((seen as { tries?: unknown }).tries, {
    uid: UID,
    pid: 1,
    links: [],
    passwd: "ERR_ACCESS_DENIED",
    write: "ERR_ACCESS_DENIED",
    environment: [],
    child: "ERR_ACCESS_DENIED",
  });
  assert.equal(fs.existsSync("/tmp/from-the-compiler"), false);
});
