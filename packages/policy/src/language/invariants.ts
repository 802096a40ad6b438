import { lineOf, type Reporter } from "./report.ts";
import type { End, ResolvedConduit, Zone } from "./resolved.ts";
import type { InvariantFile, SelectorFile } from "./schema.ts";
import type { Item, PolicyForm } from "./sections.ts";
import type { Services } from "./things.ts";
import { didYouMean } from "./things.ts";

/**
 * What the plant says must hold whatever the conduits say. Proved here and never made into rules: a
 * policy that breaks one doesn't compile. Looks at each conduit's own ends, audit modes included.
 */
export function checkInvariants(
  form: PolicyForm,
  conduits: readonly ResolvedConduit[],
  zones: ReadonlyMap<string, Zone>,
  services: Services,
  reporter: Reporter,
): void {
  for (const item of form.invariants) {
    if (!isWhole(item, reporter)) continue;
    checkNames(item, form, zones, services, reporter);
    for (const conduit of conduits) {
      const broken = violation(item.form, conduit);
      if (broken === undefined) continue;
      const what = `conduit "${conduit.name}" breaks the ${item.name} at ${lineOf(item.place)}: ${broken}`;
      reporter.report(
        "invariant-violated",
        conduit.place,
        what,
        "change the conduit, or the invariant with its owner",
      );
    }
  }
}

/** One rule an entry, and one that says something: an empty one would hold always. */
function isWhole({ form, place, name }: Item<InvariantFile>, reporter: Reporter): boolean {
  const { never, require } = form;
  if ((never === undefined) === (require === undefined)) {
    reporter.report("wrong-value", place, `${name}: expected either "never" or "require"`);
    return false;
  }
  if (
    never !== undefined &&
    never.from === undefined &&
    never.to === undefined &&
    never.service === undefined
  ) {
    reporter.report("wrong-value", place, `${name}: "never" needs from, to or service`);
    return false;
  }
  return true;
}

function violation(
  { never, require }: InvariantFile,
  conduit: ResolvedConduit,
): string | undefined {
  if (never !== undefined) {
    const { from, to, service, unless } = never;
    const isMeant =
      meets(conduit.from, from) && meets(conduit.to, to) && isService(conduit, service);
    if (!isMeant || (unless?.via.includes(conduit.via) ?? false)) return undefined;
    const except = unless === undefined ? "" : `, unless via ${unless.via.join(" or ")}`;
    return `never from ${describe(from)} to ${describe(to)}${except}`;
  }
  if (require === undefined || conduit.form === undefined) return undefined;
  const { field, where = {} } = require;
  const vias = [where.via ?? []].flat();
  const isMeant =
    meets(conduit.from, where.from) &&
    meets(conduit.to, where.to) &&
    isService(conduit, where.service) &&
    (vias.length === 0 || vias.includes(conduit.via));
  return isMeant && conduit.form[field] === undefined ? `needs "${field}"` : undefined;
}

/** An end that names several things meets a selector when any of them does. */
function meets(end: End, selector: SelectorFile | undefined): boolean {
  if (selector === undefined) return true;
  const zones = new Set([selector.zone ?? []].flat());
  const kinds = new Set([selector.kind ?? []].flat());
  const zoneMeets = (zone: Zone): boolean =>
    (zones.size === 0 || zones.has(zone.name)) && (kinds.size === 0 || kinds.has(zone.kind));
  const tags = selector.tags ?? [];
  const { asset } = selector;
  if (tags.length === 0 && asset === undefined) return end.zones.some(zoneMeets);
  // A zone named as a whole has every asset in it, so it may hold the one that is meant.
  return (
    end.networks.some(zoneMeets) ||
    end.assets.some(
      (one) =>
        zoneMeets(one.zone) &&
        (asset === undefined || one.name === asset) &&
        tags.every((tag) => one.tags.includes(tag)),
    )
  );
}

/** Audit mode's conduit carries every service. */
function isService(
  conduit: ResolvedConduit,
  wanted: string | readonly string[] | undefined,
): boolean {
  if (wanted === undefined || conduit.audit) return true;
  const names = new Set([wanted].flat());
  return conduit.services.some(({ name }) => names.has(name));
}

function describe(selector: SelectorFile | undefined): string {
  if (selector === undefined) return "anywhere";
  const parts = Object.entries(selector).map(
    ([key, value]) => `${key} ${[value].flat().join(" or ")}`,
  );
  return parts.join(", ");
}

/** A mistyped name in an invariant would make it hold for ever. */
function checkNames(
  { form: { never, require }, place, name }: Item<InvariantFile>,
  form: PolicyForm,
  zones: ReadonlyMap<string, Zone>,
  services: Services,
  reporter: Reporter,
): void {
  const selectors = [never?.from, never?.to, require?.where?.from, require?.where?.to];
  for (const selector of selectors) {
    for (const zone of [selector?.zone ?? []].flat()) {
      if (zones.has(zone) || form.zones.names.has(zone)) continue;
      reporter.report(
        "unknown-zone",
        place,
        `${name} names zone "${zone}", which is not defined`,
        didYouMean(zone, zones.keys()),
      );
    }
    const asset = selector?.asset;
    if (asset !== undefined && !form.assets.names.has(asset)) {
      const hint = didYouMean(asset, form.assets.names);
      reporter.report(
        "unknown-asset",
        place,
        `${name} names asset "${asset}", which is not defined`,
        hint,
      );
    }
    for (const tag of selector?.tags ?? []) {
      const known = new Set(form.assets.items.flatMap((item) => item.form.tags ?? []));
      if (known.has(tag)) continue;
      reporter.report(
        "unknown-tag",
        place,
        `${name} names tag "${tag}", which no asset has`,
        didYouMean(tag, known),
      );
    }
  }
  for (const service of [never?.service ?? [], require?.where?.service ?? []].flat()) {
    if (services.get(service) !== undefined || services.isNamed(service)) continue;
    const hint = didYouMean(service, services.names());
    reporter.report(
      "unknown-service",
      place,
      `${name} names service "${service}", which is not defined`,
      hint,
    );
  }
}
