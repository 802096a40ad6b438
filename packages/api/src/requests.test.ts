/** Lists, repeats, conditions, limits, logs: what a script or an attacker meets on any route. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { accessLine } from "./http/log.ts";
import { Plant, problemIn } from "./kit/plant.test-kit.ts";

interface Listed {
  readonly items: readonly { readonly name: string }[];
  readonly next?: string;
}

async function conduits(plant: Plant, token: string, query = ""): Promise<Listed> {
  const response = await plant.ask(`/v1/conduits${query}`, { token });
  assert.equal(response.status, 200);
  return (await response.json()) as Listed;
}

test("a list of any length is read page by page, each item once", async () => {
  const plant = new Plant();
  const token = plant.key("anna");
  const names: string[] = [];
  let page = await conduits(plant, token);
  assert.equal(page.items.length, 50);
  for (;;) {
    names.push(...page.items.map(({ name }) => name));
    if (page.next === undefined) break;
    page = await conduits(plant, token, `?cursor=${page.next}`);
  }
  assert.equal(names.length, 120);
  assert.equal(new Set(names).size, 120);
});

test("a limit is 1 to 200, and a cursor is of use for its own list only", async () => {
  const plant = new Plant();
  const token = plant.key("anna");
  const { next = "" } = await conduits(plant, token, "?limit=1");
  assert.notEqual(next, "");
  for (const query of [
    "limit=0",
    "limit=201",
    "limit=1e2",
    "limit=-1",
    "limit=",
    "limit=1&limit=2",
  ]) {
    const response = await plant.ask(`/v1/conduits?${query}`, { token });
    assert.equal((await problemIn(response)).code, "wrong-fields", query);
  }
  for (const cursor of [
    "x",
    "%00",
    Buffer.from('[1,"GET /v1/conduits",7]').toString("base64url"),
  ]) {
    const response = await plant.ask(`/v1/conduits?cursor=${cursor}`, { token });
    assert.equal(response.status, 422, cursor);
  }
  const elsewhere = await plant.ask(`/v1/flows?cursor=${next}`, { token });
  assert.equal((await problemIn(elsewhere)).errors?.[0]?.field, "cursor");
});

const GRANT = {
  conduit: "c-1",
  asset: "plc-1",
  source: "10.0.0.9",
  seconds: 600,
  reason: "repair",
};

test("a request repeated with its Idempotency-Key is answered again and creates nothing", async () => {
  const plant = new Plant();
  const token = plant.key("anna");
  const headers = { "idempotency-key": "2f1c" };
  const first = await plant.ask("/v1/grant-requests", { token, headers, body: GRANT });
  const again = await plant.ask("/v1/grant-requests", { token, headers, body: GRANT });
  assert.equal(first.status, 201);
  assert.equal(again.status, 201);
  assert.equal(again.headers.get("idempotency-replayed"), "true");
  assert.deepEqual(await again.json(), await first.json());
  const other = await plant.ask("/v1/grant-requests", {
    token,
    headers,
    body: { ...GRANT, seconds: 601 },
  });
  assert.equal(other.status, 409);
  assert.equal((await problemIn(other)).code, "key-reused");
  const list = await plant.ask("/v1/grant-requests", { token });
  assert.equal(((await list.json()) as Listed).items.length, 1);
});

test("another person's equal key is a key of its own, and a day later it is new", async () => {
  const plant = new Plant();
  const headers = { "idempotency-key": "2f1c" };
  const ask = async (person: string): Promise<string | null> => {
    const token = plant.key(person);
    const response = await plant.ask("/v1/grant-requests", { token, headers, body: GRANT });
    assert.equal(response.status, 201);
    return response.headers.get("idempotency-replayed");
  };
  assert.equal(await ask("anna"), null);
  assert.equal(await ask("vic"), null);
  assert.equal(await ask("anna"), "true");
  plant.clock.nowMs += 24 * 3_600_000;
  assert.equal(await ask("anna"), null);
});

test("a refused request may be sent again with the same key", async () => {
  const plant = new Plant();
  const token = plant.key("anna");
  const headers = { "idempotency-key": "k" };
  const { sha256 } = await draftOf(plant, token);
  const body = { reason: "why", draftSha256: "0".repeat(64) };
  const refused = await plant.ask("/v1/changes", { token, headers, body });
  assert.equal((await problemIn(refused)).code, "draft-changed");
  const good = await plant.ask("/v1/changes", {
    token,
    headers,
    body: { ...body, draftSha256: sha256 },
  });
  assert.equal(good.status, 201);
});

async function draftOf(plant: Plant, token: string): Promise<{ sha256: string; etag: string }> {
  const response = await plant.ask("/v1/policy/draft", { token });
  const { sha256 } = (await response.json()) as { sha256: string };
  return { sha256, etag: response.headers.get("etag") ?? "" };
}

test("two people who edit one draft cannot overwrite each other", async () => {
  const plant = new Plant();
  const [anna, ida] = [plant.key("anna"), plant.key("ida")];
  const { sha256, etag } = await draftOf(plant, anna);
  assert.equal(etag, `"${sha256}"`);
  const put = (token: string, text: string, headers: Record<string, string>) =>
    plant.ask("/v1/policy/draft", {
      method: "PUT",
      token,
      headers,
      body: { files: [{ name: "site.yaml", text }] },
    });
  assert.equal((await problemIn(await put(anna, "site: a\n", {}))).code, "condition-needed");
  for (const tag of ["*", `W/${etag}`, `${etag}, "b"`, sha256]) {
    const response = await put(anna, "site: a\n", { "if-match": tag });
    assert.equal((await problemIn(response)).code, "wrong-fields", tag);
  }
  const written = await put(ida, "site: ida\n", { "if-match": etag });
  assert.equal(written.status, 200);
  assert.notEqual(written.headers.get("etag"), etag);
  const late = await put(anna, "site: anna\n", { "if-match": etag });
  assert.equal(late.status, 412);
  assert.equal((await problemIn(late)).code, "draft-changed");
});

test("a policy that has not changed is answered with 304 and no body", async () => {
  const plant = new Plant();
  const token = plant.key("anna");
  const { etag } = await draftOf(plant, token);
  for (const tag of [etag, `W/${etag}`, `"x", ${etag}`, "*"]) {
    const response = await plant.ask("/v1/policy/draft", {
      token,
      headers: { "if-none-match": tag },
    });
    assert.equal(response.status, 304, tag);
    assert.equal(await response.text(), "");
  }
  const other = await plant.ask("/v1/policy/draft", { token, headers: { "if-none-match": '"x"' } });
  assert.equal(other.status, 200);
});

test("what a service lets slip is cut off before it is sent", async () => {
  const plant = new Plant();
  const response = await plant.ask("/v1/session/credentials", { token: plant.key("anna") });
  const text = await response.text();
  assert.match(text, /"c-1"/);
  assert.ok(!text.includes("secret-of-the-store"));
});

test("what nobody foresaw is a 500 that tells nothing but its request's id", async () => {
  const plant = new Plant();
  plant.watch.status.status = () => Promise.reject(new Error("SELECT password FROM people failed"));
  const response = await plant.ask("/v1/status", { token: plant.key("anna") });
  assert.equal(response.status, 500);
  const problem = await problemIn(response);
  assert.equal(problem.code, "internal-error");
  assert.ok(!JSON.stringify(problem).includes("SELECT"));
  assert.ok(problem.hint?.includes(problem.requestId));
});

test("an answer that never comes is given up on", async () => {
  const plant = new Plant({ answerMsMax: 20 });
  let isAborted = false;
  plant.watch.status.status = ({ signal }) => {
    signal.addEventListener("abort", () => (isAborted = true));
    return new Promise(() => undefined);
  };
  const response = await plant.ask("/v1/status", { token: plant.key("anna") });
  assert.equal(response.status, 503);
  assert.equal(isAborted, true);
});

test("one person who asks too often waits, and nobody else does", async () => {
  const plant = new Plant({ principal: { burst: 3, perSecond: 1 } });
  const [anna, ben] = [plant.key("anna"), plant.key("ben")];
  for (let i = 0; i < 3; i++)
    assert.equal((await plant.ask("/v1/status", { token: anna })).status, 200);
  const late = await plant.ask("/v1/status", { token: anna });
  assert.equal(late.status, 429);
  assert.equal(late.headers.get("retry-after"), "1");
  assert.equal((await problemIn(late)).code, "rate-limited");
  assert.equal((await plant.ask("/v1/status", { token: ben })).status, 200);
});

test("a storm of wrong credentials computes few hashes and leaves who is signed in alone", async () => {
  const plant = new Plant();
  const token = plant.key("anna");
  const body = { person: "anna", password: "guess", totp: "000000" };
  const statuses: number[] = [];
  for (let i = 0; i < 200; i++) {
    statuses.push((await plant.ask("/v1/sign-in/password", { body })).status);
  }
  assert.equal(statuses.filter((status) => status === 429).length, 180);
  assert.equal(plant.people.counts.passwords, 20);
  for (let i = 0; i < 1000; i++) await plant.ask("/v1/status", { token: "wrong" });
  assert.equal((await plant.ask("/v1/status", { token: "wrong" })).status, 429);
  assert.equal((await plant.ask("/v1/status", { token })).status, 200);
});

test("sign-ins that take long do not pile up", async () => {
  const plant = new Plant();
  let release = (): void => undefined;
  const gate = new Promise<void>((resolve) => (release = resolve));
  const checked = plant.people.password.bind(plant.people);
  plant.people.password = async (...given) => {
    await gate;
    return checked(...given);
  };
  const body = { person: "anna", password: "guess", totp: "000000" };
  const asked = Array.from({ length: 10 }, () => plant.ask("/v1/sign-in/password", { body }));
  const early = await Promise.race(asked.slice(4));
  assert.equal((await problemIn(early)).code, "too-busy");
  release();
  const statuses = (await Promise.all(asked)).map(({ status }) => status);
  assert.equal(statuses.filter((status) => status === 401).length, 4);
  assert.equal(statuses.filter((status) => status === 503).length, 6);
});

test("what a stranger sends cannot begin a line of the log, and secrets are not in it", async () => {
  const plant = new Plant();
  const forged = '/v1/status/%0a{"at":"2026"}\u202e/x?token=secret-in-query';
  await plant.ask(forged, { token: "a-secret-token" });
  await plant.ask("/v1/status", { token: plant.key("anna") });
  const lines = plant.log.map(accessLine);
  assert.equal(lines.length, 2);
  for (const line of lines) {
    assert.match(line, /^[\x20-\x7e]+$/);
    assert.ok(!line.includes("secret"));
    JSON.parse(line);
  }
  const accented = accessLine({ ...logged(plant), person: "Zoë\u2028\u0085\n" });
  assert.match(accented, /^[\x20-\x7e]+$/);
  assert.equal((JSON.parse(accented) as { person: string }).person, "Zoë\u2028\u0085\n");
  assert.deepEqual([plant.log[1]?.person, plant.log[1]?.route], ["anna", "/v1/status"]);
});

function logged(plant: Plant) {
  const [entry] = plant.log;
  assert.ok(entry);
  return entry;
}

test("a reason cannot hold a line break or a mark that turns text around", async () => {
  const plant = new Plant();
  const token = plant.key("ola");
  for (const reason of ["a\nb", "a\u202eb", "\u0000", "a\u2028b", "a\u200bb"]) {
    const response = await plant.ask("/v1/zones/cell-1/island", { token, body: { reason } });
    assert.equal((await problemIn(response)).errors?.[0]?.field, "reason");
  }
  const good = await plant.ask("/v1/zones/cell-1/island", {
    token,
    body: { reason: "Störung, Zelle 1" },
  });
  assert.equal(good.status, 200);
});

test("readyz says which process is not ready, healthz only that this one lives", async () => {
  const plant = new Plant();
  assert.equal((await plant.ask("/readyz")).status, 200);
  plant.watch.notReady.add("archivist");
  const response = await plant.ask("/readyz");
  assert.equal(response.status, 503);
  assert.match((await problemIn(response)).detail, /archivist/);
  assert.deepEqual(await (await plant.ask("/healthz")).json(), { alive: true });
});

test("metrics count by route and code, never by what a stranger sends", async () => {
  const plant = new Plant();
  const token = plant.key("ida");
  for (let i = 0; i < 50; i++) await plant.ask(`/v1/people/nobody-${i}`, { token });
  for (let i = 0; i < 50; i++) await plant.ask(`/no/such/${i}`, { token });
  const text = await (await plant.ask("/metrics", { token })).text();
  assert.match(
    text,
    /^sallyport_http_requests_total\{method="GET",route="\/v1\/people\/\{person\}",status="404"\} 50$/m,
  );
  assert.match(text, /^sallyport_http_problems_total\{code="no-such-route"\} 50$/m);
  assert.match(text, /^sallyport_http_request_seconds_bucket\{le="\+Inf"\} 100$/m);
  assert.ok(!text.includes("nobody-"));
  assert.equal((await plant.ask("/metrics")).status, 401);
});

test("an API key may only what its scopes say, and never more than its owner", async () => {
  const plant = new Plant();
  const body = { name: "scrape", scopes: ["evidence.read"], days: 30 };
  const made = await plant.ask("/v1/keys", { token: plant.key("ida"), body });
  assert.equal(made.status, 201);
  const { secret } = (await made.json()) as { secret: string };
  assert.equal((await plant.ask("/v1/ledger/head", { token: secret })).status, 200);
  assert.equal((await plant.ask("/v1/status", { token: secret })).status, 403);
});
