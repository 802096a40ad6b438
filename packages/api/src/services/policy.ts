import type { z } from "zod";
import type * as shapes from "../shapes/policy.ts";
import type { Caller } from "./caller.ts";

type Files = readonly shapes.PolicyFile[];
export type PolicyName = "running" | "draft";

export interface Policy {
  running(caller: Caller): Promise<z.infer<typeof shapes.running>>;
  /** Before the first edit it is the running policy. */
  draft(caller: Caller): Promise<z.infer<typeof shapes.draft>>;
  /** Throws `draft-changed` unless the draft's sha256 is `ifMatch`: compared and written in one step. */
  putDraft(caller: Caller, files: Files, ifMatch: string): Promise<z.infer<typeof shapes.draft>>;
  validate(caller: Caller, files: Files): Promise<z.infer<typeof shapes.validation>>;
  format(caller: Caller, files: Files): Promise<Files>;
  explain(
    caller: Caller,
    question: z.infer<typeof shapes.question>,
  ): Promise<z.infer<typeof shapes.explanation>>;
  matrix(caller: Caller, of: PolicyName): Promise<z.infer<typeof shapes.matrix>>;
  diff(
    caller: Caller,
    before: PolicyName,
    after: PolicyName | Files,
  ): Promise<z.infer<typeof shapes.diff>>;
}
