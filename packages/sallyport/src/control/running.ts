/** What the enforcer says is in force, read once for each question. */
import { SallyportError } from "@sallyport/core";
import type { Circumstances, Grant, Legs } from "@sallyport/policy";
import { fields, listOf, word } from "../cli/enforcer-client.ts";
import type { AskEnforcer } from "./ask.ts";

export interface Running {
  readonly legs: Legs | undefined;
  /** The confirmed generation; 0 before the first. */
  readonly generation: number;
  readonly circumstances: Circumstances;
  readonly nodeEpoch: number;
}

export async function runningOf(enforcer: AskEnforcer): Promise<Running> {
  const running = fields(await enforcer({ type: "running" }));
  const { legs, confirmed } = running;
  const isNone = legs === undefined || legs === null;
  return {
    // The enforcer compiled and checked them; they came over its own socket.
    legs: isNone ? undefined : (legs as unknown as Legs),
    generation: Number(fields(confirmed ?? null)["number"] ?? 0),
    nodeEpoch: Number(running["nodeEpoch"] ?? 0),
    circumstances: {
      grants: listOf(running["grants"]) as unknown as readonly Grant[],
      islanded: new Set(listOf(running["islands"]).map(word)),
      timeTrusted: running["timeTrusted"] !== false,
    },
  };
}

export function inForce({ legs }: Running): Legs {
  if (legs !== undefined) return legs;
  throw new SallyportError("no-policy-in-force", "no policy is in force");
}
