/**
 * What people sign: an act as canonical JSON (RFC 8785), which says of itself what it is, so that a
 * signature on one act is worth nothing for another. DESIGN §5, docs/decisions/0011-the-record.md.
 */
import { createHash } from "node:crypto";
import { canonicalJson, type Json } from "@sallyport/core";
import type { ApproverKey } from "@sallyport/identity/approval";
import type { Conduit, Legs } from "@sallyport/policy/legs";
import type { Plan } from "../plan.ts";

/** Of every act but an apply, whose generation numbers are its name and its end. */
interface Named {
  readonly site: string;
  readonly nodeEpoch: number;
  /** Chosen by whoever asks; an id opens once. */
  readonly id: string;
  /** Whoever asked: their own signature never counts, and whoever signs sees who it was. */
  readonly author: string;
  /** ISO 8601 UTC. The act begins before this or never. */
  readonly startBy: string;
}

export interface GrantTerms {
  readonly conduit: string;
  readonly person: string;
  readonly reason: string;
  /** Dotted quad of the person's device. */
  readonly source: string;
  readonly asset: string;
  readonly seconds: number;
}

export type NamedAct = Named &
  (
    | ({ readonly act: "grant" } & GrantTerms)
    | { readonly act: "island-off"; readonly zone: string }
    | { readonly act: "trust-time" }
    | { readonly act: "enrol"; readonly key: Omit<ApproverKey, "counter" | "enrolledAtMs"> }
  );

export type Act = (Plan & { readonly act: "apply"; readonly author: string }) | NamedAct;

/** SHA-256 of the canonical act: the WebAuthn challenge, and what an Ed25519 key signs. */
export function digestOf(act: Act): Buffer {
  // Acts are plain JSON by construction.
  return createHash("sha256")
    .update(canonicalJson(act as unknown as Json))
    .digest();
}

/** How many people must sign, and the zones that each of their keys must be good for. */
export interface Required {
  readonly people: number;
  readonly zones: readonly string[];
}

/**
 * The numbers of the running and of the next policy both count, so a change cannot lower its own bar.
 * Nothing opens with less than one signature, whatever a policy says (promise P4).
 */
export function requiredFor(act: Act, running: Legs | undefined): Required {
  const next = act.act === "apply" ? act.legs : undefined;
  const zones = zonesOf(act, running);
  const asked = [...(running?.thresholds ?? []), ...(next?.thresholds ?? [])]
    .filter(({ zone }) => zones.includes(zone))
    .map(({ approvals }) => approvals);
  const session =
    act.act === "grant"
      ? (running?.conduits.find(({ name }) => name === act.conduit)?.session?.approvals ?? 1)
      : 1;
  return { people: Math.max(1, session, ...asked), zones };
}

function zonesOf(act: Act, running: Legs | undefined): readonly string[] {
  switch (act.act) {
    case "apply":
      return zonesTouched(running, act.legs);
    case "grant": {
      const conduit = running?.conduits.find(({ name }) => name === act.conduit);
      return conduit === undefined ? [] : endsOf(conduit);
    }
    case "island-off":
      return [act.zone];
    case "trust-time":
      return [];
    case "enrol":
      // A new key can sign for all that it is good for: whoever enrols it needs as much.
      return act.key.zones ?? (running === undefined ? [] : allZones(running));
  }
}

/** Ends of each conduit that differs; all zones when what they share does. */
function zonesTouched(before: Legs | undefined, after: Legs): readonly string[] {
  if (before === undefined) return allZones(after);
  if (shared(before) !== shared(after)) return unique([...allZones(before), ...allZones(after)]);
  const [old, fresh] = [byName(before), byName(after)];
  const changed = unique([...old.keys(), ...fresh.keys()]).filter(
    (name) => textOf(old.get(name)) !== textOf(fresh.get(name)),
  );
  return unique(
    changed
      .flatMap((name) => [old.get(name), fresh.get(name)])
      .flatMap((conduit) => (conduit === undefined ? [] : endsOf(conduit))),
  );
}

/** What is no conduit's. Names of assets make no rule; the digest of the file is no behavior. */
function shared({
  conduits: _conduits,
  assets: _names,
  policySha256: _file,
  ...rest
}: Legs): string {
  return canonicalJson(rest as unknown as Json);
}

/** A conduit that only moved to another line of the file is the same. */
function textOf(conduit: Conduit | undefined): string {
  if (conduit === undefined) return "";
  const { source: _, ...rest } = conduit;
  return canonicalJson(rest as unknown as Json);
}

function byName({ conduits }: Legs): ReadonlyMap<string, Conduit> {
  return new Map(conduits.map((conduit) => [conduit.name, conduit]));
}

function endsOf({ fromZones, toZones }: Conduit): readonly string[] {
  return unique([...fromZones, ...toZones]);
}

function allZones({ zones, thresholds }: Legs): readonly string[] {
  return unique([...zones.map(({ name }) => name), ...thresholds.map(({ zone }) => zone)]);
}

function unique(names: readonly string[]): string[] {
  return [...new Set(names)].sort();
}
