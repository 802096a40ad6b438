/** Records that name a person: the archivist knows no names, so they are sought here, a bounded number at a time. */
import type { Json } from "@sallyport/core";
import { fields, listOf } from "../cli/enforcer-client.ts";
import type { AskArchivist } from "./ask.ts";

/** What the archivist lists at once. */
const PAGE = 1000;
/** Then the caller asks on: an answer must not take longer than a person waits. */
const PAGES_MAX = 20;

type Question = Readonly<Record<string, Json>>;

export async function recordsOfPerson(
  archivist: AskArchivist,
  person: string,
  { limit, from, ...question }: Question & { readonly limit: number },
): Promise<{ readonly records: readonly Json[]; readonly next?: number }> {
  const records: Json[] = [];
  let place = from;
  for (let pages = 0; pages < PAGES_MAX; pages++) {
    const start = place === undefined ? {} : { from: place };
    const asked = { type: "list", question: { ...question, ...start, limit: PAGE } } as const;
    const page = fields(await archivist(asked));
    for (const record of listOf(page["records"])) {
      const { index, personal } = fields(record);
      if (records.length === limit) return { records, next: Number(index) };
      if (names(personal, person)) records.push(record);
    }
    if (page["next"] === undefined || page["next"] === null) return { records };
    place = Number(page["next"]);
  }
  return { records, next: Number(place) };
}

function names(personal: Json | undefined, person: string): boolean {
  return Object.values(fields(personal ?? null)).some(
    (value) => value === person || listOf(value).includes(person),
  );
}
