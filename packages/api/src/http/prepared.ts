/** A route with all that can be worked out once. */
import type { PageRequest } from "../shapes/common.ts";
import { readCursor, writeCursor } from "./cursor.ts";
import { type Fields, fieldsOf } from "./fields.ts";
import { PAGE_DEFAULT } from "./limits.ts";
import type { AnyRoute } from "./route.ts";

export interface Prepared {
  readonly route: AnyRoute;
  readonly key: string;
  readonly fields: Fields;
  readonly isPaged: boolean;
}

export function prepare(route: AnyRoute): Prepared {
  const fields = fieldsOf(route.query);
  const key = `${route.method} ${route.path}`;
  return { route, key, fields, isPaged: fields.queryTypes.has("cursor") };
}

export function pageOf(
  { key, isPaged }: Prepared,
  query: Readonly<Record<string, unknown>>,
): PageRequest {
  const limit = typeof query["limit"] === "number" ? query["limit"] : PAGE_DEFAULT;
  const cursor = query["cursor"];
  if (!isPaged || typeof cursor !== "string") return { limit };
  return { limit, after: readCursor(key, cursor) };
}

/** A service tells the place after a page; a client gets a cursor. */
export function withCursor(key: string, value: unknown): unknown {
  if (typeof value !== "object" || value === null || !("next" in value)) return value;
  const { next, ...rest } = value;
  return typeof next === "string" ? { ...rest, next: writeCursor(key, next) } : rest;
}
