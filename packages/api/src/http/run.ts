/** One request from head to answer. The order of the steps is the order of the refusals that a caller sees. */
import { createHash } from "node:crypto";
import type { z } from "zod";
import { EVENT_PERMISSIONS, eventStream, isEventType, StreamPlaces } from "../events/sse.ts";
import type { Caller, Presented, Principal } from "../services/caller.ts";
import type { Services } from "../services/index.ts";
import type { Permission } from "../services/permissions.ts";
import { BodyRoom, refuseBody } from "./body.ts";
import { readCursor, writeCursor } from "./cursor.ts";
import { check, type Fields, fieldsOf, readParams, readQuery } from "./fields.ts";
import { clearCookie, presentedBy, Names, setCookie } from "./guard.ts";
import { IdempotencyKeys } from "./idempotency.ts";
import * as limits from "./limits.ts";
import { type Metrics, METRICS_TYPE } from "./metrics.ts";
import { HttpError } from "./problem.ts";
import { RateLimiter, type Rate, sourceOf } from "./rate.ts";
import type { AnyRoute } from "./route.ts";

/** Bounds that an installation, a test or a benchmark may set otherwise. */
export interface Bounds {
  readonly principal: Rate;
  readonly source: Rate;
  readonly signIn: Rate;
  readonly answerMsMax: number;
  readonly beatMs: number;
  readonly streamMsMax: number;
}

export const BOUNDS: Bounds = {
  principal: { burst: limits.PRINCIPAL_BURST, perSecond: limits.PRINCIPAL_PER_SECOND },
  source: { burst: limits.SOURCE_BURST, perSecond: limits.SOURCE_PER_SECOND },
  signIn: { burst: limits.SIGN_IN_BURST, perSecond: limits.SIGN_IN_PER_SECOND },
  answerMsMax: limits.ANSWER_MS_MAX,
  beatMs: limits.STREAM_BEAT_MS,
  streamMsMax: limits.STREAM_MS_MAX,
};

/** How a request came in; the listener knows, the request does not say. */
export interface Connection {
  readonly peer: string;
  readonly transport: "tls" | "local";
}

export interface RunnerOptions {
  readonly services: Services;
  readonly authorities: readonly string[];
  readonly now: () => number;
  readonly metrics: Metrics;
  readonly bounds: Bounds;
  /** The OpenAPI document as text. */
  readonly document: () => string;
}

/** A route with all that can be worked out once. */
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

export interface Incoming {
  readonly request: Request;
  readonly params: Readonly<Record<string, string>>;
  readonly connection: Connection;
  readonly requestId: string;
}

export interface Answered {
  readonly response: Response;
  readonly principal: Principal | undefined;
}

/** Who asked, filled in as soon as it is known, so that a refusal is logged with the name too. */
export interface Who {
  principal: Principal | undefined;
}

type Page = { readonly limit: number; readonly after?: string };

export class Runner {
  readonly places: StreamPlaces = new StreamPlaces();
  readonly #options: RunnerOptions;
  readonly #names: Names;
  readonly #room = new BodyRoom();
  readonly #keys = new IdempotencyKeys();
  readonly #byPrincipal: RateLimiter;
  readonly #bySource: RateLimiter;
  readonly #signIns: RateLimiter;
  #signInsNow = 0;

  constructor(options: RunnerOptions) {
    this.#options = options;
    this.#names = new Names(options.authorities);
    this.#byPrincipal = new RateLimiter(options.bounds.principal);
    this.#bySource = new RateLimiter(options.bounds.source);
    this.#signIns = new RateLimiter(options.bounds.signIn);
  }

  /** Before any route is looked for. */
  checkTarget({ request, connection }: Pick<Incoming, "request" | "connection">): void {
    this.#names.checkTarget(request, connection.transport);
  }

  /** What leads nowhere costs its sender all the same. */
  takeFromSource(peer: string): void {
    const wait = this.#bySource.take(sourceOf(peer), this.#options.now());
    if (wait !== undefined) throw rateLimited(wait);
  }

  async run(prepared: Prepared, incoming: Incoming, who: Who): Promise<Response> {
    const { route } = prepared;
    const { request, connection } = incoming;
    if (route.localOnly === true && connection.transport !== "local") {
      throw new HttpError("no-such-route", "answered on the local socket only");
    }
    const presented = presentedBy(request.headers);
    this.#names.checkSite(request, presented?.by === "cookie");
    const controller = new AbortController();
    const caller = await this.#callerOf(prepared, incoming, presented, controller.signal);
    who.principal = caller.principal;
    this.#checkAccess(route, caller);
    const act = (): Promise<Response> => this.#act(prepared, incoming, caller, controller);
    return route.access === "sign-in" ? this.#signIn(caller, act) : act();
  }

