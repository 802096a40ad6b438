import { type Alias, isAlias, isMap, isScalar, isSeq, type YAMLMap, type YAMLSeq } from "yaml";
import { ALIASED_VALUES, ALIASES, DEPTH, DIAGNOSTICS } from "./limits.ts";
import { MappingMembers, type Places } from "./places.ts";
import type { Place, Reporter, SourceFile } from "./report.ts";
import { parseYaml } from "./yaml-text.ts";

/** A member of a mapping, with the place of its key. */
export interface Entry {
  readonly name: string;
  readonly value: unknown;
  readonly place: Place;
}

/**
 * One file's text to plain values: null-prototype records, arrays, strings, numbers, booleans, null.
 * YAML 1.2 core schema; tags, directives, merge keys and several documents are refused, because two
 * readers might take them differently. Answers the top-level members, or undefined.
 */
export function readDocument(
  file: SourceFile,
  places: Places,
  reporter: Reporter,
): Entry[] | undefined {
  const parsed = parseYaml(file.text, {
    version: "1.2",
    schema: "core",
    merge: false,
    // Its own duplicate check compares every key with every other one.
    uniqueKeys: false,
    prettyErrors: false,
  });
  if (parsed.kind === "too-deep") {
    const place = { file, offset: parsed.offset };
    reporter.report("policy-too-deep", place, `nested deeper than ${DEPTH}`);
    return undefined;
  }
  const { document } = parsed;
  for (const error of document.errors.slice(0, DIAGNOSTICS)) {
    reporter.report("policy-syntax", { file, offset: error.pos[0] }, error.message);
  }
  if (document.errors.length > 0) return undefined;
  if (document.directives?.yaml.explicit === true || file.text.startsWith("%")) {
    reporter.report(
      "policy-syntax",
      { file, offset: 0 },
      "directives (%YAML, %TAG) are not taken",
      "delete it",
    );
    return undefined;
  }
  const top = document.contents;
  if (!isMap(top)) {
    const what = top === null ? "the file is empty" : "the file is not a mapping";
    reporter.report("policy-syntax", { file, offset: 0 }, what, "begin with version: 1");
    return undefined;
  }
  return places.members(new Converter(file, places, reporter).record(top, 0));
}

/** An anchored value, and how many values it stands for; undefined while it is being read. */
type Anchored = { readonly value: unknown; readonly size: number } | undefined;

class Converter {
  readonly #file: SourceFile;
  readonly #places: Places;
  readonly #reporter: Reporter;
  readonly #anchors = new Map<string, Anchored>();
  #aliases = 0;
  #aliasedValues = 0;
  #values = 0;

  constructor(file: SourceFile, places: Places, reporter: Reporter) {
    this.#file = file;
    this.#places = places;
    this.#reporter = reporter;
  }

  record(node: YAMLMap, depth: number): object {
    // No prototype: a key called `__proto__` or `constructor` is a key like any other.
    const record = Object.create(null) as Record<string, unknown>;
    const members = new MappingMembers();
    const repeated: { readonly name: string; readonly place: Place }[] = [];
    for (const { key, value: child } of node.items) {
      const name = keyText(key);
      if (name === undefined) {
        const place = this.#place(key ?? node);
        this.#reporter.report(
          "policy-syntax",
          place,
          "a key must be a word, not a list or mapping",
        );
        continue;
      }
      // Converted even where it is refused below: an anchor in it may be used later.
      const value = this.#convert(child, depth + 1);
      this.#checkKey(name, key);
      if (name in record) repeated.push({ name, place: this.#place(key) });
      else {
        record[name] = value;
        const keyOffset = startOf(key) ?? 0;
        members.add(name, keyOffset, startOf(child) ?? keyOffset);
      }
    }
    this.#places.addMapping(record, this.#file, startOf(node) ?? 0, members);
    if (repeated.length > 0) this.#reportRepeated(repeated, members);
    return record;
  }

  #reportRepeated(
    repeated: readonly { readonly name: string; readonly place: Place }[],
    members: MappingMembers,
  ): void {
    const firsts = members.keyOffsets();
    for (const { name, place } of repeated) {
      const { line } = this.#file.position(firsts.get(name) ?? 0);
      const hint = `the first is in line ${line}`;
      this.#reporter.report("duplicate-key", place, `"${name}" is here twice`, hint);
    }
  }

  #checkKey(name: string, key: unknown): void {
    if (isScalar(key) && key.tag !== undefined) this.#refuseTag(key.tag, this.#place(key));
    if (name === "<<") {
      this.#reporter.report(
        "policy-syntax",
        this.#place(key),
        "merge keys (<<) are YAML 1.1 and not taken",
        "write the keys out",
      );
    }
  }

  #place(node: unknown): Place {
    return { file: this.#file, offset: startOf(node) ?? 0 };
  }

  #refuseTag(tag: string, place: Place): void {
    this.#reporter.report("policy-syntax", place, `tag ${tag} is not taken`, "delete the tag");
  }

  #convert(node: unknown, depth: number): unknown {
    this.#values++;
    if (isAlias(node)) return this.#resolve(node);
    if (depth > 2 * DEPTH) {
      this.#reporter.report("policy-too-deep", this.#place(node), `nested deeper than ${DEPTH}`);
      return null;
    }
    if (!isScalar(node) && !isMap(node) && !isSeq(node)) return null;
    const anchor = node.anchor;
    const before = this.#values;
    if (anchor !== undefined) this.#anchors.set(anchor, undefined);
    if (node.tag !== undefined) this.#refuseTag(node.tag, this.#place(node));
    const value = this.#plain(node, depth);
    if (anchor !== undefined) this.#anchors.set(anchor, { value, size: this.#values - before + 1 });
    return value;
  }

  #plain(node: YAMLMap | YAMLSeq | { readonly value: unknown }, depth: number): unknown {
    if (isMap(node)) return this.record(node, depth);
    if (isSeq(node)) {
      const offset = startOf(node) ?? 0;
      const list = node.items.map((item) => this.#convert(item, depth + 1));
      const items = node.items.map((item) => startOf(item) ?? offset);
      this.#places.addList(list, this.#file, offset, items);
      return list;
    }
    return isScalar(node) ? node.value : null;
  }

  /** The value is shared, never copied; its size is counted as if it were. */
  #resolve(alias: Alias): unknown {
    const place = this.#place(alias);
    const anchored = this.#anchors.get(alias.source);
    if (anchored === undefined) {
      const why = this.#anchors.has(alias.source) ? "contains itself" : "has no anchor before it";
      this.#reporter.report("policy-aliases", place, `alias *${alias.source} ${why}`);
      return null;
    }
    this.#values += anchored.size;
    this.#aliasedValues += anchored.size;
    if (++this.#aliases > ALIASES || this.#aliasedValues > ALIASED_VALUES) {
      const what = `more than ${ALIASES} aliases, or more than ${ALIASED_VALUES} values through them`;
      this.#reporter.report("policy-aliases", place, what, "write the values out");
      return null;
    }
    return anchored.value;
  }
}

/** The text of a mapping's key, or undefined where it is not a plain word. */
function keyText(key: unknown): string | undefined {
  if (!isScalar(key)) return undefined;
  // The source, not the value: a zone called `1e3` or `null` keeps its name.
  return typeof key.value === "string" ? key.value : (key.source ?? String(key.value));
}

function startOf(node: unknown): number | undefined {
  return (node as { readonly range?: readonly number[] | null } | null | undefined)?.range?.[0];
}
