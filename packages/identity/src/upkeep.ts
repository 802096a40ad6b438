import type { Clock, IdentityStore } from "./ports.ts";

/**
 * Removes what has ended by itself: sign-ins, links, failures, used challenges. To be called every
 * hour or so; nothing depends on it but the store's size. Keys stay, to be seen as expired.
 */
export async function removeEnded(
  { signIns, links, attempts, used }: IdentityStore,
  clock: Clock,
): Promise<number> {
  const nowMs = clock.nowMs();
  const counts = [signIns, links, attempts, used].map((records) => records.removeExpired(nowMs));
  return (await Promise.all(counts)).reduce((sum, count) => sum + count, 0);
}
