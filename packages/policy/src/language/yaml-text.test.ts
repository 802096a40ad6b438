import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { test } from "node:test";
import fc from "fast-check";
import { type Document, isAlias, isScalar, parseDocument, visit } from "yaml";
import { parseYaml } from "./yaml-text.ts";

const PLANT = readFileSync(new URL("../../../../lab/plant/site.yaml", import.meta.url), "utf8");
const OPTIONS = { version: "1.2", schema: "core", uniqueKeys: false, prettyErrors: false } as const;
const PIECES = [
  "a: ",
  "- ",
  "? ",
  "b",
  "\n",
  "\n  ",
  "[",
  "]",
  "{",
  "}",
  ",",
  '"',
  "'",
  "|\n",
  ">-\n",
];
const ODD_PIECES = [
  "# c\n",
  "&x ",
  "*x",
  "!t ",
  "---\n",
  "...\n",
  "%YAML 1.1\n",
  "\t",
  "\r\n",
  ": ",
  "1e3",
];

const seenOf = (document: Document): unknown => {
  const nodes: unknown[] = [];
  visit(document, {
    Node: (key, node) => {
      const { range, tag } = node;
      const kind = isAlias(node) ? `*${node.source}` : node.anchor;
      nodes.push([key, range, tag, kind, isScalar(node) ? node.value : ""]);
    },
  });
  const errors = document.errors.map(({ code, pos }) => [code, pos]);
  return { nodes, errors, warnings: document.warnings.map(({ code, pos }) => [code, pos]) };
};

test("a text reads as the YAML library's own parseDocument reads it, mistakes included", () => {
  let withErrors = 0;
  let without = 0;
  const same = (text: string): void => {
    const parsed = parseYaml(text, OPTIONS);
    if (parsed.kind === "too-deep") return;
    const expected = parseDocument(text, OPTIONS);
    assert.deepEqual(seenOf(parsed.document), seenOf(expected));
    if (expected.errors.length > 0) withErrors++;
    else without++;
  };
  same(PLANT);
  const pieces = fc.array(fc.constantFrom(...PIECES, ...ODD_PIECES), { maxLength: 24 });
  fc.assert(
    fc.property(pieces, (list) => same(list.join(""))),
    { numRuns: 2000 },
  );
  const cut = fc.tuple(fc.nat(PLANT.length), fc.nat(PLANT.length), fc.constantFrom(...PIECES));
  fc.assert(
    fc.property(cut, ([at, to, piece]) => same(PLANT.slice(0, at) + piece + PLANT.slice(to))),
    { numRuns: 100 },
  );
  assert.ok(withErrors > 100 && without > 100, `${withErrors} with mistakes, ${without} without`);
});
