import { createPublicKey, type KeyObject, timingSafeEqual, verify } from "node:crypto";

/** SPKI of RSA with 4096 bits is 550 bytes. */
const SPKI_MAX_BYTES = 1024;
/** NIST SP 800-57 part 1, table 2: fewer is below 112 bits of security. */
const RSA_MIN_BITS = 2048;
const RSA_MAX_BITS = 4096;

export interface UsableKey {
  readonly type: "es256" | "eddsa" | "rs256";
  readonly object: KeyObject;
}

/** A key of a kind that approvals may have, from base64 SPKI; undefined for all others. */
export function publicKeyOf(spki: string): UsableKey | undefined {
  const der = Buffer.from(spki, "base64");
  if (der.length > SPKI_MAX_BYTES || der.toString("base64") !== spki) return undefined;
  try {
    const object = createPublicKey({ key: der, format: "der", type: "spki" });
    // OpenSSL also reads bytes after the key and other encodings of it: one text for one key.
    if (!equalBytes(object.export({ format: "der", type: "spki" }), der)) return undefined;
    const { namedCurve, modulusLength = 0 } = object.asymmetricKeyDetails ?? {};
    const kind = object.asymmetricKeyType;
    if (kind === "ed25519") return { type: "eddsa", object };
    if (kind === "ec" && namedCurve === "prime256v1") return { type: "es256", object };
    const isLongEnough = modulusLength >= RSA_MIN_BITS && modulusLength <= RSA_MAX_BITS;
    return kind === "rsa" && isLongEnough ? { type: "rs256", object } : undefined;
  } catch {
    return undefined;
  }
}

/** WebAuthn §6.5.5: ES256 is ECDSA on SHA-256 with a DER signature, RS256 is PKCS #1 v1.5. */
export function isSigned(key: UsableKey, data: Uint8Array, signature: Uint8Array): boolean {
  try {
    return verify(key.type === "eddsa" ? null : "sha256", data, key.object, signature);
  } catch {
    return false;
  }
}

/** In time that does not tell where they differ. */
export function equalBytes(left: Uint8Array, right: Uint8Array): boolean {
  return left.length === right.length && timingSafeEqual(left, right);
}

/**
 * Bytes of base64url text without padding. One text for one value: spare bits that are set, white
 * space and the other alphabet are refused, so nobody can write the same approval twice.
 */
export function fromBase64url(text: string, maxBytes: number): Buffer | undefined {
  const bytes = Buffer.from(text.slice(0, 2 * maxBytes), "base64url");
  const isOne = bytes.length > 0 && bytes.length <= maxBytes;
  return isOne && bytes.toString("base64url") === text ? bytes : undefined;
}
