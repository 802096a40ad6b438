/** Every reason to refuse, with its sentence for the operator. A closed list; codes are stable. */
export const WHY = {
  "approval-malformed": "the approval is not as approvals are written",
  "approver-key-mismatch": "the approval is not of this approver's key",
  "approver-key-revoked": "the approver's key is revoked",
  "approver-key-not-yet": "the approver's key is enrolled later than now; the clock went back",
  "approver-key-unusable": "the key on record is not P-256, Ed25519 or RSA of 2048 to 4096 bits",
  "approver-key-zone": "the approver's key may not approve for all of these zones",
  "client-data-malformed": "what the browser is said to have signed is not client data",
  "client-data-type": "what was signed is not an assertion",
  "challenge-mismatch": "what was signed is not what was to be approved",
  "origin-mismatch": "signed on a page of another origin than the key was enrolled on",
  "cross-origin": "signed inside a page of another origin",
  "authenticator-data-malformed": "what the authenticator is said to have signed is malformed",
  "rp-mismatch": "signed for another relying party than the key was enrolled for",
  "user-not-present": "nobody touched the authenticator",
  "user-not-verified": "the authenticator did not check who touched it",
  "signature-invalid": "the signature is not of this key over this data",
  "counter-went-back": "the authenticator counts below what it once did: it may be a copy",
  "threshold-out-of-range": "the number of people asked is not between 1 and 8",
  "too-few-approvers": "too few people approved; whoever asked for it does not count",
  "administrators-alone": "somebody who is not an administrator must approve too",
  "no-offline-approval": "one of two must be signed by `sallyport approve`, not in a browser",
  "first-approver-used": "the link has enrolled an approver already",
  "first-approver-expired": "the link is older than an hour, or the clock went back",
  "first-approver-malformed": "not a key that an approver can have",
  "first-approver-proof": "the key was not enrolled by whoever has the link",
} as const;

export type ApprovalRefusal = keyof typeof WHY;

export interface Refused {
  readonly kind: "refused";
  readonly code: ApprovalRefusal;
  readonly why: string;
}

export function refuse(code: ApprovalRefusal): Refused {
  return { kind: "refused", code, why: WHY[code] };
}
