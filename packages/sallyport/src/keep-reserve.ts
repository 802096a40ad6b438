import type { StateStore } from "@sallyport/store";
import { diskOf } from "./disk.ts";

export const RESERVE_EVERY_MS = 60_000;

/** Takes room for a full disk while there is plenty; on one that fills up, nobody takes any. */
export function keepReserve(state: StateStore, directory: string): void {
  const { state: disk } = diskOf(directory);
  if (disk === "good" || disk === "warn") state.keepReserve();
}
