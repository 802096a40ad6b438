/**
 * The first approver. Local root has the enforcer make a secret, which is printed once inside a
 * link, after its `#`, so that no server ever sees it. The page at the link derives two things from
 * it: a token that shows `control` that the link is real, and an HMAC over the new key, which the
 * browser read from the authenticator itself, that shows the enforcer that nobody put another key
 * in its place. Whoever takes over `control` has neither.
 */
import { createHmac } from "node:crypto";
import { equalBytes, fromBase64url, publicKeyOf } from "./keys.ts";
import { type Refused, refuse } from "./refusals.ts";
import type { ApproverKey } from "./types.ts";

/** 256 bits: nobody guesses them, so no attempt needs to be counted. */
export const FIRST_SECRET_BYTES = 32;
/** Long enough to walk to a desk with the printed line; short enough that a forgotten one is dead. */
export const FIRST_SECRET_LIFE_MS: number = 60 * 60 * 1000;
/** WebAuthn Level 3, §5.1.3. */
const CREDENTIAL_ID_MAX_BYTES = 1023;

/** What the enforcer keeps durably; `usedAtMs` is written before the key counts. */
export interface FirstSecret {
  readonly secret: Uint8Array;
  readonly madeAtMs: number;
  readonly usedAtMs?: number;
}

/** The last three are empty for an Ed25519 key. */
export type FirstApprover = Pick<ApproverKey, "kind"> &
  Readonly<Record<"person" | "spki" | "credentialId" | "rpId" | "origin", string>>;

export type FirstApproverVerdict =
  | { readonly kind: "enrolled"; readonly key: ApproverKey }
  | Refused;

const PERSON = /^[a-z0-9][a-z0-9._-]{0,62}$/;
const RP_ID = /^[a-z0-9.-]{1,253}$/;
const ORIGIN = /^https?:\/\/[a-z0-9.-]{1,253}(:[0-9]{1,5})?$/;

/** Shows `control` that whoever has it opened the link; tells nothing of the secret. */
export function firstAdminToken(secret: Uint8Array): string {
  return createHmac("sha256", secret).update("sallyport-first-admin/v1\n").digest("base64url");
}

/** Lines, because a browser makes them without a library; no member can hold a line break. */
export function firstApproverHmac(secret: Uint8Array, key: FirstApprover): Buffer {
  const lines = [key.person, key.kind, key.spki, key.credentialId, key.rpId, key.origin];
  const text = `sallyport-first-approver/v1\n${lines.join("\n")}\n`;
  return createHmac("sha256", secret).update(text).digest();
}

/** `proof` is base64url. The caller writes that the secret is used before it writes the key. */
export function enrolFirstApprover(
  first: FirstSecret,
  wanted: FirstApprover,
  proof: string,
  { id, nowMs }: { readonly id: string; readonly nowMs: number },
): FirstApproverVerdict {
  const ageMs = nowMs - first.madeAtMs;
  if (first.usedAtMs !== undefined) return refuse("first-approver-used");
  if (!(ageMs >= 0 && ageMs < FIRST_SECRET_LIFE_MS)) return refuse("first-approver-expired");
  const isWhole = first.secret.length === FIRST_SECRET_BYTES;
  if (!isWhole || !isApproverKey(wanted)) return refuse("first-approver-malformed");
  const given = fromBase64url(proof, FIRST_SECRET_BYTES);
  const proven = firstApproverHmac(first.secret, wanted);
  if (given === undefined || !equalBytes(given, proven)) return refuse("first-approver-proof");
  const { person, kind, spki, credentialId, rpId, origin } = wanted;
  const passkey = kind === "passkey" ? { credentialId, rpId, origin, counter: 0 } : {};
  // Whoever opened the link is an administrator, who could make approvers: they never count alone.
  const own = { id, person, kind, spki, enrolledAtMs: nowMs, neverAlone: true };
  return { kind: "enrolled", key: { ...own, ...passkey } };
}

/** Whether a key is of a kind that can sign, with all that its kind needs and nothing else. */
export function isApproverKey({
  person,
  kind,
  spki,
  credentialId,
  rpId,
  origin,
}: FirstApprover): boolean {
  const key = publicKeyOf(spki);
  if (!PERSON.test(person) || key === undefined) return false;
  if (kind === "ed25519") return key.type === "eddsa" && `${credentialId}${rpId}${origin}` === "";
  const isCredential = fromBase64url(credentialId, CREDENTIAL_ID_MAX_BYTES) !== undefined;
  return kind === "passkey" && isCredential && RP_ID.test(rpId) && ORIGIN.test(origin);
}
