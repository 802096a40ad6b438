/** The committed document is what is served, is valid, and breaks nobody who reads the released one. */
import assert from "node:assert/strict";
import fs from "node:fs";
import { test } from "node:test";
import { Validator } from "@seriousme/openapi-schema-validator";
import { breaks } from "./compare.test-kit.ts";
import { type OpenApi, openApiDocument } from "./document.ts";
import { Plant } from "../kit/plant.test-kit.ts";

const read = (name: string): OpenApi =>
  JSON.parse(fs.readFileSync(new URL(`../../${name}`, import.meta.url), "utf8")) as OpenApi;

/** Made once: it takes a tenth of a second. */
const NOW = openApiDocument();
const WRITE = "run `node tools/openapi.ts`";

test("openapi.json is what the routes say", () => {
  assert.deepEqual(read("openapi.json"), JSON.parse(JSON.stringify(NOW)), WRITE);
});

test("serves that document to anyone", async () => {
  const response = await new Plant().ask("/v1/openapi.json");
  assert.deepEqual(await response.json(), read("openapi.json"));
});

test("breaks no client of the released document", () => {
  assert.deepEqual(breaks(read("openapi.released.json"), NOW), []);
});

type Schema = Record<string, unknown>;

/** A copy of the document in which one thing was changed. */
function changed(change: (document: OpenApi) => void): OpenApi {
  const document = JSON.parse(JSON.stringify(NOW)) as OpenApi;
  change(document);
  return document;
}

function getOf(paths: OpenApi["paths"], path: string): Schema {
  const found = paths[path]?.["get"];
  assert.ok(found, path);
  return found;
}

function schema(document: OpenApi, name: string): { properties: Schema; required: string[] } {
  return document.components.schemas[name] as never;
}

test("sees each way in which a client can be broken", () => {
  const cases: readonly [string, (document: OpenApi) => void][] = [
    ["POST /v1/grants is gone", ({ paths }) => delete paths["/v1/grants"]?.["post"]],
    [
      "GET /v1/status no longer answers 200",
      ({ paths }) => {
        delete (getOf(paths, "/v1/status")["responses"] as Schema)["200"];
      },
    ],
    ["no longer has answer 200.islands", (d) => delete schema(d, "Status").properties["islands"]],
    [
      "may leave out answer 200.timeTrusted now",
      (d) => {
        schema(d, "Status").required = schema(d, "Status").required.filter(
          (one) => one !== "timeTrusted",
        );
      },
    ],
    [
      "needs body.why now",
      (d) => {
        schema(d, "NewChange").properties["why"] = { type: "string" };
        schema(d, "NewChange").required.push("why");
      },
    ],
    ["no longer has body.ticket", (d) => delete schema(d, "NewChange").properties["ticket"]],
    [
      "changes type of body.seconds",
      (d) => {
        schema(d, "NewGrantRequest").properties["seconds"] = { type: "string" };
      },
    ],
    [
      "narrows maximum of body.confirmWithinSeconds",
      (d) => {
        schema(d, "ApplyChange").properties["confirmWithinSeconds"] = {
          type: "integer",
          minimum: 2,
          maximum: 60,
        };
      },
    ],
    [
      'may answer a new "paused" in answer 200.items[].state',
      (d) => {
        (schema(d, "Process").properties["state"] as { enum: string[] }).enum.push("paused");
      },
    ],
    [
      'no longer takes "ocsf" in body.targets[].format',
      (d) => {
        (schema(d, "NewForwardingTarget").properties["format"] as { enum: string[] }).enum.pop();
      },
    ],
    [
      "GET /v1/flows no longer takes conduit",
      ({ paths }) => {
        const flows = getOf(paths, "/v1/flows");
        flows["parameters"] = (flows["parameters"] as Schema[]).filter(
          ({ name }) => name !== "conduit",
        );
      },
    ],
    [
      "needs zone now",
      ({ paths }) => {
        (getOf(paths, "/v1/flows")["parameters"] as Schema[]).push({
          name: "zone",
          in: "query",
          required: true,
        });
      },
    ],
    [
      "has another operationId",
      ({ paths }) => {
        getOf(paths, "/healthz")["operationId"] = "x";
      },
    ],
    [
      "GET /healthz needs a sign-in now",
      ({ paths }) => delete paths["/healthz"]?.["get"]?.["security"],
    ],
  ];
  for (const [sentence, change] of cases) {
    const found = breaks(NOW, changed(change));
    assert.ok(
      found.some((one) => one.includes(sentence)),
      `${sentence}: ${found.join("; ")}`,
    );
  }
});

test("lets a release add routes, optional fields and answers' fields", () => {
  const after = changed((document) => {
    document.paths["/v1/new"] = { get: { operationId: "getNew", responses: {} } };
    schema(document, "Status").properties["news"] = { type: "string" };
    schema(document, "Status").required.push("news");
    schema(document, "NewChange").properties["why"] = { type: "string" };
    schema(document, "ApplyChange").properties["confirmWithinSeconds"] = {
      type: "integer",
      minimum: 1,
      maximum: 7200,
    };
  });
  assert.deepEqual(breaks(NOW, after), []);
});

test("names every operation once, and says which need a sign-in", () => {
  const operations = Object.values(NOW.paths).flatMap((path) => Object.values(path));
  const ids = operations.map((operation) => operation["operationId"]);
  assert.equal(new Set(ids).size, ids.length);
  const isPublic = operations
    .filter(({ security }) => Array.isArray(security))
    .map(({ operationId }) => String(operationId));
  assert.deepEqual(isPublic.filter((id) => !id.startsWith("postSignIn")).sort(), [
    "getHealthz",
    "getOpenapiJson",
    "getReadyz",
    // Shows no sign-in: only local root can open the door that it answers at.
    "postLocalRootRecover",
  ]);
});

test("openapi.json is valid OpenAPI 3.1", async () => {
  const validator = new Validator();
  const { valid, errors } = await validator.validate(read("openapi.json"));
  assert.equal(valid, true, JSON.stringify(errors));
  assert.equal(validator.version, "3.1");
  const broken = { ...read("openapi.json"), info: { title: 7 } };
  assert.equal((await new Validator().validate(broken)).valid, false);
});
