/** The application: routes on a router, one middleware for what every answer has. */
import { Hono } from "hono";
import { asciiJson, type AccessLog } from "./http/log.ts";
import { REQUESTS_AT_ONCE } from "./http/limits.ts";
import { SECURITY_HEADERS } from "./http/guard.ts";
import { Metrics } from "./http/metrics.ts";
import { HttpError, PROBLEM_TYPE, problemOf } from "./http/problem.ts";
import type { AnyRoute } from "./http/route.ts";
import { BOUNDS, type Bounds } from "./http/bounds.ts";
import { prepare } from "./http/prepared.ts";
import { type Connection, Runner, type Who } from "./http/run.ts";
import { openApiText } from "./openapi/document.ts";
import { ROUTES } from "./routes/index.ts";
import type { Services } from "./services/index.ts";

export interface ApiOptions {
  /** `name` or `name:port` as a browser writes it; a request for another name is refused. */
  readonly authorities: readonly string[];
  readonly now: () => number;
  /** Short, unique, of letters, digits and `-`. */
  readonly newRequestId: () => string;
  readonly log: AccessLog;
  readonly bounds?: Partial<Bounds>;
  /** To add gauges of one's own. */
  readonly metrics?: Metrics;
}

export interface Server {
  fetch(request: Request, connection: Connection): Promise<Response>;
  readonly metrics: Metrics;
  /** A request that never became one: what node:http refused. */
  refused(code: string): Response;
}

interface Env {
  readonly Bindings: Connection;
}

const HELP = {
  requests: "Answered requests by method, route and status.",
  seconds: "Seconds from the request's head to the answer's.",
  problems: "Problems by code.",
  now: "Requests being answered.",
  streams: "Open live streams.",
  malformed: "Requests that node:http refused, by code.",
};

/** Other `routes` are for benchmarks; the product serves those of the document. */
export function createApi(
  services: Services,
  options: ApiOptions,
  routes: readonly AnyRoute[] = ROUTES,
): Server {
  return new Application(services, options, routes);
}

class Application implements Server {
  readonly metrics: Metrics;
  readonly #options: ApiOptions;
  readonly #runner: Runner;
  readonly #router = new Hono<Env>({ strict: true });
  readonly #byPath = new Map<string, AnyRoute[]>();
  #now = 0;

