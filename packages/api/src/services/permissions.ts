/**
 * What may be asked for, by name. Which role has which is identity's table; the API only asks.
 */
import type { Principal } from "./caller.ts";

export const PERMISSIONS = [
  "status.read",
  "policy.read",
  "policy.edit",
  "change.plan",
  "change.approve",
  "change.apply",
  "grant.request",
  "grant.read",
  "grant.approve",
  "grant.add",
  "grant.revoke",
  "zone.island",
  "zone.reconnect",
  "flow.read",
  "record.read",
  "record.export",
  "forwarding.read",
  "forwarding.edit",
  "people.read",
  "people.edit",
  "key.manage",
  "approver.read",
  "approver.edit",
  "backup.manage",
  "metrics.read",
] as const;

export type Permission = (typeof PERMISSIONS)[number];

export interface Permissions {
  may(principal: Principal, permission: Permission): boolean;
}
