/** The OpenAPI 3.1 document, made from the routes: what is not here is not served. */
import { z } from "zod";
import { IDEMPOTENCY_MS } from "../http/limits.ts";
import { COOKIE } from "../http/guard.ts";
import { fieldsOf } from "../http/fields.ts";
import { PROBLEM_TYPE } from "../http/problem.ts";
import { type AnyRoute, needsStepUp } from "../http/route.ts";
import { ROUTES } from "../routes/index.ts";
import { id } from "../shapes/common.ts";

type Schema = Record<string, unknown>;

export interface OpenApi {
  readonly openapi: string;
  readonly info: Schema;
  readonly paths: Record<string, Record<string, Schema>>;
  readonly components: { readonly schemas: Record<string, Schema> };
  readonly [more: string]: unknown;
}

const problem: Schema = {
  type: "object",
  required: ["type", "title", "status", "detail", "code", "requestId"],
  properties: {
    type: { type: "string", description: "urn:sallyport:diagnostic: and the code" },
    title: { type: "string" },
    status: { type: "integer" },
    detail: { type: "string" },
    code: { type: "string", description: "Stable; its page is docs/diagnostics/<code>.md" },
    hint: { type: "string", description: "What to do next" },
    requestId: { type: "string" },
    errors: {
      type: "array",
      items: {
        type: "object",
        required: ["field", "message"],
        properties: { field: { type: "string" }, message: { type: "string" } },
      },
    },
  },
};

/** Of the API, not of the product: the first number changes only with the path's `v1`. */
export const API_VERSION = "1.0.0";

export function openApiDocument(routes: readonly AnyRoute[] = ROUTES): OpenApi {
  const schemas: Record<string, Schema> = { Problem: problem };
  const paths: Record<string, Record<string, Schema>> = {};
  for (const route of routes) {
    const path = (paths[route.path] ??= {});
    path[route.method.toLowerCase()] = operationOf(route, schemas);
  }
  return {
    openapi: "3.1.1",
    info: {
      title: "Sallyport",
      version: API_VERSION,
      description: "The API that the console, the command line and scripts use.",
      license: { name: "Apache-2.0", identifier: "Apache-2.0" },
    },
    servers: [{ url: "/" }],
    security: [{ session: [], request: [] }, { key: [] }],
    paths,
    components: {
      schemas: Object.fromEntries(Object.entries(schemas).sort(([a], [b]) => (a < b ? -1 : 1))),
      securitySchemes: {
        session: { type: "apiKey", in: "cookie", name: COOKIE },
        request: { type: "apiKey", in: "header", name: "Sallyport-Request" },
        key: { type: "http", scheme: "bearer" },
      },
    },
  } as OpenApi;
}

let text: string | undefined;

/** Made when it is first asked for, once for the process. */
export function openApiText(): string {
  text ??= JSON.stringify(openApiDocument());
  return text;
}

