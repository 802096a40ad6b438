/** What stands after `?`: a few names, each a short text. Anything else in an address is left out. */

export const SEARCH_NAMES = [
  "tab",
  "zone",
  "conduit",
  "from",
  "to",
  "type",
  "since",
  "record",
  "person",
  "change",
] as const;

export type Search = { readonly [Name in (typeof SEARCH_NAMES)[number]]?: string };

/** A record's type or a name of ours is far shorter. */
const LENGTH_MAX = 200;

export function searchOf(given: Readonly<Record<string, unknown>>): Search {
  const entries = SEARCH_NAMES.flatMap((name) => {
    const value = given[name];
    const text = typeof value === "number" ? String(value) : value;
    return typeof text === "string" && text !== "" && text.length <= LENGTH_MAX
      ? [[name, text]]
      : [];
  });
  return Object.fromEntries(entries) as Search;
}
