/** What the kernels themselves say of a change that waits: when they fall back, with nobody alive. */
import fs from "node:fs";
import path from "node:path";
import { must, sleep } from "../../lab/shell.ts";
import type { Site } from "../../lab/site.ts";
import { bootMs, bytesOf, dump, durationMs, mapsOf } from "../live-sessions/legs.ts";

/** The boot clock is read in hundredths of a second, and nftables counts in jiffies. */
export const CLOCK_STEP_MS = 30;

export interface FallBack {
  /** On the boot clock; undefined where no change waits. */
  readonly outer: number | undefined;
  readonly inner: number | undefined;
}

export async function fallBackOf(site: Site): Promise<FallBack> {
  return { outer: await outerEnd(site), inner: await innerEnd(site) };
}

/** The element of `pending` is what leads packets to the slot that waits; it goes by itself. */
async function outerEnd({ instance }: Site): Promise<number | undefined> {
  const list = ["nft", "list", "map", "ip", "sallyport", "pending"];
  const from = bootMs();
  const text = await must(list, { netns: `${instance.netnsPrefix}-outer` });
  const left = / expires ([0-9a-z]+)/.exec(text)?.[1];
  return left === undefined ? undefined : from + durationMs(left);
}

/** `struct selection`: confirmed at byte 0, pending at 4, until at 8, in nanoseconds. */
async function innerEnd({ instance }: Site): Promise<number | undefined> {
  const [row] = await dump(path.join(mapsOf(instance), "slots"));
  const until = row === undefined ? 0n : bytesOf(row.value).readBigUInt64LE(8);
  return until === 0n ? undefined : Number(until / 1_000_000n);
}

/** Until when the change was to be confirmed, as the gateway wrote it down; undefined: none waits. */
export function promisedEnd({ instance }: Site): number | undefined {
  for (const stage of ["armed", "confirming", "taking-back"]) {
    const file = path.join(instance.stateDir, `${stage}.json`);
    if (!fs.existsSync(file)) continue;
    return (JSON.parse(fs.readFileSync(file, "utf8")) as { readonly deadlineMs: number })
      .deadlineMs;
  }
  return undefined;
}

/** Until the boot clock says more than that. */
export async function past(end: number): Promise<void> {
  for (let left = end - bootMs(); left >= -CLOCK_STEP_MS; left = end - bootMs()) {
    await sleep(Math.max(1, left + CLOCK_STEP_MS));
  }
}
