import type { SignedAssertion } from "./assertion.ts";
import type { Refused } from "./refusals.ts";

/** As the enforcer keeps it. */
export interface ApproverKey {
  readonly id: string;
  readonly person: string;
  readonly kind: "passkey" | "ed25519";
  /** Base64 of the DER SubjectPublicKeyInfo. */
  readonly spki: string;
  /** Base64url, as WebAuthn writes it. This and the next three are of a passkey. */
  readonly credentialId?: string;
  readonly rpId?: string;
  readonly origin?: string;
  /** Highest signature counter seen; 0 for an authenticator that keeps none. */
  readonly counter?: number;
  /** Zones that the key may open a path to or from; all of them when absent. */
  readonly zones?: readonly string[];
  /** Counts only beside the approval of somebody without this mark: an administrator's key. */
  readonly neverAlone?: boolean;
  readonly enrolledAtMs: number;
  readonly revokedAtMs?: number;
}

/** `key` is the id of the approver's key; `signature` is base64url without padding. */
export interface Ed25519Approval {
  readonly kind: "ed25519";
  readonly key: string;
  readonly signature: string;
}

/** All but `kind` and `key` are as a browser sends them: base64url without padding. */
export interface PasskeyApproval extends SignedAssertion {
  readonly kind: "passkey";
  readonly key: string;
  readonly credentialId: string;
}

export type Approval = PasskeyApproval | Ed25519Approval;

export interface VerifiedApproval {
  readonly kind: "verified";
  readonly person: string;
  readonly key: string;
  readonly keyKind: ApproverKey["kind"];
  readonly neverAlone: boolean;
  /** To be kept with the key before the approval is used; never lower than what was kept. */
  readonly counter: number;
}

export type ApprovalVerdict = VerifiedApproval | Refused;
