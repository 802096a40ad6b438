/**
 * Who may do what, and what one person may not do alone, as data. NIST SP 800-53 AC-5 (separation of
 * duties) and AC-6 (least privilege), AU-9(4) (who manages is not who audits); IEC 62443-3-3 SR 2.1
 * (authorization enforcement: duties and least privilege by role).
 */

export const ROLES = ["viewer", "operator", "approver", "engineer", "auditor", "admin"] as const;
export type Role = (typeof ROLES)[number];

interface Terms {
  readonly roles: readonly Role[];
  /** Wants a second factor that was shown minutes ago. */
  readonly isDangerous?: true;
  /** An API key may do it too, when its scope names it. Nothing that opens, approves or gives. */
  readonly byKey?: true;
}

export const PERMISSIONS = {
  "plant.read": {
    roles: ["viewer", "operator", "approver", "engineer", "auditor", "admin"],
    byKey: true,
  },
  "policy.read": {
    roles: ["viewer", "operator", "approver", "engineer", "auditor", "admin"],
    byKey: true,
  },
  // A stolen sign-in must not become a passkey of the thief's.
  "own.factors": {
    roles: ["viewer", "operator", "approver", "engineer", "auditor", "admin"],
    isDangerous: true,
  },
  "finding.handle": { roles: ["operator", "engineer"], byKey: true },
  "telemetry.read": { roles: ["viewer", "operator", "engineer"], byKey: true },
  // Closing acts: whoever works at the plant may stop traffic at once.
  "path.close": { roles: ["operator", "approver", "engineer", "admin"] },
  "session.watch": { roles: ["operator", "approver", "engineer"] },
  "path.request": { roles: ["operator", "engineer"] },
  "path.approve": { roles: ["approver"], isDangerous: true },
  "policy.propose": { roles: ["engineer"] },
  "policy.apply": { roles: ["engineer"], isDangerous: true },
  "asset.change": { roles: ["engineer"], byKey: true },
  "device.enroll": { roles: ["engineer"], isDangerous: true },
  "package.release": { roles: ["engineer"], isDangerous: true },
  "telemetry.change": { roles: ["engineer"] },
  "person.read": { roles: ["admin", "auditor"] },
  "person.manage": { roles: ["admin"], isDangerous: true },
  "setting.change": { roles: ["admin"], isDangerous: true },
  "api-key.manage": { roles: ["admin"], isDangerous: true },
  "break-glass.seal": { roles: ["admin"], isDangerous: true },
  "evidence.read": { roles: ["auditor", "approver", "engineer"], byKey: true },
  "evidence.prove": { roles: ["auditor"], byKey: true },
  "evidence.export": { roles: ["auditor"], byKey: true },
  "recording.play": { roles: ["auditor", "approver"], isDangerous: true },
} as const;

export type Permission = keyof typeof PERMISSIONS;

/** Whoever proves what happened has no hand in it. A viewer changes nothing. */
const AUDITOR_ALSO: readonly Role[] = ["auditor", "viewer"];

export function isRole(value: unknown): value is Role {
  return ROLES.some((role) => role === value);
}

export function isPermission(value: unknown): value is Permission {
  return typeof value === "string" && Object.hasOwn(PERMISSIONS, value);
}

export function termsOf(permission: Permission): Terms {
  return PERMISSIONS[permission];
}

/** Default deny: no role, no permission. */
export function allows(roles: readonly Role[], permission: Permission): boolean {
  const able: readonly Role[] = PERMISSIONS[permission].roles;
  return roles.some((role) => able.includes(role));
}

/** Whether one person may have these roles together. */
export function rolesConflict(roles: readonly Role[]): boolean {
  return roles.includes("auditor") && roles.some((role) => !AUDITOR_ALSO.includes(role));
}

/**
 * How an approval of somebody with these roles counts: an administrator, who could make approvers,
 * only beside another person. It becomes `neverAlone` of the approver's key.
 */
export function countsNeverAlone(roles: readonly Role[]): boolean {
  return roles.includes("admin");
}
