/**
 * The door that processes running as root load: keys of approvers, what they signed, whether it is
 * enough, and how the first of them is enrolled. Only `node:crypto`; no npm package is reachable
 * from here. Canonical bytes and their SHA-256 come from the caller.
 * @module
 */
export {
  enrolFirstApprover,
  FIRST_SECRET_BYTES,
  FIRST_SECRET_LIFE_MS,
  type FirstApprover,
  type FirstApproverVerdict,
  type FirstSecret,
  firstAdminToken,
  firstApproverHmac,
  isApproverKey,
} from "./first.ts";
export type { ApprovalRefusal, Refused } from "./refusals.ts";
export { thresholds, type ThresholdVerdict } from "./thresholds.ts";
export type { Approval, ApprovalVerdict, ApproverKey, VerifiedApproval } from "./types.ts";
export { approvalMessage, parseApproval, refuseZones, verifyApproval } from "./verify.ts";
