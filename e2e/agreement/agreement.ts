/** Compares worlds frame by frame. The kernel's own IP input may take a reason away, never a verdict. */
import type { TestFrame } from "./frames.ts";
import type { SeenVerdict, Situation, World } from "./worlds.ts";

export interface Disagreement {
  readonly what: string;
  readonly seen: Readonly<Record<string, string>>;
}

/** Shown at most: one cause makes many. */
const SHOWN_MAX = 10;

export async function disagreements(
  worlds: readonly World[],
  situation: Situation,
  frames: readonly TestFrame[],
): Promise<{ readonly count: number; readonly shown: readonly Disagreement[] }> {
  const answers: (readonly SeenVerdict[])[] = [];
  for (const world of worlds) {
    await world.load(situation);
    answers.push(await world.run(frames));
  }
  const shown: Disagreement[] = [];
  let count = 0;
  frames.forEach((frame, index) => {
    const seen = worlds.map(
      (world, place) => [world.name, textOf(answers[place]?.[index])] as const,
    );
    if (agree(seen.map(([, text]) => text))) return;
    count++;
    if (shown.length < SHOWN_MAX) shown.push({ what: frame.what, seen: Object.fromEntries(seen) });
  });
  return { count, shown };
}

export function textOf(verdict: SeenVerdict | undefined): string {
  if (verdict === undefined) return "no answer";
  const { verdict: what, reason, conduit } = verdict;
  return [what, reason ?? (what === "deny" ? "by the kernel" : ""), conduit ?? ""].join(" ").trim();
}

/** "By the kernel" stands for `short`, which nftables never gets to see. */
export function agree(texts: readonly string[]): boolean {
  const plain = texts.map((text) => (text === "deny by the kernel" ? "deny short" : text));
  return plain.every((text) => text === plain[0]);
}
