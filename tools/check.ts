/**
 * Everything that is checked without running the product: `npm run check`. All steps run even when
 * one fails, so that one run shows all that is to be mended. `npm run check -- tidy types` runs two.
 */
import { spawnSync } from "node:child_process";
import { existsSync } from "node:fs";
import path from "node:path";
import process from "node:process";
import { fileURLToPath } from "node:url";

const ROOT = fileURLToPath(new URL("..", import.meta.url));
/** The slowest step takes seconds; one that hangs must not hold up a release. */
const STEP_LIMIT_MS = 5 * 60 * 1000;

interface Step {
  readonly name: string;
  readonly what: string;
  /** A script that Node runs, from the repository's root, and its arguments. */
  readonly script: string;
  readonly args: readonly string[];
}

const STEPS: readonly Step[] = [
  { name: "tidy", what: "house rules", script: "tools/tidy.ts", args: [] },
  {
    name: "types",
    what: "tsc -b",
    script: "node_modules/typescript/bin/tsc",
    args: ["-b", "--pretty", "false"],
  },
  {
    name: "lint",
    what: "oxlint --type-aware",
    script: "node_modules/oxlint/bin/oxlint",
    args: ["--type-aware"],
  },
  {
    name: "format",
    what: "biome format",
    script: "node_modules/@biomejs/biome/bin/biome",
    args: ["format", "."],
  },
  {
    name: "dead",
    what: "knip: unused files, exports and dependencies",
    script: "node_modules/knip/bin/knip.js",
    args: ["--no-config-hints"],
  },
];

function run(step: Step): boolean {
  const script = path.join(ROOT, step.script);
  if (!existsSync(script)) {
    console.log(`${step.script} is not installed`);
    return false;
  }
  const done = spawnSync(process.execPath, [script, ...step.args], {
    cwd: ROOT,
    stdio: ["ignore", "inherit", "inherit"],
    timeout: STEP_LIMIT_MS,
  });
  return done.status === 0;
}

const wanted = process.argv.slice(2);
const unknown = wanted.filter((name) => !STEPS.some((step) => step.name === name));
const steps = wanted.length === 0 ? STEPS : STEPS.filter((step) => wanted.includes(step.name));
if (unknown.length > 0) {
  console.log(
    `no step is called ${unknown.join(", ")}; there are ${STEPS.map((s) => s.name).join(", ")}`,
  );
  process.exitCode = 64;
} else {
  const results = steps.map((step) => {
    console.log(`── ${step.name}: ${step.what}`);
    return { step, isGood: run(step) };
  });
  const bad = results.filter((result) => !result.isGood).map((result) => result.step.name);
  console.log(
    bad.length === 0
      ? `check: ${results.length} of ${results.length} hold`
      : `check: ${bad.join(", ")} failed`,
  );
  process.exitCode = bad.length === 0 ? 0 : 1;
}
