import { type Diagnostic, sha256Hex, sha256HexOfText } from "@sallyport/core";
import type { ComponentKind, Conduit, Legs, ZoneKind } from "../legs/types.ts";
import { type Allocation, allocate } from "./allocate.ts";
import {
  attachmentsOf,
  engineZones,
  nameInterfaces,
  readLimits,
  roomsOf,
  thresholdsOf,
} from "./assemble.ts";
import { checkBridges } from "./bridges.ts";
import { readConduit } from "./conduits.ts";
import { Ends } from "./ends.ts";
import { checkInvariants } from "./invariants.ts";
import { lint } from "./lints.ts";
import { listenersOf, lowerConduit } from "./lower.ts";
import { readMode } from "./modes.ts";
import { readNetwork } from "./networks.ts";
import { checkOverlaps } from "./overlaps.ts";
import { compareText, Reporter } from "./report.ts";
import type { Asset, Component, Network, ResolvedConduit, Zone } from "./resolved.ts";
import { type PolicyForm, readSections } from "./sections.ts";
import { type PolicyFileBytes, readTexts } from "./text.ts";
import { readAssets, readComponents, readWindows, Services } from "./things.ts";
import { isTimezone, parseDuration } from "./values.ts";
import { readZones } from "./zones.ts";

/** Names that legs no longer hold, for whoever explains them to people. */
export interface PolicySummary {
  readonly zones: readonly {
    readonly name: string;
    readonly kind: ZoneKind;
    readonly level: number;
    readonly owner: string;
  }[];
  readonly assets: readonly {
    readonly name: string;
    readonly zone: string;
    readonly address: number;
    readonly tags: readonly string[];
  }[];
  readonly components: readonly {
    readonly name: string;
    readonly kind: ComponentKind;
    readonly zone: string;
  }[];
  /** Conduits' services, by conduit name; audit modes are not among them. */
  readonly services: Readonly<Record<string, readonly string[]>>;
}

export interface Compiled {
  /** All there is to say, in the order of files and lines. */
  readonly diagnostics: readonly Diagnostic[];
  /** Only when no diagnostic is an error. */
  readonly legs?: Legs;
  readonly summary?: PolicySummary;
}

/**
 * Policy files to legs. Pure: the same bytes give the same legs on every machine; `now` (ms since
 * 1970) only decides what is expired, expiring, or audited for too long. Never throws for what is in
 * the files.
 */
export function compilePolicy(
  files: readonly PolicyFileBytes[],
  options: { readonly now: number },
): Compiled {
  const reporter = new Reporter();
  const form = readForm(files, reporter);
  if (form === undefined) return { diagnostics: reporter.diagnostics() };
  const timezone = readTimezone(form, reporter);
  const zones = readZones(form, reporter);
  const network = readNetwork(form, zones, reporter);
  const assets = readAssets(form, zones, network, reporter);
  const components = readComponents(form, zones, reporter);
  const services = new Services(form, reporter);
  const windows = readWindows(form, timezone, reporter);
  const ends = new Ends(form, zones, assets, components, reporter);
  const names = { form, ends, services, windows, components, timezone };
  const conduits: ResolvedConduit[] = [];
  for (const item of form.conduits.items) {
    const conduit = readConduit(item, names, reporter);
    if (conduit !== undefined) conduits.push(conduit);
  }
  conduits.push(...readModes(form, zones, timezone, options.now, reporter));
  conduits.sort((a, b) => compareText(a.name, b.name));
  checkBridges(conduits, reporter);
  checkInvariants(form, conduits, zones, services, reporter);
  const notice = readNotice(form, reporter);
  lint(form, conduits, zones, options.now, notice, reporter);
  const interfaces = nameInterfaces(components, reporter);
  const lowered = network === undefined ? undefined : lowerAll(conduits, network, reporter);
  if (
    lowered === undefined ||
    network === undefined ||
    form.site === undefined ||
    reporter.failed
  ) {
    return { diagnostics: reporter.diagnostics() };
  }
  const legs: Legs = {
    format: 1,
    site: form.site.form.name,
    policySha256: digestOf(files),
    timezone,
    limits: readLimits(form),
    zones: engineZones(zones, network, components, interfaces, lowered.allocation),
    attachments: attachmentsOf(zones),
    rooms: roomsOf(components, interfaces, lowered.allocation),
    transit: { outer: network.pools.outer.gateway, inner: network.pools.inner.gateway },
    assets: [...assets.values()]
      .map(({ name, address }) => ({ name, address }))
      .sort((a, b) => compareText(a.name, b.name)),
    own: network.own,
    broadcast: network.broadcast,
    thresholds: thresholdsOf(zones),
    conduits: lowered.conduits,
  };
  const summary = summarize(zones, assets, components, conduits);
  return { diagnostics: reporter.diagnostics(), legs, summary };
}

