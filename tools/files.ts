/** Walking the repository's own files, without what git ignores. */
import fs from "node:fs";
import path from "node:path";

/** Directories that hold nothing of ours: installed, built or recorded things. */
const NOT_OURS = new Set(["node_modules", "build", "dist", "coverage", ".git", ".install.lock"]);
/** Our tree is a few levels deep; a loop of links would not be. */
const MAX_DEPTH = 16;

/** Every file below `root/start`, as paths relative to `root` with `/`, sorted. */
export function filesBelow(root: string, start = ""): string[] {
  const found: string[] = [];
  walk(root, start, 0, found);
  return found.sort();
}

function walk(root: string, relative: string, depth: number, found: string[]): void {
  if (depth > MAX_DEPTH) throw new Error(`${relative} is nested deeper than ${MAX_DEPTH}`);
  const directory = path.join(root, relative);
  if (!fs.existsSync(directory)) return;
  for (const entry of fs.readdirSync(directory, { withFileTypes: true })) {
    const child = relative === "" ? entry.name : `${relative}/${entry.name}`;
    if (entry.isDirectory()) {
      if (!NOT_OURS.has(entry.name)) walk(root, child, depth + 1, found);
    } else if (entry.isFile()) {
      found.push(child);
    }
  }
}