function operationOf(route: AnyRoute, schemas: Record<string, Schema>): Schema {
  const isPublic = route.access === "anyone" || route.access === "sign-in";
  const asked = isPublic
    ? []
    : [
        `Needs ${route.access === "signed-in" ? "a sign-in" : `the permission \`${route.access}\``}.`,
      ];
  if (needsStepUp(route)) asked.push("Needs a second factor of the last 5 minutes.");
  if (route.localOnly === true) asked.push("Answered on the local socket only.");
  return {
    operationId: operationId(route),
    summary: route.summary,
    ...(asked.length === 0 ? {} : { description: asked.join(" ") }),
    tags: [route.path.split("/")[route.path.startsWith("/v1/") ? 2 : 1] ?? ""],
    ...(isPublic ? { security: [] } : {}),
    parameters: parametersOf(route, schemas),
    ...(route.body === undefined
      ? {}
      : {
          requestBody: {
            required: true,
            content: { "application/json": { schema: schemaOf(route.body, schemas) } },
          },
        }),
    responses: answersOf(route, schemas),
  };
}

/** `postChangesApply` from `POST /v1/changes/{change}/apply`; parameters that end a path are `One`. */
export function operationId({ method, path }: Pick<AnyRoute, "method" | "path">): string {
  const words = path
    .replace(/^\/v1\//, "")
    .replace(/\{[^}]+\}$/, "one")
    .replaceAll(/\{[^}]+\}\/?/g, "")
    .split(/[^A-Za-z0-9]+/)
    .filter((word) => word !== "");
  const name = words.map((word) => word.charAt(0).toUpperCase() + word.slice(1)).join("");
  return method.toLowerCase() + name;
}

function parametersOf(route: AnyRoute, schemas: Record<string, Schema>): Schema[] {
  const inPath = [...route.path.matchAll(/\{(\w+)\}/g)].map((match) => ({
    name: match[1],
    in: "path",
    required: true,
    schema: schemaOf(id, schemas),
  }));
  const query = z.toJSONSchema(fieldsOf(route.query).query, { io: "input" });
  const required = new Set(query.required);
  const inQuery = Object.entries(query.properties ?? {}).map(([name, schema]) => ({
    name,
    in: "query",
    required: required.has(name),
    schema: schema as Schema,
  }));
  return [...inPath, ...inQuery, ...headersOf(route)];
}

function headersOf(route: AnyRoute): Schema[] {
  const header = (name: string, required: boolean, description: string): Schema => ({
    name,
    in: "header",
    required,
    description,
    schema: { type: "string" },
  });
  const headers: Schema[] = [];
  if (route.idempotent === true) {
    const hours = IDEMPOTENCY_MS / 3_600_000;
    const description = `The same key and body within ${hours} hours get the same answer.`;
    headers.push(header("Idempotency-Key", false, description));
  }
  if (route.etag !== undefined && route.method === "PUT") {
    headers.push(header("If-Match", true, "The ETag of what was read."));
  }
  if (route.etag !== undefined && route.method === "GET") {
    headers.push(header("If-None-Match", false, "An ETag; answers 304 if it is still that."));
  }
  if (route.produces === "events") {
    headers.push(header("Last-Event-ID", false, "The last event that was seen."));
  }
  return headers;
}

const TYPES = {
  events: "text/event-stream",
  gzip: "application/gzip",
  metrics: "text/plain",
  document: "application/json",
} as const;

function answersOf(route: AnyRoute, schemas: Record<string, Schema>): Schema {
  const status = String(route.status ?? 200);
  const failed = { default: problemAnswer };
  if (status === "204") return { [status]: { description: "Done" }, ...failed };
  const type = route.produces === undefined ? "application/json" : TYPES[route.produces];
  const etag = { ETag: { schema: { type: "string" } } };
  return {
    [status]: {
      description: "Done",
      ...(route.etag === undefined ? {} : { headers: etag }),
      content: { [type]: { schema: bodySchema(route, schemas) } },
    },
    ...(route.etag !== undefined && route.method === "GET"
      ? { "304": { description: "It is still what the ETag names" } }
      : {}),
    ...failed,
  };
}

/** A stream's and a file's bytes have no JSON schema; each event's `data` has. */
function bodySchema(route: AnyRoute, schemas: Record<string, Schema>): Schema {
  if (route.produces === "events") schemaOf(route.answer, schemas);
  if (route.produces === undefined) return schemaOf(route.answer, schemas);
  return route.produces === "document" ? { type: "object" } : { type: "string" };
}

const problemAnswer = {
  description: "A problem",
  content: { [PROBLEM_TYPE]: { schema: { $ref: "#/components/schemas/Problem" } } },
};

/** Named parts go to `components`; a name that stood for two different things would be a mistake here. */
function schemaOf(type: z.ZodType, schemas: Record<string, Schema>): Schema {
  const made = z.toJSONSchema(type, { io: "input" });
  const {
    $schema: _dialect,
    $defs,
    id: name,
    ...own
  } = JSON.parse(JSON.stringify(made).replaceAll('"#/$defs/', '"#/components/schemas/')) as Schema;
  for (const [part, schema] of Object.entries(($defs ?? {}) as Record<string, Schema>)) {
    keep(part, schema, schemas);
  }
  if (typeof name !== "string") return own;
  keep(name, own, schemas);
  return { $ref: `#/components/schemas/${name}` };
}

function keep(name: string, { id: _id, ...schema }: Schema, schemas: Record<string, Schema>): void {
  const known = schemas[name];
  if (known !== undefined && JSON.stringify(known) !== JSON.stringify(schema)) {
    throw new TypeError(`two shapes are called ${name}`);
  }
  schemas[name] = schema;
}
