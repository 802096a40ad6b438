/**
 * A measurement of ours beside a peer, or beside a bare loop, in the same run: a ratio means the
 * same on every machine, a time does not.
 */

export interface Goal {
  /** Stable, kebab-case; results name it. */
  readonly id: string;
  /** What is compared to what, in words. */
  readonly what: string;
  /** `<= 1.6` or `>= 0.9`. */
  readonly goal: string;
}

export interface Result {
  readonly id: string;
  /** Ours by the peer's; null where it was not measured. */
  readonly ratio: number | null;
  /** Conditions of the measurement worth reading with it. */
  readonly note?: string;
  /** Why it was not measured, such as an absent peer. */
  readonly skipped?: string;
}

/** Each `*.bench.ts` exports one of these as `bench`. */
export interface Bench {
  readonly name: string;
  readonly goals: readonly Goal[];
  run(): Promise<readonly Result[]>;
}

export type Verdict = "met" | "missed" | "skipped";

/** What came of a goal: only a measured ratio can meet it. */
export interface Row {
  readonly bench: string;
  readonly goal: Goal;
  readonly ratio: number | null;
  readonly verdict: Verdict;
  readonly note: string;
}

const GOAL = /^(<=|>=)\s*(\d+(?:\.\d+)?)$/;

export function isMet(goal: string, ratio: number): boolean {
  const match = GOAL.exec(goal);
  if (match === null) throw new TypeError(`a goal is "<= 1.6" or ">= 0.9", not "${goal}"`);
  const limit = Number(match[2]);
  return match[1] === "<=" ? ratio <= limit : ratio >= limit;
}

/** A goal without a result, or with a ratio that is no number, is missed: nothing passes unseen. */
export function judge(bench: string, goals: readonly Goal[], results: readonly Result[]): Row[] {
  return goals.map((goal) => {
    const result = results.find((one) => one.id === goal.id);
    if (result === undefined) {
      return { bench, goal, ratio: null, verdict: "missed", note: "gave no result" };
    }
    if (result.skipped !== undefined) {
      return { bench, goal, ratio: null, verdict: "skipped", note: result.skipped };
    }
    const { ratio, note = "" } = result;
    if (ratio === null || !Number.isFinite(ratio)) {
      return { bench, goal, ratio: null, verdict: "missed", note: note || "gave no ratio" };
    }
    return { bench, goal, ratio, verdict: isMet(goal.goal, ratio) ? "met" : "missed", note };
  });
}

/** Rows as a Markdown table, for people and for the reference page alike. */
export function table(rows: readonly Row[]): string {
  const lines = rows.map(({ bench, goal, ratio, verdict, note }) => {
    const cells = [bench, goal.what, ratio?.toFixed(2) ?? "–", goal.goal, verdict, note];
    return `| ${cells.map((cell) => cell.replaceAll("|", "\\|")).join(" | ")} |`;
  });
  return ["| bench | what | ratio | goal | | note |", "|---|---|---|---|---|---|", ...lines].join(
    "\n",
  );
}
