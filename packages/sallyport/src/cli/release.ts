import fs from "node:fs";
import path from "node:path";

/** This copy's own version. */
export function release(): string {
  const file = path.join(import.meta.dirname, "../../package.json");
  const { version } = JSON.parse(fs.readFileSync(file, "utf8")) as { version: string };
  return version;
}
