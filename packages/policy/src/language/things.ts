import {
  contains,
  formatIpv4,
  type Interval,
  type Ipv4,
  nearest,
  normalize,
  parseIpv4,
} from "@sallyport/core";
import type { Window } from "../legs/types.ts";
import { CATALOGUE, type CatalogueService } from "./catalogue.ts";
import type { Place, Reporter } from "./report.ts";
import type { Asset, Component, Network, Service, Zone } from "./resolved.ts";
import type { RangeText, ServiceFile } from "./schema.ts";
import type { PolicyForm } from "./sections.ts";
import { isTimezone, parseRange, windowOf } from "./values.ts";

/** `did you mean …`, or nothing. */
export function didYouMean(typed: string, names: Iterable<string>): string | undefined {
  const near = nearest(typed, names);
  return near === undefined ? undefined : `did you mean "${near}"?`;
}

export function readAssets(
  form: PolicyForm,
  zones: ReadonlyMap<string, Zone>,
  network: Network | undefined,
  reporter: Reporter,
): Map<string, Asset> {
  const assets = new Map<string, Asset>();
  const byAddress = new Map<Ipv4, string>();
  for (const { name, form: asset, place } of form.assets.items) {
    if (form.zones.names.has(name)) {
      const what = `"${name}" is a zone already; a conduit could not tell which is meant`;
      reporter.report("name-taken", place, what, "rename the asset");
    }
    const zone = zones.get(asset.zone);
    if (zone === undefined && !form.zones.names.has(asset.zone)) {
      const what = `asset "${name}" is in zone "${asset.zone}", which is not defined`;
      reporter.report(
        "unknown-zone",
        form.places.of(asset, "zone"),
        what,
        didYouMean(asset.zone, form.zones.names),
      );
    }
    const key = asset.address === undefined ? "endpoint" : "address";
    const address = addressOf(asset.address ?? asset.endpoint, form);
    const at = form.places.of(asset, key);
    if (address === undefined) {
      const hint = "address: 10.1.0.5 (four numbers without leading zeros)";
      reporter.report("bad-address", at, `asset "${name}" has no usable address`, hint);
      continue;
    }
    const other = byAddress.get(address);
    if (other !== undefined) {
      const what = `asset "${name}" has the address of asset "${other}"`;
      reporter.report(
        "asset-address-taken",
        at,
        what,
        "one device, one asset; tags can group them",
      );
    } else byAddress.set(address, name);
    if (zone === undefined) continue;
    if (network !== undefined) checkPlace(name, address, zone, network, at, reporter);
    assets.set(name, { name, zone, address, tags: asset.tags ?? [], place });
  }
  return assets;
}

/** `10.1.0.5`, or `realm:10.1.0.5` with the one realm's name. */
function addressOf(text: string | undefined, form: PolicyForm): Ipv4 | undefined {
  if (text === undefined) return undefined;
  const [realm, tail] = text.includes(":") ? text.split(":", 2) : [undefined, text];
  if (realm !== undefined && realm !== "site" && !form.realms.names.has(realm)) return undefined;
  return parseIpv4(tail ?? "");
}

function checkPlace(
  name: string,
  address: Ipv4,
  zone: Zone,
  network: Network,
  at: Place,
  reporter: Reporter,
): void {
  if (network.own.includes(address)) {
    const what = `asset "${name}" has ${formatIpv4(address)}, which is the gateway's own address`;
    reporter.report("asset-address-reserved", at, what);
    return;
  }
  if (network.broadcast.includes(address)) {
    const what = `asset "${name}" has ${formatIpv4(address)}, a network's own or broadcast address`;
    reporter.report("asset-address-reserved", at, what);
    return;
  }
  if (contains(network.addresses.get(zone) ?? [], address)) return;
  const holder = [...network.addresses].find(([, set]) => contains(set, address))?.[0];
  const hint = holder === undefined ? "no zone has that address" : `it is in zone "${holder.name}"`;
  const what = `asset "${name}" at ${formatIpv4(address)} is outside zone "${zone.name}"`;
  reporter.report("asset-outside-zone", at, what, hint);
}

/** Rooms and processes of the gateway itself: one name, one uid, one event file. */
const RESERVED: ReadonlySet<string> = new Set([
  ...["outer", "inner", "tap", "supervisor", "enforcer", "compiler", "guard", "watch", "journal"],
  ...["keyholder", "recorder", "archivist", "sensor"],
]);

