import { canonicalJson, type Json, SallyportError } from "@sallyport/core";
import type { Point } from "@sallyport/policy/legs";

/** Throws unless all that was written is there, and what was deleted is not. */
export function mustBeWritten(
  point: Point,
  wanted: ReadonlyMap<string, Json | undefined>,
  found: ReadonlyMap<string, Json | undefined>,
): void {
  const text = (value: Json | undefined): string => canonicalJson(value ?? null);
  const wrong = [...wanted].filter(([place, value]) => text(value) !== text(found.get(place)));
  if (wrong.length === 0) return;
  const places = wrong.map(([place]) => place).join(", ");
  const hint = "the grant is taken back; look for what else writes rules on this machine";
  throw new SallyportError("grant-not-as-written", `${point}: ${places} is not as written`, {
    hint,
  });
}
