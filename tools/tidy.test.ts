import assert from "node:assert/strict";
import fs from "node:fs";
import os from "node:os";
import path from "node:path";
import { after, test } from "node:test";
import { ROOT_LINES_MAX } from "./tidy/house.ts";
import { tidy } from "./tidy.ts";

const scratch = fs.mkdtempSync(path.join(os.tmpdir(), "sallyport-tidy-"));
after(() => fs.rmSync(scratch, { recursive: true, force: true }));

type Tree = Record<string, string>;

function manifest(name: string, own: object, more: object = {}): string {
  const exports = { ".": "./src/index.ts" };
  return JSON.stringify({ name, exports, sallyport: own, ...more });
}

function compilerFiles(directory: string, types: readonly string[]): Tree {
  const extending = { extends: "../../tsconfig.base.json" };
  return {
    [`${directory}/tsconfig.json`]: "{}",
    [`${directory}/tsconfig.src.json`]: JSON.stringify({
      ...extending,
      compilerOptions: { types },
    }),
    [`${directory}/tsconfig.test.json`]: JSON.stringify(extending),
    [`${directory}/README.md`]: README,
  };
}

const README = "# x\n\n## Purpose\n\n## May import\n\n## May touch\n\n## How to test\n";
/** Modules of 500 lines each with their import: one more than are allowed. */
const TOO_MANY = Array.from({ length: Math.floor(ROOT_LINES_MAX / 500) + 1 }, (_, n) => n);
const MAIN = "packages/sallyport/src/enforcer.main.ts";

/** A small house in which every rule holds. */
const GOOD: Tree = {
  "package.json": JSON.stringify({ devDependencies: { "fast-check": "1.0.0" } }),
  "package-lock.json": JSON.stringify({
    packages: {
      "node_modules/@sallyport/core": { resolved: "packages/core", link: true },
      "node_modules/zod": { integrity: "sha512-x" },
    },
  }),
  "README.md": "[core](packages/core/README.md) and [a site](https://example.org)\n",
  ...compilerFiles("packages/core", []),
  "packages/core/package.json": manifest("@sallyport/core", {
    layer: 1,
    mayImport: [],
    touches: [],
  }),
  "packages/core/src/index.ts": `export { a } from "./a.ts";\n`,
  "packages/core/src/a.ts": `export const a = 1;\nthrow new SallyportError("known", "x");\n`,
  "packages/core/src/a.test.ts": `import fs from "node:fs";\nimport { a } from "./a.ts";\n`,
  "docs/diagnostics/known.md": "# known\n",
  ...compilerFiles("packages/gate", ["node"]),
  "packages/gate/package.json": manifest(
    "@sallyport/gate",
    { layer: 8, mayImport: ["core", "wire", "policy"], touches: ["net"] },
    { dependencies: { "@sallyport/core": "0.1.0", zod: "4.0.0" } },
  ),
  "packages/gate/src/index.ts": `import net from "node:net";
import { z } from "zod";
import { a } from "@sallyport/core";
export type { b } from "./b.ts";
`,
  "packages/gate/src/b.ts": `import type { x } from "./index.ts";\nexport const b = 1;\n`,
  ...compilerFiles("packages/sallyport", ["node"]),
  "packages/sallyport/package.json": JSON.stringify({
    name: "sallyport",
    sallyport: { layer: 18, mayImport: ["*"], touches: ["*"] },
    dependencies: { "@sallyport/core": "0.1.0", "@sallyport/gate": "0.1.0", zod: "4.0.0" },
  }),
  [MAIN]: `import fs from "node:fs";\nimport { a } from "@sallyport/core";\nimport type { z } from "zod";\n`,
  "packages/sallyport/src/clock.ts": "export const now = () => Date.now();\n",
  "tools/x.ts": `import fs from "node:fs";\nimport { a } from "@sallyport/core";\n`,
};

/** What tidy finds in the good house with these files changed; `undefined` removes one. */
function faultsWith(change: Record<string, string | undefined>): string[] {
  const root = fs.mkdtempSync(path.join(scratch, "tree-"));
  for (const [name, text] of Object.entries({ ...GOOD, ...change })) {
    if (text === undefined) continue;
    const file = path.join(root, name);
    fs.mkdirSync(path.dirname(file), { recursive: true });
    fs.writeFileSync(file, text);
  }
  return tidy(root).faults.map(({ file, line, what }) => `${file}:${line}: ${what}`);
}

