/**
 * What may be asked for, by name. Which role has which is identity's table (AC-5, AC-6 of NIST SP 800-53);
 * the names are the same there, and the API only asks.
 */
import type { Permission as Known } from "@sallyport/identity";
import type { Caller, Principal } from "./caller.ts";

/** Those of identity's that a route asks for. */
export const PERMISSIONS = [
  "plant.read",
  "policy.read",
  "policy.propose",
  "policy.apply",
  "path.request",
  "path.approve",
  "path.close",
  "own.factors",
  "person.read",
  "person.manage",
  "api-key.manage",
  "break-glass.seal",
  "setting.change",
  "evidence.read",
  "evidence.prove",
  "evidence.export",
] as const satisfies readonly Known[];

export type Permission = (typeof PERMISSIONS)[number];

/** Those that identity calls dangerous: a second factor must have been shown minutes ago. */
export const STEP_UP: ReadonlySet<string> = new Set<Permission>([
  "own.factors",
  "policy.apply",
  "path.approve",
  "person.manage",
  "api-key.manage",
  "break-glass.seal",
  "setting.change",
]);

export interface Permissions {
  /**
   * Throws `not-permitted` or `step-up-needed`, which the service records. `isFresh` wants a second factor of
   * the last minutes even where the permission does not; a one-time link's sign-in is fresh, since it is there
   * to enroll the first.
   */
  authorize(caller: Caller, permission: Permission, isFresh: boolean): Promise<void>;
  /** Without a record: whether to show it. */
  may(principal: Principal, permission: Permission): boolean;
}
