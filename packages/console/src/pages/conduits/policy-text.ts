/**
 * Edits of a policy's YAML that change only what they mean: a value is replaced where it stands, so comments, order and spacing of
 * everything else stay to the letter.
 */
import {
  isMap,
  isScalar,
  LineCounter,
  type Pair,
  parseDocument,
  stringify,
  type YAMLMap,
} from "yaml";

export const FIELDS = [
  "from",
  "to",
  "service",
  "via",
  "through",
  "owner",
  "why",
  "expires",
] as const;
export type Field = (typeof FIELDS)[number];

export interface ConduitText {
  readonly name: string;
  /** 1-based, first and last. */
  readonly lines: readonly [number, number];
  /** A value that is not plain, such as a list of tags, is shown and not edited by the form. */
  readonly fields: Readonly<Record<Field, { readonly text: string; readonly isPlain: boolean }>>;
  /** As the file says it, for sentences. */
  readonly value: Readonly<Record<string, unknown>>;
}

export interface PolicyText {
  readonly conduits: readonly ConduitText[];
  /** Where the YAML itself is broken. */
  readonly faults: readonly { readonly line: number; readonly message: string }[];
}

type Range = readonly [number, number, number];

export function readPolicy(text: string): PolicyText {
  const counter = new LineCounter();
  const document = parseDocument(text, { lineCounter: counter });
  const faults = document.errors.map(({ message, pos }) => ({
    line: counter.linePos(pos[0]).line,
    message: message.split("\n")[0] ?? message,
  }));
  const conduits = mapAt(document.contents, "conduits")?.items ?? [];
  return {
    faults,
    conduits: conduits.flatMap((pair): ConduitText[] => {
      const name = keyOf(pair);
      if (name === undefined || !isMap(pair.value)) return [];
      const map = pair.value;
      const keyStart = rangeOf(pair.key)?.[0] ?? 0;
      const end = Math.max(keyStart, (rangeOf(map)?.[1] ?? keyStart) - 1);
      const fields = FIELDS.map((field) => [field, fieldOf(map, field)] as const);
      return [
        {
          name,
          lines: [counter.linePos(keyStart).line, counter.linePos(end).line],
          // Every field is in the list that it is made of.
          fields: Object.fromEntries(fields) as ConduitText["fields"],
          value: map.toJS(document) as Readonly<Record<string, unknown>>,
        },
      ];
    }),
  };
}

function fieldOf(map: YAMLMap, field: Field): { text: string; isPlain: boolean } {
  const value = map.get(field, true);
  if (value === undefined) return { text: "", isPlain: true };
  if (isScalar(value))
    return { text: value.source ?? stringify(value.value).trim(), isPlain: true };
  return { text: stringify(value, { collectionStyle: "flow" }).trim(), isPlain: false };
}

function mapAt(node: unknown, name: string): YAMLMap | undefined {
  if (!isMap(node)) return undefined;
  const value = node.get(name, true);
  return isMap(value) ? value : undefined;
}

function keyOf(pair: Pair): string | undefined {
  return isScalar(pair.key) ? String(pair.key.value) : undefined;
}

function rangeOf(node: unknown): Range | undefined {
  if (typeof node !== "object" || node === null || !("range" in node)) return undefined;
  return (node.range ?? undefined) as Range | undefined;
}

/** Written as YAML would need it: quoted only when it must be. */
function written(value: string): string {
  return stringify(value, { lineWidth: 0 }).trim();
}

/** The text with one value of one conduit set; the same text when there is no such conduit. */
export function setField(text: string, conduit: string, field: Field, value: string): string {
  const document = parseDocument(text);
  const map = mapAt(mapAt(document.contents, "conduits"), conduit);
  if (map === undefined) return text;
  const old = map.get(field, true);
  const place = rangeOf(old);
  if (old !== undefined && place !== undefined) {
    const isBlock = isScalar(old) && (old.type === "BLOCK_FOLDED" || old.type === "BLOCK_LITERAL");
    const end = isBlock ? "\n" : "";
    return `${text.slice(0, place[0])}${written(value)}${end}${text.slice(place[1])}`;
  }
  const first = map.items[0];
  const start = rangeOf(first?.key)?.[0] ?? rangeOf(map)?.[0];
  if (start === undefined) return text;
  if (map.flow === true)
    return `${text.slice(0, start)}${field}: ${written(value)}, ${text.slice(start)}`;
  const indent = text.slice(text.lastIndexOf("\n", start - 1) + 1, start);
  return `${text.slice(0, start)}${field}: ${written(value)}\n${indent}${text.slice(start)}`;
}

/** At the end of the conduits; a section of its own when there is none. */
export function addConduit(
  text: string,
  name: string,
  fields: Partial<Record<Field, string>>,
): string {
  const lines = FIELDS.flatMap((field) => {
    const value = fields[field];
    return value === undefined || value === "" ? [] : [`    ${field}: ${written(value)}\n`];
  });
  const block = `  ${written(name)}:\n${lines.join("")}`;
  const map = mapAt(parseDocument(text).contents, "conduits");
  const end = rangeOf(map)?.[1];
  const begin = text === "" || text.endsWith("\n") ? text : `${text}\n`;
  if (map === undefined || end === undefined) return `${begin}\nconduits:\n${block}`;
  const before = text.slice(0, end);
  return `${before.endsWith("\n") ? before : `${before}\n`}${block}${text.slice(end)}`;
}

/** Without the conduit; comments that stand right above it belong to it and go too. */
export function removeConduit(text: string, name: string): string {
  const found = readPolicy(text).conduits.find((conduit) => conduit.name === name);
  if (found === undefined) return text;
  const lines = text.split("\n");
  let first = found.lines[0] - 1;
  while (first > 0 && /^\s+#/.test(lines[first - 1] ?? "")) first -= 1;
  return [...lines.slice(0, first), ...lines.slice(found.lines[1])].join("\n");
}

/** Which conduit a line belongs to, for a mistake that the compiler found there. */
export function conduitAtLine(policy: PolicyText, line: number): string | undefined {
  return policy.conduits.find(({ lines: [first, last] }) => line >= first && line <= last)?.name;
}
