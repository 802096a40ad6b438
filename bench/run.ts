/**
 * Runs the benchmarks one after another: `npm run bench`, `npm run bench -- NAME`. `--check` fails
 * when a ratio falls short of its goal; an absent peer is skipped, never passed. Nothing is written
 * unless `--write`, which renews the reference page and the baseline.
 */
import fs from "node:fs";
import path from "node:path";
import process from "node:process";
import { fileURLToPath, pathToFileURL } from "node:url";
import { parseArgs } from "node:util";
import { type Bench, judge, type Result, type Row, table } from "./bench.ts";

const BEGIN = "<!-- bench:begin -->";
const END = "<!-- bench:end -->";

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    check: { type: "boolean" },
    write: { type: "boolean" },
    directory: { type: "string" },
    page: { type: "string" },
  },
});
const directory = path.resolve(values.directory ?? fileURLToPath(new URL(".", import.meta.url)));
const page = path.resolve(values.page ?? path.join(directory, "../docs/reference/benchmarks.md"));

function isBench(value: unknown): value is Bench {
  if (typeof value !== "object" || value === null) return false;
  if (!("name" in value && "goals" in value && "run" in value)) return false;
  return (
    typeof value.name === "string" && Array.isArray(value.goals) && typeof value.run === "function"
  );
}

async function load(file: string): Promise<Bench> {
  const module: unknown = await import(pathToFileURL(path.join(directory, file)).href);
  const bench =
    typeof module === "object" && module !== null && "bench" in module ? module.bench : undefined;
  if (!isBench(bench)) throw new TypeError(`${file} exports no bench of the shape in bench.ts`);
  return bench;
}

async function runOne(bench: Bench): Promise<Row[]> {
  let results: readonly Result[];
  try {
    results = await bench.run();
  } catch (error) {
    const note = error instanceof Error ? error.message : String(error);
    results = bench.goals.map(({ id }) => ({ id, ratio: null, note }));
  }
  return judge(bench.name, bench.goals, results);
}

/** Replaces what stands between the marks; the prose around it is people's. */
function write(rows: readonly Row[]): void {
  const old = fs.readFileSync(page, "utf8");
  const [begin, end] = [old.indexOf(BEGIN), old.indexOf(END)];
  if (begin < 0 || end < begin) throw new Error(`${page} has no ${BEGIN} … ${END}`);
  const text = `${BEGIN}\n\`npm run bench -- --write\` printed:\n\n${table(rows)}\n`;
  fs.writeFileSync(page, old.slice(0, begin) + text + old.slice(end));
  const baseline = Object.fromEntries(
    rows.map((row) => [`${row.bench}/${row.goal.id}`, row.ratio]),
  );
  const file = path.join(directory, "baseline.json");
  fs.writeFileSync(file, `${JSON.stringify(baseline, null, 2)}\n`);
}

async function main(): Promise<number> {
  const files = fs.readdirSync(directory).filter((file) => file.endsWith(".bench.ts"));
  const wanted = files
    .filter((file) => positionals.length === 0 || positionals.some((name) => file.includes(name)))
    .sort();
  if (wanted.length === 0) {
    console.log(`no benchmark is called ${positionals.join(", ") || "*.bench.ts"}`);
    return 1;
  }
  if (values.write === true && positionals.length > 0) {
    console.log("--write renews the whole page; leave out the names");
    return 64;
  }
  const rows: Row[] = [];
  for (const file of wanted) rows.push(...(await runOne(await load(file))));
  console.log(table(rows));
  const count = (verdict: Row["verdict"]): number =>
    rows.filter((row) => row.verdict === verdict).length;
  console.log(`${count("met")} met, ${count("missed")} missed, ${count("skipped")} skipped`);
  if (values.write === true) write(rows);
  // A run in which every peer was absent has measured nothing.
  return values.check === true && (count("missed") > 0 || count("met") === 0) ? 1 : 0;
}

process.exitCode = await main();
