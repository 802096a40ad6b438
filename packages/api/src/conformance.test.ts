/** Every route of the OpenAPI document, one after another: whatever is wrong is answered as a problem. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { type OpenApi, openApiDocument } from "./openapi/document.ts";
import { ROUTES } from "./routes/index.ts";
import { ROLES } from "./kit/people.test-kit.ts";
import { Plant, problemIn } from "./kit/plant.test-kit.ts";

interface Operation {
  readonly path: string;
  readonly method: string;
  readonly hasBody: boolean;
  readonly isPublic: boolean;
  readonly headers: Readonly<Record<string, string>>;
}

/** So that no route is refused because another was asked too often. */
const PLENTY = { burst: 1e9, perSecond: 1e9 };
const BOUNDS = { principal: PLENTY, source: PLENTY, signIn: PLENTY };
const METHODS = ["GET", "POST", "PUT", "DELETE", "PATCH", "OPTIONS"];
const LOCAL = { peer: "local", transport: "local" } as const;

function operationsOf(document: OpenApi): Operation[] {
  return Object.entries(document.paths).flatMap(([path, methods]) =>
    Object.entries(methods).map(([method, operation]) => ({
      path: path.replaceAll(/\{index\}/g, "0").replaceAll(/\{\w+\}/g, "some-id"),
      method: method.toUpperCase(),
      hasBody: "requestBody" in operation,
      isPublic: Array.isArray(operation["security"]) && operation["security"].length === 0,
      headers: JSON.stringify(operation["parameters"]).includes("If-Match")
        ? { "if-match": '"0"' }
        : {},
    })),
  );
}

const operations = operationsOf(openApiDocument());
const withBody = operations.filter(({ hasBody }) => hasBody);

async function each(
  list: readonly Operation[],
  look: (operation: Operation, plant: Plant, token: string) => Promise<void>,
): Promise<void> {
  const plant = new Plant(BOUNDS);
  assert.ok(list.length > 20, `only ${list.length} routes were looked at`);
  for (const operation of list) {
    try {
      // A key for each, since one of the routes is to sign out.
      await look(operation, plant, plant.key("ida"));
    } catch (cause) {
      throw new Error(`${operation.method} ${operation.path}`, { cause });
    }
  }
}

/** Asks on the local socket, where every route is; sign-in routes take no token. */
function asks(plant: Plant, token: string, { method, path, isPublic, headers }: Operation) {
  const credentials = isPublic ? {} : { token };
  return (more: { raw?: string; headers?: Record<string, string>; suffix?: string } = {}) =>
    plant.ask(`${path}${more.suffix ?? ""}`, {
      method,
      ...credentials,
      connection: LOCAL,
      headers: { ...headers, ...more.headers },
      ...(more.raw === undefined ? {} : { raw: more.raw }),
    });
}

test("serves each route of the document and no other", () => {
  const served = ROUTES.map(({ method, path }) => `${method} ${path}`).sort();
  const documented = Object.entries(openApiDocument().paths)
    .flatMap(([path, methods]) => Object.keys(methods).map((one) => `${one.toUpperCase()} ${path}`))
    .sort();
  assert.deepEqual(served, documented);
  assert.equal(new Set(served).size, served.length);
});

test("answers a path that is not in the document with 404 as a problem, signed in or not", async () => {
  const plant = new Plant(BOUNDS);
  for (const path of [
    "/",
    "/v1",
    "/v1/",
    "/v2/status",
    "/v1/status/",
    "/v1//status",
    "/V1/status",
  ]) {
    const response = await plant.ask(path, { token: plant.key("ida") });
    assert.equal(response.status, 404, path);
    assert.equal((await problemIn(response)).code, "no-such-route");
  }
});

test("answers a wrong method with 405, Allow, and a problem", () =>
  each(operations, async ({ path }, plant, token) => {
    const right = operations.filter((one) => one.path === path).map(({ method }) => method);
    for (const method of METHODS.filter((one) => !right.includes(one))) {
      const response = await plant.ask(path, { method, token });
      const allow = response.headers.get("allow")?.split(", ") ?? [];
      assert.equal(response.status, 405, method);
      assert.deepEqual(allow.filter((one) => one !== "HEAD").sort(), right.sort());
      assert.equal((await problemIn(response)).code, "method-not-allowed");
    }
  }));

test("answers who is not signed in with 401 as a problem, before it reads anything", () =>
  each(
    operations.filter(({ isPublic }) => !isPublic),
    async ({ path, method, hasBody }, plant) => {
      for (const token of [undefined, "wrong"]) {
        const response = await plant.ask(path, {
          method,
          ...(token === undefined ? {} : { token }),
          ...(hasBody ? { raw: "{" } : {}),
        });
        assert.equal(response.status, 401);
        assert.equal(response.headers.get("www-authenticate"), "Bearer");
        assert.equal((await problemIn(response)).code, "sign-in-needed");
      }
    },
  ));

