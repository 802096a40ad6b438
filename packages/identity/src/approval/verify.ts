import { CLIENT_DATA_MAX_BYTES, SIGNATURE_MAX_BYTES, verifyAssertion } from "./assertion.ts";
import { fromBase64url, isSigned, publicKeyOf } from "./keys.ts";
import { type Refused, refuse } from "./refusals.ts";
import type {
  Approval,
  ApprovalVerdict,
  ApproverKey,
  Ed25519Approval,
  PasskeyApproval,
} from "./types.ts";

/** A challenge is a SHA-256. */
const CHALLENGE_BYTES = 32;
/** Base64 of the longest member; exact limits in bytes are checked where it is decoded. */
const MEMBER_MAX_CHARACTERS = 2 * CLIENT_DATA_MAX_BYTES;
const MEMBERS: ReadonlyMap<unknown, readonly string[]> = new Map([
  ["passkey", ["kind", "key", "credentialId", "authenticatorData", "clientDataJSON", "signature"]],
  ["ed25519", ["kind", "key", "signature"]],
]);

/** An approval from JSON that anybody may have written: exactly its members, all of them strings. */
export function parseApproval(value: unknown): Approval | undefined {
  if (typeof value !== "object" || value === null) return undefined;
  const members = new Map<string, unknown>(Object.entries(value));
  const names = MEMBERS.get(members.get("kind"));
  if (names === undefined || members.size !== names.length) return undefined;
  const isText = (text: unknown): boolean =>
    typeof text === "string" && text !== "" && text.length <= MEMBER_MAX_CHARACTERS;
  if (!names.every((name) => isText(members.get(name)))) return undefined;
  // All of the kind's members are there, are text, and are the only ones.
  return Object.fromEntries(members) as unknown as Approval;
}

/**
 * Whether the key's owner approved exactly `challenge`, the SHA-256 of canonical bytes that the
 * caller made itself. Default deny, never throws. What it does not decide: whether the approval was
 * used before (the caller keeps used ids), and whether these approvals are enough (`thresholds`).
 */
export function verifyApproval(
  approval: Approval,
  key: ApproverKey,
  challenge: Uint8Array,
  nowMs: number,
): ApprovalVerdict {
  if (approval.key !== key.id || approval.kind !== key.kind) return refuse("approver-key-mismatch");
  if ((key.revokedAtMs ?? Infinity) <= nowMs) return refuse("approver-key-revoked");
  if (key.enrolledAtMs > nowMs) return refuse("approver-key-not-yet");
  if (challenge.length !== CHALLENGE_BYTES) return refuse("challenge-mismatch");
  return approval.kind === "passkey"
    ? verifyPasskey(approval, key, challenge)
    : verifyEd25519(approval, key, challenge);
}

/** Whether the key may approve what touches these zones. */
export function refuseZones(key: ApproverKey, zones: readonly string[]): Refused | undefined {
  const { zones: allowed = zones } = key;
  return zones.every((zone) => allowed.includes(zone)) ? undefined : refuse("approver-key-zone");
}

function verifyPasskey(
  approval: PasskeyApproval,
  key: ApproverKey,
  challenge: Uint8Array,
): ApprovalVerdict {
  const { credentialId, rpId, origin, spki, counter = 0 } = key;
  if (approval.credentialId !== credentialId) return refuse("approver-key-mismatch");
  if (rpId === undefined || origin === undefined) return refuse("approver-key-unusable");
  const verdict = verifyAssertion(approval, { challenge, origin, rpId, spki, counter });
  return verdict.kind === "refused" ? verdict : verified(key, verdict.counter);
}

/**
 * What an Ed25519 approver key signs. The first line keeps the signature from meaning anything in
 * another protocol, and one of another protocol from meaning an approval.
 */
export function approvalMessage(challenge: Uint8Array): Uint8Array {
  return Buffer.from(`sallyport-approval/v1\n${Buffer.from(challenge).toString("hex")}\n`);
}

function verifyEd25519(
  approval: Ed25519Approval,
  key: ApproverKey,
  challenge: Uint8Array,
): ApprovalVerdict {
  const signature = fromBase64url(approval.signature, SIGNATURE_MAX_BYTES);
  if (signature === undefined) return refuse("approval-malformed");
  const usable = publicKeyOf(key.spki);
  if (usable?.type !== "eddsa") return refuse("approver-key-unusable");
  const isGood = isSigned(usable, approvalMessage(challenge), signature);
  return isGood ? verified(key, key.counter ?? 0) : refuse("signature-invalid");
}

function verified(key: ApproverKey, counter: number): ApprovalVerdict {
  const { id, person, kind: keyKind, neverAlone = false } = key;
  return { kind: "verified", person, key: id, keyKind, neverAlone, counter };
}