function readForm(files: readonly PolicyFileBytes[], reporter: Reporter): PolicyForm | undefined {
  const texts = readTexts(files, reporter);
  return reporter.failed ? undefined : readSections(texts, reporter);
}

function readTimezone(form: PolicyForm, reporter: Reporter): string {
  const { site } = form;
  if (site === undefined || isTimezone(site.form.timezone)) return site?.form.timezone ?? "UTC";
  const place = form.places.of(site.form, "timezone");
  const what = `"${site.form.timezone}" is not a time zone`;
  reporter.report("bad-timezone", place, what, "an IANA name like Europe/Vienna");
  return "UTC";
}

const NOTICE_SECONDS = 30 * 86_400;

function readNotice({ defaults, places }: PolicyForm, reporter: Reporter): number {
  const text = defaults?.form.notice;
  if (defaults === undefined || text === undefined) return NOTICE_SECONDS;
  const seconds = parseDuration(text);
  if (seconds === undefined) {
    const place = places.of(defaults.form, "notice");
    reporter.report("bad-duration", place, `"${text}" is not a duration`, "like 30d");
  }
  return seconds ?? NOTICE_SECONDS;
}

function readModes(
  form: PolicyForm,
  zones: ReadonlyMap<string, Zone>,
  timezone: string,
  now: number,
  reporter: Reporter,
): ResolvedConduit[] {
  const found = new Map<string, ResolvedConduit>();
  for (const item of form.modes) {
    const conduit = readMode(item, zones, form, timezone, now, reporter);
    if (conduit === undefined) continue;
    if (found.has(conduit.name)) {
      reporter.report(
        "duplicate-key",
        item.place,
        `${conduit.name} is there twice`,
        "one mode for a pair",
      );
    } else found.set(conduit.name, conduit);
  }
  return [...found.values()];
}

interface Lowered {
  readonly conduits: readonly Conduit[];
  readonly allocation: Allocation;
}

function lowerAll(
  conduits: readonly ResolvedConduit[],
  network: Network,
  reporter: Reporter,
): Lowered | undefined {
  const needs = new Map(conduits.map((conduit) => [conduit, listenersOf(conduit, reporter)]));
  const allocation = allocate(conduits, [...needs.values()].flat(), network.pools, reporter);
  if (allocation === undefined) return undefined;
  const places = new Map(conduits.map(({ name, place }) => [name, place]));
  const out: Conduit[] = [];
  for (const [conduit, listeners] of needs) {
    out.push(lowerConduit(conduit, listeners, allocation, network));
  }
  checkOverlaps(out, ({ name }) => places.get(name) ?? network.pools.outer.place, reporter);
  return { conduits: out, allocation };
}

/** One file: what `sha256sum` says of it. Several: SHA-256 of the lines that it says of them, by name. */
function digestOf(files: readonly PolicyFileBytes[]): string {
  const [only, ...others] = [...files].sort((a, b) => compareText(a.name, b.name));
  if (only === undefined) return sha256HexOfText("");
  if (others.length === 0) return sha256Hex(only.bytes);
  const lines = [only, ...others].map(({ name, bytes }) => `${sha256Hex(bytes)}  ${name}\n`);
  return sha256HexOfText(lines.join(""));
}

function summarize(
  zones: ReadonlyMap<string, Zone>,
  assets: ReadonlyMap<string, Asset>,
  components: ReadonlyMap<string, Component>,
  conduits: readonly ResolvedConduit[],
): PolicySummary {
  const byName = (a: { readonly name: string }, b: { readonly name: string }): number =>
    compareText(a.name, b.name);
  const zoneList = [...zones.values()].map(({ name, kind, form }) => ({
    name,
    kind,
    level: form.level,
    owner: form.owner,
  }));
  const assetList = [...assets.values()].map(({ name, zone, address, tags }) => ({
    name,
    zone: zone.name,
    address,
    tags,
  }));
  const componentList = [...components.values()].map(({ name, kind, zone }) => ({
    name,
    kind,
    zone: zone.name,
  }));
  const named = conduits.filter((conduit) => !conduit.audit);
  const servicesOf = named.map(
    ({ name, services }) => [name, services.map((service) => service.name)] as const,
  );
  return {
    zones: zoneList.sort(byName),
    assets: assetList.sort(byName),
    components: componentList.sort(byName),
    services: Object.fromEntries(servicesOf),
  };
}