export function readComponents(
  form: PolicyForm,
  zones: ReadonlyMap<string, Zone>,
  reporter: Reporter,
): Map<string, Component> {
  const components = new Map<string, Component>();
  const dmz = zones.get("dmz");
  for (const { name, form: component, place } of form.components.items) {
    if (RESERVED.has(name)) {
      const what = `a component cannot be called "${name}": a process or room of the gateway is`;
      reporter.report("reserved-name", place, what, `${name}-1`);
      continue;
    }
    const zoneName = component.zone ?? "dmz";
    const zone = component.zone === undefined ? dmz : zones.get(component.zone);
    if (zone === undefined) {
      if (form.zones.names.has(zoneName)) continue;
      if (component.zone === undefined) {
        const hint = "zones: { dmz: { kind: dmz, level: 3.5, owner: … } }";
        reporter.report(
          "no-dmz-zone",
          place,
          `component "${name}" needs a zone "dmz" of kind dmz`,
          hint,
        );
      } else {
        const what = `component "${name}" is in zone "${zoneName}", which is not defined`;
        const at = form.places.of(component, "zone");
        reporter.report("unknown-zone", at, what, didYouMean(zoneName, form.zones.names));
      }
      continue;
    }
    if (zone.side === "it" || (zone.side === "ot" && component.kind !== "gate")) {
      const what = `component "${name}" of kind ${component.kind} can't be in zone "${zone.name}"`;
      const hint = "components are in the DMZ; only a gate between OT segments names its OT zone";
      reporter.report("wrong-component", form.places.of(component, "zone"), what, hint);
      continue;
    }
    components.set(name, { name, kind: component.kind, zone, place });
  }
  return components;
}

/** The catalogue and the file's own services, by name. */
export class Services {
  readonly #own = new Map<string, Service>();
  readonly #catalogue = new Map<string, Service>();
  readonly #form: PolicyForm;

  constructor(form: PolicyForm, reporter: Reporter) {
    this.#form = form;
    for (const item of form.services.items) {
      if (CATALOGUE.has(item.name)) {
        const what = `service "${item.name}" is in the catalogue; a second meaning would mislead readers`;
        reporter.report("name-taken", item.place, what, "give your service a name of its own");
        continue;
      }
      this.#own.set(item.name, readService(item.name, item.form, form, item.place, reporter));
    }
  }

  /** Undefined for an unknown one; `isNamed` tells whether it is there in bad form. */
  get(name: string): Service | undefined {
    const own = this.#own.get(name) ?? this.#catalogue.get(name);
    if (own !== undefined) return own;
    const known = CATALOGUE.get(name);
    if (known === undefined) return undefined;
    const service = fromCatalogue(name, known);
    this.#catalogue.set(name, service);
    return service;
  }

  isNamed(name: string): boolean {
    return this.#form.services.names.has(name);
  }

  names(): string[] {
    return [...this.#own.keys(), ...CATALOGUE.keys()];
  }
}

function fromCatalogue(name: string, known: CatalogueService): Service {
  const ports = (list: readonly (number | string)[] = []): Interval[] =>
    normalize(list.flatMap((port) => parseRange(port, 1, 65_535) ?? []));
  return {
    name,
    tcp: ports(known.tcp),
    udp: ports(known.udp),
    icmp: known.icmp !== undefined,
    isOt: known.ot === true,
    decoder: known.decoder,
    unsupported: known.unsupported,
  };
}

function readService(
  name: string,
  file: ServiceFile,
  { places }: PolicyForm,
  place: Place,
  reporter: Reporter,
): Service {
  const ports = (list: readonly RangeText[] = []): Interval[] =>
    normalize(
      list.flatMap((text, index) => {
        const range = parseRange(text, 1, 65_535);
        if (range !== undefined) return range;
        const hint = "1 to 65535, or a range like 4711-4713";
        reporter.report(
          "bad-port",
          places.of(list, index),
          `service "${name}": ${text} is not a port`,
          hint,
        );
        return [];
      }),
    );
  const tcp = ports(file.tcp);
  const udp = ports(file.udp);
  const isEmpty = [file.tcp, file.udp, file.icmp, file.multicast, file.ethertype].every(
    (part) => part === undefined,
  );
  if (isEmpty) {
    reporter.report(
      "missing-key",
      place,
      `service "${name}" names no port`,
      "tcp: [4711], udp: [...] or icmp: echo",
    );
  }
  let unsupported: string | undefined;
  if (file.multicast !== undefined)
    unsupported = "multicast groups are not routed between zones yet";
  if (file.ethertype !== undefined)
    unsupported = "frames without IP are not carried between zones yet";
  const decoder = file.decoder === "modbus" ? "modbus" : undefined;
  if (decoder !== undefined && (tcp.length === 0 || udp.length > 0)) {
    reporter.report("wrong-value", place, `service "${name}": the Modbus decoder is for TCP alone`);
  }
  return {
    name,
    tcp,
    udp,
    icmp: file.icmp !== undefined,
    isOt: decoder !== undefined,
    decoder,
    unsupported,
  };
}

export function readWindows(
  form: PolicyForm,
  timezone: string,
  reporter: Reporter,
): Map<string, Window> {
  const windows = new Map<string, Window>();
  for (const { name, form: file } of form.windows.items) {
    if (file.timezone !== undefined && !isTimezone(file.timezone)) {
      const hint = "an IANA name like Europe/Vienna";
      const at = form.places.of(file, "timezone");
      reporter.report(
        "bad-timezone",
        at,
        `window "${name}": "${file.timezone}" is not a time zone`,
        hint,
      );
      continue;
    }
    const window = windowOf(file, file.timezone ?? timezone);
    if (!("wrong" in window)) {
      windows.set(name, window);
      continue;
    }
    const hint =
      window.wrong === "days" ? "sun, mon-fri or daily" : 'a time of day in quotes, like "02:00"';
    const what = `window "${name}": "${window.wrong}" can't be read`;
    reporter.report("bad-time", form.places.of(file, window.wrong), what, hint);
  }
  return windows;
}
