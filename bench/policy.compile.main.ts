/**
 * One sample, in a process of its own as `compiler` is: reads a policy's files from a folder and
 * prints how many milliseconds it took to get to legs, or to have them parsed by `yaml` alone.
 *
 *   policy.compile.main.ts legs|document|values FOLDER
 */
import fs from "node:fs";
import { createRequire } from "node:module";
import path from "node:path";
import process from "node:process";
import { pathToFileURL } from "node:url";
import { compilePolicy } from "@sallyport/policy";

interface Yaml {
  parse(text: string, options: { readonly uniqueKeys: boolean }): unknown;
  parseDocument(
    text: string,
    options: { readonly uniqueKeys: boolean },
  ): { readonly errors: readonly unknown[] };
}

/** The very copy that the compiler uses, whatever else is installed. */
async function compilersYaml(): Promise<Yaml> {
  const policy = createRequire(new URL("../packages/policy/package.json", import.meta.url));
  return (await import(pathToFileURL(policy.resolve("yaml")).href)) as Yaml;
}

const [what = "", folder = ""] = process.argv.slice(2);
const yaml = await compilersYaml();
const names = fs.readdirSync(folder).sort();
const start = performance.now();
const files = names.map((name) => ({ name, bytes: fs.readFileSync(path.join(folder, name)) }));
let refused: unknown;
if (what === "legs") {
  const { legs, diagnostics } = compilePolicy(files, { now: Date.UTC(2026, 10, 22) });
  if (legs === undefined) refused = diagnostics.find(({ severity }) => severity === "error");
} else {
  for (const { bytes } of files) {
    const text = new TextDecoder().decode(bytes);
    if (what === "values") yaml.parse(text, { uniqueKeys: false });
    else refused ??= yaml.parseDocument(text, { uniqueKeys: false }).errors[0];
  }
}
const tookMs = performance.now() - start;
if (refused !== undefined) throw new Error(`refused: ${JSON.stringify(refused)}`);
console.log(tookMs);
