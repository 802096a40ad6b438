/** Answers in JSON and as files, with their entity tags. */
import type { z } from "zod";
import { HttpError } from "./problem.ts";
import { type Prepared, withCursor } from "./prepared.ts";
import type { AnyRoute } from "./route.ts";

export function answerOf(
  { route, key, isPaged }: Prepared,
  request: Request,
  { value, status }: { readonly value: unknown; readonly status: number },
  cookies: readonly string[],
): Response {
  const headers = new Headers();
  for (const cookie of cookies) headers.append("set-cookie", cookie);
  if (status === 204) return new Response(null, { status, headers });
  if (route.produces === "gzip") return download(value);
  const shaped = shape(route.answer, isPaged ? withCursor(key, value) : value);
  headers.set("content-type", "application/json");
  const tag = tagOf(route, shaped);
  if (tag !== undefined) {
    headers.set("etag", tag);
    if (request.method !== "PUT" && isMatched(request.headers.get("if-none-match"), tag)) {
      return new Response(null, { status: 304, headers });
    }
  }
  return new Response(JSON.stringify(shaped), { status, headers });
}

/** Cuts off whatever the shape does not name, so that no service can tell more than is documented. */
function shape(answer: z.ZodType, value: unknown): unknown {
  const { success, data, error } = answer.safeParse(value);
  if (success) return data;
  throw new TypeError("a service answered what the OpenAPI document does not say", {
    cause: error,
  });
}

/** Only `readExport` answers so, with pieces of bytes. */
function download(value: unknown): Response {
  const pieces = value as AsyncIterable<Uint8Array>;
  const iterator = pieces[Symbol.asyncIterator]();
  const stream = new ReadableStream<Uint8Array>({
    async pull(controller) {
      const next = await iterator.next();
      if (next.done === true) controller.close();
      else controller.enqueue(next.value);
    },
    async cancel() {
      await iterator.return?.();
    },
  });
  return new Response(stream, {
    headers: {
      "content-type": "application/gzip",
      "content-disposition": 'attachment; filename="sallyport-ledger.tar.gz"',
    },
  });
}

function tagOf(route: AnyRoute, value: unknown): string | undefined {
  // The route's own answer, as its shape has just made it.
  return route.etag === undefined ? undefined : `"${route.etag(value as never)}"`;
}

/** RFC 9110 §13.1.2: weak comparison. */
function isMatched(header: string | null, tag: string): boolean {
  if (header === null) return false;
  return header.split(",").some((item) => {
    const one = item.trim();
    return one === "*" || one.replace(/^W\//, "") === tag;
  });
}

/** RFC 9110 §13.1.1: strong comparison, so a weak tag or a list names nothing that could be replaced. */
export function ifMatchOf(route: AnyRoute, headers: Headers): string {
  if (route.method !== "PUT" || route.etag === undefined) return "";
  const header = headers.get("if-match");
  if (header === null) {
    throw new HttpError("condition-needed", "If-Match is missing", {
      hint: "read it first, and send its ETag as If-Match",
    });
  }
  const tag = /^"([\x21\x23-\x7e]{1,128})"$/.exec(header)?.[1];
  if (tag !== undefined) return tag;
  const message = "must be one strong entity tag";
  throw new HttpError("wrong-fields", `If-Match ${message}`, {
    errors: [{ field: "If-Match", message }],
  });
}
