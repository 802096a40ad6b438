import type { z } from "zod";
import type { Approval, Page, PageRequest } from "../shapes/common.ts";
import type * as shapes from "../shapes/policy.ts";
import type { Caller } from "./caller.ts";

type Change = shapes.Change;

/**
 * Draft → plan → approvals → apply → confirm. The enforcer judges the approvals; this keeps them and asks it.
 * Whoever approves is the key's owner, who must be the caller and never the author.
 */
export interface Changes {
  /** Compiles the draft and freezes what is to be signed. Throws `draft-changed` for another sha256. */
  plan(caller: Caller, change: z.infer<typeof shapes.newChange>): Promise<Change>;
  list(
    caller: Caller,
    filter: { readonly state?: Change["state"]; readonly author?: string },
    page: PageRequest,
  ): Promise<Page<Change>>;
  get(caller: Caller, change: string): Promise<Change>;
  approve(caller: Caller, change: string, approval: Approval): Promise<Change>;
  /** `sha256` is what the caller looked at; another plan is refused with `plan-changed`. */
  apply(caller: Caller, change: string, order: z.infer<typeof shapes.applyChange>): Promise<Change>;
  confirm(caller: Caller, change: string): Promise<Change>;
  rollBack(caller: Caller, change: string, reason: string): Promise<Change>;
  withdraw(caller: Caller, change: string, reason: string): Promise<Change>;
}