function assertFault(change: Record<string, string | undefined>, expected: RegExp): void {
  const faults = faultsWith(change);
  assert.equal(faults.length, 1, `one fault expected, found:\n${faults.join("\n")}`);
  assert.match(faults[0] ?? "", expected);
}

const lines = (count: number): string => "const x = 1;\n".repeat(count);

test("finds nothing in a house where every rule holds", () => {
  assert.deepEqual(faultsWith({}), []);
});

test("fails when it looked at nothing", () => {
  const root = fs.mkdtempSync(path.join(scratch, "empty-"));
  const what = tidy(root).faults.map((fault) => fault.what);
  for (const thing of ["packages", "sources", "imports", "pages"]) {
    assert.ok(what.includes(`looked at no ${thing}`), thing);
  }
});

const IN_GATE = "packages/gate/src/b.ts";
const IN_CORE = "packages/core/src/b.ts";
const PLANTED: readonly [string, Record<string, string | undefined>, RegExp][] = [
  [
    "an import against the flow of data",
    { [IN_CORE]: `import { g } from "@sallyport/gate";` },
    /core\/src\/b\.ts:1: imports @sallyport\/gate; the table allows core no such import/,
  ],
  [
    "an import that the table allows but package.json does not declare",
    { [IN_GATE]: `\nimport { w } from "@sallyport/wire";` },
    /gate\/src\/b\.ts:2: .*does not declare/,
  ],
  [
    "an npm package that is not declared",
    { [IN_CORE]: `import { z } from "zod";` },
    /imports zod, which its package\.json does not declare/,
  ],
  [
    "a development dependency in product code",
    { [IN_GATE]: `import fc from "fast-check";` },
    /imports fast-check/,
  ],
  [
    "a path into another package",
    { [IN_GATE]: `import { a } from "../../core/src/a.ts";` },
    /outside the package/,
  ],
  [
    "a door that the other package does not have",
    { [IN_GATE]: `import { a } from "@sallyport/core/src/a.ts";` },
    /does not export/,
  ],
  ["a file that is not there", { [IN_GATE]: `export * from "./gone.ts";` }, /is not there/],
  [
    "a built-in that the package may not touch",
    { [IN_GATE]: `import fs from "node:fs";` },
    /imports node:fs; the package touches net/,
  ],
  [
    "any built-in in a package that touches nothing",
    { [IN_CORE]: `import path from "node:path";` },
    /imports node:path; the package touches nothing/,
  ],
  ["a computed import", { [IN_GATE]: "await import(name);" }, /computed name/],
  ["a read of the clock", { [IN_GATE]: "const t = Date.now();" }, /reads Date\.now/],
  ["a read of today", { [IN_CORE]: "const t = new Date();" }, /reads new Date\(\)/],
  [
    "a read of randomness",
    { [IN_GATE]: `import { randomBytes } from "node:crypto";` },
    /reads randomBytes/,
  ],
  ["a read of the environment", { [IN_GATE]: "const t = process.env;" }, /reads process\.env/],
  [
    "a cycle of imports",
    { [IN_CORE]: `import "./c.ts";`, "packages/core/src/c.ts": `export * from "./b.ts";` },
    /imports itself: packages\/core\/src\/b\.ts → packages\/core\/src\/c\.ts/,
  ],
  [
    "test data in product code",
    { [IN_GATE]: `import "./x.test-data.ts";`, "packages/gate/src/x.test-data.ts": "" },
    /imports \.\/x\.test-data\.ts, which is for tests/,
  ],
  [
    "a reach from tools into a package",
    { "tools/x.ts": `import { a } from "../packages/core/src/a.ts";` },
    /tools may not reach into packages/,
  ],
  [
    "a package that uses the lab",
    { [IN_GATE]: `import { x } from "../../../lab/x.ts";`, "lab/x.ts": "export const x = 1;" },
    /outside the package/,
  ],
  [
    "an npm package in a process that runs as root",
    { [MAIN]: `import "./clock.ts";`, "packages/sallyport/src/clock.ts": `import "zod";` },
    /clock\.ts:1: loads npm package zod into a process that runs as root/,
  ],
  [
    "too many lines in the processes that run as root",
    {
      [MAIN]: TOO_MANY.map((n) => `import "./m${n}.ts";`).join("\n"),
      ...Object.fromEntries(TOO_MANY.map((n) => [`packages/sallyport/src/m${n}.ts`, lines(499)])),
    },
    new RegExp(
      `root mains load ${TOO_MANY.length * 500} lines of code together; ${ROOT_LINES_MAX} is the limit, 3000 the goal`,
    ),
  ],
  [
    "a code without a page",
    { [IN_CORE]: `new SallyportError("new-code", "x");` },
    /code "new-code" has no page docs\/diagnostics\/new-code\.md/,
  ],
  [
    "a diagnostic without a page",
    { [IN_CORE]: `diagnostic(at, "new-code");` },
    /code "new-code" has no page/,
  ],
  [
    "a code in a list of severities without a page",
    { [IN_CORE]: `export const CODES = { "new-code": "error", known: "warning" };` },
    /code "new-code" has no page/,
  ],
  [
    "a page without a code",
    { "docs/diagnostics/old-code.md": "# old\n" },
    /describes "old-code", which no code says/,
  ],
  [
    "a README without its headings",
    { "packages/core/README.md": "# core\n\n## Purpose\n" },
    /has the headings Purpose, not/,
  ],
  ["a file that grew too long", { [IN_CORE]: lines(501) }, /has 501 lines; 500 is the limit/],
  [
    "a test that grew too long",
    { "packages/core/src/b.test.ts": lines(801) },
    /has 801 lines; 800 is the limit/,
  ],
  [
    "a link that leads nowhere",
    { "docs/README.md": "text\n\n[gone](../gone.md#part)\n" },
    /docs\/README\.md:3: links to \.\.\/gone\.md#part/,
  ],
  [
    "a place on someone's machine",
    { "docs/README.md": `see ${["", "home", "someone", "x"].join("/")}\n` },
    /docs\/README\.md:1: names/,
  ],
  [
    "a registry's host",
    { "docs/README.md": `from https://${["registry", "npmjs", "org"].join(".")}/x\n` },
    /docs\/README\.md:1: names/,
  ],
  [
    "a download address in the lockfile",
    {
      "package-lock.json": JSON.stringify({
        packages: { "node_modules/x": { resolved: "https://x", integrity: "y" } },
      }),
    },
    /node_modules\/x names a download address/,
  ],
  [
    "a row that says other than the table",
    {
      "packages/core/package.json": manifest("@sallyport/core", {
        layer: 1,
        mayImport: [],
        touches: ["fs"],
      }),
    },
    /sallyport\.touches is \["fs"\]; the table says \[\]/,
  ],
  [
    "a dependency range",
    {
      "packages/gate/package.json": manifest(
        "@sallyport/gate",
        { layer: 8, mayImport: ["core", "wire", "policy"], touches: ["net"] },
        { dependencies: { "@sallyport/core": "0.1.0", zod: "^4.0.0" } },
      ),
    },
    /zod is not pinned: "\^4\.0\.0"/,
  ],
  [
    "Node types where nothing is touched",
    {
      "packages/core/tsconfig.src.json": JSON.stringify({
        extends: "../../tsconfig.base.json",
        compilerOptions: { types: ["node"] },
      }),
    },
    /types is \["node"\]; a package that touches nothing has \[\]/,
  ],
  [
    "a compiler flag turned off",
    {
      "packages/gate/tsconfig.src.json": JSON.stringify({
        extends: "../../tsconfig.base.json",
        compilerOptions: { types: ["node"], strict: false },
      }),
    },
    /changes compiler flags of the house: strict/,
  ],
];

for (const [what, change, expected] of PLANTED) {
  test(`finds ${what}`, () => assertFault(change, expected));
}

test("finds a package that the table does not know", () => {
  const faults = faultsWith({ "packages/other/src/index.ts": "export const a = 1;" });
  assert.match(faults.join("\n"), /package "other" has no row in the table/);
});

test("lets store import types of the packages above it, and nothing else of them", () => {
  const row = {
    layer: 15,
    mayImport: ["core"],
    mayImportTypes: [
      ...["wire", "capture", "assets", "detect", "policy", "enforce", "gate", "identity"],
      ...["access", "telemetry", "devices", "ledger", "assurance"],
    ],
    touches: ["fs", "net"],
  };
  const store = {
    ...compilerFiles("packages/store", ["node"]),
    "packages/store/package.json": manifest("@sallyport/store", row, {
      dependencies: { "@sallyport/gate": "0.1.0" },
    }),
  };
  const file = "packages/store/src/index.ts";
  assert.deepEqual(
    faultsWith({ ...store, [file]: `import type { g } from "@sallyport/gate";` }),
    [],
  );
  assertFault(
    { ...store, [file]: `import { type g } from "@sallyport/gate";` },
    /the table allows store only its types/,
  );
});
