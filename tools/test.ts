/**
 * Runs the tests, each file in a process of its own: `npm test`, or `npm test -- packages/wire` for
 * files whose path begins so. Ends with what was left out and why, and one line of counts. Finding
 * no test is a failure, and so is a file without one.
 */
import { spawn } from "node:child_process";
import fs from "node:fs";
import os from "node:os";
import path from "node:path";
import process from "node:process";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";
import { filesBelow } from "./files.ts";
import type { TestLine } from "./test-reporter.ts";

const HELP = `usage: npm test -- [--root DIR] [--limit-s N] [--jobs N] [path…]
  path       run only files whose path, from the repository's root, begins so
  --limit-s  seconds a file may take (default 120; 600 for e2e and kernel tests)
  --jobs     files at once (default 2); e2e and kernel tests always run alone
`;
const PLACES = ["packages", "lab", "e2e", "bench", "tools"];
const JOBS_DEFAULT = 2;
const LIMIT_S = 120;
/** Rooms, kernel rules and a plant are made and removed in these. */
const LIMIT_KERNEL_S = 600;
/** A file that is told to end gets this long to remove what it made in the kernel. */
const GRACE_MS = 5_000;
/** Of a failed file's own output the end is shown, where the reason usually stands. */
const OUTPUT_MAX_BYTES = 64 * 1024;

interface FileResult {
  readonly file: string;
  readonly tests: readonly TestLine[];
  /** Why the file as a whole failed, beside its tests. */
  readonly fault: string | undefined;
  readonly output: string;
  readonly seconds: number;
}

/** Files that make namespaces run alone: they would meet each other in the kernel. */
function runsAlone(file: string): boolean {
  return file.startsWith("e2e/") || file.endsWith(".kernel.test.ts");
}

const running = new Set<number>();

function killGroup(pid: number, signal: NodeJS.Signals): void {
  try {
    process.kill(-pid, signal);
  } catch {
    // The group has ended meanwhile.
  }
}

async function runFile(root: string, file: string, limitS: number): Promise<FileResult> {
  const scratch = fs.mkdtempSync(path.join(os.tmpdir(), "sallyport-test-"));
  const lines = path.join(scratch, "tests.jsonl");
  const reporter = fileURLToPath(new URL("./test-reporter.ts", import.meta.url));
  const startedAt = performance.now();
  const environment = { ...process.env };
  // Set where the tests of this runner run it; its files would then report to the outer one.
  delete environment["NODE_TEST_CONTEXT"];
  const child = spawn(
    process.execPath,
    [`--test-reporter=${reporter}`, `--test-reporter-destination=${lines}`, path.join(root, file)],
    // A group of its own, so that nothing which the file started outlives its limit.
    { cwd: root, env: environment, stdio: ["ignore", "pipe", "pipe"], detached: true },
  );
  const { pid } = child;
  if (pid !== undefined) running.add(pid);
  let output = "";
  const keep = (chunk: Buffer): void => {
    output = (output + chunk.toString("utf8")).slice(-OUTPUT_MAX_BYTES);
  };
  child.stdout.on("data", keep);
  child.stderr.on("data", keep);
  let isOver = false;
  const timer = setTimeout(() => {
    isOver = true;
    if (pid === undefined) return;
    killGroup(pid, "SIGTERM");
    setTimeout(() => killGroup(pid, "SIGKILL"), GRACE_MS).unref();
  }, limitS * 1000);
  const exit = await new Promise<string | undefined>((resolve) => {
    child.on("error", (error) => resolve(error.message));
    child.on("exit", (code, signal) =>
      resolve(signal ?? (code === 0 ? undefined : `exit ${code ?? 0}`)),
    );
  });
  clearTimeout(timer);
  if (pid !== undefined) {
    // What the file left behind would disturb the next one.
    killGroup(pid, "SIGKILL");
    running.delete(pid);
  }
  const tests = readLines(lines);
  fs.rmSync(scratch, { recursive: true, force: true });
  const fault = isOver ? `was ended: it ran longer than ${limitS} s` : faultOf(tests, exit);
  return { file, tests, fault, output, seconds: (performance.now() - startedAt) / 1000 };
}

function readLines(file: string): TestLine[] {
  if (!fs.existsSync(file)) return [];
  const texts = fs.readFileSync(file, "utf8").split("\n");
  // Our own reporter wrote these lines; a line cut off by a kill is the last and not JSON.
  return texts.flatMap((text) => {
    try {
      return [JSON.parse(text) as TestLine];
    } catch {
      return [];
    }
  });
}

function faultOf(tests: readonly TestLine[], exit: string | undefined): string | undefined {
  const hasFailed = tests.some((test) => test.outcome === "failed");
  if (exit !== undefined && !hasFailed) return `ended by ${exit} outside its tests`;
  if (tests.length === 0) return "holds no test";
  return undefined;
}

