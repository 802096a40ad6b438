/**
 * A typed client for the command line and scripts. `fetch` is handed in, so it works over TLS, over the local
 * socket, and in tests; failures are `SallyportError` with the code and the hint that the API told.
 */
import { SallyportError } from "@sallyport/core";
import type { Api } from "./routes/index.ts";

export type { Api } from "./routes/index.ts";

export interface ClientOptions {
  /** Without a path, for example `https://gateway.plant.example`. */
  readonly baseUrl: string;
  readonly fetch: (url: string, init: RequestInit) => Promise<Response>;
  /** An API key or the token of a local session. */
  readonly token?: string;
}

/** Members that hold nothing may be left out. */
type Part<Name extends string, Value> = [Value] extends [undefined]
  ? { readonly [Key in Name]?: undefined }
  : Partial<Value> extends Value
    ? { readonly [Key in Name]?: Value }
    : { readonly [Key in Name]: Value };

export type Input<Name extends keyof Api> = Part<"params", Api[Name]["params"]> &
  Part<"query", Api[Name]["query"]> &
  Part<"body", Api[Name]["body"]> & {
    readonly ifMatch?: string;
    readonly idempotencyKey?: string;
    readonly signal?: AbortSignal;
  };

export interface Answer<Value> {
  readonly value: Value;
  /** Without quotes, as `ifMatch` takes it. */
  readonly etag?: string;
}

export interface Client {
  call<Name extends keyof Api>(
    name: Name,
    ...input: Partial<Input<Name>> extends Input<Name> ? [Input<Name>?] : [Input<Name>]
  ): Promise<Answer<Api[Name]["answer"]>>;
}

interface AnyInput {
  readonly params?: Readonly<Record<string, string>> | undefined;
  readonly query?: Readonly<Record<string, string | number | boolean | undefined>> | undefined;
  readonly body?: unknown;
  readonly ifMatch?: string;
  readonly idempotencyKey?: string;
  readonly signal?: AbortSignal;
}

export function createClient(options: ClientOptions): Client {
  return {
    async call(name, ...[input = {}]) {
      const answer = await send(options, name, input);
      const text = await answer.text();
      const etag = /^"(.*)"$/.exec(answer.headers.get("etag") ?? "")?.[1];
      const value: unknown = text === "" ? undefined : readJson(text, answer);
      // The server cuts its answers to these shapes before it sends them.
      return {
        value: value as Api[typeof name]["answer"],
        ...(etag === undefined ? {} : { etag }),
      };
    },
  };
}

async function send(options: ClientOptions, name: string, input: AnyInput): Promise<Response> {
  const [method = "", template = ""] = name.split(" ");
  const path = template.replaceAll(/\{(\w+)\}/g, (_all, param: string) =>
    encodeURIComponent(input.params?.[param] ?? ""),
  );
  const headers: Record<string, string> = { accept: "application/json", "sallyport-request": "1" };
  if (options.token !== undefined) headers["authorization"] = `Bearer ${options.token}`;
  if (input.body !== undefined) headers["content-type"] = "application/json";
  if (input.ifMatch !== undefined) headers["if-match"] = `"${input.ifMatch}"`;
  if (input.idempotencyKey !== undefined) headers["idempotency-key"] = input.idempotencyKey;
  let response: Response;
  try {
    response = await options.fetch(`${options.baseUrl}${path}${searchOf(input.query)}`, {
      method,
      headers,
      redirect: "error",
      ...(input.body === undefined ? {} : { body: JSON.stringify(input.body) }),
      ...(input.signal === undefined ? {} : { signal: input.signal }),
    });
  } catch (cause) {
    throw new SallyportError("api-unreachable", `${options.baseUrl} does not answer`, {
      cause,
      hint: "sallyport status, on the gateway itself",
    });
  }
  if (!response.ok) throw problemOf(await response.text(), response);
  return response;
}

function searchOf(query: AnyInput["query"]): string {
  const search = new URLSearchParams();
  for (const [name, value] of Object.entries(query ?? {})) {
    if (value !== undefined) search.append(name, String(value));
  }
  return search.size === 0 ? "" : `?${search.toString()}`;
}

function readJson(text: string, response: Response): unknown {
  try {
    return JSON.parse(text);
  } catch {
    throw notOurs(response);
  }
}

/** The same error that the service threw, told over HTTP. */
function problemOf(text: string, response: Response): SallyportError {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch {
    return notOurs(response);
  }
  if (typeof value !== "object" || value === null) return notOurs(response);
  const { code, detail, hint } = value as Readonly<Record<string, unknown>>;
  if (typeof code !== "string" || typeof detail !== "string") return notOurs(response);
  return new SallyportError(code, detail, typeof hint === "string" ? { hint } : {});
}

function notOurs(response: Response): SallyportError {
  return new SallyportError(
    "api-unreachable",
    `the answer (${response.status}) is not one of Sallyport's`,
    { hint: "look at the address; a proxy may have answered" },
  );
}