  async #callerOf(
    { route }: Prepared,
    { request, connection, requestId }: Incoming,
    presented: Presented | undefined,
    signal: AbortSignal,
  ): Promise<Caller> {
    const userAgent = request.headers.get("user-agent")?.slice(0, 256) ?? "";
    const origin = { requestId, ...connection, userAgent };
    const isAsked = route.access !== "anyone" && route.access !== "sign-in";
    const principal =
      isAsked && presented !== undefined
        ? await this.#options.services.signIns.authenticate(presented, origin)
        : undefined;
    if (principal === undefined) {
      this.takeFromSource(connection.peer);
      if (isAsked) {
        throw new HttpError("sign-in-needed", "sign in first, or send a key that is valid", {
          headers: { "www-authenticate": "Bearer" },
          hint: "sallyport login",
        });
      }
    } else {
      const wait = this.#byPrincipal.take(principal.id, this.#options.now());
      if (wait !== undefined) throw rateLimited(wait);
    }
    return { ...origin, principal, signal };
  }

  #checkAccess(route: AnyRoute, { principal }: Caller): void {
    const { access } = route;
    if (principal === undefined || access === "anyone" || access === "sign-in") return;
    if (access !== "signed-in" && !this.#options.services.permissions.may(principal, access)) {
      throw new HttpError("not-permitted", `${principal.personId} lacks ${access}`);
    }
    if (route.stepUp !== true) return;
    const age = this.#options.now() - (principal.stepUpAtMs ?? Number.NEGATIVE_INFINITY);
    // A factor given in the future was given before the clock went back, and proves nothing.
    if (age >= 0 && age <= limits.STEP_UP_MS_MAX) return;
    throw new HttpError("step-up-needed", "this needs a second factor of the last 5 minutes", {
      hint: "give it at /v1/session/step-up/options, then try again",
    });
  }

  /** A storm of wrong credentials waits for itself, not for everybody's hash to be computed. */
  async #signIn(caller: Caller, act: () => Promise<Response>): Promise<Response> {
    const wait = this.#signIns.take(sourceOf(caller.peer), this.#options.now());
    if (wait !== undefined) throw rateLimited(wait);
    if (this.#signInsNow >= limits.SIGN_INS_AT_ONCE) {
      throw new HttpError("too-busy", "too many people sign in at once", {
        headers: { "retry-after": "1" },
      });
    }
    this.#signInsNow += 1;
    try {
      return await act();
    } finally {
      this.#signInsNow -= 1;
    }
  }

  async #act(
    prepared: Prepared,
    { request, params }: Incoming,
    caller: Caller,
    controller: AbortController,
  ): Promise<Response> {
    const { route, fields, key } = prepared;
    const search = new URLSearchParams(request.url.split("?", 2)[1] ?? "");
    const checkedParams = readParams(params);
    const body = await this.#bodyOf(route, request);
    const query = readQuery(fields, search);
    const ifMatch = ifMatchOf(route, request.headers);
    const cookies: string[] = [];
    const session = {
      set: (token: string, maxAgeSeconds: number) => cookies.push(setCookie(token, maxAgeSeconds)),
      clear: () => cookies.push(clearCookie()),
    };
    const call = {
      params: checkedParams,
      query,
      body: body?.value,
      ifMatch,
      page: pageOf(prepared, query),
      session,
    };
    const special = await this.#special(route, request, caller, query, controller);
    if (special !== undefined) return special;
    const run = async (): Promise<{ value: unknown; status: number }> => {
      // The call was checked with this route's own shapes, which are what its `run` is typed by.
      const done = route.run(this.#options.services, caller, call as never);
      const value = await inTime(done, this.#options.bounds.answerMsMax, controller);
      return { value, status: route.status ?? 200 };
    };
    const repeat = route.idempotent === true ? request.headers.get("idempotency-key") : null;
    if (repeat === null || body === undefined) {
      return this.#answer(prepared, request, await run(), cookies);
    }
    return this.#once(caller, `${key} ${JSON.stringify(params)}`, repeat, body.bytes, async () =>
      this.#answer(prepared, request, await run(), cookies),
    );
  }

  async #bodyOf(route: AnyRoute, request: Request) {
    if (route.body === undefined) {
      refuseBody(request);
      return undefined;
    }
    const bytesMax = route.bodyBytesMax ?? limits.BODY_BYTES_DEFAULT;
    const { bytes, value } = await this.#room.read(request, bytesMax);
    return { bytes, value: check(route.body, value) };
  }

  /** Answers that are no JSON. */
  async #special(
    route: AnyRoute,
    request: Request,
    caller: Caller,
    query: Readonly<Record<string, unknown>>,
    controller: AbortController,
  ): Promise<Response | undefined> {
    switch (route.produces) {
      case "events":
        return this.#events(request, caller, query, controller);
      case "metrics":
        return new Response(this.#options.metrics.text(), {
          headers: { "content-type": METRICS_TYPE },
        });
      case "document":
        return new Response(this.#options.document(), {
          headers: { "content-type": "application/json" },
        });
      default:
        return undefined;
    }
  }

  #events(
    request: Request,
    caller: Caller,
    query: Readonly<Record<string, unknown>>,
    controller: AbortController,
  ): Response {
    const { services, bounds } = this.#options;
    const { principal } = caller;
    if (principal === undefined) throw new HttpError("sign-in-needed", "sign in first");
    const may = (permission: Permission): boolean =>
      services.permissions.may(principal, permission);
    const asked = typeof query["types"] === "string" ? query["types"].split(",") : undefined;
    const unknown = asked?.find((type) => !isEventType(type));
    if (unknown !== undefined) {
      const message = "names a type of event that there is not";
      throw new HttpError("wrong-fields", `types ${message}`, {
        errors: [{ field: "types", message }],
      });
    }
    const types = new Set(
      Object.entries(EVENT_PERMISSIONS)
        .filter(([type, permission]) => asked?.includes(type) !== false && may(permission))
        .map(([type]) => type),
    );
    const last = request.headers.get("last-event-id");
    const lastId = last !== null && /^\d{1,15}$/.test(last) ? { lastId: Number(last) } : {};
    const giveBack = this.places.take(principal.personId);
    const subscription = services.events.subscribe(caller, { ...lastId, types });
    const presented = presentedBy(request.headers);
    const stream = eventStream(subscription, {
      beatMs: bounds.beatMs,
      streamMsMax: bounds.streamMsMax,
      isStillAllowed: async () => {
        if (presented === undefined) return false;
        const now = await services.signIns.authenticate(presented, caller);
        return now !== undefined && services.permissions.may(now, "status.read");
      },
      onEnd: () => {
        giveBack();
        controller.abort();
      },
    });
    return new Response(stream, { headers: { "content-type": "text/event-stream" } });
  }

  async #once(
    { principal }: Caller,
    route: string,
    key: string,
    body: Uint8Array,
    act: () => Promise<Response>,
  ): Promise<Response> {
    const owner = principal?.personId ?? "";
    const hash = createHash("sha256").update(body).digest("hex");
    const kept = this.#keys.begin(owner, route, key, hash, this.#options.now());
    if (kept !== undefined) {
      const headers = { "content-type": "application/json", "idempotency-replayed": "true" };
      return new Response(kept.text, { status: kept.status, headers });
    }
    let answer: { status: number; text: string } | undefined;
    try {
      const response = await act();
      answer = { status: response.status, text: await response.clone().text() };
      return response;
    } finally {
      this.#keys.end(owner, route, key, answer);
    }
  }

  #answer(
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
}

