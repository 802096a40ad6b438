// Builds dist/: one page, hashed scripts and styles, the notices of third parties. Nothing in it is made at run time.
import { createHash } from "node:crypto";
import fs from "node:fs";
import path from "node:path";
import { fileURLToPath } from "node:url";
import { build } from "esbuild";

const here = path.dirname(fileURLToPath(import.meta.url));
const dist = path.join(here, "dist");
/** A build goes beside the old one and takes its place at the end, so that no half of one is ever served. */
const next = path.join(here, `dist.${process.pid}`);

const LICENSE_FILE = /^(licen[cs]e|copying)(\.(md|txt))?$/i;

const byText = (one, other) => (one < other ? -1 : 1);

/** What is in the bundle, by the packages that its inputs lie in. */
function noticesOf(inputs) {
  const folders = new Set();
  for (const input of inputs) {
    const at = input.lastIndexOf("node_modules/");
    if (at < 0) continue;
    const rest = input.slice(at + "node_modules/".length).split("/");
    const name = rest[0]?.startsWith("@") ? rest.slice(0, 2).join("/") : rest[0];
    folders.add(input.slice(0, at + "node_modules/".length) + name);
  }
  return [...folders].sort(byText).map((folder) => {
    const at = path.resolve(here, folder);
    const { name, version, license } = JSON.parse(
      fs.readFileSync(path.join(at, "package.json"), "utf8"),
    );
    const file = fs.readdirSync(at).find((entry) => LICENSE_FILE.test(entry));
    const text = file === undefined ? "" : fs.readFileSync(path.join(at, file), "utf8");
    return { name, version, license, text };
  });
}

fs.rmSync(next, { recursive: true, force: true });
fs.mkdirSync(path.join(next, "assets"), { recursive: true });
const { metafile } = await build({
  absWorkingDir: here,
  entryPoints: { main: "src/main.tsx", styles: "src/app/styles.css" },
  outdir: path.join(next, "assets"),
  entryNames: "[name]-[hash]",
  chunkNames: "[name]-[hash]",
  bundle: true,
  splitting: true,
  format: "esm",
  minify: true,
  target: ["es2022", "chrome111", "firefox115", "safari16.4"],
  jsx: "automatic",
  define: { "process.env.NODE_ENV": '"production"' },
  legalComments: "none",
  metafile: true,
  logLevel: "warning",
});
const made = (entry) => {
  const [file] = Object.entries(metafile.outputs).find(
    ([, { entryPoint }]) => entryPoint === entry,
  );
  return path.basename(file);
};
const html = fs
  .readFileSync(path.join(here, "static/index.html"), "utf8")
  .replace("main.js", made("src/main.tsx"))
  .replace("styles.css", made("src/app/styles.css"));
fs.writeFileSync(path.join(next, "index.html"), html);
const notices = JSON.stringify(noticesOf(Object.keys(metafile.inputs)));
fs.writeFileSync(path.join(next, "notices.json"), notices);
fs.copyFileSync(path.join(here, "static/icon.svg"), path.join(next, "icon.svg"));
/** What a first visit loads: the entries and all that they import at once. */
const first = new Set();
const queue = [made("src/main.tsx"), made("src/app/styles.css")];
const byName = new Map(
  Object.entries(metafile.outputs).map(([file, out]) => [path.basename(file), out]),
);
for (let file = queue.pop(); file !== undefined; file = queue.pop()) {
  if (first.has(file)) continue;
  first.add(file);
  for (const { path: imported, kind } of byName.get(file)?.imports ?? []) {
    if (kind === "import-statement") queue.push(path.basename(imported));
  }
}
fs.writeFileSync(path.join(next, "first-load.json"), JSON.stringify([...first].sort(byText)));
if (process.argv[2] !== undefined) fs.writeFileSync(path.join(next, ".stamp"), process.argv[2]);
fs.rmSync(dist, { recursive: true, force: true });
fs.renameSync(next, dist);
const digest = createHash("sha256").update(html).digest("hex").slice(0, 12);
process.stderr.write(`sallyport: the console is built (${digest})\n`);
