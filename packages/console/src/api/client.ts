/** Calls of the public API from its own origin, typed by its routes. The cookie goes by itself. */
import type { Answer, Api, Input } from "@sallyport/api/client";
import { problemOf, unreachable } from "./problem.ts";

export type { Api } from "@sallyport/api/client";

interface AnyInput {
  readonly params?: Readonly<Record<string, string>> | undefined;
  readonly query?: Readonly<Record<string, string | number | boolean | undefined>> | undefined;
  readonly body?: unknown;
  readonly ifMatch?: string;
  readonly idempotencyKey?: string;
  readonly signal?: AbortSignal;
}

/** Longer than the server itself waits for its services, so that its own words come first. */
const ANSWER_MS_MAX = 35_000;

export type AnswerOf<Name extends keyof Api> = Api[Name]["answer"];
export type ItemOf<Name extends keyof Api> =
  AnswerOf<Name> extends { readonly items: readonly (infer Item)[] } ? Item : never;

export async function call<Name extends keyof Api>(
  name: Name,
  ...[input]: Partial<Input<Name>> extends Input<Name> ? [Input<Name>?] : [Input<Name>]
): Promise<Answer<AnswerOf<Name>>> {
  const response = await send(name, input ?? {});
  const text = await response.text();
  if (!response.ok) throw problemOf(text, response.status);
  const etag = /^"(.*)"$/.exec(response.headers.get("etag") ?? "")?.[1];
  // The server cuts its answers to these shapes before it sends them.
  const value = (text === "" ? undefined : JSON.parse(text)) as AnswerOf<Name>;
  return { value, ...(etag === undefined ? {} : { etag }) };
}

/** The address alone, for what a browser opens by itself. */
export function pathOf(name: string, input: AnyInput = {}): string {
  const template = name.split(" ")[1] ?? "";
  const path = template.replaceAll(/\{(\w+)\}/g, (_all, param: string) =>
    encodeURIComponent(input.params?.[param] ?? ""),
  );
  const search = new URLSearchParams();
  for (const [key, value] of Object.entries(input.query ?? {})) {
    if (value !== undefined) search.append(key, String(value));
  }
  return search.size === 0 ? path : `${path}?${search.toString()}`;
}

async function send(name: string, input: AnyInput): Promise<Response> {
  const [method = ""] = name.split(" ");
  const headers: Record<string, string> = { accept: "application/json", "sallyport-request": "1" };
  if (input.body !== undefined) headers["content-type"] = "application/json";
  if (input.ifMatch !== undefined) headers["if-match"] = `"${input.ifMatch}"`;
  if (input.idempotencyKey !== undefined) headers["idempotency-key"] = input.idempotencyKey;
  const late = AbortSignal.timeout(ANSWER_MS_MAX);
  try {
    return await fetch(pathOf(name, input), {
      ...{ method, headers, redirect: "error", credentials: "same-origin", cache: "no-store" },
      signal: input.signal === undefined ? late : AbortSignal.any([input.signal, late]),
      ...(input.body === undefined ? {} : { body: JSON.stringify(input.body) }),
    });
  } catch (error) {
    throw unreachable(error instanceof Error ? error.message : String(error));
  }
}
