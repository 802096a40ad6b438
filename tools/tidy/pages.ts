/** Pages, names and sizes: diagnostics, links, machine paths, the lockfile, file lengths. */
import fs from "node:fs";
import path from "node:path";
import { FILE_LINES_MAX, FILE_LINES_WARN, TEST_LINES_MAX } from "./house.ts";
import { type Fault, isTest, placeOf, type Repository } from "./repository.ts";

const DIAGNOSTICS = "docs/diagnostics";

/** Every code has its page, and every page a code that still exists. */
export function checkCodes(repository: Repository): { faults: Fault[]; codes: number } {
  const faults: Fault[] = [];
  const seen = new Set<string>();
  const strings = new Set<string>();
  for (const [file, source] of repository.sources) {
    if (!["packages", "lab"].includes(placeOf(file)) || isTest(file)) continue;
    for (const text of source.strings) strings.add(text);
    for (const { text: code, line } of source.codes) {
      seen.add(code);
      const page = `${DIAGNOSTICS}/${code}.md`;
      if (repository.files.has(page)) continue;
      faults.push({ file, line, what: `code "${code}" has no page ${page}` });
    }
  }
  for (const file of repository.files) {
    const code = /^docs\/diagnostics\/(.+)\.md$/.exec(file)?.[1];
    if (code === undefined || code === "README" || strings.has(code)) continue;
    faults.push({ file, line: 0, what: `describes "${code}", which no code says any more` });
  }
  return { faults, codes: seen.size };
}

const LINK = /\[[^\]]*\]\(\s*<?([^)\s>]+)>?[^)]*\)/g;

/** Relative links of Markdown pages lead to something that is there. */
export function checkLinks(repository: Repository): { faults: Fault[]; pages: number } {
  const faults: Fault[] = [];
  const pages = [...repository.files].filter((file) => file.endsWith(".md"));
  for (const file of pages) {
    for (const [index, text] of prose(repository.text(file)).entries()) {
      for (const match of text.matchAll(LINK)) {
        const target = match[1] ?? "";
        if (/^([a-z][a-z0-9+.-]*:|#)/i.test(target)) continue;
        const plain = decodeURI(target.replace(/[#?].*$/, ""));
        const at = path.join(repository.root, path.dirname(file), plain);
        const isThere = !plain.startsWith("/") && fs.existsSync(at);
        if (!isThere) faults.push({ file, line: index + 1, what: `links to ${target}, not there` });
      }
    }
  }
  return { faults, pages: pages.length };
}

/** The page's lines, empty where code stands. */
function prose(page: string): string[] {
  let isCode = false;
  return page.split("\n").map((line) => {
    const isFence = /^\s*(```|~~~)/.test(line);
    if (isFence) isCode = !isCode;
    return isFence || isCode ? "" : line.replaceAll(/`[^`]*`/g, "");
  });
}

const MADE = /^#!.*\n\n\/\/ Made by tools\/one-file\.ts of /;

export function checkSizes(repository: Repository): { faults: Fault[]; warnings: Fault[] } {
  const faults: Fault[] = [];
  const warnings: Fault[] = [];
  for (const file of repository.files) {
    if (!/\.(tsx?|mjs|c|h)$/.test(file) || file.includes("/testdata/")) continue;
    // What a tool made of sources is as long as they are together, and nobody edits it.
    if (MADE.test(repository.text(file))) continue;
    const lines = repository.text(file).trimEnd().split("\n").length;
    const max = isTest(file) ? TEST_LINES_MAX : FILE_LINES_MAX;
    const warn = isTest(file) ? FILE_LINES_MAX : FILE_LINES_WARN;
    const what = `has ${lines} lines`;
    if (lines > max) faults.push({ file, line: 0, what: `${what}; ${max} is the limit` });
    else if (lines > warn) warnings.push({ file, line: 0, what: `${what}; usually under ${warn}` });
  }
  return { faults, warnings };
}

/** Written in parts, so that this file doesn't name what it looks for. */
const HOSTS = [
  ["registry", "npmjs", "org"],
  ["registry", "yarnpkg", "com"],
  ["deb", "debian", "org"],
  ["archive", "ubuntu", "com"],
  ["files", "pythonhosted", "org"],
].map((parts) => parts.join("."));
const MACHINE_PATH = new RegExp(
  `(?<![\\w.$}\\]~*@-])/(?:${["home", "Users", "work", "farm"].join("|")})/[\\w.-]+`,
);
/** Longer files are recordings or built objects, which nobody writes a path into. */
const TEXT_MAX_BYTES = 4 * 1024 * 1024;
const NOT_TEXT = /\.(pcap|pcapng|o|png|jpg|ico|woff2|gz|zip|bin|der|sqlite)$/;

/** No file names a place on someone's machine, or a host that packages were fetched from. */
export function checkNames(repository: Repository): Fault[] {
  const faults: Fault[] = [];
  for (const file of repository.files) {
    if (NOT_TEXT.test(file)) continue;
    if (fs.statSync(path.join(repository.root, file)).size > TEXT_MAX_BYTES) continue;
    for (const [index, text] of repository.text(file).split("\n").entries()) {
      const found = MACHINE_PATH.exec(text)?.[0] ?? HOSTS.find((host) => text.includes(host));
      if (found === undefined) continue;
      faults.push({
        file,
        line: index + 1,
        what: `names ${found}, a place outside the repository`,
      });
    }
  }
  return faults;
}

interface Lockfile {
  readonly packages?: Readonly<
    Record<
      string,
      { readonly resolved?: string; readonly link?: boolean; readonly integrity?: string }
    >
  >;
}

/** The lockfile pins by integrity and names no download address, so that any mirror serves. */
export function checkLockfile(repository: Repository): Fault[] {
  const file = "package-lock.json";
  if (!repository.files.has(file)) return [{ file, line: 0, what: "is missing" }];
  const { packages = {} } = JSON.parse(repository.text(file)) as Lockfile;
  const faults: Fault[] = [];
  for (const [name, entry] of Object.entries(packages)) {
    // npm writes a workspace's folder as `resolved` of its link.
    if (entry.link === true) continue;
    const fault = (what: string): void => void faults.push({ file, line: 0, what });
    if (entry.resolved !== undefined) fault(`${name} names a download address ("resolved")`);
    const isInstalled = name.startsWith("node_modules/") || name.includes("/node_modules/");
    if (isInstalled && entry.integrity === undefined) fault(`${name} has no integrity`);
  }
  return faults;
}
