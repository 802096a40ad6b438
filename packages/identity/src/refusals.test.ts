import assert from "node:assert/strict";
import fs from "node:fs";
import { test } from "node:test";
import { WHY } from "./approval/refusals.ts";
import { PERMISSIONS, type Permission, ROLES, termsOf } from "./people/roles.ts";
import { REFUSALS, type RefusalCause, refuse } from "./refusals.ts";

const CAUSES = Object.keys(REFUSALS) as RefusalCause[];
const root = new URL("../../../", import.meta.url);

function page(path: string): string {
  return fs.readFileSync(new URL(path, root), "utf8");
}

test("what a refusal was leaves only as the code that tells nothing", () => {
  let hidden = 0;
  for (const cause of CAUSES) {
    const refusal = refuse(cause);
    if (refusal.code === cause) continue;
    hidden++;
    assert.equal(refuse(refusal.code).code, refusal.code, "and that one is shown as itself");
    assert.equal(refusal.why, REFUSALS[refusal.code].why);
  }
  assert.ok(hidden > 30, `${hidden} hidden`);
});

test("every code that somebody can be shown has its page, and every cause stands in the reference", () => {
  const reference = page("docs/reference/identity.md");
  for (const cause of CAUSES) {
    assert.ok(reference.includes(`\`${cause}\``), `${cause} in docs/reference/identity.md`);
    const { code } = refuse(cause);
    assert.match(page(`docs/diagnostics/${code}.md`), new RegExp(`^# ${code}\n`));
  }
  for (const code of Object.keys(WHY)) {
    assert.match(page(`docs/diagnostics/${code}.md`), new RegExp(`^# ${code}\n`));
  }
});

test("the reference's table of roles is the one that decides", () => {
  const lines = page("docs/reference/identity.md").split("\n");
  const names = Object.keys(PERMISSIONS) as Permission[];
  for (const name of names) {
    const line = lines.find((text) => text.startsWith(`| \`${name}\` |`));
    const cells = (line ?? "").split("|").map((cell) => cell.trim() === "yes");
    const { roles, isDangerous, byKey } = termsOf(name);
    const wanted = [
      ...ROLES.map((role) => roles.includes(role)),
      isDangerous === true,
      byKey === true,
    ];
    assert.deepEqual(cells.slice(2, 2 + wanted.length), wanted, name);
  }
  assert.equal(lines.filter((text) => /^\| `[a-z-]+\.[a-z-]+` \|/.test(text)).length, names.length);
});

test("every refusal is provoked by a test", () => {
  const here = new URL("./", import.meta.url);
  const files = fs
    .readdirSync(here, { recursive: true, encoding: "utf8" })
    .filter((file) => file.endsWith(".test.ts") && !file.startsWith("refusals."));
  const tests = files.map((file) => fs.readFileSync(new URL(file, here), "utf8")).join("\n");
  const codes = [...CAUSES, ...Object.keys(WHY)];
  assert.ok(codes.length > 90 && files.length > 15);
  assert.deepEqual(
    codes.filter((code) => !tests.includes(`"${code}"`)),
    [],
  );
});
