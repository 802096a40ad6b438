/** Ratios of medians over interleaved rounds, which mean the same on a slow and on a busy machine. */
import process from "node:process";

export function median(values: readonly number[]): number {
  if (values.length === 0) throw new RangeError("no value to take the median of");
  const sorted = [...values].sort((a, b) => a - b);
  const middle = Math.floor(sorted.length / 2);
  const [low, high] = [sorted[sorted.length % 2 === 0 ? middle - 1 : middle], sorted[middle]];
  return ((low ?? Number.NaN) + (high ?? Number.NaN)) / 2;
}

/**
 * Every contestant once a round, each time beginning with another one, so that none is always
 * measured after the same neighbor. The first round warms caches and is left out.
 */
export async function interleaved<Seen extends object>(
  rounds: number,
  contestants: { readonly [Each in keyof Seen]: (round: number) => Promise<Seen[Each]> },
): Promise<{ readonly [Each in keyof Seen]: readonly Seen[Each][] }> {
  type Name = keyof Seen;
  const names = Object.keys(contestants) as Name[];
  const seen = new Map<Name, Seen[Name][]>(names.map((name) => [name, []]));
  for (let round = 0; round <= rounds; round++) {
    for (let turn = 0; turn < names.length; turn++) {
      const name = names[(round + turn) % names.length];
      if (name === undefined) continue;
      const value = await contestants[name](round);
      if (round > 0) seen.get(name)?.push(value);
    }
  }
  return Object.fromEntries(seen) as { [Each in Name]: Seen[Each][] };
}

/** Smallest and largest of the rounds' own ratios: how far one round can be off. */
export function spread(ours: readonly number[], peers: readonly number[]): string {
  const each = ours.map((value, round) => value / (peers[round] ?? Number.NaN));
  return `${Math.min(...each).toFixed(2)} to ${Math.max(...each).toFixed(2)} by round`;
}

/** `BENCH_ROUNDS=2` for a look that proves nothing. */
export function roundsOr(usual: number): number {
  const asked = Number(process.env["BENCH_ROUNDS"] ?? usual);
  if (!Number.isInteger(asked) || asked < 1) throw new RangeError("BENCH_ROUNDS is 1 or more");
  return asked;
}

export async function tookMs(work: () => Promise<unknown>): Promise<number> {
  const start = performance.now();
  await work();
  return performance.now() - start;
}
