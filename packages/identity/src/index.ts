/**
 * Who somebody is and what they may do: people and roles, passkeys, passwords with a second factor,
 * OIDC, sign-ins, keys of programs, lockout, break-glass, recovery. Reads no clock, randomness, disk
 * or network; all of it is handed in. Seeds and private keys are behind `./keyholder`, what root
 * processes verify behind `./approval`.
 * @module
 */
export { ApiKeys, type KeyPresent, type KeyTerms, type MadeKey, parseKey } from "./api-keys.ts";
export { BreakGlassAccounts, type BreakGlassMeans, type SealedAccount } from "./break-glass.ts";
export * as limits from "./limits.ts";
export { Links, type MadeLink } from "./people/links.ts";
export { type NewPerson, People } from "./people/people.ts";
export {
  allows,
  countsNeverAlone,
  isRole,
  PERMISSIONS,
  type Permission,
  ROLES,
  type Role,
  rolesConflict,
  termsOf,
} from "./people/roles.ts";
export type {
  Alarms,
  Clock,
  EventFields,
  EventType,
  HashCost,
  IdentityEvents,
  IdentityStore,
  Means,
  PasswordHasher,
  Randomness,
  Records,
  TotpRefusal,
  TotpVerdict,
  TotpVerifier,
} from "./ports.ts";
export type {
  ApiKey,
  Attempts,
  BreakGlass,
  Factor,
  Link,
  OidcSubject,
  Passkey,
  Password,
  Person,
  RecoveryCode,
  SignIn,
  Stored,
  Used,
} from "./records.ts";
export { type Refusal, REFUSALS, type RefusalCause, type RefusalCode } from "./refusals.ts";
export { type Opened, type SealingKeys, type SealRefusal, seal, unseal } from "./sealing.ts";
export { argon2id } from "./sign-in/argon2.ts";
export { Challenges } from "./sign-in/challenges.ts";
export { coseToSpki } from "./sign-in/cose.ts";
export { HashPool } from "./sign-in/hash-pool.ts";
export { Oidc, type OidcMeans, type OidcStart } from "./sign-in/oidc.ts";
export { checkOidcProvider, type OidcProvider } from "./sign-in/oidc-provider.ts";
export {
  type PasskeyMeans,
  Passkeys,
  type RelyingParty,
  relyingParty,
} from "./sign-in/passkeys.ts";
export { type PasswordMeans, type PasswordRequest, Passwords } from "./sign-in/passwords.ts";
export { RecoveryCodes } from "./sign-in/recovery-codes.ts";
export { type Present, type SignedIn, SignIns } from "./sign-in/sign-ins.ts";
export { removeEnded } from "./upkeep.ts";
