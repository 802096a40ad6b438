import { nearest, parseCidr } from "@sallyport/core";
import type { Place, Reporter } from "./report.ts";
import type { Asset, Component, End, Side, Zone } from "./resolved.ts";
import type { EndpointFile, SelectorFile } from "./schema.ts";
import type { PolicyForm } from "./sections.ts";
import { didYouMean } from "./things.ts";

/** What the parts of one end name, before they are put together. */
interface Parts {
  readonly assets: Map<string, Asset>;
  readonly networks: Map<string, Zone>;
  readonly components: Map<string, Component>;
  isBroken: boolean;
}

/** Resolves conduits' ends: assets, zones, `dmz/<component>`, tags. */
export class Ends {
  readonly #form: PolicyForm;
  readonly #zones: ReadonlyMap<string, Zone>;
  readonly #assets: ReadonlyMap<string, Asset>;
  readonly #components: ReadonlyMap<string, Component>;
  readonly #byTag = new Map<string, Asset[]>();
  readonly #reporter: Reporter;

  constructor(
    form: PolicyForm,
    zones: ReadonlyMap<string, Zone>,
    assets: ReadonlyMap<string, Asset>,
    components: ReadonlyMap<string, Component>,
    reporter: Reporter,
  ) {
    this.#form = form;
    this.#zones = zones;
    this.#assets = assets;
    this.#components = components;
    this.#reporter = reporter;
    for (const asset of assets.values()) {
      for (const tag of asset.tags) {
        const list = this.#byTag.get(tag);
        if (list === undefined) this.#byTag.set(tag, [asset]);
        else list.push(asset);
      }
    }
  }

  /** `what` is like `conduit "x" begins`. Undefined when something is wrong, which is reported. */
  resolve(endpoint: EndpointFile, place: Place, what: string): End | undefined {
    const parts: Parts = {
      assets: new Map(),
      networks: new Map(),
      components: new Map(),
      isBroken: false,
    };
    if (isList(endpoint)) {
      for (const [index, part] of endpoint.entries()) {
        this.#part(part, this.#form.places.of(endpoint, index), what, parts);
      }
    } else this.#part(endpoint, place, what, parts);
    return parts.isBroken ? undefined : this.#combine(parts, place, what);
  }

