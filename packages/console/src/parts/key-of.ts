import type { Key } from "../i18n/i18n.ts";

/** A text for a word of the API's; for one that is new to this release the text that shows it as it is. */
export function keyOf(prefix: "reason" | "via", word: string, known: readonly string[]): Key {
  return (known.includes(word) ? `${prefix}.${word}` : `${prefix}.other`) as Key;
}
