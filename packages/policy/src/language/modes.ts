import { AUDIT_DAYS } from "./limits.ts";
import type { Reporter } from "./report.ts";
import type { End, ResolvedConduit, Service, Zone } from "./resolved.ts";
import type { ModeFile } from "./schema.ts";
import type { Item, PolicyForm } from "./sections.ts";
import { didYouMean } from "./things.ts";
import { parseEnd } from "./values.ts";

/** What audit mode lets pass: everything a conduit could name. */
const EVERYTHING: Service = {
  name: "everything",
  tcp: [{ first: 1, last: 65_535 }],
  udp: [{ first: 1, last: 65_535 }],
  icmp: true,
  isOt: false,
  decoder: undefined,
  unsupported: undefined,
};
const DAY_MS = 86_400_000;

/**
 * Audit mode of a zone pair, as a conduit that comes after all others and reports what only it let
 * pass. Never across the DMZ, never without an end.
 */
export function readMode(
  item: Item<ModeFile>,
  zones: ReadonlyMap<string, Zone>,
  form: PolicyForm,
  timezone: string,
  now: number,
  reporter: Reporter,
): ResolvedConduit | undefined {
  const { form: mode, place } = item;
  const from = end(mode, "from", zones, form, reporter);
  const to = end(mode, "to", zones, form, reporter);
  const what = `mode ${mode.mode} from "${mode.from}" to "${mode.to}"`;
  if (mode.mode === "enforce") return undefined;
  for (const key of ["until", "owner", "why"] as const) {
    if (mode[key] === undefined) reporter.report("missing-key", place, `${what} needs "${key}"`);
  }
  const until = mode.until === undefined ? undefined : parseEnd(mode.until, timezone);
  if (mode.until !== undefined && until === undefined) {
    const hint = "a day that exists, like 2027-06-30";
    reporter.report(
      "bad-date",
      form.places.of(mode, "until"),
      `${what}: "${mode.until}" is not a date`,
      hint,
    );
  }
  // A date ends at its midnight, so the last of 30 days ends up to a day later, and a clock change.
  if (until !== undefined && until > now + (AUDIT_DAYS + 1) * DAY_MS + 3_600_000) {
    const hint = "audit is for finding out what a plant needs; renew it if that takes longer";
    reporter.report(
      "mode-too-long",
      form.places.of(mode, "until"),
      `${what} ends more than ${AUDIT_DAYS} days from now`,
      hint,
    );
  }
  if (from === undefined || to === undefined || until === undefined) return undefined;
  if (mode.owner === undefined || mode.why === undefined) return undefined;
  if (from.zones[0] === to.zones[0]) {
    reporter.report(
      "never-crosses",
      place,
      `${what}: traffic inside a zone doesn't pass the gateway`,
    );
  }
  const name = `audit:${mode.from}:${mode.to}`;
  const base = {
    name,
    place,
    form: undefined,
    via: "direct" as const,
    audit: true,
    expires: until,
  };
  const words = {
    owner: mode.owner,
    why: mode.why,
    windows: [],
    island: "drop" as const,
    system: false,
  };
  const route = { firstPoint: "inner" as const, lastPoint: "inner" as const, gate: undefined };
  const rest = {
    l7: { protocol: "tcp" as const },
    connections: NO_CONNECTIONS,
    session: undefined,
  };
  return { ...base, ...words, ...route, ...rest, from, to, services: [EVERYTHING] };
}

/** It passes no gate, so there is nothing to count. */
const NO_CONNECTIONS = { max: 1, idleSeconds: 1, connectSeconds: 1 };

function end(
  mode: ModeFile,
  key: "from" | "to",
  zones: ReadonlyMap<string, Zone>,
  form: PolicyForm,
  reporter: Reporter,
): End | undefined {
  const place = form.places.of(mode, key);
  const zone = zones.get(mode[key]);
  if (zone === undefined) {
    if (!form.zones.names.has(mode[key])) {
      const hint = didYouMean(mode[key], form.zones.names);
      reporter.report(
        "unknown-zone",
        place,
        `a mode names zone "${mode[key]}", which is not defined`,
        hint,
      );
    }
    return undefined;
  }
  if ((zone.kind !== "control" && zone.kind !== "safety") || zone.attachment?.mode === "tap") {
    const hint = "audit lets everything pass, so it is for two OT zones only";
    reporter.report(
      "mode-not-ot",
      place,
      `a mode names zone "${zone.name}", which is not an OT zone`,
      hint,
    );
    return undefined;
  }
  return { side: "ot", zones: [zone], assets: [], networks: [zone], component: undefined, place };
}
