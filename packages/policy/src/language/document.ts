import {
  type Alias,
  isAlias,
  isMap,
  isScalar,
  isSeq,
  parseDocument,
  type YAMLMap,
  type YAMLSeq,
} from "yaml";
import { ALIASED_VALUES, ALIASES, DEPTH, DIAGNOSTICS } from "./limits.ts";
import { tooDeepAt } from "./nesting.ts";
import { keyText, type Places } from "./places.ts";
import type { Place, Reporter, SourceFile } from "./report.ts";

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
  const deep = tooDeepAt(file.text);
  if (deep !== undefined) {
    reporter.report("policy-too-deep", { file, offset: deep }, `nested deeper than ${DEPTH}`);
    return undefined;
  }
  const document = parseDocument(file.text, {
    version: "1.2",
    schema: "core",
    merge: false,
    // Its own duplicate check compares every key with every other one.
    uniqueKeys: false,
    prettyErrors: false,
  });
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
  return new Converter(file, places, reporter).entries(top, 0);
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

  entries(node: YAMLMap, depth: number): Entry[] {
    const seen = new Map<string, Place>();
    const out: Entry[] = [];
    for (const pair of node.items) {
      const place = this.#place(pair.key ?? node);
      const name = keyText(pair.key);
      if (name === undefined) {
        this.#reporter.report(
          "policy-syntax",
          place,
          "a key must be a word, not a list or mapping",
        );
        continue;
      }
      // Converted even where it is refused below: an anchor in it may be used later.
      const value = this.#convert(pair.value, depth + 1);
      this.#checkKey(name, pair.key, place);
      const first = seen.get(name);
      if (first !== undefined) {
        const line = first.file.position(first.offset).line;
        this.#reporter.report(
          "duplicate-key",
          place,
          `"${name}" is here twice`,
          `the first is in line ${line}`,
        );
        continue;
      }
      seen.set(name, place);
      out.push({ name, value, place });
    }
    return out;
  }

  #checkKey(name: string, key: unknown, place: Place): void {
    if (isScalar(key) && key.tag !== undefined) this.#refuseTag(key.tag, place);
    if (name === "<<") {
      this.#reporter.report(
        "policy-syntax",
        place,
        "merge keys (<<) are YAML 1.1 and not taken",
        "write the keys out",
      );
    }
  }

  #place(node: unknown): Place {
    const range = (node as { range?: readonly number[] | null } | null)?.range;
    return { file: this.#file, offset: range?.[0] ?? 0 };
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
    if (isMap(node)) {
      // No prototype: a key called `__proto__` or `constructor` is a key like any other.
      const record = Object.create(null) as Record<string, unknown>;
      for (const { name, value } of this.entries(node, depth)) record[name] = value;
      this.#places.add(record, this.#file, node);
      return record;
    }
    if (isSeq(node)) {
      const list = node.items.map((item) => this.#convert(item, depth + 1));
      this.#places.add(list, this.#file, node);
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
