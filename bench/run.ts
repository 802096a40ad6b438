/**
 * Runs the benchmarks one after another: `npm run bench`, `npm run bench -- NAME`. `--check` fails
 * when a ratio falls short of its goal; an absent peer is skipped, never passed. Nothing is written
 * unless `--write`, which renews what was measured in the baseline, and the reference page from it.
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

const kept = path.join(directory, "baseline.json");

type Baseline = Readonly<Record<string, Result & { readonly measured: string }>>;

/** Rows of all benchmarks as they were last measured, each with its day. */
function written(all: readonly Bench[], rows: readonly Row[]): string {
  const old = fs.existsSync(kept) ? (JSON.parse(fs.readFileSync(kept, "utf8")) as Baseline) : {};
  const measured = new Date().toISOString().slice(0, 10);
  const now = rows.map(({ bench, goal, ratio, note, verdict }) => {
    const result = verdict === "skipped" ? { ratio, skipped: note } : { ratio, note };
    return [`${bench}/${goal.id}`, { id: goal.id, ...result, measured }] as const;
  });
  const baseline: Baseline = { ...old, ...Object.fromEntries(now) };
  fs.writeFileSync(kept, `${JSON.stringify(baseline, null, 2)}\n`);
  const shown = all.flatMap(({ name, goals }) => {
    const results = goals.flatMap(({ id }) => {
      const result = baseline[`${name}/${id}`];
      if (result === undefined) return [];
      return [{ ...result, note: `${result.measured}: ${result.note ?? ""}` }];
    });
    return judge(name, goals, results);
  });
  return table(shown);
}

/** Replaces what stands between the marks; the prose around it is people's. */
function write(text: string): void {
  const old = fs.readFileSync(page, "utf8");
  const [begin, end] = [old.indexOf(BEGIN), old.indexOf(END)];
  if (begin < 0 || end < begin) throw new Error(`${page} has no ${BEGIN} … ${END}`);
  const renewed = `${BEGIN}\n\`npm run bench -- --write\` printed:\n\n${text}\n`;
  fs.writeFileSync(page, old.slice(0, begin) + renewed + old.slice(end));
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
  const rows: Row[] = [];
  for (const file of wanted) rows.push(...(await runOne(await load(file))));
  console.log(table(rows));
  const count = (verdict: Row["verdict"]): number =>
    rows.filter((row) => row.verdict === verdict).length;
  console.log(`${count("met")} met, ${count("missed")} missed, ${count("skipped")} skipped`);
  if (values.write === true) write(written(await Promise.all(files.sort().map(load)), rows));
  // A run in which every peer was absent has measured nothing.
  return values.check === true && (count("missed") > 0 || count("met") === 0) ? 1 : 0;
}

process.exitCode = await main();
