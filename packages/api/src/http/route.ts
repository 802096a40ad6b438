/** A route is data: the server, the OpenAPI document and the client's types are all made from it. */
import type { z } from "zod";
import type { Caller } from "../services/caller.ts";
import { type Permission, STEP_UP } from "../services/permissions.ts";
import type { Services } from "../services/index.ts";
import type { PageRequest } from "../shapes/common.ts";

export type Method = "GET" | "POST" | "PUT" | "DELETE";

type ParamNames<Path extends string> = Path extends `${string}{${infer Name}}${infer Rest}`
  ? Name | ParamNames<Rest>
  : never;
export type Params<Path extends string> = { readonly [Name in ParamNames<Path>]: string };

/**
 * Who may call: anyone at all; anyone who tries to sign in (few tries); whoever is signed in; whoever has the
 * permission.
 */
export type Access = "anyone" | "sign-in" | "signed-in" | Permission;

/** What a handler gets: all of it checked. */
export interface Call<Path extends string, Query, Body> {
  readonly params: Params<Path>;
  readonly query: Query;
  readonly body: Body;
  /** The entity tag of `If-Match`, without quotes; empty where the route needs none. */
  readonly ifMatch: string;
  readonly page: PageRequest;
  readonly session: SessionCookie;
}

/** For the routes that begin or end a session of a browser. */
export interface SessionCookie {
  set(token: string, maxAgeSeconds: number): void;
  clear(): void;
}

export interface Spec<Path extends string, Query, Body, Answer> {
  /** One sentence without a full stop, for the OpenAPI document. */
  readonly summary: string;
  readonly access: Access;
  /** A second factor of the last minutes, beside the permissions that always want one. */
  readonly stepUp?: true;
  /** Answered on the local socket only; elsewhere it is not there. */
  readonly localOnly?: true;
  readonly query?: z.ZodType<Query>;
  readonly body?: z.ZodType<Body>;
  readonly bodyBytesMax?: number;
  readonly answer: z.ZodType<Answer>;
  /** 200 when left out; 204 answers nothing. */
  readonly status?: 200 | 201 | 202 | 204;
  /** The answer's entity tag; GET then answers 304 and PUT needs `If-Match`. */
  readonly etag?: (answer: Answer) => string;
  /** Takes an `Idempotency-Key`. Never where the answer holds a secret. */
  readonly idempotent?: true;
  /** What is answered instead of JSON. */
  readonly produces?: "events" | "gzip" | "metrics" | "document";
  run(services: Services, caller: Caller, call: Call<Path, Query, Body>): Promise<unknown>;
}

export interface Route<
  M extends Method = Method,
  Path extends string = string,
  Query = unknown,
  Body = unknown,
  Answer = unknown,
> extends Spec<Path, Query, Body, Answer> {
  readonly method: M;
  readonly path: Path;
}

/**
 * A handler answers what its service answers; what the shape does not name is cut off before it is sent.
 * The service's pages have a place where the shape has a cursor, so the answer's type is checked by the
 * shape at run time and by tests, not here.
 */
function define<M extends Method>(method: M) {
  return <Path extends string, Answer, Query = undefined, Body = undefined>(
    path: Path,
    spec: Spec<Path, Query, Body, Answer>,
  ): Route<M, Path, Query, Body, Answer> => ({ method, path, ...spec });
}

export const get = define("GET");
export const post = define("POST");
export const put = define("PUT");
export const del = define("DELETE");

/** Any route, its types forgotten: what comes was checked with the route's own shapes before `run`. */
export interface AnyRoute {
  readonly method: Method;
  readonly path: string;
  readonly summary: string;
  readonly access: Access;
  readonly stepUp?: true;
  readonly localOnly?: true;
  readonly query?: z.ZodType;
  readonly body?: z.ZodType;
  readonly bodyBytesMax?: number;
  readonly answer: z.ZodType;
  readonly status?: 200 | 201 | 202 | 204;
  readonly etag?: (answer: never) => string;
  readonly idempotent?: true;
  readonly produces?: "events" | "gzip" | "metrics" | "document";
  run(services: Services, caller: Caller, call: never): Promise<unknown>;
}

export function needsStepUp({ access, stepUp }: Pick<AnyRoute, "access" | "stepUp">): boolean {
  return stepUp === true || STEP_UP.has(access);
}
