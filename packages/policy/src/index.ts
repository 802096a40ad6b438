/**
 * Policy: one file of zones and conduits in, legs out; and everything that can be asked of a policy
 * without touching a kernel.
 * @module
 */
export * from "./legs/index.ts";
export { Model, type ModelOptions, type Verdict } from "./legs/model.ts";
export { type Circumstances, PointTable } from "./legs/model-table.ts";
export {
  type CellChange,
  type Diff,
  type DiffOptions,
  diff,
  formatDiff,
  type Way,
} from "./diff.ts";
export {
  type Explanation,
  type ExplainContext,
  explain,
  formatExplanation,
  type L7Authorizer,
  type L7Request,
  type L7Verdict,
  type Nearest,
  type Question,
  type Step,
} from "./explain.ts";
export {
  formatMatrix,
  type Matrix,
  type MatrixContext,
  type MatrixRow,
  matrix,
  matrixCsv,
  type Reachable,
  reachable,
} from "./matrix.ts";
export { CODES, type Code } from "./language/codes.ts";
export { type Compiled, compilePolicy, type PolicySummary } from "./language/compile.ts";
export { formatPolicy } from "./language/format.ts";
export { policyJsonSchema } from "./language/schema.ts";
export { starterPolicy } from "./language/starter.ts";
export type { PolicyFileBytes } from "./language/text.ts";
export { formatOpenAt, type OpenAt, type OpenConduit, openAt } from "./when.ts";
export type { Names } from "./words.ts";
