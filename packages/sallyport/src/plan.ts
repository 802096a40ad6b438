import { createHash } from "node:crypto";
import { canonicalJson, type Json, SallyportError } from "@sallyport/core";
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

/**
 * A session lives on through an apply as long as its conduit's key does, so a compiler that kept a key while it
 * changed the legs would keep open what was closed: the digest in each key is made again here.
 */
export function checkKeys({ conduits }: Legs): void {
  const wrong = conduits.find(({ key, name, legs }) => {
    const text = canonicalJson(legs as unknown as Json);
    return key !== `${name}#${createHash("sha256").update(text).digest("hex").slice(0, 12)}`;
  });
  if (wrong === undefined) return;
  throw new SallyportError(
    "key-mismatch",
    `the key of conduit ${wrong.name} is not the digest of its legs`,
  );
}
