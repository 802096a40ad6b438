import type { Key } from "../../i18n/i18n.ts";
import { keyOf } from "../../parts/key-of.ts";

/** Reason codes that have a sentence in the catalogues; the list is the policy language's, closed and versioned. */
const REASONS: readonly string[] = [
  "no-src-zone",
  "no-dst-zone",
  "wrong-interface",
  "to-gateway",
  "multicast",
  "no-conduit",
  "expired",
  "outside-window",
  "no-grant",
  "grant-expired",
  "revoked",
  "not-syn",
  "fragment",
  "invalid-state",
  "session-limit",
  "rate",
  "island",
  "time-untrusted",
];

/** A gate's own reasons say which limit it was; the sentence is one. */
const OF_GATES = "l7.";

export function reasonKey(reason: string): Key {
  if (reason.startsWith(OF_GATES)) return "reason.l7";
  return keyOf("reason", reason, REASONS);
}
