/** Keys that sign. Part of the one-file scripts, so it runs on Node 18 and imports built-ins only. */
import * as crypto from "node:crypto";

/** Who signs, under which name. The key itself stays where it is. */
export interface Signer {
  /** Key name; of a log, its origin. */
  readonly name: string;
  /** Ed25519, 32 bytes. */
  readonly publicKey: Uint8Array;
  /** 64 bytes over exactly this message. */
  readonly sign: (message: Uint8Array) => Uint8Array;
}

/** An Ed25519 key as PKCS #8 in PEM, as `openssl genpkey -algorithm ed25519` writes it. */
export function signerFromPem(name: string, pem: string): Signer {
  return signerOfKey(name, crypto.createPrivateKey(pem));
}

/** RFC 8410 §7: what stands before the 32 bytes of a private key in PKCS #8. */
const PKCS8_PREFIX = Buffer.from("302e020100300506032b657004220420", "hex");

/** A key from 32 random bytes. */
export function signerFromSeed(name: string, seed: Uint8Array): Signer {
  const der = Buffer.concat([PKCS8_PREFIX, seed]);
  return signerOfKey(name, crypto.createPrivateKey({ key: der, format: "der", type: "pkcs8" }));
}

function signerOfKey(name: string, key: crypto.KeyObject): Signer {
  if (key.asymmetricKeyType !== "ed25519") throw new TypeError("the key is not an Ed25519 key");
  const spki = crypto.createPublicKey(key).export({ format: "der", type: "spki" });
  return {
    name,
    publicKey: spki.subarray(-32),
    sign: (message) => crypto.sign(null, message, key),
  };
}