test("answers who may not with 403 as a problem", async () => {
  let looked = 0;
  await each(operations, async ({ path, method, hasBody }, plant) => {
    const route = ROUTES.find((one) => one.method === method && matches(one.path, path));
    const access = route?.access ?? "anyone";
    if (!access.includes(".") || ROLES["vendor"]?.some((name) => name === access)) return;
    const token = plant.key("vic");
    const response = await plant.ask(path, { method, token, ...(hasBody ? { raw: "{" } : {}) });
    assert.equal(response.status, 403);
    assert.equal((await problemIn(response)).code, "not-permitted");
    looked += 1;
  });
  assert.ok(looked > 50, `only ${looked}`);
});

function matches(template: string, path: string): boolean {
  const names = template.split("/");
  const parts = path.split("/");
  return (
    names.length === parts.length &&
    names.every((name, at) => name === parts[at] || name[0] === "{")
  );
}

test("answers a body of another type with 415", () =>
  each(withBody, async (operation, plant, token) => {
    const ask = asks(plant, token, operation);
    for (const type of ["text/plain", "application/x-www-form-urlencoded", "multipart/form-data"]) {
      const response = await ask({ raw: "{}", headers: { "content-type": type } });
      assert.equal(response.status, 415, type);
      assert.equal((await problemIn(response)).code, "media-type-refused");
    }
  }));

test("answers broken, doubled and poisoned JSON with 400", () =>
  each(withBody, async (operation, plant, token) => {
    const ask = asks(plant, token, operation);
    for (const raw of ["{", "not json", '{"a":1,"a":2}', '{"__proto__":{}}', '{"a":"\\ud800"}']) {
      const response = await ask({ raw });
      assert.equal(response.status, 400, raw);
      assert.equal((await problemIn(response)).code, "bad-json");
    }
  }));

test("answers a missing body with 400", () =>
  each(withBody, async (operation, plant, token) => {
    const response = await asks(plant, token, operation)();
    assert.equal(response.status, 400);
    assert.equal((await problemIn(response)).code, "body-missing");
  }));

test("answers an unknown member with 422 and names it", () =>
  each(withBody, async (operation, plant, token) => {
    const response = await asks(plant, token, operation)({ raw: '{"surprise":1}' });
    assert.equal(response.status, 422);
    const { code, errors } = await problemIn(response);
    assert.equal(code, "wrong-fields");
    // Where the shape depends on `kind`, that is asked for first.
    const isNamed = errors?.some(({ field }) => field.includes("surprise") || field === "kind");
    assert.equal(isNamed, true, JSON.stringify(errors));
  }));

test("answers an unknown parameter of a query with 422 and names it", () =>
  each(
    operations.filter(({ hasBody }) => !hasBody),
    async (operation, plant, token) => {
      const response = await asks(plant, token, operation)({ suffix: "?surprise=1" });
      assert.equal(response.status, 422);
      const { errors } = await problemIn(response);
      assert.ok(errors?.some(({ field }) => field === "surprise"));
    },
  ));

test("answers a body of more bytes than the route takes with 413", () =>
  each(withBody, async (operation, plant, token) => {
    const response = await asks(
      plant,
      token,
      operation,
    )({
      raw: JSON.stringify({ padding: "x".repeat(3 * 1024 * 1024) }),
    });
    assert.equal(response.status, 413);
    assert.equal((await problemIn(response)).code, "body-too-large");
  }));

test("answers a path that leads out, or holds what no id has, with a problem", async () => {
  const plant = new Plant(BOUNDS);
  const token = plant.key("ida");
  const ids = [
    "..%2f..%2fetc%2fpasswd",
    "%00",
    "a%0d%0ab",
    "'%20OR%201=1--",
    "%ff",
    "%E2%80%AE",
    "a".repeat(200),
  ];
  for (const one of ids) {
    const response = await plant.ask(`/v1/people/${one}`, { token });
    assert.equal(response.status, 422, one);
    assert.equal((await problemIn(response)).code, "wrong-fields");
  }
  const up = await plant.ask("/v1/people/../../../etc/passwd", { token });
  assert.equal(up.status, 404);
});

test("sends the headers that bind browsers with every answer, and never one that lets another origin in", () =>
  each(operations, async (operation, plant, token) => {
    const asked = asks(plant, token, operation);
    const answers = [await asked({ headers: { origin: "https://evil.example" } }), await asked()];
    for (const { headers, status, body } of answers) {
      await body?.cancel();
      assert.match(headers.get("content-security-policy") ?? "", /^default-src 'none'/);
      assert.match(headers.get("strict-transport-security") ?? "", /max-age=\d{8}/);
      assert.equal(headers.get("x-content-type-options"), "nosniff");
      assert.match(headers.get("request-id") ?? "", /^r-\d+$/);
      assert.match(headers.get("cache-control") ?? "", /no-store|no-cache/);
      for (const [name] of headers) assert.ok(!name.startsWith("access-control-"), name);
      const type = headers.get("content-type");
      if (status >= 400) assert.equal(type, "application/problem+json");
    }
  }));

test("answers text/plain on the metrics route alone", () =>
  each(operations, async (operation, plant, token) => {
    const response = await asks(plant, token, operation)();
    await response.body?.cancel();
    const type = response.headers.get("content-type") ?? "";
    assert.equal(type.startsWith("text/plain"), operation.path === "/metrics");
    assert.notEqual(response.status, 500);
  }));
