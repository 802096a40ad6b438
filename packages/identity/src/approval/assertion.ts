/**
 * WebAuthn assertions, verified with `node:crypto` alone.
 * Specification: Web Authentication Level 3, §7.2 (verifying an assertion), §6.1 (authenticator
 * data), §5.8.1 (client data).
 * Not decided here: extensions, which are signed but not read; attestation; token binding.
 */
import { createHash } from "node:crypto";
import { equalBytes, fromBase64url, isSigned, publicKeyOf } from "./keys.ts";
import { type ApprovalRefusal, type Refused, refuse } from "./refusals.ts";

// Authenticator data, §6.1:
//   0            32      33          37
//   | rpIdHash   | flags | signCount | attested credential data, extensions
const FLAGS = 32;
const SIGN_COUNT = 33;
const FIXED_SIZE = 37;
const USER_PRESENT = 0x01;
const USER_VERIFIED = 0x04;
const BACKUP_ELIGIBLE = 0x08;
const BACKUP_STATE = 0x10;
const ATTESTED = 0x40;
const EXTENSIONS = 0x80;

/** Chromium writes about 250 bytes; a long origin fits many times. */
export const CLIENT_DATA_MAX_BYTES = 4096;
/** Fixed part and extension outputs, of which authenticators answer a few dozen bytes. */
export const AUTHENTICATOR_DATA_MAX_BYTES = 1024;
/** RSA of 4096 bits signs 512 bytes; ECDSA and EdDSA far fewer. */
export const SIGNATURE_MAX_BYTES = 512;

export interface ExpectedAssertion extends Readonly<Record<"origin" | "rpId" | "spki", string>> {
  readonly challenge: Uint8Array;
  readonly counter: number;
}

/** As a browser sends it: base64url without padding. */
export type SignedAssertion = Readonly<
  Record<"clientDataJSON" | "authenticatorData" | "signature", string>
>;

export type AssertionVerdict = { readonly kind: "verified"; readonly counter: number } | Refused;

/** Never throws, whatever the bytes. */
export function verifyAssertion(
  assertion: SignedAssertion,
  expected: ExpectedAssertion,
): AssertionVerdict {
  const clientData = fromBase64url(assertion.clientDataJSON, CLIENT_DATA_MAX_BYTES);
  const data = fromBase64url(assertion.authenticatorData, AUTHENTICATOR_DATA_MAX_BYTES);
  const signature = fromBase64url(assertion.signature, SIGNATURE_MAX_BYTES);
  if (!clientData || !data || !signature) return refuse("approval-malformed");
  const fault = clientDataFault(clientData, expected) ?? authenticatorFault(data, expected.rpId);
  if (fault !== undefined) return refuse(fault);
  const key = publicKeyOf(expected.spki);
  if (key === undefined) return refuse("approver-key-unusable");
  const signed = Buffer.concat([data, sha256(clientData)]);
  if (!isSigned(key, signed, signature)) return refuse("signature-invalid");
  const counter = data.readUInt32BE(SIGN_COUNT);
  // §7.2 step 22 also warns of an equal counter. Here one assertion may be verified again, at plan
  // and at apply; that nothing is used twice is for whoever keeps the list of used ids.
  return counter < expected.counter ? refuse("counter-went-back") : { kind: "verified", counter };
}

function clientDataFault(
  bytes: Uint8Array,
  { challenge, origin }: ExpectedAssertion,
): ApprovalRefusal | undefined {
  const data = parseClientData(bytes);
  if (data === undefined) return "client-data-malformed";
  if (data["type"] !== "webauthn.get") return "client-data-type";
  const wanted = Buffer.from(challenge).toString("base64url");
  if (data["challenge"] !== wanted) return "challenge-mismatch";
  if (data["origin"] !== origin) return "origin-mismatch";
  const isAlone = (data["crossOrigin"] ?? false) === false && data["topOrigin"] === undefined;
  return isAlone ? undefined : "cross-origin";
}

/** The object that a browser made, or undefined. Unknown members are allowed, as §5.8.1 asks. */
export function parseClientData(bytes: Uint8Array): Readonly<Record<string, unknown>> | undefined {
  try {
    // A byte order mark is left in place, where JSON.parse refuses it.
    const text = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true }).decode(bytes);
    const value: unknown = JSON.parse(text);
    const isObject = typeof value === "object" && value !== null && !Array.isArray(value);
    return isObject ? { ...value } : undefined;
  } catch {
    return undefined;
  }
}

function authenticatorFault(bytes: Uint8Array, rpId: string): ApprovalRefusal | undefined {
  const flags = bytes[FLAGS] ?? 0;
  const has = (flag: number): boolean => (flags & flag) !== 0;
  const isSized = bytes.length >= FIXED_SIZE && bytes.length <= AUTHENTICATOR_DATA_MAX_BYTES;
  // An assertion carries no new credential, and what follows the counter is announced.
  const isShaped = !has(ATTESTED) && has(EXTENSIONS) === bytes.length > FIXED_SIZE;
  const isPossible = has(BACKUP_ELIGIBLE) || !has(BACKUP_STATE);
  if (!isSized || !isShaped || !isPossible) return "authenticator-data-malformed";
  if (!equalBytes(bytes.subarray(0, FLAGS), sha256(rpId))) return "rp-mismatch";
  if (!has(USER_PRESENT)) return "user-not-present";
  return has(USER_VERIFIED) ? undefined : "user-not-verified";
}

function sha256(data: Uint8Array | string): Buffer {
  return createHash("sha256").update(data).digest();
}
