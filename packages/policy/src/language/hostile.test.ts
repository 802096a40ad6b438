import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { test } from "node:test";
import type { Diagnostic } from "@sallyport/core";
import fc from "fast-check";
import { CODES } from "./codes.ts";
import { compilePolicy } from "./compile.ts";
import { formatPolicy } from "./format.ts";
import { DEPTH, DIAGNOSTICS, FILE_BYTES, FILES } from "./limits.ts";
import { parseYaml } from "./yaml-text.ts";

const NOW = Date.parse("2026-11-22T12:00:00Z");
const PLANT = readFileSync(new URL("../../../../lab/plant/site.yaml", import.meta.url), "utf8");

function diagnoseBytes(bytes: Uint8Array): readonly Diagnostic[] {
  const { diagnostics, legs } = compilePolicy([{ name: "site.yaml", bytes }], { now: NOW });
  const errors = diagnostics.filter(({ severity }) => severity === "error");
  assert.equal(legs === undefined, errors.length > 0, "legs exactly when there is no error");
  for (const { line, column, code } of diagnostics) {
    assert.ok(line >= 1 && column >= 1 && code in CODES);
  }
  return errors;
}

const diagnose = (text: string): readonly Diagnostic[] =>
  diagnoseBytes(new TextEncoder().encode(text));
const codes = (errors: readonly Diagnostic[]): string[] => [
  ...new Set(errors.map(({ code }) => code)),
];

test("a file of 1 MiB is read, and one byte more is refused unread", () => {
  const room = FILE_BYTES - new TextEncoder().encode(PLANT).length;
  const line = `${"#".repeat(99)}\n`;
  const filler = line.repeat(Math.ceil(room / line.length)).slice(0, room - 1);
  const full = new TextEncoder().encode(`${PLANT}${filler}\n`);
  assert.equal(full.length, FILE_BYTES);
  assert.deepEqual(diagnoseBytes(full), []);
  const over = diagnose(`${PLANT}${filler}#\n`);
  assert.deepEqual(codes(over), ["policy-too-large"]);
  assert.deepEqual([over[0]?.line, over[0]?.column], [1, 1]);
});

test("more files than a directory may have are refused", () => {
  const files = Array.from({ length: FILES + 1 }, (_, index) => ({
    name: `${String(index).padStart(3, "0")}.yaml`,
    bytes: new TextEncoder().encode(index === 0 ? PLANT : "assets: {}\n"),
  }));
  assert.equal(compilePolicy(files.slice(0, FILES), { now: NOW }).legs?.site, "brewery-7");
  const [only] = compilePolicy(files, { now: NOW }).diagnostics;
  assert.deepEqual([only?.code, only?.file], ["policy-too-large", "064.yaml"]);
  assert.equal(compilePolicy([], { now: NOW }).diagnostics[0]?.code, "policy-syntax");
});

test("billion laughs and quadratic aliases are refused, whatever they would expand to", () => {
  const levels = Array.from({ length: 9 }, (_, level) => {
    const item = level === 0 ? "lol" : `*l${level - 1}`;
    return `l${level}: &l${level} [${Array.from({ length: 9 }, () => item).join(", ")}]`;
  });
  assert.ok(codes(diagnose(`${PLANT}x:\n  ${levels.join("\n  ")}\n`)).includes("policy-aliases"));
  const list = Array.from({ length: 900 }, (_, index) => index).join(", ");
  const quadratic = `x: &a [${list}]\ny: [${Array.from({ length: 90 }, () => "*a").join(", ")}]\n`;
  assert.ok(codes(diagnose(PLANT + quadratic)).includes("policy-aliases"));
});

test("an alias to what contains it, and one without an anchor, are refused at their places", () => {
  const cycle = diagnose("version: 1\nzones: &z\n  a: *z\n");
  assert.ok(
    cycle.some((one) => one.code === "policy-aliases" && one.line === 3 && one.column === 6),
  );
  const missing = diagnose("version: 1\nzones: *nothing\n").find(
    ({ code }) => code === "policy-aliases",
  );
  assert.deepEqual([missing?.line, missing?.column], [2, 8]);
});

test("an anchored value used twice is fine", () => {
  const text = PLANT.replace("units: [1]", "units: &units [1]").replace(
    "units: [1]",
    "units: *units",
  );
  assert.deepEqual(diagnose(text), []);
});

test("deep nesting is refused before the YAML parser sees it, in flow and in blocks", () => {
  const half = FILE_BYTES / 2 - 10;
  for (const [open, count] of [
    ["[", 2 * half],
    ["{a: ", half / 4],
    ["[{", half],
    ["- ", half],
    ["? ", half],
  ] as const) {
    const [found] = diagnose(open.repeat(count));
    assert.equal(found?.code, "policy-too-deep", open);
  }
  const staircase = Array.from({ length: 400 }, (_, level) => `${" ".repeat(level)}a:`).join("\n");
  assert.deepEqual(codes(diagnose(staircase)), ["policy-too-deep"]);
  // Brackets that quotes and comments hide must not hide those that count.
  const hidden = '["]", '.repeat(DEPTH + 1);
  assert.deepEqual(codes(diagnose(`a: ${hidden}`)), ["policy-too-deep"]);
  assert.deepEqual(codes(diagnose(`a: ${"[ # ]\n ".repeat(DEPTH + 1)}`)), ["policy-too-deep"]);
});

test("as deep as the limit is read, and brackets in texts and comments count for nothing", () => {
  const kindOf = (text: string): string => parseYaml(text, { uniqueKeys: false }).kind;
  const deepest = "[".repeat(DEPTH);
  assert.equal(kindOf(deepest), "document");
  assert.deepEqual(parseYaml(`a: ${deepest}[`, {}), { kind: "too-deep", offset: 3 + DEPTH });
  const texts = `a: "${"[".repeat(1000)}"\nb: 'it''s'\n# ${"{".repeat(1000)}\n`;
  assert.equal(kindOf(texts), "document");
  assert.equal(kindOf(`a: |\n  ${"[".repeat(1000)}\nb: 1\n`), "document");
});

