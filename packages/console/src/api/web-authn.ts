/** Passkeys in a browser's own words: WebAuthn Level 3 with its JSON forms. */

export async function signWithPasskey(options: object): Promise<AuthenticationResponseJSON> {
  const publicKey = PublicKeyCredential.parseRequestOptionsFromJSON(
    // The server writes what this reads; anything else the browser refuses.
    options as PublicKeyCredentialRequestOptionsJSON,
  );
  const made = await navigator.credentials.get({ publicKey });
  if (!(made instanceof PublicKeyCredential)) throw new DOMException("no passkey", "AbortError");
  // An assertion was asked for, so its JSON form is one.
  return made.toJSON() as AuthenticationResponseJSON;
}

export interface NewPasskey {
  readonly credential: RegistrationResponseJSON;
  /** Base64 of the key as the browser itself read it from the authenticator. */
  readonly spki: string;
}

export async function makePasskey(options: object): Promise<NewPasskey> {
  const publicKey = PublicKeyCredential.parseCreationOptionsFromJSON(
    options as PublicKeyCredentialCreationOptionsJSON,
  );
  const made = await navigator.credentials.create({ publicKey });
  if (!(made instanceof PublicKeyCredential)) throw new DOMException("no passkey", "AbortError");
  const response = made.response as AuthenticatorAttestationResponse;
  const key = response.getPublicKey();
  if (key === null) throw new DOMException("the key is of an unknown kind", "NotSupportedError");
  return { credential: made.toJSON() as RegistrationResponseJSON, spki: base64(key) };
}

/** An approval: the authenticator signs over the SHA-256 of what is approved. */
export async function approveWithPasskey(
  bytes: string,
  sha256: string,
): Promise<{
  readonly credentialId: string;
  readonly clientDataJSON: string;
  readonly authenticatorData: string;
  readonly signature: string;
}> {
  const digest = await crypto.subtle.digest("SHA-256", new TextEncoder().encode(bytes));
  if (hex(digest) !== sha256) throw new DOMException("the bytes are not those of the digest");
  const made = await signWithPasskey({
    challenge: base64url(digest),
    rpId: location.hostname,
    userVerification: "required",
  });
  const { id, response } = made;
  const { clientDataJSON, authenticatorData, signature } = response;
  return { credentialId: id, clientDataJSON, authenticatorData, signature };
}

export async function hmac(secret: string, text: string): Promise<string> {
  const use = { name: "HMAC", hash: "SHA-256" };
  const key = await crypto.subtle.importKey("raw", fromBase64url(secret), use, false, ["sign"]);
  return base64url(await crypto.subtle.sign("HMAC", key, new TextEncoder().encode(text)));
}

export function fromBase64url(text: string): Uint8Array<ArrayBuffer> {
  const plain = atob(text.replaceAll("-", "+").replaceAll("_", "/"));
  return Uint8Array.from(plain, (letter) => letter.charCodeAt(0));
}

function base64(data: ArrayBuffer): string {
  return btoa(String.fromCharCode(...new Uint8Array(data)));
}

export function base64url(data: ArrayBuffer): string {
  return base64(data).replaceAll("+", "-").replaceAll("/", "_").replaceAll("=", "");
}

export function hex(data: ArrayBuffer): string {
  return Array.from(new Uint8Array(data), (byte) => byte.toString(16).padStart(2, "0")).join("");
}