  constructor(services: Services, options: ApiOptions, all: readonly AnyRoute[]) {
    this.#options = options;
    this.metrics = options.metrics ?? new Metrics();
    this.#runner = new Runner({
      services,
      authorities: options.authorities,
      now: options.now,
      metrics: this.metrics,
      bounds: { ...BOUNDS, ...options.bounds },
      document: openApiText,
    });
    this.metrics.gauge("sallyport_http_requests_now", HELP.now, () => this.#now);
    this.metrics.gauge("sallyport_http_streams_now", HELP.streams, () => this.#runner.places.all);
    for (const route of all) {
      this.#byPath.set(route.path, [...(this.#byPath.get(route.path) ?? []), route]);
    }
    for (const [path, routes] of this.#byPath) this.#add(path, routes);
    this.#router.notFound((context) =>
      this.#answer(context.req.raw, context.env, "", async (_id, { peer }) => {
        this.#runner.takeFromSource(peer);
        throw new HttpError("no-such-route", "there is nothing at this path");
      }),
    );
  }

  async fetch(request: Request, connection: Connection): Promise<Response> {
    return this.#router.fetch(request, connection);
  }

  refused(code: string): Response {
    this.metrics.count("sallyport_http_malformed_total", HELP.malformed, { code });
    const requestId = this.#options.newRequestId();
    // What comes after it on the connection could be read as part of it, so there is no after.
    const headers = { connection: "close" };
    const error = new HttpError(code, "the request is malformed or too slow", { headers });
    return this.#problem(error, requestId);
  }

  /** All methods of a path, so that a wrong one is told which are right. */
  #add(path: string, routes: readonly AnyRoute[]): void {
    const prepared = routes.map(prepare);
    const allow = allowed(routes);
    this.#router.all(path.replaceAll(/\{(\w+)\}/g, ":$1"), (context) => {
      const request = context.req.raw;
      const params = context.req.param();
      return this.#answer(request, context.env, path, async (requestId, connection, who) => {
        const isHead = request.method === "HEAD";
        const found = prepared.find(({ route }) => {
          return (
            route.method === (isHead ? "GET" : request.method) && !(isHead && isEndless(route))
          );
        });
        if (found === undefined) {
          this.#runner.takeFromSource(connection.peer);
          throw new HttpError("method-not-allowed", `this path takes ${allow}`, {
            headers: { allow },
          });
        }
        return this.#runner.run(found, { request, params, connection, requestId }, who);
      });
    });
  }

  async #answer(
    request: Request,
    connection: Connection,
    route: string,
    act: (requestId: string, connection: Connection, who: Who) => Promise<Response>,
  ): Promise<Response> {
    const requestId = this.#options.newRequestId();
    const startMs = this.#options.now();
    const who: Who = { principal: undefined };
    let response: Response;
    let code: string | undefined;
    this.#now += 1;
    try {
      if (this.#now > REQUESTS_AT_ONCE) {
        throw new HttpError("too-busy", "too many requests at once", {
          headers: { "retry-after": "1" },
        });
      }
      this.#runner.checkTarget({ request, connection });
      response = await act(requestId, connection, who);
    } catch (error) {
      code = problemOf(error, requestId).problem.code;
      response = this.#problem(error, requestId);
    } finally {
      this.#now -= 1;
    }
    this.#finish(response.headers, requestId, route);
    this.#note({ request, connection, route, requestId, startMs, who, code }, response.status);
    return response;
  }

  #finish(headers: Headers, requestId: string, route: string): void {
    headers.set("request-id", requestId);
    for (const [name, value] of Object.entries(SECURITY_HEADERS)) headers.set(name, value);
    // What a page shows of a plant is in no cache; what is asked again with an ETag is asked each time.
    headers.set(
      "cache-control",
      route.startsWith("/v1/policy/") ? "no-cache, private" : "no-store",
    );
  }

  #note(
    seen: {
      readonly request: Request;
      readonly connection: Connection;
      readonly route: string;
      readonly requestId: string;
      readonly startMs: number;
      readonly who: Who;
      readonly code: string | undefined;
    },
    status: number,
  ): void {
    const { request, connection, route, requestId, startMs, who, code } = seen;
    const durationMs = Math.max(0, this.#options.now() - startMs);
    // Methods are a closed set to node:http; routes are ours; so labels are bounded.
    const labels = { method: request.method, route, status: String(status) };
    this.metrics.count("sallyport_http_requests_total", HELP.requests, labels);
    this.metrics.observe("sallyport_http_request_seconds", HELP.seconds, durationMs / 1000);
    this.#options.log({
      atMs: startMs,
      requestId,
      peer: connection.peer,
      method: request.method,
      route,
      path: pathOf(request.url),
      status,
      ...(code === undefined ? {} : { code }),
      ...(who.principal === undefined
        ? {}
        : { person: who.principal.personId, credential: who.principal.id }),
      durationMs,
    });
  }

  #problem(error: unknown, requestId: string): Response {
    const { problem, headers } = problemOf(error, requestId);
    this.metrics.count("sallyport_http_problems_total", HELP.problems, { code: problem.code });
    return new Response(asciiJson(problem), {
      status: problem.status,
      headers: { ...headers, "content-type": PROBLEM_TYPE, "cache-control": "no-store" },
    });
  }
}

/** A HEAD of a stream would open one for nothing. */
function isEndless(route: AnyRoute): boolean {
  return route.produces === "events" || route.produces === "gzip";
}

function allowed(routes: readonly AnyRoute[]): string {
  const methods = routes.flatMap((route) =>
    route.method === "GET" && !isEndless(route) ? ["GET", "HEAD"] : [route.method],
  );
  return methods.join(", ");
}

function pathOf(url: string): string {
  const begin = url.indexOf("/", url.indexOf("//") + 2);
  const path = begin < 0 ? "/" : url.slice(begin);
  return path.split("?", 1)[0] ?? "/";
}
