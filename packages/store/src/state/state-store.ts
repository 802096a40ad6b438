/**
 * What the gateway must not lose: people, sign-ins, keys, drafts, changes. One table of JSON records by kind
 * and id. Each method is one statement, so it happens wholly or not at all, also between processes.
 */
import type { IdentityStore, Records, Stored } from "@sallyport/identity";
import type { PostgresConnection } from "../postgres.ts";

export type StatePlace =
  | { readonly kind: "sqlite"; readonly file: string }
  | { readonly kind: "postgres"; readonly connection: PostgresConnection };

export interface StateStore {
  /** `kind` is a word of small letters, digits and hyphens. The same kind always holds the same type. */
  records<T extends Stored>(kind: string): Records<T>;
  /** Sees that SQLite has room of its own for sign-ins on a full disk; answers whether it has. */
  keepReserve(): boolean;
  close(): Promise<void>;
}

/** Names of the kinds are on disk: they are never changed. */
export function identityStore(state: StateStore): IdentityStore {
  return {
    people: state.records("person"),
    passkeys: state.records("passkey"),
    passwords: state.records("password"),
    recoveryCodes: state.records("recovery-code"),
    signIns: state.records("sign-in"),
    apiKeys: state.records("api-key"),
    links: state.records("link"),
    attempts: state.records("attempts"),
    used: state.records("used"),
    oidcSubjects: state.records("oidc-subject"),
    breakGlass: state.records("break-glass"),
  };
}
