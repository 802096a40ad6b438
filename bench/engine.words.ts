/** Types of the engines' port, in one place for the benchmarks. */
export type { Engine, Lowering, Slot } from "@sallyport/enforce";
export type { Point } from "@sallyport/policy/legs";
