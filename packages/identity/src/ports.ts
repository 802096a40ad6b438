/** What this package needs and others give it. Nothing here reads a clock, randomness or a disk. */
import type {
  ApiKey,
  Attempts,
  BreakGlass,
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

export interface Clock {
  /** Wall clock, since 1970 in UTC. */
  nowMs(): number;
}

export interface Randomness {
  /** From the kernel's generator. */
  bytes(size: number): Uint8Array;
}

export type EventType =
  | "sign-in"
  | "sign-in-refused"
  | "sign-out"
  | "sign-ins-revoked"
  | "stepped-up"
  | "step-up-refused"
  | "permission-refused"
  | "passkey-registered"
  | "passkey-refused"
  | "passkey-removed"
  | "password-set"
  | "password-removed"
  | "recovery-codes-made"
  | "recovery-code-used"
  | "person-added"
  | "person-changed"
  | "person-refused"
  | "link-made"
  | "link-used"
  | "link-refused"
  | "admin-recovered"
  | "api-key-made"
  | "api-key-used"
  | "api-key-refused"
  | "api-key-revoked"
  | "break-glass-sealed"
  | "break-glass-opened"
  | "break-glass-refused";

export type EventFields = Readonly<Record<string, string | number | boolean | readonly string[]>>;

/**
 * Where decisions are written down. When `record` fails, so does what it was to record: nobody gets
 * in unseen. Only break-glass goes on, when its alarm was raised.
 */
export interface IdentityEvents {
  record(type: EventType, fields: EventFields): Promise<void>;
}

export interface Alarms {
  raise(what: "break-glass-opened", fields: EventFields): Promise<void>;
}

/** One kind of record. Each method is atomic, and its change is durable when it answers. */
export interface Records<T extends Stored> {
  get(id: string): Promise<T | undefined>;
  /** False, and nothing is changed, when the id is taken. */
  add(record: T): Promise<boolean>;
  /** False, and nothing is changed, unless the kept record still has the revision of `before`. */
  replace(before: T, after: T): Promise<boolean>;
  /** Removes and answers it: of two callers, one gets it. */
  take(id: string): Promise<T | undefined>;
  ofPerson(person: string): Promise<readonly T[]>;
  all(): Promise<readonly T[]>;
  /** Removes what has `expiresAtMs` at or before `nowMs`; answers how many. */
  removeExpired(nowMs: number): Promise<number>;
}

export interface IdentityStore {
  readonly people: Records<Person>;
  readonly passkeys: Records<Passkey>;
  readonly passwords: Records<Password>;
  readonly recoveryCodes: Records<RecoveryCode>;
  readonly signIns: Records<SignIn>;
  readonly apiKeys: Records<ApiKey>;
  readonly links: Records<Link>;
  readonly attempts: Records<Attempts>;
  readonly used: Records<Used>;
  readonly oidcSubjects: Records<OidcSubject>;
  readonly breakGlass: Records<BreakGlass>;
}

export type TotpVerdict =
  | { readonly kind: "verified" }
  | { readonly kind: "refused"; readonly code: TotpRefusal };
export type TotpRefusal = "totp-not-enrolled" | "totp-wrong" | "totp-used" | "totp-unavailable";

/** The keyholder, who has the seeds. A code is good once. */
export interface TotpVerifier {
  verify(person: string, code: string): Promise<TotpVerdict>;
}

/** Slow on purpose; answers the hash of `sizeBytes`. */
export interface PasswordHasher {
  hash(password: Uint8Array, salt: Uint8Array, cost: HashCost): Promise<Uint8Array>;
}

export interface HashCost {
  readonly memoryKib: number;
  readonly passes: number;
  readonly lanes: number;
}

/** What nearly every part needs. */
export interface Means {
  readonly store: IdentityStore;
  readonly clock: Clock;
  readonly random: Randomness;
  readonly events: IdentityEvents;
}
