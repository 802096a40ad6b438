/**
 * Policy: one file of zones and conduits in, legs out; and everything that can be asked of a policy
 * without touching a kernel.
 * @module
 */
export * from "./legs/index.ts";
export { Model, type ModelOptions, type Verdict } from "./legs/model.ts";
export { type Circumstances, PointTable } from "./legs/model-table.ts";
