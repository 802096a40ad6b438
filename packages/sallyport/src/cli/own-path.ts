import { contains, parseIpv4 } from "@sallyport/core";
import type { Legs } from "@sallyport/policy/legs";

const SSH_PORT = 22;

/**
 * Whether a change would cut the very login that asks for it: sshd says in SSH_CONNECTION whence the
 * person came. Answers the warning, or undefined when the path stays, or there is none to lose.
 */
export function ownPathCut(
  before: Legs | undefined,
  after: Legs,
  connection: string | undefined = process.env["SSH_CONNECTION"],
): string | undefined {
  const [from = "", , to = ""] = (connection ?? "").split(" ");
  const source = parseIpv4(from);
  const target = parseIpv4(to);
  if (source === undefined || target === undefined || before === undefined) return undefined;
  if (!allows(before, source, target) || allows(after, source, target)) return undefined;
  return `this login comes from ${from}, and no conduit of the new policy lets it reach ${to} by SSH`;
}

function allows(legs: Legs, source: number, target: number): boolean {
  return legs.conduits.some((conduit) =>
    conduit.legs.some(
      (leg) =>
        leg.protocol === "tcp" &&
        contains(leg.from, source) &&
        contains(leg.to, target) &&
        contains(leg.ports, SSH_PORT),
    ),
  );
}
