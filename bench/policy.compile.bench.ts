/**
 * File to legs beside what the YAML library takes for the same files: reading, checking, resolving,
 * lowering and its digests may add half of it.
 */
import fs from "node:fs";
import os from "node:os";
import path from "node:path";
import process from "node:process";
import { run } from "@sallyport/enforce";
import { generatePolicy } from "../lab/generate-policy.ts";
import type { Bench } from "./bench.ts";
import { interleaved, median, roundsOr, spread } from "./ratio.ts";

const CONDUITS = 10_000;
const ROUNDS = 7;

export const bench: Bench = {
  name: "policy.compile",
  goals: [
    {
      id: "legs-to-yaml",
      what: "10,000 conduits of every kind, files to legs: time to that of yaml's parseDocument",
      goal: "<= 1.5",
    },
  ],

  async run() {
    const folder = fs.mkdtempSync(path.join(os.tmpdir(), "sallyport-bench-"));
    try {
      const options = { conduits: CONDUITS, zones: 40, assetsPerZone: 50 };
      for (const { name, text } of generatePolicy(1, options)) {
        fs.writeFileSync(path.join(folder, name), text);
      }
      const sample = (what: string) => () => tookMs(what, folder);
      const seen = await interleaved(roundsOr(ROUNDS), {
        legs: sample("legs"),
        document: sample("document"),
        values: sample("values"),
      });
      const toValues = median(seen.legs) / median(seen.values);
      const note = `${spread(seen.legs, seen.document)}; to yaml's parse ${toValues.toFixed(2)}`;
      return [{ id: "legs-to-yaml", ratio: median(seen.legs) / median(seen.document), note }];
    } finally {
      fs.rmSync(folder, { recursive: true });
    }
  },
};

async function tookMs(what: string, folder: string): Promise<number> {
  const script = path.join(import.meta.dirname, "policy.compile.main.ts");
  return Number(await run(process.execPath, [script, what, folder]));
}