/** Cuts off whatever the shape does not name, so that no service can tell more than is documented. */
function shape(answer: z.ZodType, value: unknown): unknown {
  const { success, data, error } = answer.safeParse(value);
  if (success) return data;
  throw new TypeError("a service answered what the OpenAPI document does not say", {
    cause: error,
  });
}

function withCursor(key: string, value: unknown): unknown {
  if (typeof value !== "object" || value === null || !("next" in value)) return value;
  const { next, ...rest } = value;
  return typeof next === "string" ? { ...rest, next: writeCursor(key, next) } : rest;
}

function pageOf({ key, isPaged }: Prepared, query: Readonly<Record<string, unknown>>): Page {
  const limit = typeof query["limit"] === "number" ? query["limit"] : limits.PAGE_DEFAULT;
  const cursor = query["cursor"];
  if (!isPaged || typeof cursor !== "string") return { limit };
  return { limit, after: readCursor(key, cursor) };
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
function ifMatchOf(route: AnyRoute, headers: Headers): string {
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

function rateLimited(waitSeconds: number): HttpError {
  return new HttpError("rate-limited", `too many requests; again in ${waitSeconds} s`, {
    headers: { "retry-after": String(waitSeconds) },
  });
}

async function inTime<Value>(
  promise: Promise<Value>,
  ms: number,
  controller: AbortController,
): Promise<Value> {
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<never>((_resolve, reject) => {
    timer = setTimeout(() => {
      controller.abort();
      reject(
        new HttpError("too-busy", `no answer within ${ms / 1000} s; what was asked may be done`),
      );
    }, ms);
  });
  try {
    return await Promise.race([promise, late]);
  } finally {
    clearTimeout(timer);
  }
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
