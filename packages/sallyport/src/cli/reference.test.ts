import assert from "node:assert/strict";
import fs from "node:fs";
import path from "node:path";
import process from "node:process";
import { test } from "node:test";
import { commands } from "./commands.ts";
import { referenceText } from "./reference.ts";

const PAGE = path.join(import.meta.dirname, "../../../../docs/reference/cli.md");

test("the reference page says what the command line takes today", () => {
  const text = referenceText(commands);
  if (process.env["SALLYPORT_UPDATE"] === "1") fs.writeFileSync(PAGE, text);
  assert.equal(fs.readFileSync(PAGE, "utf8"), text);
});

test("every command has a section with its usage and every flag of its own", () => {
  const text = referenceText(commands);
  assert.ok(commands.length > 20, `${commands.length} commands`);
  for (const { name, flags } of commands) {
    const section = text.split(`\n## ${name}\n`)[1]?.split("\n## ")[0] ?? "";
    assert.ok(section.includes(`\`sallyport ${name}`), name);
    for (const flag of Object.keys(flags)) assert.ok(section.includes(`\`--${flag}`), flag);
  }
});
