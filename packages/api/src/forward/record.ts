/** A record as it is told to others, and what its type means to them. */
import type { Json } from "@sallyport/core";

export interface ForwardedRecord {
  /** In the ledger, from 0. */
  readonly index: number;
  /** Lower-case words joined by dots and hyphens, such as `grant-added`. */
  readonly type: string;
  /** Milliseconds since 1970, UTC. */
  readonly atMs: number;
  readonly fields: Readonly<Record<string, Json>>;
  /** Names, addresses of people: empty for a target that is not to know them. */
  readonly personal: Readonly<Record<string, Json>>;
  /** Hex SHA-256 of the leaf, by which the line is found in the ledger. */
  readonly leaf: string;
}

/** Who tells. */
export interface Sender {
  /** A name or address; other signs than printable ASCII become `?`. */
  readonly host: string;
  readonly version: string;
  readonly processId: number;
  /** IANA private enterprise number; 32473 is for documentation (RFC 5612). */
  readonly enterprise: number;
}

export type Rank = "usual" | "refusal" | "alarm";

/** Words of a type that somebody should look at, and those that stopped something. */
const ALARMS: ReadonlySet<string> = new Set([
  "drift",
  "glass",
  "stepped",
  "damaged",
  "gap",
  "finding",
]);
const REFUSALS: ReadonlySet<string> = new Set(["refused", "denied", "failed", "revoked", "late"]);

export function rankOf({ type }: ForwardedRecord): Rank {
  const words = type.split(/[.-]/);
  if (words.some((word) => ALARMS.has(word))) return "alarm";
  return words.some((word) => REFUSALS.has(word)) ? "refusal" : "usual";
}

/** One value as text: what is no text is JSON. */
export function textOf(value: Json): string {
  return typeof value === "string" ? value : JSON.stringify(value);
}

/** All fields, people's last, so that these are the first to go when a line is cut. */
export function membersOf({ fields, personal }: ForwardedRecord): [string, string][] {
  return [...Object.entries(fields), ...Object.entries(personal)].map(([name, value]) => [
    name,
    textOf(value),
  ]);
}

/** Control characters, line separators and marks that turn text around, as `\u000a`. */
export function visible(text: string): string {
  return text
    .toWellFormed()
    .replaceAll(
      /[\p{Cc}\p{Cf}\u2028\u2029]/gu,
      (sign) => `\\u${(sign.codePointAt(0) ?? 0).toString(16).padStart(4, "0")}`,
    );
}

/** The first so many characters, never half of a pair. */
export function cut(text: string, lengthMax: number): string {
  return text.length <= lengthMax ? text : `${text.slice(0, lengthMax - 1).toWellFormed()}…`;
}

/** Of one value in a line; the ledger has it whole. */
export const VALUE_LENGTH_MAX = 1024;
