/** Decides whether an opening act is approved. It trusts nobody's word but signatures and local root's own door. */
import { SallyportError } from "@sallyport/core";
import {
  refuseZones,
  type Refused,
  thresholds,
  type VerifiedApproval,
  verifyApproval,
} from "@sallyport/identity/approval";
import type { Legs } from "@sallyport/policy/legs";
import type { Approval, Caller } from "../messages.ts";
import { type Act, digestOf, type Required, requiredFor } from "./act.ts";
import { type ApproverBook, START_AHEAD_MAX_MS } from "./approver-book.ts";

/** What the record says of an act that was approved. */
export interface Approved {
  readonly digest: string;
  readonly author: string;
  readonly breakGlass: boolean;
  readonly people: readonly string[];
  readonly approvals: readonly Approval[];
}

export class ApprovalDesk {
  readonly #book: ApproverBook;

  constructor(book: ApproverBook) {
    this.#book = book;
  }

  /**
   * Throws unless the act is approved; when it answers, the act counts as begun and cannot be again.
   * `running` is what is in force: its numbers hold until it is replaced.
   */
  async approve(
    act: Act,
    approvals: readonly Approval[],
    { caller, running, nowMs }: { caller: Caller; running: Legs | undefined; nowMs: number },
  ): Promise<Approved> {
    const told = { digest: digestOf(act).toString("hex"), author: act.author, approvals };
    const named = act.act === "apply" ? undefined : begins(act, nowMs);
    if (approvals.some(({ kind }) => kind === "local-root")) {
      if (caller !== "root") {
        throw new SallyportError("approval-refused", "break-glass is for local root on the box", {
          hint: "sign it: docs/operate/approvals.md",
        });
      }
      await this.#book.use([], named, nowMs);
      return { ...told, breakGlass: true, people: [] };
    }
    const required = requiredFor(act, running);
    const verified = approvals.map((approval) => this.#verify(approval, act, required, nowMs));
    const met = thresholds(verified, { people: required.people, author: act.author });
    if (met.kind === "refused") throw shortOf(met, required, verified, act.author);
    await this.#book.use(verified, named, nowMs);
    return { ...told, breakGlass: false, people: met.people };
  }

  #verify(approval: Approval, act: Act, { zones }: Required, nowMs: number): VerifiedApproval {
    if (approval.kind === "local-root") throw new TypeError("local root signs nothing");
    const key = this.#book.find(approval.key);
    if (key === undefined) {
      const hint = "sallyport approver list";
      throw new SallyportError("approver-unknown", `no approver key is called ${approval.key}`, {
        hint,
      });
    }
    const verdict = verifyApproval(approval, key, digestOf(act), nowMs);
    const refused = verdict.kind === "refused" ? verdict : refuseZones(key, zones);
    if (refused !== undefined) {
      const message = `the approval by key ${key.id} of ${key.person}: ${refused.why} (${refused.code})`;
      throw new SallyportError("approval-refused", message, {
        hint: "docs/diagnostics/approval-refused.md says what each reason means",
      });
    }
    return verdict as VerifiedApproval;
  }
}

function begins(
  act: Exclude<Act, { readonly act: "apply" }>,
  nowMs: number,
): { id: string; startByMs: number } {
  const startByMs = Date.parse(act.startBy);
  if (!(startByMs > nowMs && startByMs <= nowMs + START_AHEAD_MAX_MS)) {
    throw new SallyportError("act-too-late", `${act.id} had to begin by ${act.startBy}`, {
      hint: "ask anew; an act begins at most seven days after it was asked for",
    });
  }
  return { id: `${act.act}:${act.id}`, startByMs };
}

function shortOf(
  { code, why }: Refused,
  { people }: Required,
  verified: readonly VerifiedApproval[],
  author: string,
): SallyportError {
  const signed = [...new Set(verified.map(({ person }) => person))].join(", ") || "nobody";
  const message = `${why} (${code}): ${people} asked, signed by ${signed}, asked for by ${author}`;
  return new SallyportError("second-approver-needed", message, {
    hint: "sallyport approver list shows who can sign; `sallyport approve` signs",
  });
}