test("a megabyte of list items is answered", () => {
  const [found] = diagnose("- 1\n".repeat(FILE_BYTES / 4));
  assert.equal(found?.code, "policy-syntax");
});

test("a name twice among thousands is found, and all of a thousand mistakes are counted", () => {
  const names = Array.from({ length: 20_000 }, (_, index) => `  k${index}: 1`).join("\n");
  const [twice] = diagnose(`version: 1\nassets:\n${names}\n  k7: 1\n`).filter(
    ({ code }) => code === "duplicate-key",
  );
  assert.equal(twice?.line, 20_003);
  const bytes = new TextEncoder().encode(`version: 1\nassets:\n${names}\n`);
  const { diagnostics } = compilePolicy([{ name: "site.yaml", bytes }], { now: NOW });
  assert.equal(diagnostics.filter(({ severity }) => severity === "error").length, DIAGNOSTICS);
  assert.equal(diagnostics.at(-1)?.code, "not-all-shown");
});

test("bytes that are not text, or that can't be seen, are refused at their place", () => {
  const head = new TextEncoder().encode("version: 1\nsite: ");
  const invalid = diagnoseBytes(Uint8Array.from([...head, 0xc3, 0x28]));
  assert.deepEqual(
    [invalid[0]?.code, invalid[0]?.line, invalid[0]?.column],
    ["policy-not-utf8", 2, 7],
  );
  for (const hidden of ["\0", "\u0007", "\u202e", "\u200b", "\u0085"]) {
    const [found] = diagnose(`version: 1\nsite: ${hidden}x\n`);
    assert.deepEqual([found?.code, found?.line, found?.column], ["policy-control-character", 2, 7]);
  }
  const utf16 = Uint8Array.from([
    0xff,
    0xfe,
    ...[...new TextEncoder().encode(PLANT)].flatMap((byte) => [byte, 0]),
  ]);
  assert.deepEqual(codes(diagnoseBytes(utf16)), ["policy-not-utf8"]);
});

test("a byte order mark and CRLF line ends are fine", () => {
  const bytes = new TextEncoder().encode(`\ufeff${PLANT.replaceAll("\n", "\r\n")}`);
  assert.deepEqual([...bytes.subarray(0, 3)], [0xef, 0xbb, 0xbf]);
  assert.deepEqual(diagnoseBytes(bytes), []);
});

test("YAML 1.1, tags, two documents and names of JavaScript's own are refused or mere names", () => {
  assert.deepEqual(codes(diagnose(`%YAML 1.1\n---\n${PLANT}`)), ["policy-syntax"]);
  assert.deepEqual(codes(diagnose(`${PLANT}\n---\n${PLANT}`)), ["policy-syntax"]);
  assert.deepEqual(codes(diagnose(PLANT.replace("version: 1", "version: !!int 1"))), [
    "policy-syntax",
  ]);
  for (const name of ["__proto__", "constructor", "toString"]) {
    const found = diagnose(
      PLANT.replace("\nassets:", `\nassets:\n  ${name}: { zone: ${name}, address: 10.10.0.77 }`),
    );
    assert.ok(
      found.some(({ code }) => code === "unknown-zone"),
      name,
    );
    assert.ok(
      diagnose(PLANT.replace("    owner: it-ops", `    owner: it-ops\n    ${name}: 1`)).some(
        ({ code }) => code === "unknown-key",
      ),
      name,
    );
  }
});

/** Tokens of the plant's file, so that what is put together again is nearly a policy. */
const TOKENS = PLANT.match(/\s+|[A-Za-z0-9._/-]+|[^\sA-Za-z0-9]/g) ?? [];
const FRAGMENTS = [
  "*a",
  "&a ",
  "!!x ",
  "{",
  "}",
  "[",
  "]",
  ": ",
  "- ",
  '"',
  "'",
  "|\n",
  "? ",
  "%",
  "0",
  "65536",
  "null",
  "~",
  "10.0.0.0/0",
  "0.0.0.0/0",
  "-1",
  "1e9",
  "2027-02-30",
  "\t",
  "<<",
  "dmz",
  "dmz/",
  "audit:a:b",
];

test("never throws, whatever words of a policy are dropped, doubled, swapped or put in", () => {
  const place = fc.nat({ max: TOKENS.length - 1 });
  const edit = fc.record({
    kind: fc.constantFrom("drop", "double", "swap", "insert"),
    at: place,
    other: place,
    fragment: fc.constantFrom(...FRAGMENTS),
  });
  fc.assert(
    fc.property(fc.array(edit, { minLength: 1, maxLength: 6 }), (edits) => {
      const tokens = [...TOKENS];
      for (const { kind, at, other, fragment } of edits) {
        if (kind === "drop") tokens[at] = "";
        else if (kind === "double") tokens[at] = (tokens[at] ?? "").repeat(2);
        else if (kind === "insert") tokens[at] = fragment;
        else [tokens[at], tokens[other]] = [tokens[other] ?? "", tokens[at] ?? ""];
      }
      const text = tokens.join("");
      const errors = diagnose(text);
      if (errors.length === 0) assert.deepEqual(diagnose(formatPolicy(text)), []);
    }),
    { numRuns: 600 },
  );
});

test("never throws on random bytes", () => {
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 300 }), (bytes) => {
      assert.ok(diagnoseBytes(bytes).length > 0);
    }),
    { numRuns: 300 },
  );
});
