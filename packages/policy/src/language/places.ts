import type { Place, SourceFile } from "./report.ts";

/** Where a container stands, and its members in the file's order. */
interface Known {
  readonly file: SourceFile;
  readonly offset: number;
  /** Of a mapping: name, offset of the key and of the value, one after the other. Of a list: offsets. */
  readonly members: readonly (string | number)[];
}

/** A mapping's member takes three places in `members`. */
const STEP = 3;

/**
 * Where each value of a parsed policy stands. Kept per container as bare numbers, because most files
 * have no mistake, and the parser's own nodes are many times as large.
 */
export class Places {
  readonly #known = new Map<object, Known>();

  addMapping(record: object, file: SourceFile, offset: number, members: MappingMembers): void {
    this.#known.set(record, { file, offset, members: members.all });
  }

  addList(list: object, file: SourceFile, offset: number, items: readonly number[]): void {
    this.#known.set(list, { file, offset, members: items });
  }

  /** The place of the value under `key`; of the key itself with `part`; else of the container. */
  of(container: object, key?: string | number, part: "key" | "value" = "value"): Place {
    const known = this.#known.get(container);
    // Every container of a policy is added while it is converted.
    if (known === undefined) throw new TypeError("a container without a place");
    const { file, offset, members } = known;
    if (key === undefined) return { file, offset };
    if (Array.isArray(container)) {
      const item = typeof key === "number" ? offsetIn(members, key) : undefined;
      return { file, offset: item ?? offset };
    }
    const name = String(key);
    for (let at = 0; at < members.length; at += STEP) {
      if (members[at] !== name) continue;
      return { file, offset: offsetIn(members, part === "key" ? at + 1 : at + 2) ?? offset };
    }
    return { file, offset };
  }

  /** All members of a mapping with the places of their keys, in the file's order. */
  members(
    record: object,
  ): { readonly name: string; readonly value: unknown; readonly place: Place }[] {
    const known = this.#known.get(record);
    if (known === undefined || Array.isArray(record)) return [];
    const { file, members } = known;
    const out: { name: string; value: unknown; place: Place }[] = [];
    for (let at = 0; at < members.length; at += STEP) {
      const name = String(members[at]);
      const place = { file, offset: offsetIn(members, at + 1) ?? 0 };
      out.push({ name, value: childOf(record, name), place });
    }
    return out;
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

function offsetIn(members: readonly (string | number)[], at: number): number | undefined {
  const offset = members[at];
  return typeof offset === "number" ? offset : undefined;
}

/** What is gathered of a mapping while it is read; a name is added once. */
export class MappingMembers {
  readonly all: (string | number)[] = [];

  add(name: string, keyOffset: number, valueOffset: number): void {
    this.all.push(name, keyOffset, valueOffset);
  }

  /** Where each key stands, by name. */
  keyOffsets(): ReadonlyMap<string, number> {
    const out = new Map<string, number>();
    for (let at = 0; at < this.all.length; at += STEP) {
      out.set(String(this.all[at]), offsetIn(this.all, at + 1) ?? 0);
    }
    return out;
  }
}

/** Containers are null-prototype records or arrays, so nothing inherited is found. */
export function childOf(container: object, key: string | number): unknown {
  if (Array.isArray(container)) return typeof key === "number" ? container[key] : undefined;
  return (container as Readonly<Record<string, unknown>>)[String(key)];
}
