import { nearest } from "@sallyport/core";
import type * as z from "zod";
import { hasForm } from "./check.ts";
import { type Entry, readDocument } from "./document.ts";
import { Places } from "./places.ts";
import { lineOf, type Place, type Reporter, type SourceFile } from "./report.ts";
import {
  type AssetFile,
  assetFile,
  type ComponentFile,
  type ConduitFile,
  componentFile,
  conduitFile,
  type DefaultsFile,
  defaultsFile,
  type InvariantFile,
  invariantFile,
  type LimitsFile,
  limitsFile,
  type ModeFile,
  modeFile,
  NAME,
  type RealmFile,
  realmFile,
  type ServiceFile,
  type SiteFile,
  serviceFile,
  siteFile,
  type WindowFile,
  windowFile,
  type ZoneFile,
  zoneFile,
} from "./schema.ts";

/** One named thing of the policy, in good form, and where its name stands. */
export interface Item<Form> {
  readonly name: string;
  readonly form: Form;
  readonly place: Place;
}

/**
 * A section of all files together. `names` has those in bad form too, so that a mistake in one
 * thing isn't reported again wherever the thing is used.
 */
export interface Section<Form> {
  readonly items: readonly Item<Form>[];
  readonly names: ReadonlySet<string>;
}

/** The policy in good form, before names mean anything. */
export interface PolicyForm {
  readonly places: Places;
  readonly start: Place;
  readonly site: Item<SiteFile> | undefined;
  readonly defaults: Item<DefaultsFile> | undefined;
  readonly limits: Item<LimitsFile> | undefined;
  readonly realms: Section<RealmFile>;
  readonly zones: Section<ZoneFile>;
  readonly components: Section<ComponentFile>;
  readonly assets: Section<AssetFile>;
  readonly services: Section<ServiceFile>;
  readonly windows: Section<WindowFile>;
  readonly conduits: Section<ConduitFile>;
  readonly modes: readonly Item<ModeFile>[];
  readonly invariants: readonly Item<InvariantFile>[];
}

const SINGLE = ["version", "site", "defaults", "limits"];
const MAPS = ["realms", "zones", "components", "assets", "services", "windows", "conduits"];
const LISTS = ["modes", "invariants"];
const KNOWN = [...SINGLE, ...MAPS, ...LISTS];
const NO_DEFAULT = new Set(["owner", "why", "expires"]);

/** Parses and merges the files: maps by key, lists one after the other, in the order of file names. */
export function readSections(
  files: readonly SourceFile[],
  reporter: Reporter,
): PolicyForm | undefined {
  const [first] = files;
  if (first === undefined) return undefined;
  const places = new Places();
  const sections = new Sections(places, reporter);
  let isComplete = true;
  for (const file of files) {
    const entries = readDocument(file, places, reporter);
    if (entries === undefined) isComplete = false;
    else sections.add(entries);
  }
  // With a part missing, every name that it defines would be reported as unknown.
  return isComplete ? sections.read({ file: first, offset: 0 }) : undefined;
}

class Sections {
  readonly #places: Places;
  readonly #reporter: Reporter;
  readonly #found = new Map<string, Entry[]>();

  constructor(places: Places, reporter: Reporter) {
    this.#places = places;
    this.#reporter = reporter;
  }

