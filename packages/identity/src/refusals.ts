/**
 * Every refusal of this package. Before somebody is signed in they learn little: what is `shownAs`
 * another code leaves as that code, and what it was is for the record.
 */

interface Words {
  readonly why: string;
  readonly shownAs?: string;
}

export const REFUSALS = {
  "request-malformed": { why: "the request is not of the form that is asked for" },

  "sign-in-failed": { why: "name, password or second factor is not right" },
  "person-unknown": { why: "nobody has this name", shownAs: "sign-in-failed" },
  "person-disabled": { why: "the person is disabled", shownAs: "sign-in-failed" },
  "password-not-set": { why: "the person has no password", shownAs: "sign-in-failed" },
  "password-wrong": { why: "the password is wrong", shownAs: "sign-in-failed" },
  "totp-not-enrolled": { why: "the person has no TOTP seed", shownAs: "sign-in-failed" },
  "totp-wrong": { why: "the TOTP code is wrong or too old", shownAs: "sign-in-failed" },
  "totp-used": { why: "the TOTP code was used before", shownAs: "sign-in-failed" },
  "totp-unavailable": { why: "the keyholder does not answer", shownAs: "sign-in-failed" },
  "recovery-code-wrong": {
    why: "the recovery code is wrong or was used",
    shownAs: "sign-in-failed",
  },
  "challenge-unknown": {
    why: "the challenge is not ours, or not for this",
    shownAs: "sign-in-failed",
  },
  "challenge-expired": { why: "the challenge is too old", shownAs: "sign-in-failed" },
  "challenge-used": {
    why: "the challenge was answered before: a replay",
    shownAs: "sign-in-failed",
  },
  "passkey-unknown": { why: "nobody has this passkey", shownAs: "sign-in-failed" },
  "passkey-other-person": { why: "the passkey is of somebody else", shownAs: "sign-in-failed" },
  "passkey-assertion": { why: "the passkey's answer does not hold", shownAs: "sign-in-failed" },

  "sign-in-later": { why: "too many failures; try again later" },
  "hash-queue-full": { why: "too many sign-ins at once; try again later" },

  "sign-in-ended": { why: "sign in again" },
  "sign-in-unknown": { why: "there is no such sign-in, or it was ended", shownAs: "sign-in-ended" },
  "sign-in-idle": { why: "the sign-in was not used for too long", shownAs: "sign-in-ended" },
  "sign-in-over": { why: "the sign-in reached its end", shownAs: "sign-in-ended" },
  "clock-went-back": { why: "the clock is behind what it was", shownAs: "sign-in-ended" },

  "not-permitted": { why: "none of your roles allows this" },
  "step-up-needed": { why: "show your second factor again first" },

  "passkey-refused": { why: "the passkey could not be registered" },
  "passkey-taken": { why: "the passkey is registered already" },
  "passkeys-at-limit": { why: "there are as many passkeys as a person may have" },
  "relying-party-not-a-name": { why: "passkeys need a name, not an address, and https" },
  "password-weak": { why: "the password is too short, too long or too easy" },

  "person-name-invalid": { why: "a name has 1 to 63 of a-z, 0-9, dot, underscore and hyphen" },
  "person-exists": { why: "somebody has this name, or had it once" },
  "no-such-person": { why: "nobody has this name" },
  "roles-conflict": { why: "one person may not have these roles together" },
  "own-roles": { why: "nobody changes their own roles or state" },
  "last-admin": { why: "one administrator must stay" },
  "roles-not-ours": { why: "the provider's groups say what roles this person has" },

  "link-invalid": { why: "the link is not valid, or was used" },
  "link-unknown": { why: "no link has this token, or it was used", shownAs: "link-invalid" },
  "link-expired": { why: "the link is too old", shownAs: "link-invalid" },
  "admin-exists": { why: "there is an administrator already", shownAs: "link-invalid" },

  "api-key-invalid": { why: "the key is not valid" },
  "api-key-malformed": { why: "not written as keys are", shownAs: "api-key-invalid" },
  "api-key-unknown": { why: "no key has this id, or it was revoked", shownAs: "api-key-invalid" },
  "api-key-wrong": { why: "the key's secret is wrong", shownAs: "api-key-invalid" },
  "api-key-expired": { why: "the key has expired", shownAs: "api-key-invalid" },
  "api-key-owner": { why: "the key's owner is disabled", shownAs: "api-key-invalid" },
  "api-key-terms": { why: "a key needs a label, a scope that keys may have and an end in a year" },
  "api-keys-at-limit": { why: "there are as many keys as a person may have" },

  "oidc-refused": { why: "the sign-in at your organization was not accepted" },
  "oidc-provider-unknown": { why: "no such provider is set up", shownAs: "oidc-refused" },
  "oidc-provider-failed": {
    why: "the provider could not be reached or answered with an error",
    shownAs: "oidc-refused",
  },
  "oidc-state-unknown": {
    why: "the answer belongs to no sign-in begun in this browser",
    shownAs: "oidc-refused",
  },
  "oidc-state-used": { why: "the answer was given before: a replay", shownAs: "oidc-refused" },
  "oidc-state-expired": { why: "the sign-in took too long", shownAs: "oidc-refused" },
  "oidc-mix-up": {
    why: "the answer is of another provider than was asked",
    shownAs: "oidc-refused",
  },
  "oidc-declined": { why: "the provider or the person declined", shownAs: "oidc-refused" },
  "oidc-nonce": { why: "the token was made for another sign-in", shownAs: "oidc-refused" },
  "oidc-token-invalid": { why: "the provider's token does not hold", shownAs: "oidc-refused" },
  "oidc-acr": {
    why: "the provider does not say that the asked level was reached",
    shownAs: "oidc-refused",
  },
  "oidc-amr": { why: "the provider does not name an asked second factor", shownAs: "oidc-refused" },
  "oidc-auth-time": {
    why: "the person signed in at the provider too long ago",
    shownAs: "oidc-refused",
  },
  "oidc-no-role": { why: "none of the person's groups has a role here", shownAs: "oidc-refused" },
  "oidc-roles-conflict": {
    why: "the person's groups give roles that exclude each other",
    shownAs: "oidc-refused",
  },
  "oidc-name": { why: "the provider gives no name that can be used here", shownAs: "oidc-refused" },
  "oidc-name-taken": {
    why: "the provider gave this name to somebody else before",
    shownAs: "oidc-refused",
  },
  "oidc-person-disabled": { why: "the person is disabled here", shownAs: "oidc-refused" },

  "break-glass-refused": { why: "the account could not be opened" },
  "break-glass-unknown": { why: "there is no such account", shownAs: "break-glass-refused" },
  "break-glass-opened-before": {
    why: "the account was opened; it must be sealed anew",
    shownAs: "break-glass-refused",
  },
  "break-glass-half": {
    why: "a half was mistyped, or both are the same half",
    shownAs: "break-glass-refused",
  },
  "break-glass-wrong": {
    why: "the halves do not open this account",
    shownAs: "break-glass-refused",
  },
  "break-glass-holders": { why: "the halves go to two different people" },
  "break-glass-unseen": {
    why: "neither alarm nor record could be made",
    shownAs: "break-glass-refused",
  },
} as const;

export type RefusalCause = keyof typeof REFUSALS;

type Hidden = {
  [Cause in RefusalCause]: (typeof REFUSALS)[Cause] extends { shownAs: string } ? Cause : never;
}[RefusalCause];

/** What may leave; the others are only causes. */
export type RefusalCode = Exclude<RefusalCause, Hidden>;

export interface Refusal {
  readonly kind: "refused";
  readonly code: RefusalCode;
  readonly why: string;
  /** For records and tests. Never sent to somebody who is not signed in. */
  readonly cause: RefusalCause;
  /** What exactly did not hold, for the record. */
  readonly detail?: string;
  readonly retryAfterMs?: number;
}

export function refuse(
  cause: RefusalCause,
  more: { readonly detail?: string; readonly retryAfterMs?: number } = {},
): Refusal {
  const words: Words = REFUSALS[cause];
  // `shownAs` names a member that is shown as itself; the test of this table holds that.
  const code = (words.shownAs ?? cause) as RefusalCode;
  return { kind: "refused", code, why: REFUSALS[code].why, cause, ...more };
}
