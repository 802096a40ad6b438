/** A clock that tests move, and pages over arrays. */
import { SallyportError } from "@sallyport/core";
import type { Page, PageRequest } from "../shapes/common.ts";

export class Clock {
  nowMs = Date.UTC(2026, 0, 15, 10);

  readonly now = (): number => this.nowMs;

  iso(afterMs = 0): string {
    return new Date(this.nowMs + afterMs).toISOString();
  }
}

/** The place is the index of the next item. */
export function pageOver<Item>(items: readonly Item[], { limit, after }: PageRequest): Page<Item> {
  const start = after === undefined ? 0 : Number(after);
  const part = items.slice(start, start + limit);
  const end = start + part.length;
  return end < items.length ? { items: part, next: String(end) } : { items: part };
}

export function known<Value>(value: Value | undefined, what: string): Value {
  if (value === undefined) throw new SallyportError("no-such-thing", `there is no such ${what}`);
  return value;
}
