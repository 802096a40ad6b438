/** One request from head to answer. The order of the steps is the order of the refusals that a caller sees. */
import { createHash } from "node:crypto";
import { openStream } from "../events/open.ts";
import { StreamPlaces } from "../events/sse.ts";
import type { Caller, Presented, Principal } from "../services/caller.ts";
import type { Services } from "../services/index.ts";
import { answerOf, ifMatchOf } from "./answer.ts";
import { BodyRoom, refuseBody } from "./body.ts";
import { type Bounds, inTime, rateLimited } from "./bounds.ts";
import { check, readParams, readQuery } from "./fields.ts";
import { clearCookie, Names, presentedBy, setCookie } from "./guard.ts";
import { IdempotencyKeys } from "./idempotency.ts";
import * as limits from "./limits.ts";
import { type Metrics, METRICS_TYPE } from "./metrics.ts";
import { pageOf, type Prepared } from "./prepared.ts";
import { HttpError } from "./problem.ts";
import { RateLimiter, sourceOf } from "./rate.ts";
import type { AnyRoute } from "./route.ts";

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

export interface Incoming {
  readonly request: Request;
  readonly params: Readonly<Record<string, string>>;
  readonly connection: Connection;
  readonly requestId: string;
}

/** Who asked, filled in as soon as it is known, so that a refusal is logged with the name too. */
export interface Who {
  principal: Principal | undefined;
}

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
    const presented = route.access === "anyone" ? undefined : presentedBy(request.headers);
    this.#names.checkSite(request, presented?.by === "cookie");
    const controller = new AbortController();
    const caller = await this.#callerOf(prepared, incoming, presented, controller.signal);
    who.principal = caller.principal;
    await this.#checkAccess(route, caller);
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
          hint: "the console; on the box `sallyport api`, also with --key-file",
        });
      }
    } else {
      const wait = this.#byPrincipal.take(principal.id, this.#options.now());
      if (wait !== undefined) throw rateLimited(wait);
    }
    return { ...origin, principal, signal };
  }

  async #checkAccess({ access, stepUp }: AnyRoute, caller: Caller): Promise<void> {
    if (access === "anyone" || access === "sign-in" || access === "signed-in") return;
    await this.#options.services.permissions.authorize(caller, access, stepUp === true);
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
      return answerOf(prepared, request, await run(), cookies);
    }
    return this.#once(caller, `${key} ${JSON.stringify(params)}`, repeat, body.bytes, async () =>
      answerOf(prepared, request, await run(), cookies),
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
    const { services, bounds } = this.#options;
    switch (route.produces) {
      case "events":
        return openStream(
          { services, bounds, places: this.places },
          request,
          caller,
          query,
          controller,
        );
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
}
