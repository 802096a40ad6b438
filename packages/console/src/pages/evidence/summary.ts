/** A record's fields in one line, for the list. */
const FIELDS_MAX = 4;
const LETTERS_MAX = 60;

export function summaryOf(fields: Readonly<Record<string, unknown>>): string {
  return Object.entries(fields)
    .slice(0, FIELDS_MAX)
    .map(
      ([name, value]) =>
        `${name}: ${shorten(typeof value === "string" ? value : JSON.stringify(value))}`,
    )
    .join(" · ");
}

function shorten(text: string): string {
  const letters = Array.from(text);
  return letters.length <= LETTERS_MAX ? text : `${letters.slice(0, LETTERS_MAX - 1).join("")}…`;
}
