/** Ratios of medians over interleaved rounds, which mean the same on a slow and on a busy machine. */

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
export async function interleaved<Name extends string, Value>(
  rounds: number,
  contestants: Readonly<Record<Name, (round: number) => Promise<Value> | Value>>,
): Promise<Record<Name, readonly Value[]>> {
  const names = Object.keys(contestants) as Name[];
  const seen = new Map<Name, Value[]>(names.map((name) => [name, []]));
  for (let round = 0; round <= rounds; round++) {
    for (let turn = 0; turn < names.length; turn++) {
      const name = names[(round + turn) % names.length];
      if (name === undefined) continue;
      const value = await contestants[name](round);
      if (round > 0) seen.get(name)?.push(value);
    }
  }
  return Object.fromEntries(seen) as Record<Name, readonly Value[]>;
}

/** Smallest and largest of the rounds' own ratios: how far one round can be off. */
export function spread(ours: readonly number[], peers: readonly number[]): string {
  const each = ours.map((value, round) => value / (peers[round] ?? Number.NaN));
  return `${Math.min(...each).toFixed(2)} to ${Math.max(...each).toFixed(2)} by round`;
}
