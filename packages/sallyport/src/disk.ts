/** How full the disk of a gateway's state is, and what that means (DESIGN §9). */
import fs from "node:fs";

export type DiskState = "good" | "warn" | "shed" | "drop" | "full";

export interface Disk {
  readonly state: DiskState;
  /** 0 to 100, as `df` has it. */
  readonly usedPercent: number;
  readonly freeBytes: number;
}

const WARN_PERCENT = 80;
const SHED_PERCENT = 90;
const DROP_PERCENT = 95;
/** Below this nothing that opens begins: the rest is for sign-ins and for what closes. */
const FULL_BYTES = 4 * 1024 * 1024;

export function diskOf(directory: string): Disk {
  const { blocks, bfree, bavail, bsize } = fs.statfsSync(directory);
  return diskFrom({ usedBytes: (blocks - bfree) * bsize, freeBytes: bavail * bsize });
}

/** What root alone may still use is not free. */
export function diskFrom({
  usedBytes,
  freeBytes,
}: {
  readonly usedBytes: number;
  readonly freeBytes: number;
}): Disk {
  const usedPercent = Math.ceil((100 * usedBytes) / Math.max(1, usedBytes + freeBytes));
  return { state: stateOf(usedPercent, freeBytes), usedPercent, freeBytes };
}

function stateOf(usedPercent: number, freeBytes: number): DiskState {
  if (freeBytes < FULL_BYTES) return "full";
  if (usedPercent >= DROP_PERCENT) return "drop";
  if (usedPercent >= SHED_PERCENT) return "shed";
  return usedPercent >= WARN_PERCENT ? "warn" : "good";
}

/** For people; undefined when there is nothing to say. */
export function diskSentence({ state, usedPercent }: Disk): string | undefined {
  switch (state) {
    case "good":
      return undefined;
    case "warn":
      return `disk ${usedPercent} % full: make room before it is 90`;
    case "shed":
      return `disk ${usedPercent} % full: refused packets are counted and no longer kept`;
    case "drop":
      return `disk ${usedPercent} % full: the oldest refused packets are dropped, flows wait; decisions are still recorded`;
    case "full":
      return "disk full: what opens is refused (not-recorded); what closes, sign-ins and allowed traffic go on";
  }
}
