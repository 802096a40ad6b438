import type { Reporter } from "./report.ts";
import type { Component, ResolvedConduit, Zone } from "./resolved.ts";
import type { SecurityLevels } from "./schema.ts";
import type { PolicyForm } from "./sections.ts";

const DAY_MS = 86_400_000;
const FOUNDATIONS = ["IAC", "UC", "SI", "DC", "RDF", "TRE", "RA"];

/** Doubtful things that don't keep a policy from compiling. */
export function lint(
  form: PolicyForm,
  conduits: readonly ResolvedConduit[],
  zones: ReadonlyMap<string, Zone>,
  now: number,
  noticeSeconds: number,
  reporter: Reporter,
): void {
  for (const conduit of conduits) {
    lintEnd(conduit, now, noticeSeconds, reporter);
    if (!conduit.audit) lintConduit(conduit, reporter);
  }
  lintProtocols(conduits, reporter);
  lintZones(conduits, zones, reporter);
  lintUnused(form, conduits, reporter);
}

function lintEnd(
  conduit: ResolvedConduit,
  now: number,
  noticeSeconds: number,
  reporter: Reporter,
): void {
  const { name, place, expires, owner } = conduit;
  if (expires <= now) {
    reporter.report(
      "expired",
      place,
      `conduit "${name}" is expired and closed`,
      `delete it, or ask ${owner} to renew it`,
    );
  } else if (expires <= now + noticeSeconds * 1000) {
    const days = Math.max(1, Math.ceil((expires - now) / DAY_MS));
    const what = `conduit "${name}" closes within ${days} ${days === 1 ? "day" : "days"}`;
    reporter.report("expiring", place, what, `ask ${owner} to renew it`);
  }
}

function lintConduit(conduit: ResolvedConduit, reporter: Reporter): void {
  const { name, place, from, to, services, gate, l7, via } = conduit;
  const ot = services.find((service) => service.isOt);
  const isIntoOt = to.side === "ot" || from.side === "ot";
  if (ot !== undefined && isIntoOt && l7.protocol === "tcp" && via !== "diode") {
    const how = gate === undefined ? `via ${via} passes no gate` : "its gate relays it undecoded";
    const hint =
      ot.decoder === undefined
        ? `there is no decoder for ${ot.name} yet`
        : `l7: { ${ot.decoder}: { functions: [...] } }`;
    reporter.report(
      "no-l7-on-ot",
      place,
      `conduit "${name}" carries ${ot.name} without limits: ${how}`,
      hint,
    );
  }
  const safety = to.zones.find((zone) => zone.kind === "safety");
  if (safety !== undefined) {
    const what = `conduit "${name}" reaches into safety zone "${safety.name}"`;
    reporter.report(
      "safety-inbound",
      place,
      what,
      "a safety zone should be read by a diode from inside",
    );
  }
  const whole = from.networks.length > 0 && to.networks.length > 0;
  const ports = services.flatMap((service) => [...service.tcp, ...service.udp]);
  const isEveryPort = ports.some(({ first, last }) => last - first >= WIDE_PORTS);
  if (via === "direct" && whole && isEveryPort) {
    const what = `conduit "${name}" opens more than ${WIDE_PORTS} ports between whole zones`;
    reporter.report("any-to-any", place, what, "name the assets and ports that talk");
  }
  const links = new Set(from.zones.map((zone) => zone.attachment?.interface));
  const same = to.zones.find(
    (zone) => zone.attachment !== undefined && links.has(zone.attachment.interface),
  );
  if (same !== undefined) {
    const what = `conduit "${name}" begins and ends at ${same.attachment?.interface ?? ""}; such traffic needn't pass the gateway`;
    reporter.report("never-crosses", place, what);
  }
}
/** A range above this is no list of services any more. */
const WIDE_PORTS = 1000;

/**
 * NIST SP 800-82r3 §5.2.3.3: a protocol allowed between IT and the DMZ should not also be allowed
 * between the DMZ and OT, where a worm would ride it through both.
 */
function lintProtocols(conduits: readonly ResolvedConduit[], reporter: Reporter): void {
  const fromIt = new Map<string, string>();
  const open = conduits.filter((conduit) => !conduit.audit && conduit.l7.protocol === "tcp");
  const reports = (conduit: ResolvedConduit, service: string, other: string): void => {
    const what = `service ${service} is open on both sides of the DMZ: "${conduit.name}" and ${other}`;
    reporter.report(
      "disjoint-protocols",
      conduit.place,
      what,
      "use another protocol on one side, or limits (l7)",
    );
  };
  for (const { from, to, services, name } of open) {
    if (from.side !== "it" || to.component === undefined) continue;
    for (const service of services) fromIt.set(service.name, `"${name}"`);
  }
  for (const conduit of open) {
    const { from, to, services, via } = conduit;
    const crosses =
      (from.side === "it" && to.side === "ot") || (from.side === "ot" && to.side === "it");
    if (via === "session") continue;
    for (const service of services) {
      const other = fromIt.get(service.name);
      if (crosses) reports(conduit, service.name, "its own other half");
      else if (other !== undefined && from.component !== undefined && to.side === "ot")
        reports(conduit, service.name, other);
    }
  }
}

function lintZones(
  conduits: readonly ResolvedConduit[],
  zones: ReadonlyMap<string, Zone>,
  reporter: Reporter,
): void {
  const used = new Set(conduits.flatMap((conduit) => [...conduit.from.zones, ...conduit.to.zones]));
  for (const zone of zones.values()) {
    if (!used.has(zone) && zone.side !== "dmz" && zone.attachment?.mode !== "tap") {
      reporter.report(
        "orphan-zone",
        zone.place,
        `zone "${zone.name}" is in no conduit: nothing enters or leaves it`,
      );
    }
    const target = vectorOf(zone.form["sl-t"]);
    const capable = vectorOf(zone.form["sl-c"]);
    const gaps = FOUNDATIONS.filter((_, index) => (capable?.[index] ?? 4) < (target?.[index] ?? 0));
    if (gaps.length > 0) {
      const what = `zone "${zone.name}" can do less than its target in ${gaps.join(", ")}`;
      reporter.report("sl-gap", zone.place, what, "say in the risk register what makes up for it");
    }
  }
}

function vectorOf(levels: SecurityLevels | undefined): readonly number[] | undefined {
  if (levels === undefined) return undefined;
  return typeof levels === "number" ? FOUNDATIONS.map(() => levels) : levels;
}

function lintUnused(
  form: PolicyForm,
  conduits: readonly ResolvedConduit[],
  reporter: Reporter,
): void {
  const services = new Set(conduits.flatMap((conduit) => conduit.services.map(({ name }) => name)));
  const windows = new Set(conduits.flatMap((conduit) => [conduit.form?.when ?? []].flat()));
  const components = new Set<Component | undefined>(
    conduits.flatMap(({ from, to, gate }) => [from.component, to.component, gate]),
  );
  const used = new Set([...components].map((component) => component?.name));
  for (const [section, names] of [
    ["services", services],
    ["windows", windows],
    ["components", used],
  ] as const) {
    for (const { name, place } of form[section].items) {
      if (names.has(name)) continue;
      const what = `${section.slice(0, -1)} "${name}" is in no conduit`;
      reporter.report("unused-name", place, what);
    }
  }
}
