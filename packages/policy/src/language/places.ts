import { isMap, isPair, isScalar, type Node, type YAMLMap, type YAMLSeq } from "yaml";
import type { Place, SourceFile } from "./report.ts";

/** The text of a mapping's key, or undefined where it is not a plain word. */
export function keyText(key: unknown): string | undefined {
  if (!isScalar(key)) return undefined;
  // The source, not the value: a zone called `1e3` or `null` keeps its name.
  return typeof key.value === "string" ? key.value : (key.source ?? String(key.value));
}

/**
 * Where each value of a parsed policy stands. Kept per container, and searched only when something
 * is reported: most files have no mistake.
 */
export class Places {
  readonly #nodes = new WeakMap<
    object,
    { readonly file: SourceFile; readonly node: YAMLMap | YAMLSeq }
  >();

  add(container: object, file: SourceFile, node: YAMLMap | YAMLSeq): void {
    this.#nodes.set(container, { file, node });
  }

  /** The place of the value under `key`; of the key itself with `part`; else of the container. */
  of(container: object, key?: string | number, part: "key" | "value" = "value"): Place {
    const known = this.#nodes.get(container);
    // Every container of a policy is added while it is converted.
    if (known === undefined) throw new TypeError("a container without a place");
    const { file, node } = known;
    const fallback = { file, offset: node.range?.[0] ?? 0 };
    if (key === undefined) return fallback;
    if (!isMap(node)) {
      const item = typeof key === "number" ? node.items[key] : undefined;
      return { file, offset: startOf(item) ?? fallback.offset };
    }
    for (const item of node.items) {
      if (!isPair(item) || keyText(item.key) !== String(key)) continue;
      const keyStart = startOf(item.key) ?? fallback.offset;
      const value = part === "key" ? undefined : (startOf(item.value) ?? undefined);
      return { file, offset: value ?? keyStart };
    }
    return fallback;
  }

  /** All members of a mapping with the places of their keys, in the file's order, in one walk. */
  members(
    record: object,
  ): { readonly name: string; readonly value: unknown; readonly place: Place }[] {
    const known = this.#nodes.get(record);
    if (known === undefined || !isMap(known.node)) return [];
    const { file, node } = known;
    const out = new Map<string, { name: string; value: unknown; place: Place }>();
    for (const item of node.items) {
      const name = keyText(item.key);
      // A name that is there twice was reported when the file was read; the first one counts.
      if (name === undefined || out.has(name)) continue;
      const place = { file, offset: startOf(item.key) ?? 0 };
      out.set(name, { name, value: childOf(record, name), place });
    }
    return [...out.values()];
  }

  /** The place at the end of a path, or of the last part of it that exists. */
  at(root: object, path: readonly PropertyKey[], part: "key" | "value" = "value"): Place {
    let container: object = root;
    for (const [index, step] of path.entries()) {
      if (typeof step === "symbol") break;
      const next = childOf(container, step);
      const isLast = index === path.length - 1;
      if (isLast || typeof next !== "object" || next === null)
        return this.of(container, step, part);
      container = next;
    }
    return this.of(container);
  }
}

/** Containers are null-prototype records or arrays, so nothing inherited is found. */
export function childOf(container: object, key: string | number): unknown {
  if (Array.isArray(container)) return typeof key === "number" ? container[key] : undefined;
  return (container as Readonly<Record<string, unknown>>)[String(key)];
}

function startOf(node: unknown): number | undefined {
  const range = (node as Node | null | undefined)?.range;
  return range?.[0];
}