function print(result: FileResult): void {
  const count = (outcome: TestLine["outcome"]): number =>
    result.tests.filter((test) => test.outcome === outcome).length;
  const failed = count("failed");
  const isBad = failed > 0 || result.fault !== undefined;
  const parts = [`${count("passed")} passed`];
  if (failed > 0) parts.push(`${failed} failed`);
  if (count("skipped") > 0) parts.push(`${count("skipped")} skipped`);
  const took = result.seconds.toFixed(1);
  console.log(`${isBad ? "FAIL" : "ok  "} ${result.file}  ${parts.join(", ")}  (${took} s)`);
  if (!isBad) return;
  if (result.fault !== undefined) console.log(`  the file ${result.fault}`);
  for (const test of result.tests) {
    if (test.outcome !== "failed") continue;
    console.log(`  ${result.file}:${test.line}: ${test.name}\n${indent(test.why, 4)}`);
  }
  if (result.output.trim() !== "") console.log(`  its output:\n${indent(result.output.trim(), 4)}`);
}

function indent(text: string, columns: number): string {
  return text.replaceAll(/^/gm, " ".repeat(columns));
}

async function runAll(
  files: readonly string[],
  jobs: number,
  runOne: (file: string) => Promise<FileResult>,
): Promise<FileResult[]> {
  const results: FileResult[] = [];
  const queue = [...files];
  const work = async (): Promise<void> => {
    for (let file = queue.shift(); file !== undefined; file = queue.shift()) {
      const result = await runOne(file);
      print(result);
      results.push(result);
    }
  };
  await Promise.all(Array.from({ length: Math.min(jobs, files.length) }, work));
  return results;
}

/** Prints the end of the run; true when nothing failed. */
function summarize(results: readonly FileResult[]): boolean {
  const leftOut = results.flatMap((result) =>
    result.tests
      .filter((test) => test.outcome === "skipped")
      .map((test) => `  ${result.file}: ${test.name} because ${test.why || "(no reason given)"}`),
  );
  if (leftOut.length > 0) console.log(`left out:\n${leftOut.join("\n")}`);
  const all = results.flatMap((result) => result.tests);
  const count = (outcome: TestLine["outcome"]): number =>
    all.filter((test) => test.outcome === outcome).length;
  const faults = results.filter((result) => result.fault !== undefined).length;
  const failed = count("failed") + faults;
  console.log(`${count("passed")} passed, ${failed} failed, ${count("skipped")} skipped`);
  return failed === 0;
}

function stopOn(signal: NodeJS.Signals): void {
  process.once(signal, () => {
    for (const pid of running) killGroup(pid, "SIGTERM");
    setTimeout(() => {
      for (const pid of running) killGroup(pid, "SIGKILL");
      process.kill(process.pid, signal);
    }, GRACE_MS);
  });
}

async function main(): Promise<number> {
  const { values, positionals } = parseArgs({
    allowPositionals: true,
    options: {
      help: { type: "boolean" },
      root: { type: "string" },
      "limit-s": { type: "string" },
      jobs: { type: "string" },
    },
  });
  if (values.help === true) {
    process.stdout.write(HELP);
    return 0;
  }
  const root = values.root ?? fileURLToPath(new URL("..", import.meta.url));
  const wanted = positionals.map((text) => path.posix.normalize(text));
  const all = PLACES.flatMap((place) => filesBelow(root, place)).filter((file) =>
    file.endsWith(".test.ts"),
  );
  const files =
    wanted.length === 0 ? all : all.filter((file) => wanted.some((text) => file.startsWith(text)));
  const unknown = wanted.filter((text) => !all.some((file) => file.startsWith(text)));
  if (files.length === 0 || unknown.length > 0) {
    console.log(`no test file begins with: ${unknown.join(", ") || PLACES.join(", ")}`);
    console.log("0 passed, 1 failed, 0 skipped");
    return 1;
  }
  stopOn("SIGINT");
  stopOn("SIGTERM");
  const limitS = values["limit-s"] === undefined ? undefined : Number(values["limit-s"]);
  const jobs = values.jobs === undefined ? JOBS_DEFAULT : Number(values.jobs);
  const together = files.filter((file) => !runsAlone(file));
  const alone = files.filter(runsAlone);
  const results = [
    ...(await runAll(together, jobs, (file) => runFile(root, file, limitS ?? LIMIT_S))),
    ...(await runAll(alone, 1, (file) => runFile(root, file, limitS ?? LIMIT_KERNEL_S))),
  ];
  return summarize(results) ? 0 : 1;
}

process.exitCode = await main();
