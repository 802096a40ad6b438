/**
 * A passkey's public key as its authenticator gives it (COSE_Key, RFC 9052 §7, RFC 9053), to SPKI
 * as everybody else reads it. The CBOR is read by the library.
 */
import { createPublicKey, type JsonWebKey } from "node:crypto";
import { decodeCredentialPublicKey } from "@simplewebauthn/server/helpers";
import { publicKeyOf } from "../approval/keys.ts";
import { base64url } from "../secrets.ts";

// RFC 9052 §7.1, RFC 9053 §7, RFC 8230 §4.
const KTY = 1;
const ALG = 3;
const CRV_OR_N = -1;
const X_OR_E = -2;
const Y = -3;

/** Base64 SPKI of an ES256, EdDSA or RS256 key; undefined for everything else. Never throws. */
export function coseToSpki(cose: Uint8Array): string | undefined {
  try {
    const members: unknown = decodeCredentialPublicKey(Uint8Array.from(cose));
    if (!(members instanceof Map)) return undefined;
    const jwk = jwkOf(members);
    if (jwk === undefined) return undefined;
    const key = createPublicKey({ key: jwk, format: "jwk" });
    const spki = key.export({ format: "der", type: "spki" }).toString("base64");
    return publicKeyOf(spki) === undefined ? undefined : spki;
  } catch {
    return undefined;
  }
}

function jwkOf(members: ReadonlyMap<unknown, unknown>): JsonWebKey | undefined {
  const text = (name: number): string => {
    const value = members.get(name);
    return value instanceof Uint8Array ? base64url(value) : "";
  };
  // Key type, algorithm and curve must name each other: an ES256 key is on P-256.
  switch (`${String(members.get(KTY))} ${String(members.get(ALG))}`) {
    case "2 -7":
      return members.get(CRV_OR_N) === 1
        ? { kty: "EC", crv: "P-256", x: text(X_OR_E), y: text(Y) }
        : undefined;
    case "1 -8":
      return members.get(CRV_OR_N) === 6
        ? { kty: "OKP", crv: "Ed25519", x: text(X_OR_E) }
        : undefined;
    case "3 -257":
      return { kty: "RSA", n: text(CRV_OR_N), e: text(X_OR_E) };
    default:
      return undefined;
  }
}
