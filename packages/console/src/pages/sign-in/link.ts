/**
 * What a one-time link's page does. The secret stands after `#`, so no server sees it. For the first administrator
 * only what is derived from it leaves the browser: a token, and an HMAC over the key that the authenticator made.
 */
import { call } from "../../api/client.ts";
import { hmac, makePasskey, type NewPasskey } from "../../api/web-authn.ts";

/** packages/identity/src/approval/first.ts has the other half of both texts. */
const TOKEN_TEXT = "sallyport-first-admin/v1\n";

export interface FirstKey {
  readonly person: string;
  readonly spki: string;
  readonly credentialId: string;
  readonly rpId: string;
  readonly origin: string;
}

export function proofText({ person, spki, credentialId, rpId, origin }: FirstKey): string {
  const lines = [
    "sallyport-first-approver/v1",
    person,
    "passkey",
    spki,
    credentialId,
    rpId,
    origin,
  ];
  return `${lines.join("\n")}\n`;
}

export async function openFirstLink(secret: string, id: string, name: string): Promise<void> {
  const token = await hmac(secret, TOKEN_TEXT);
  await call("POST /v1/sign-in/link", { body: { secret: token, first: { id, name } } });
}

export async function openInvitation(secret: string): Promise<string> {
  const { value } = await call("POST /v1/sign-in/link", { body: { secret } });
  return value.person;
}

/** The passkey for signing in; the same key is the first approver's where the link is the first one. */
export async function addPasskey(name: string): Promise<NewPasskey & { readonly id: string }> {
  const { value: asked } = await call("POST /v1/session/passkeys/options", { body: {} });
  const made = await makePasskey(asked.publicKey);
  const { value } = await call("POST /v1/session/passkeys", {
    body: { flow: asked.flow, name, credential: made.credential as never },
  });
  return { ...made, id: value.id };
}

export async function enrolFirstApprover(
  secret: string,
  person: string,
  { spki, credential }: NewPasskey,
): Promise<void> {
  const { id: credentialId } = credential;
  const key = { person, spki, credentialId, rpId: location.hostname, origin: location.origin };
  const proof = await hmac(secret, proofText(key));
  await call("POST /v1/approvers/first", { body: { key: { kind: "passkey", ...key }, proof } });
}
