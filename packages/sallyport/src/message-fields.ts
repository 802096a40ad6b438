/** Fields of messages that somebody else wrote: checked one by one, refused by name as `bad-message`. */
import { SallyportError } from "@sallyport/core";
import { type FirstApprover, parseApproval } from "@sallyport/identity/approval";
import type { GrantTerms } from "./approvals/act.ts";
import type { Approval, Asked, WantedKey } from "./messages.ts";

/** The author of what nobody else asked for. */
export const LOCAL_ROOT = "local-root";
const GRANT_SECONDS_MAX = 24 * 3600;
const APPROVALS_MAX = 8;
const ZONES_MAX = 256;
/** Base64 of the longest SPKI and of the longest credential id. */
const KEY_TEXT_MAX = 1400;

/** Whoever is not named is local root: the only one who need not be. */
export function author(message: Readonly<Record<string, unknown>>): string {
  return message["author"] === undefined ? LOCAL_ROOT : text(message["author"], "author", 128);
}

export function asked(message: Readonly<Record<string, unknown>>): Asked {
  return {
    id: text(message["id"], "id", 64),
    author: author(message),
    startBy: text(message["startBy"], "startBy", 32),
    approvals: approvals(message["approvals"]),
  };
}

const optional = (value: unknown, field: string, max: number): string | undefined =>
  value === undefined ? undefined : text(value, field, max);

export function wantedKey(value: unknown): WantedKey {
  const key = record(value, "key");
  const { kind, zones, neverAlone } = key;
  if (kind !== "passkey" && kind !== "ed25519") throw bad("key.kind", "is passkey or ed25519");
  if (neverAlone !== undefined && neverAlone !== true)
    throw bad("key.neverAlone", "is true or absent");
  if (zones !== undefined && (!Array.isArray(zones) || zones.length > ZONES_MAX)) {
    throw bad("key.zones", `must be a list of at most ${ZONES_MAX}`);
  }
  const list: readonly unknown[] | undefined = zones;
  const credentialId = optional(key["credentialId"], "key.credentialId", KEY_TEXT_MAX);
  const rpId = optional(key["rpId"], "key.rpId", 253);
  const origin = optional(key["origin"], "key.origin", 300);
  return {
    id: text(key["id"], "key.id", 64),
    person: text(key["person"], "key.person", 63),
    kind,
    spki: text(key["spki"], "key.spki", KEY_TEXT_MAX),
    ...(credentialId === undefined ? {} : { credentialId }),
    ...(rpId === undefined ? {} : { rpId }),
    ...(origin === undefined ? {} : { origin }),
    ...(list === undefined ? {} : { zones: list.map((zone) => text(zone, "key.zones[]", 64)) }),
    ...(neverAlone === undefined ? {} : { neverAlone }),
  };
}

export function firstKey(value: unknown): FirstApprover {
  const key = record(value, "key");
  if (key["kind"] !== "passkey" && key["kind"] !== "ed25519") {
    throw bad("key.kind", "is passkey or ed25519");
  }
  const word = (name: string): string => {
    const given = key[name];
    if (typeof given === "string" && given.length <= KEY_TEXT_MAX) return given;
    throw bad(`key.${name}`, `must be text of at most ${KEY_TEXT_MAX} characters`);
  };
  const ends = { credentialId: word("credentialId"), rpId: word("rpId"), origin: word("origin") };
  return { kind: key["kind"], person: word("person"), spki: word("spki"), ...ends };
}

export function grantTerms(value: unknown): GrantTerms {
  const grant = record(value, "grant");
  return {
    conduit: text(grant["conduit"], "grant.conduit", 64),
    person: text(grant["person"], "grant.person", 128),
    reason: text(grant["reason"], "grant.reason", 1000),
    source: text(grant["source"], "grant.source", 15),
    asset: text(grant["asset"], "grant.asset", 64),
    seconds: whole(grant["seconds"], "grant.seconds", 1, GRANT_SECONDS_MAX),
  };
}

export function approvals(value: unknown): Approval[] {
  if (value === undefined) return [];
  if (!Array.isArray(value) || value.length > APPROVALS_MAX) {
    throw bad("approvals", `must be a list of at most ${APPROVALS_MAX}`);
  }
  return value.map((item: unknown) => {
    const approval = record(item, "approvals[]");
    if (approval["kind"] === "local-root") {
      return { kind: "local-root", reason: text(approval["reason"], "approvals[].reason", 1000) };
    }
    const signature = parseApproval(item);
    if (signature === undefined) {
      throw bad("approvals[]", "is no approval: local-root, passkey or ed25519, with its members");
    }
    return signature;
  });
}

export function record(value: unknown, field: string): Record<string, unknown> {
  if (typeof value !== "object" || value === null || Array.isArray(value)) {
    throw bad(field, "must be an object");
  }
  return Object.fromEntries(Object.entries(value));
}

export function text(value: unknown, field: string, maxLength: number): string {
  if (typeof value !== "string" || value.length === 0 || value.length > maxLength) {
    throw bad(field, `must be text of 1 to ${maxLength} characters`);
  }
  return value;
}

export function whole(value: unknown, field: string, min: number, max: number): number {
  if (typeof value !== "number" || !Number.isInteger(value) || value < min || value > max) {
    throw bad(field, `must be a whole number from ${min} to ${max}`);
  }
  return value;
}

export function bad(field: string, what: string): SallyportError {
  return new SallyportError("bad-message", `${field} ${what}`);
}
