/** The typed client, from an edit to a confirmed policy, with two people and a signature. */
import assert from "node:assert/strict";
import { generateKeyPairSync, sign } from "node:crypto";
import { test } from "node:test";
import { SallyportError } from "@sallyport/core";
import { type Client, createClient } from "./client.ts";
import { AUTHORITY, Plant } from "./kit/plant.test-kit.ts";

function clientOf(plant: Plant, person: string): Client {
  return createClient({
    baseUrl: `https://${AUTHORITY}`,
    token: plant.key(person),
    fetch: (url, init) =>
      plant.api.fetch(new Request(url, init), { peer: "192.0.2.9", transport: "tls" }),
  });
}

function refusedWith(code: string) {
  return (error: unknown): boolean => error instanceof SallyportError && error.code === code;
}

const FILES = { files: [{ name: "site.yaml", text: "site: lab\nzones: {}\n" }] };

async function planned(anna: Client) {
  const draft = await anna.call("GET /v1/policy/draft");
  const { value } = await anna.call("PUT /v1/policy/draft", {
    body: FILES,
    ifMatch: draft.etag ?? "",
  });
  const body = { reason: "a new zone", draftSha256: value.sha256 };
  return (await anna.call("POST /v1/changes", { body, idempotencyKey: "once" })).value;
}

test("draft, plan, approval of a second person, apply, confirm", async () => {
  const plant = new Plant();
  const [anna, ben] = [clientOf(plant, "anna"), clientOf(plant, "ben")];
  const { privateKey, publicKey } = generateKeyPairSync("ed25519");
  plant.policy.addKey(
    "ben-key",
    "ben",
    publicKey.export({ type: "spki", format: "pem" }).toString(),
  );
  const { id, signable } = await planned(anna);
  const params = { change: id };
  const order = { sha256: signable.sha256, confirmWithinSeconds: 60 };
  await assert.rejects(
    anna.call("POST /v1/changes/{change}/apply", { params, body: order }),
    refusedWith("approval-missing"),
  );
  const signature = sign(null, Buffer.from(signable.sha256, "hex"), privateKey);
  const approval = {
    kind: "ed25519",
    key: "ben-key",
    signature: signature.toString("base64url"),
  } as const;
  await assert.rejects(
    anna.call("POST /v1/changes/{change}/approvals", { params, body: approval }),
    refusedWith("not-permitted"),
  );
  await ben.call("POST /v1/changes/{change}/approvals", { params, body: approval });
  const applied = await anna.call("POST /v1/changes/{change}/apply", { params, body: order });
  assert.equal(applied.value.state, "applied");
  const confirmed = await anna.call("POST /v1/changes/{change}/confirm", { params, body: {} });
  assert.equal(confirmed.value.state, "confirmed");
  const running = await ben.call("GET /v1/policy/running");
  assert.deepEqual(running.value.files, FILES.files);
  assert.equal(running.value.generation, 2);
});

test("an author's own signature does not count, even with the permission", async () => {
  const plant = new Plant();
  const ida = clientOf(plant, "ida");
  const { privateKey, publicKey } = generateKeyPairSync("ed25519");
  plant.policy.addKey(
    "ida-key",
    "ida",
    publicKey.export({ type: "spki", format: "pem" }).toString(),
  );
  const { id, signable } = await planned(ida);
  const signature = sign(null, Buffer.from(signable.sha256, "hex"), privateKey).toString(
    "base64url",
  );
  await assert.rejects(
    ida.call("POST /v1/changes/{change}/approvals", {
      params: { change: id },
      body: { kind: "ed25519", key: "ida-key", signature },
    }),
    (error) => error instanceof SallyportError && /never the author/.test(error.message),
  );
});

test("a failure has the service's code, sentence and hint", async () => {
  const client = clientOf(new Plant(), "anna");
  const put = client.call("PUT /v1/policy/draft", { body: FILES, ifMatch: "0" });
  await assert.rejects(put, (error) => {
    assert.ok(error instanceof SallyportError);
    assert.deepEqual(
      [error.code, error.message, error.hint],
      ["draft-changed", "the draft is another by now", "read it again"],
    );
    return true;
  });
});

test("lists take their filters and cursors", async () => {
  const client = clientOf(new Plant(), "anna");
  const { value } = await client.call("GET /v1/conduits", { query: { limit: 2 } });
  const next = await client.call("GET /v1/conduits", {
    query: { limit: 2, cursor: value.next ?? "" },
  });
  assert.deepEqual(
    [...value.items, ...next.value.items].map(({ name }) => name),
    ["conduit-0", "conduit-1", "conduit-2", "conduit-3"],
  );
});

test("a parameter cannot lead to another path", async () => {
  const client = clientOf(new Plant(), "ida");
  const params = { person: "../keys" };
  await assert.rejects(
    client.call("GET /v1/people/{person}", { params }),
    refusedWith("wrong-fields"),
  );
});

test("what is not Sallyport, and what does not answer, is api-unreachable", async () => {
  for (const fetch of [
    () => Promise.reject(new TypeError("fetch failed")),
    () => Promise.resolve(new Response("<h1>Bad Gateway</h1>", { status: 502 })),
    () => Promise.resolve(new Response("<h1>Welcome</h1>")),
    () => Promise.resolve(new Response("null", { status: 500 })),
  ]) {
    const client = createClient({ baseUrl: "https://x.example", fetch });
    await assert.rejects(client.call("GET /v1/status"), refusedWith("api-unreachable"));
  }
});
