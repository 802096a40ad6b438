/** Takes people out of what a gateway says of itself: names, addresses of their devices, reasons they wrote. */
import type { Json } from "@sallyport/core";

const GONE = "[personal]";

/** Members of events, records, status and policy that are about a person, or are a person's own words. */
const NAMES: ReadonlySet<string> = new Set([
  ...["person", "people", "author", "by", "holders", "owner", "contact", "mail", "email", "phone"],
  ...["source", "peer", "label", "approvals", "approvers", "justification"],
]);
/** A gate's `reason` is a code; a person's has spaces. */
const CODE = /^[a-z0-9.-]*$/;
const WORDS: ReadonlySet<string> = new Set(["reason", "why", "note", "comment", "description"]);
const MAIL = /[^\s"'<>:,;]+@[^\s"'<>:,;]+\.[a-z]{2,}/gi;

/** JSON, or lines of JSON; what is neither is only searched for addresses of mail. */
export function eventsWithoutPeople(text: string): string {
  return text
    .split("\n")
    .map((line) => {
      const value = parsed(line);
      return (value === undefined ? line : JSON.stringify(valueWithoutPeople(value))).replace(
        MAIL,
        GONE,
      );
    })
    .join("\n");
}

function parsed(line: string): Json | undefined {
  if (!line.startsWith("{") && !line.startsWith("[")) return undefined;
  try {
    return JSON.parse(line) as Json;
  } catch {
    return undefined;
  }
}

export function valueWithoutPeople(value: Json, name = ""): Json {
  if (NAMES.has(name)) return GONE;
  if (typeof value === "string") return WORDS.has(name) && !CODE.test(value) ? GONE : value;
  if (typeof value !== "object" || value === null) return value;
  // A list is of what its name says.
  if (Array.isArray(value)) return value.map((one: Json) => valueWithoutPeople(one, name));
  return Object.fromEntries(
    Object.entries(value).map(([key, one]) => [key, valueWithoutPeople(one as Json, key)]),
  );
}

const POLICY_KEYS = [...NAMES, ...WORDS].filter((name) => name !== "source").join("|");
/** `key: value` on a line of its own or between braces; a value in brackets is taken whole. */
const KEYED = new RegExp(
  `((?:^|[\\s{,])["']?(?:${POLICY_KEYS})["']?\\s*:[ \\t]*)` +
    `(\\[[^\\]]*\\]|"(?:[^"\\\\]|\\\\.)*"|'[^']*'|[^,}\\n]+)`,
  "gim",
);
const OPENS_LIST = new RegExp(
  `^(\\s*)["']?(?:${POLICY_KEYS})["']?\\s*:[ \\t]*[|>]?[-+]?[ \\t]*$`,
  "i",
);

/** A policy keeps its shape, so that its lines can be found; comments are people's words and go. */
export function policyWithoutPeople(text: string): string {
  const lines: string[] = [];
  let below: number | undefined;
  for (const line of text.replace(/(^|[ \t])#.*$/gm, "$1").split("\n")) {
    const indent = line.length - line.trimStart().length;
    if (below !== undefined && line.trim() !== "" && (indent > below || isItem(line, below))) {
      lines.push(`${" ".repeat(indent)}${GONE}`);
      continue;
    }
    below = OPENS_LIST.test(line) ? indent : undefined;
    lines.push(line);
  }
  return lines
    .join("\n")
    .replace(KEYED, (_whole, key: string) => `${key}${GONE}`)
    .replace(MAIL, GONE);
}

/** Items of a list may stand under their key without being indented. */
function isItem(line: string, indent: number): boolean {
  return line.startsWith(`${" ".repeat(indent)}- `);
}
