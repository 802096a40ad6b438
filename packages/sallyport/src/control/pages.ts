import type { Page, PageRequest } from "@sallyport/api";
import { SallyportError } from "@sallyport/core";

/** A page of a list that is in memory. The place after it is the last one's key; the list is in the order of keys. */
export function pageOver<Item>(
  items: readonly Item[],
  { limit, after }: PageRequest,
  keyOf: (item: Item) => string,
): Page<Item> {
  const start = after === undefined ? 0 : items.findIndex((item) => keyOf(item) === after) + 1;
  // What it stood at is gone since: the list has changed, and begins anew.
  const page = items.slice(start, start + limit);
  const last = page.at(-1);
  const isMore = start + limit < items.length && last !== undefined;
  return { items: page, ...(isMore ? { next: keyOf(last) } : {}) };
}

export function known<Value>(value: Value | undefined, what: string): Value {
  if (value !== undefined) return value;
  throw new SallyportError("no-such-thing", `there is no such ${what}`);
}
