import { createHash } from "node:crypto";
import { canonicalJson, type Json } from "@sallyport/core";
import type { Legs } from "@sallyport/policy/legs";

/**
 * What an approval is an approval of (DESIGN §5): this policy, resolved to these legs, as the generation
 * after that one, on this site and node epoch. Anything else has another digest.
 */
export interface Plan {
  readonly site: string;
  readonly nodeEpoch: number;
  readonly baseGeneration: number;
  readonly nextGeneration: number;
  readonly policySha256: string;
  readonly legs: Legs;
}

/** Hex SHA-256 of the canonical JSON (RFC 8785) of the plan. */
export function planSha256(plan: Plan): string {
  // Legs are plain JSON by construction: numbers, strings, booleans, lists and objects of those.
  return createHash("sha256")
    .update(canonicalJson(plan as unknown as Json))
    .digest("hex");
}
