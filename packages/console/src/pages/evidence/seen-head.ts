/** The head that this browser saw last, for each ledger's name. */
export interface SeenHead {
  readonly origin: string;
  readonly size: number;
  readonly root: string;
}

export function readSeen(value: string | null, wanted: string): SeenHead | undefined {
  if (value === null) return undefined;
  try {
    const found: unknown = JSON.parse(value);
    if (typeof found !== "object" || found === null) return undefined;
    const { origin, size, root } = found as Readonly<Record<string, unknown>>;
    if (origin !== wanted || typeof size !== "number" || typeof root !== "string") return undefined;
    return { origin, size, root };
  } catch {
    return undefined;
  }
}