  add(entries: readonly Entry[]): void {
    for (const entry of entries) {
      if (!KNOWN.includes(entry.name)) {
        const near = nearest(entry.name, KNOWN);
        const hint =
          near === undefined ? `known here: ${KNOWN.join(", ")}` : `did you mean "${near}"?`;
        this.#reporter.report(
          "unknown-key",
          entry.place,
          `a policy has no section "${entry.name}"`,
          hint,
        );
        continue;
      }
      const found = this.#found.get(entry.name);
      if (found === undefined) this.#found.set(entry.name, [entry]);
      else found.push(entry);
    }
  }

  read(start: Place): PolicyForm {
    this.#version(start);
    for (const name of ["site", "zones"]) {
      if (!this.#found.has(name))
        this.#reporter.report("missing-key", start, `the policy needs "${name}"`);
    }
    this.#refuseDefaults();
    return {
      places: this.#places,
      start,
      site: this.#single("site", siteFile),
      defaults: this.#single("defaults", defaultsFile),
      limits: this.#single("limits", limitsFile),
      realms: this.#map("realms", "realm", realmFile),
      zones: this.#map("zones", "zone", zoneFile),
      components: this.#map("components", "component", componentFile),
      assets: this.#map("assets", "asset", assetFile),
      services: this.#map("services", "service", serviceFile),
      windows: this.#map("windows", "window", windowFile),
      conduits: this.#map("conduits", "conduit", conduitFile),
      modes: this.#list("modes", "mode", modeFile),
      invariants: this.#list("invariants", "invariant", invariantFile),
    };
  }

  #version(start: Place): void {
    const found = this.#found.get("version") ?? [];
    if (found.length === 0) {
      this.#reporter.report(
        "missing-key",
        start,
        'the policy needs "version"',
        "begin with version: 1",
      );
    }
    for (const { value, place } of found) {
      if (value !== 1)
        this.#reporter.report("wrong-value", place, '"version": expected 1', "version: 1");
    }
  }

  /** A default owner, reason or end would make every conduit look approved by someone. */
  #refuseDefaults(): void {
    for (const entry of this.#found.get("defaults") ?? []) {
      if (typeof entry.value !== "object" || entry.value === null) continue;
      for (const key of Object.keys(entry.value)) {
        if (!NO_DEFAULT.has(key)) continue;
        const place = this.#places.of(entry.value, key, "key");
        this.#reporter.report(
          "default-not-allowed",
          place,
          `"${key}" has no default`,
          "give it in each conduit",
        );
      }
    }
  }

  #single<Form>(name: string, schema: z.ZodType<Form>): Item<Form> | undefined {
    const [entry, ...others] = this.#found.get(name) ?? [];
    if (entry === undefined) return undefined;
    for (const other of others) {
      const hint = `the first is at ${lineOf(entry.place)}`;
      this.#reporter.report("duplicate-key", other.place, `"${name}" is in two files`, hint);
    }
    const { value, place } = entry;
    const context = { places: this.#places, reporter: this.#reporter };
    return hasForm(schema, value, place, `"${name}"`, context)
      ? { name, form: value, place }
      : undefined;
  }

  #map<Form>(section: string, what: string, schema: z.ZodType<Form>): Section<Form> {
    const names = new Map<string, Place>();
    const items: Item<Form>[] = [];
    const context = { places: this.#places, reporter: this.#reporter };
    for (const entry of this.#members(section)) {
      const { name, value, place } = entry;
      const first = names.get(name);
      if (first !== undefined) {
        const hint = `the first is at ${lineOf(first)}`;
        this.#reporter.report("duplicate-key", place, `${what} "${name}" is defined twice`, hint);
        continue;
      }
      names.set(name, place);
      if (!NAME.test(name)) {
        const hint = "use lower-case letters, digits and dashes, at most 40";
        this.#reporter.report(
          "bad-name",
          place,
          `${what} "${name}" has a name that isn't taken`,
          hint,
        );
      }
      if (hasForm(schema, value, place, `${what} "${name}"`, context)) {
        items.push({ name, form: value, place });
      }
    }
    return { items, names: new Set(names.keys()) };
  }

  #members(section: string): Entry[] {
    const out: Entry[] = [];
    for (const { value, place } of this.#found.get(section) ?? []) {
      // `assets:` with nothing under it is an empty section.
      if (value === null) continue;
      if (typeof value !== "object" || Array.isArray(value)) {
        this.#reporter.report("wrong-value", place, `"${section}": expected a mapping of names`);
        continue;
      }
      out.push(...this.#places.members(value));
    }
    return out;
  }

  #list<Form>(section: string, what: string, schema: z.ZodType<Form>): Item<Form>[] {
    const items: Item<Form>[] = [];
    const context = { places: this.#places, reporter: this.#reporter };
    for (const { value, place } of this.#found.get(section) ?? []) {
      if (value === null) continue;
      if (!Array.isArray(value)) {
        this.#reporter.report("wrong-value", place, `"${section}": expected a list`);
        continue;
      }
      const list: readonly unknown[] = value;
      for (const [index, form] of list.entries()) {
        const at = this.#places.of(value, index);
        const name = `${what} ${items.length + 1}`;
        if (hasForm(schema, form, at, name, context)) items.push({ name, form, place: at });
      }
    }
    return items;
  }
}
