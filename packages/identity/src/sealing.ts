/**
 * Secrets at rest: AES-256-GCM (NIST SP 800-38D) under a key that is handed in. The name of the
 * record is authenticated with it, so a sealed secret cannot be moved to another's place.
 */
import { createCipheriv, createDecipheriv } from "node:crypto";
import type { Randomness } from "./ports.ts";
import { sha256 } from "./secrets.ts";

// An envelope:
//   0         1        9       21
//   | version | key id | nonce | ciphertext … | tag (16) |
const VERSION = 1;
const KEY_ID = 1;
const NONCE = 9;
const CIPHERTEXT = 21;
const TAG_BYTES = 16;
const NONCE_BYTES = 12;
const KEY_BYTES = 32;
/** Keys, seeds and passwords; larger things have files of their own. */
export const SEALED_MAX_BYTES: number = 64 * 1024;

/** The first key seals; the others still open what they sealed before a rotation. */
export type SealingKeys = readonly [Uint8Array, ...Uint8Array[]];

export type Opened =
  | { readonly kind: "opened"; readonly secret: Uint8Array; readonly isCurrent: boolean }
  | { readonly kind: "refused"; readonly code: SealRefusal };
export type SealRefusal = "seal-malformed" | "seal-key-unknown" | "seal-broken";

/**
 * A random nonce of 96 bits serves one key for 2^32 secrets (SP 800-38D §8.3), far more than a site
 * has. Throws for a key or a secret of a wrong size, which is a mistake of the program.
 */
export function seal(
  keys: SealingKeys,
  name: string,
  secret: Uint8Array,
  random: Randomness,
): Uint8Array {
  const [key] = keys;
  if (key.length !== KEY_BYTES) throw new RangeError(`a sealing key has ${KEY_BYTES} bytes`);
  if (secret.length > SEALED_MAX_BYTES) throw new RangeError("too long to be sealed");
  const head = Buffer.concat([Buffer.of(VERSION), keyId(key), random.bytes(NONCE_BYTES)]);
  const cipher = createCipheriv("aes-256-gcm", key, head.subarray(NONCE));
  cipher.setAAD(authenticated(head, name));
  const body = Buffer.concat([cipher.update(secret), cipher.final()]);
  return Buffer.concat([head, body, cipher.getAuthTag()]);
}

/** Never throws, whatever the bytes. `isCurrent` is false when it should be sealed anew. */
export function unseal(keys: SealingKeys, name: string, envelope: Uint8Array): Opened {
  const bytes = Buffer.from(envelope);
  const isSized =
    bytes.length >= CIPHERTEXT + TAG_BYTES &&
    bytes.length <= CIPHERTEXT + SEALED_MAX_BYTES + TAG_BYTES;
  if (!isSized || bytes[0] !== VERSION) return { kind: "refused", code: "seal-malformed" };
  const key = keys.find((one) => keyId(one).equals(bytes.subarray(KEY_ID, NONCE)));
  if (key === undefined) return { kind: "refused", code: "seal-key-unknown" };
  const decipher = createDecipheriv("aes-256-gcm", key, bytes.subarray(NONCE, CIPHERTEXT), {
    authTagLength: TAG_BYTES,
  });
  decipher.setAAD(authenticated(bytes.subarray(0, CIPHERTEXT), name));
  decipher.setAuthTag(bytes.subarray(-TAG_BYTES));
  try {
    const body = bytes.subarray(CIPHERTEXT, -TAG_BYTES);
    const secret = Buffer.concat([decipher.update(body), decipher.final()]);
    return { kind: "opened", secret, isCurrent: key === keys[0] };
  } catch {
    return { kind: "refused", code: "seal-broken" };
  }
}

function keyId(key: Uint8Array): Buffer {
  return sha256(Buffer.concat([Buffer.from("sallyport-seal-key/v1\n"), key])).subarray(
    0,
    NONCE - KEY_ID,
  );
}

function authenticated(head: Uint8Array, name: string): Buffer {
  return Buffer.concat([head, Buffer.from(`sallyport-seal/v1\n${name}\n`, "utf8")]);
}
