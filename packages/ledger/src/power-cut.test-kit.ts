/** The writer whose power is cut: appends and signs, and notes outside the disk what was acknowledged. */
import fs from "node:fs";
import { setTimeout } from "node:timers/promises";
import { act, randomnessFrom, SIGNER, START_MS } from "./ledger.test-kit.ts";
import { type Durability, openDurably } from "./open-ledger.ts";

/** What the writer does without: nothing, the fdatasync of a commit, or the fsync of the signer's state. */
export type Without = "nothing" | "commit-sync" | "signer-sync";
/** `load` appends and signs all the time; `sign` signs once and then does nothing more. */
export type Work = "load" | "sign";

/** Unequal groups, so that a commit ends anywhere in a page. */
const GROUP_MAX = 9;
const SIGN_EVERY = 12;
const BEFORE_SIGNING = 40;
/** Nobody lets a writer of a test run on. */
const LIFE_MS = 60_000;

function durabilityWithout(without: Without): Durability {
  if (without === "commit-sync") return { synchronous: "normal" };
  return without === "signer-sync"
    ? { synchronous: "full", sync: () => {} }
    : { synchronous: "full" };
}

async function write(
  directory: string,
  notes: string,
  without: Without,
  work: Work,
): Promise<void> {
  const ledger = openDurably(
    { directory, signer: SIGNER, nowMs: () => START_MS, randomness: randomnessFrom(9) },
    durabilityWithout(without),
  );
  const file = fs.openSync(notes, "a");
  const note = (line: string): void => void fs.writeSync(file, `${line}\n`);
  let number = 0;
  const append = async (count: number): Promise<void> => {
    const { first } = await ledger.append(Array.from({ length: count }, () => act(number++)));
    note(`acknowledged ${first + count}`);
  };
  const sign = async (): Promise<void> => {
    const checkpoint = await ledger.checkpoint();
    note(`signed ${Buffer.from(checkpoint).toString("base64")}`);
  };
  const end = performance.now() + LIFE_MS;
  for (let turn = 1; performance.now() < end; turn++) {
    await append((turn % GROUP_MAX) + 1);
    if (work === "load" && turn % SIGN_EVERY === 0) await sign();
    if (work === "load" || turn < BEFORE_SIGNING) continue;
    await sign();
    note("done");
    await setTimeout(LIFE_MS);
  }
}

if (import.meta.main) {
  const [directory = "", notes = "", without = "", work = ""] = process.argv.slice(2);
  // The test that starts this names one of them.
  await write(directory, notes, without as Without, work as Work);
}
