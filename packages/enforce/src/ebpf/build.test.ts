import assert from "node:assert/strict";
import fs from "node:fs";
import os from "node:os";
import path from "node:path";
import { test } from "node:test";
import { REASONS } from "@sallyport/policy/legs";
import { MARKS } from "../engine.ts";
import { build, canBuild, OBJECT } from "./build.ts";

const SOURCE = fs.readFileSync(path.join(import.meta.dirname, "inner.layout.h"), "utf8");

test("the committed object is what clang makes of the committed source", {
  skip: canBuild() ? false : "needs clang-14 and llvm-14, which users don't",
}, () => {
  const folder = fs.mkdtempSync(path.join(os.tmpdir(), "sallyport-build-"));
  try {
    const again = path.join(folder, "inner.bpf.o");
    build(again);
    assert.ok(
      fs.readFileSync(again).equals(fs.readFileSync(OBJECT)),
      "run ebpf/build.ts and commit",
    );
  } finally {
    fs.rmSync(folder, { recursive: true });
  }
});

test("the program's reasons are the positions of the policy's list", () => {
  const list = /enum reason \{([^}]*)\}/.exec(SOURCE)?.[1] ?? "";
  const found = [...list.matchAll(/([A-Z0-9_]+) = (\d+)/g)];
  assert.equal(found.length, 16);
  for (const [, name = "", position = ""] of found) {
    assert.equal(REASONS[Number(position)], name.toLowerCase().replaceAll("_", "-"));
  }
});

test("the program's marks are those that the guard routes demand", () => {
  const mark = (name: string): number =>
    Number(new RegExp(`#define ${name} (0x[0-9a-f]+)`).exec(SOURCE)?.[1]);
  assert.equal(mark("MARK_PASS"), MARKS.pass);
  assert.equal(mark("MARK_ARP"), MARKS.arp);
  assert.equal(mark("MARK_INSPECT_BASE"), MARKS.inspectBase);
});
