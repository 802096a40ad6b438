/** What is kept. No record holds a secret in clear: tokens and codes are there as their SHA-256. */
import type { Permission, Role } from "./people/roles.ts";

export interface Stored {
  readonly id: string;
  /** Raised by one with each change. */
  readonly revision: number;
  readonly person?: string;
  readonly expiresAtMs?: number;
}

export interface Person extends Stored {
  /** The id is the name people sign in with; it never changes and is never given to another. */
  readonly displayName: string;
  readonly roles: readonly Role[];
  readonly state: "active" | "disabled";
  /** `local`, `break-glass`, or the id of the OIDC provider that vouches for them. */
  readonly origin: string;
  /** Id of the OIDC subject whose name it is. */
  readonly subject?: string;
  readonly createdAtMs: number;
}

export interface Passkey extends Stored {
  /** The id is the credential's, base64url. */
  readonly person: string;
  readonly label: string;
  /** Base64url of the COSE key, for sign-in; base64 of its SPKI, for approvals. */
  readonly cose: string;
  readonly spki: string;
  readonly counter: number;
  readonly transports: readonly string[];
  readonly rpId: string;
  readonly origin: string;
  /** Whether its maker may copy it to other devices. */
  readonly isSynced: boolean;
  readonly createdAtMs: number;
}

export interface Password extends Stored {
  /** The id is the person's; the hash is a PHC string. */
  readonly person: string;
  readonly phc: string;
  readonly setAtMs: number;
}

export interface RecoveryCode extends Stored {
  readonly person: string;
}

/** How somebody showed who they are. */
export type Factor =
  | "passkey"
  | "password"
  | "totp"
  | "recovery-code"
  | "oidc"
  | "link"
  /** An account of the box, shown by a file that only it can make. */
  | "uid"
  | "break-glass";

export interface SignIn extends Stored {
  /** The id is the SHA-256 of the token. */
  readonly person: string;
  readonly factors: readonly Factor[];
  readonly source: string;
  readonly createdAtMs: number;
  readonly seenAtMs: number;
  /** When a second factor was last shown. */
  readonly provedAtMs: number;
  readonly expiresAtMs: number;
}

export interface ApiKey extends Stored {
  readonly person: string;
  readonly label: string;
  readonly secretSha256: string;
  readonly scope: readonly Permission[];
  readonly createdAtMs: number;
  readonly expiresAtMs: number;
  readonly usedAtMs: number;
  readonly usedFrom: string;
}

export interface Link extends Stored {
  /** The id is the SHA-256 of the token. The first administrator's link names nobody yet. */
  readonly kind: "first-admin" | "invitation" | "recovery";
  readonly expiresAtMs: number;
}

/** Failures of one person or source. */
export interface Attempts extends Stored {
  readonly failures: number;
  readonly lastAtMs: number;
  readonly lockedUntilMs: number;
  readonly expiresAtMs: number;
}

/** A challenge or state that served; kept until it would have ended anyway. */
export interface Used extends Stored {
  readonly expiresAtMs: number;
}

export interface OidcSubject extends Stored {
  /** The id is the SHA-256 of issuer and subject. */
  readonly person: string;
}

export interface BreakGlass extends Stored {
  /** The id is the account's person. */
  readonly person: string;
  readonly secretSha256: string;
  /** Two people, one half each. */
  readonly holders: readonly [string, string];
  readonly sealedAtMs: number;
  readonly openedAtMs?: number;
}
