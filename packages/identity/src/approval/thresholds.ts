import { type Refused, refuse } from "./refusals.ts";
import type { VerifiedApproval } from "./types.ts";

/** More approvers than this for one act is a mistake in a policy, not caution. */
const REQUIRED_MAX = 8;

export type ThresholdVerdict =
  | { readonly kind: "met"; readonly people: readonly string[] }
  | Refused;

/**
 * Whether verified approvals are enough. A person counts once, with however many keys. Where two or
 * more are asked, one of those who count used an Ed25519 key: a passkey signs what the page shows,
 * `sallyport approve` signs what the approver's own machine compiled. `people` is 1 to 8; `author`
 * is whoever wrote or asked for the act, whose own approval never counts.
 */
export function thresholds(
  approvals: readonly VerifiedApproval[],
  { people: wanted, author }: { readonly people: number; readonly author: string },
): ThresholdVerdict {
  if (!Number.isInteger(wanted) || wanted < 1 || wanted > REQUIRED_MAX) {
    return refuse("threshold-out-of-range");
  }
  const counting = approvals.filter((approval) => approval.person !== author);
  const people = [...new Set(counting.map((approval) => approval.person))];
  if (people.length < wanted) return refuse("too-few-approvers");
  if (counting.every((approval) => approval.neverAlone)) return refuse("administrators-alone");
  const isOffline = counting.some((approval) => approval.keyKind === "ed25519");
  return wanted >= 2 && !isOffline ? refuse("no-offline-approval") : { kind: "met", people };
}
