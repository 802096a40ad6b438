/** Sessions of browsers: cookies, foreign pages, rebound names, second factors. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { AUTHORITY, Plant, problemIn } from "./kit/plant.test-kit.ts";

const OURS = { "sec-fetch-site": "same-origin", origin: `https://${AUTHORITY}` };
const HEADER = { "sallyport-request": "1" };
const RIGHT = { person: "anna", password: "anna-has-a-long-password", totp: "123456" };

test("a sign-in gives a cookie that only this server gets and no script reads", async () => {
  const plant = new Plant();
  const response = await plant.ask("/v1/sign-in/password", { body: RIGHT, headers: OURS });
  assert.equal(response.status, 200);
  const cookie = response.headers.get("set-cookie") ?? "";
  assert.match(
    cookie,
    /^__Host-sallyport=[\w-]{32}; Path=\/; Max-Age=28800; Secure; HttpOnly; SameSite=Strict$/,
  );
  const text = await response.text();
  const token = cookie.split(/[=;]/)[1] ?? "";
  assert.ok(!text.includes(token), "the token is in the cookie alone");
  const me = await plant.ask("/v1/session", { cookie: token });
  assert.equal(((await me.json()) as { person: string }).person, "anna");
});

test("signing out ends the session and clears the cookie", async () => {
  const plant = new Plant();
  const cookie = plant.people.open("anna");
  const out = await plant.ask("/v1/session", {
    method: "DELETE",
    cookie,
    headers: { ...OURS, ...HEADER },
  });
  assert.equal(out.status, 204);
  assert.match(out.headers.get("set-cookie") ?? "", /Max-Age=0/);
  assert.equal((await plant.ask("/v1/session", { cookie })).status, 401);
});

test("a wrong credential is always answered with the same words", async () => {
  const plant = new Plant();
  const wrong = [
    { ...RIGHT, password: "no" },
    { ...RIGHT, totp: "000000" },
    { ...RIGHT, person: "nobody" },
  ];
  const details = new Set<string>();
  for (const body of wrong) {
    const response = await plant.ask("/v1/sign-in/password", { body, headers: OURS });
    assert.equal(response.status, 401);
    details.add((await problemIn(response)).detail);
  }
  assert.equal(details.size, 1);
});

test("a page of another site can change nothing with a person's cookie", async () => {
  const plant = new Plant();
  const cookie = plant.people.open("ola");
  const body = { reason: "I was told so" };
  const foreign = [
    { ...HEADER, "sec-fetch-site": "cross-site" },
    { ...HEADER, "sec-fetch-site": "same-site" },
    { ...HEADER, "sec-fetch-site": "none" },
    { ...HEADER, origin: "https://evil.example" },
    { ...HEADER, origin: "null" },
    { ...HEADER, origin: `http://${AUTHORITY}` },
    { ...HEADER, origin: `https://${AUTHORITY}.evil.example` },
    { ...OURS },
    {},
  ];
  for (const headers of foreign) {
    const response = await plant.ask("/v1/zones/cell-1/island", { cookie, body, headers });
    assert.equal(response.status, 403, JSON.stringify(headers));
    assert.equal((await problemIn(response)).code, "cross-site");
  }
  const zones = (await (await plant.ask("/v1/zones", { cookie })).json()) as {
    items: { name: string; island: boolean }[];
  };
  assert.ok(zones.items.every(({ island }) => !island));
  const own = await plant.ask("/v1/zones/cell-1/island", {
    cookie,
    body,
    headers: { ...OURS, ...HEADER },
  });
  assert.equal(own.status, 200);
});

test("a page of another site cannot read with the cookie, nor sign a person in as somebody else", async () => {
  const plant = new Plant();
  const cookie = plant.people.open("anna");
  const headers = { "sec-fetch-site": "cross-site", origin: "https://evil.example" };
  assert.equal((await plant.ask("/v1/session", { cookie, headers })).status, 403);
  const signIn = await plant.ask("/v1/sign-in/password", { body: RIGHT, headers });
  assert.equal((await problemIn(signIn)).code, "cross-site");
  assert.equal(plant.people.counts.passwords, 0);
});

test("OPTIONS, a browser's question whether it may, is never answered with yes", async () => {
  const plant = new Plant();
  const headers = {
    origin: "https://evil.example",
    "access-control-request-method": "POST",
    "access-control-request-headers": "sallyport-request",
  };
  const response = await plant.ask("/v1/zones/cell-1/island", { method: "OPTIONS", headers });
  assert.equal(response.status, 405);
  assert.equal(response.headers.get("access-control-allow-origin"), null);
});

test("a name that was rebound to this server's address is not answered", async () => {
  const plant = new Plant();
  const token = plant.key("ida");
  for (const name of [
    "evil.example",
    `${AUTHORITY}:8443`,
    "127.0.0.1",
    "localhost",
    `${AUTHORITY}.`,
  ]) {
    const response = await plant.ask(`https://${name}/v1/status`, { token });
    assert.equal(response.status, 421, name);
    assert.equal((await problemIn(response)).code, "wrong-host");
  }
});

test("a script's key needs no header of a browser, and two secrets at once are refused", async () => {
  const plant = new Plant();
  const token = plant.key("ola");
  const body = { reason: "drill" };
  assert.equal((await plant.ask("/v1/zones/cell-1/island", { token, body })).status, 200);
  const both = await plant.ask("/v1/status", { token, cookie: plant.people.open("ola") });
  assert.equal((await problemIn(both)).code, "bad-request");
  const twice = `__Host-sallyport=a; __Host-sallyport=b`;
  const cookies = await plant.ask("/v1/status", { headers: { cookie: twice } });
  assert.equal(cookies.status, 400);
});

test("a cookie's secret is of no use as a key, nor a key as a cookie", async () => {
  const plant = new Plant();
  assert.equal((await plant.ask("/v1/session", { token: plant.people.open("anna") })).status, 401);
  assert.equal((await plant.ask("/v1/session", { cookie: plant.key("anna") })).status, 401);
});

test("what opens people's doors asks for a second factor of the last five minutes", async () => {
  const plant = new Plant();
  const cookie = plant.people.open("ida", "session", false);
  const headers = { ...OURS, ...HEADER };
  const body = { id: "eve", name: "Eve", roles: ["operator"] };
  const ask = () => plant.ask("/v1/people", { cookie, headers, body });
  assert.equal((await problemIn(await ask())).code, "step-up-needed");
  const given = { kind: "totp", totp: "123456" };
  const up = await plant.ask("/v1/session/step-up/finish", { cookie, headers, body: given });
  assert.equal(up.status, 200);
  plant.clock.nowMs += 5 * 60_000 + 1;
  assert.equal((await problemIn(await ask())).code, "step-up-needed");
  await plant.ask("/v1/session/step-up/finish", { cookie, headers, body: given });
  plant.clock.nowMs -= 1;
  assert.equal((await problemIn(await ask())).code, "step-up-needed", "a clock that went back");
  plant.clock.nowMs += 1;
  assert.equal((await ask()).status, 201);
});

test("the proof of a uid is answered on the local socket only", async () => {
  const plant = new Plant();
  const body = { uid: 0 };
  const far = await plant.ask("/v1/sign-in/local/begin", { body });
  assert.equal((await problemIn(far)).code, "no-such-route");
  const connection = { peer: "local", transport: "local" } as const;
  const begun = await plant.ask("/v1/sign-in/local/begin", { body, connection });
  const { flow } = (await begun.json()) as { flow: string };
  const done = await plant.ask("/v1/sign-in/local/finish", { body: { flow }, connection });
  const { token, session } = (await done.json()) as { token: string; session: { kind: string } };
  assert.equal(session.kind, "uid");
  assert.equal((await plant.ask("/v1/status", { token, connection })).status, 200);
});

test("a disabled person is signed out everywhere at the next request", async () => {
  const plant = new Plant();
  const token = plant.key("anna");
  assert.equal((await plant.ask("/v1/status", { token })).status, 200);
  const body = { reason: "left the company" };
  await plant.ask("/v1/people/anna/disable", { token: plant.key("ida"), body });
  assert.equal((await plant.ask("/v1/status", { token })).status, 401);
});
