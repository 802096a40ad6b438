/** The names for which the site's authority may sign: those that root wrote down, and the addresses of the rooms. */
import { formatIpv4, type Json } from "@sallyport/core";
import type { Legs } from "@sallyport/policy";
import { fields } from "../cli/enforcer-client.ts";
import { readSettings } from "../control/settings.ts";
import type { EnforcerRequest } from "../messages.ts";

/** Kinds of rooms whose process serves people over TLS. */
const SERVING: ReadonlySet<string> = new Set(["control", "portal"]);

export async function ownNames(
  settingsFile: string,
  enforcer: (request: EnforcerRequest) => Promise<Json>,
): Promise<ReadonlySet<string>> {
  const { legs } = fields(await enforcer({ type: "running" }));
  // The enforcer compiled and checked them; they came over its own socket.
  const rooms = legs === undefined || legs === null ? [] : (legs as unknown as Legs).rooms;
  const addresses = rooms
    .filter(({ kind }) => SERVING.has(kind))
    .flatMap(({ outer, inner }) => [...(outer?.addresses ?? []), ...(inner?.addresses ?? [])])
    .map(formatIpv4);
  return new Set(["localhost", ...readSettings(settingsFile).names, ...addresses]);
}
