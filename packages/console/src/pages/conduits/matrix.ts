/** Which zones the matrix has rows and columns for: those that something leaves or enters come first. */
import type { AnswerOf } from "../../api/client.ts";

type Matrix = AnswerOf<"GET /v1/policy/matrix">;

export interface MatrixView {
  readonly from: readonly string[];
  readonly to: readonly string[];
}

export function matrixView({ zones, rows }: Matrix): MatrixView {
  // Components of the DMZ are zones to the engines; they are of interest where something leads to one.
  const plain = zones.filter((zone) => !zone.includes("/"));
  const all = [...new Set([...plain, ...rows.flatMap(({ from, to }) => [from, to])])];
  const leaves = new Set(rows.map(({ from }) => from));
  const enters = new Set(rows.map(({ to }) => to));
  const first = (those: ReadonlySet<string>): readonly string[] =>
    all.toSorted(
      (one, other) => Number(those.has(other)) - Number(those.has(one)) || (one < other ? -1 : 1),
    );
  return { from: first(leaves), to: first(enters) };
}

export function cellOf(
  { rows }: Matrix,
  from: string,
  to: string,
): Matrix["rows"][number] | undefined {
  return rows.find((row) => row.from === from && row.to === to);
}