  #part(part: string | SelectorFile, place: Place, what: string, parts: Parts): void {
    if (typeof part === "string") this.#named(part, place, what, parts);
    else this.#selected(part, place, what, parts);
  }

  #named(name: string, place: Place, what: string, parts: Parts): void {
    const slash = name.indexOf("/");
    if (parseCidr(name) !== undefined) {
      this.#fail(
        "unknown-endpoint",
        place,
        `${what} in the bare address "${name}"`,
        parts,
        "define it as an asset or a zone, and name that",
      );
    } else if (slash >= 0) this.#component(name, name.slice(slash + 1), place, what, parts);
    else this.#zoneOrAsset(name, place, what, parts);
  }

  #component(whole: string, name: string, place: Place, what: string, parts: Parts): void {
    const component = whole.startsWith("dmz/") ? this.#components.get(name) : undefined;
    if (component !== undefined) parts.components.set(name, component);
    else if (whole.startsWith("dmz/") && this.#form.components.names.has(name))
      parts.isBroken = true;
    else {
      const known = [...this.#form.components.names].map((other) => `dmz/${other}`);
      const message = `${what} in component "${whole}", which is not defined`;
      this.#fail("unknown-component", place, message, parts, didYouMean(whole, known));
    }
  }

  #zoneOrAsset(name: string, place: Place, what: string, parts: Parts): void {
    const zone = this.#zones.get(name);
    const asset = this.#assets.get(name);
    if (zone !== undefined) this.#network(zone, place, what, parts);
    else if (asset !== undefined) parts.assets.set(name, asset);
    else if (this.#form.zones.names.has(name) || this.#form.assets.names.has(name))
      parts.isBroken = true;
    else {
      const { zones, assets, components } = this.#form;
      const near = nearest(name, [...zones.names, ...assets.names]);
      // The kind of the name that was probably meant; with none near, nobody can tell.
      let code: "unknown-endpoint" | "unknown-zone" | "unknown-asset" = "unknown-endpoint";
      let kind = "";
      if (near !== undefined && zones.names.has(near)) [code, kind] = ["unknown-zone", "zone "];
      else if (near !== undefined) [code, kind] = ["unknown-asset", "asset "];
      const hint = components.names.has(name) ? `did you mean "dmz/${name}"?` : undefined;
      const nearHint =
        near === undefined ? "define it under assets or zones" : `did you mean "${near}"?`;
      this.#fail(
        code,
        place,
        `${what} in ${kind}"${name}", which is not defined`,
        parts,
        hint ?? nearHint,
      );
    }
  }

  #network(zone: Zone, place: Place, what: string, parts: Parts): void {
    if (zone.side === "dmz") {
      const hint = "name the component: dmz/<component>";
      this.#fail(
        "plain-dmz",
        place,
        `${what} in plain "${zone.name}", which is a row of rooms, not a network`,
        parts,
        hint,
      );
    } else parts.networks.set(zone.name, zone);
  }

  #selected(selector: SelectorFile, place: Place, what: string, parts: Parts): void {
    const zones = this.#selectedZones(selector, place, what, parts);
    if (parts.isBroken) return;
    if (selector.tags === undefined && selector.asset === undefined) {
      for (const zone of zones ?? []) this.#network(zone, place, what, parts);
      if ((zones?.length ?? 0) === 0) {
        this.#fail("unknown-zone", place, `${what} in a selector that no zone meets`, parts);
      }
      return;
    }
    const allowed = zones === undefined ? undefined : new Set(zones);
    const found = this.#selectedAssets(selector, place, what, parts).filter(
      (asset) => allowed === undefined || allowed.has(asset.zone),
    );
    for (const asset of found) parts.assets.set(asset.name, asset);
    if (found.length === 0 && !parts.isBroken) {
      const tags = selector.tags ?? [];
      const wrong = tags.find((tag) => !this.#byTag.has(tag));
      const hint = wrong === undefined ? undefined : didYouMean(wrong, this.#byTag.keys());
      this.#fail("unknown-tag", place, `${what} in a selector that no asset meets`, parts, hint);
    }
  }

  #selectedZones(
    selector: SelectorFile,
    place: Place,
    what: string,
    parts: Parts,
  ): Zone[] | undefined {
    if (selector.zone === undefined && selector.kind === undefined) return undefined;
    const kinds = new Set([selector.kind ?? []].flat());
    const names = new Set([selector.zone ?? []].flat());
    for (const name of names) {
      if (this.#zones.has(name)) continue;
      if (this.#form.zones.names.has(name)) parts.isBroken = true;
      else {
        const hint = didYouMean(name, this.#form.zones.names);
        this.#fail(
          "unknown-zone",
          place,
          `${what} in zone "${name}", which is not defined`,
          parts,
          hint,
        );
      }
    }
    return [...this.#zones.values()].filter(
      (zone) =>
        (names.size === 0 || names.has(zone.name)) && (kinds.size === 0 || kinds.has(zone.kind)),
    );
  }

  #selectedAssets(selector: SelectorFile, place: Place, what: string, parts: Parts): Asset[] {
    const [firstTag, ...otherTags] = selector.tags ?? [];
    const tagged = firstTag === undefined ? undefined : (this.#byTag.get(firstTag) ?? []);
    const name = selector.asset;
    if (name === undefined) {
      return (tagged ?? []).filter((asset) => otherTags.every((tag) => asset.tags.includes(tag)));
    }
    const asset = this.#assets.get(name);
    if (asset !== undefined) {
      return (selector.tags ?? []).every((tag) => asset.tags.includes(tag)) ? [asset] : [];
    }
    if (this.#form.assets.names.has(name)) parts.isBroken = true;
    else {
      const hint = didYouMean(name, this.#form.assets.names);
      this.#fail(
        "unknown-asset",
        place,
        `${what} in asset "${name}", which is not defined`,
        parts,
        hint,
      );
    }
    return [];
  }

  #combine(parts: Parts, place: Place, what: string): End | undefined {
    const assets = [...parts.assets.values()];
    const networks = [...parts.networks.values()];
    const [component, ...more] = parts.components.values();
    if (component !== undefined) {
      if (more.length + assets.length + networks.length > 0) {
        const hint = "write a conduit for each";
        this.#fail("mixed-sides", place, `${what} in a component and something else`, parts, hint);
        return undefined;
      }
      return { side: "dmz", zones: [component.zone], assets, networks, component, place };
    }
    const zones = [...new Set([...assets.map((asset) => asset.zone), ...networks])];
    const tap = zones.find((zone) => zone.attachment?.mode === "tap");
    if (tap !== undefined) {
      this.#fail(
        "tap-zone",
        place,
        `${what} in zone "${tap.name}", which is a tap and only listens`,
        parts,
      );
      return undefined;
    }
    const sides = new Set<Side>(zones.map((zone) => zone.side));
    const [side] = sides;
    if (side === undefined || sides.size > 1) {
      const hint = "write one conduit for the IT end and one for the OT end";
      this.#fail("mixed-sides", place, `${what} in zones on both sides of the DMZ`, parts, hint);
      return undefined;
    }
    return { side, zones, assets, networks, component: undefined, place };
  }

  #fail(
    code: Parameters<Reporter["report"]>[0],
    place: Place,
    message: string,
    parts: Parts,
    hint?: string,
  ): void {
    parts.isBroken = true;
    this.#reporter.report(code, place, message, hint);
  }
}

/** Array.isArray does not narrow a readonly array. */
function isList(endpoint: EndpointFile): endpoint is readonly (string | SelectorFile)[] {
  return Array.isArray(endpoint);
}
