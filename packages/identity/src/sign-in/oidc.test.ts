import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import type { CustomFetch } from "openid-client";
import { causeOf, Desk, HOUR_MS, MINUTE_MS, ORIGIN, SOURCE } from "../desk.test-kit.ts";
import { OIDC_FLOW_MS } from "../limits.ts";
import { Oidc, type OidcStart } from "./oidc.ts";
import { fetchWith, type Idp, startIdp } from "./oidc-idp.test-kit.ts";
import { checkOidcProvider, type OidcProvider, personOfClaims } from "./oidc-provider.ts";

const CORP = `${ORIGIN}/oidc/corp`;
const EVIL = `${ORIGIN}/oidc/evil`;

let idp: Idp;
let evil: Idp;
before(async () => {
  idp = await startIdp([CORP]);
  evil = await startIdp([EVIL]);
});
after(async () => {
  await idp.close();
  await evil.close();
});

function providerOf(of: Idp, id: string, more: Partial<OidcProvider> = {}): OidcProvider {
  return {
    id,
    issuer: of.issuer,
    clientId: "sallyport",
    clientSecret: of.clientSecret,
    redirectUri: `${ORIGIN}/oidc/${id}`,
    scope: "openid profile groups",
    acr: ["urn:plant:mfa"],
    amr: ["otp", "hwk"],
    nameClaim: "preferred_username",
    groupsClaim: "groups",
    roles: { "ot-engineers": ["engineer"], "ot-audit": ["auditor"], "ot-ops": ["operator"] },
    maxAgeSeconds: 3600,
    ...more,
  };
}

interface Made {
  readonly desk: Desk;
  readonly oidc: Oidc;
}

function make(
  more: Partial<OidcProvider> = {},
  wrap = (fetch: CustomFetch): CustomFetch => fetch,
): Made {
  const desk = new Desk(Date.now());
  const both = fetchWith(idp.ca + evil.ca);
  const oidc = new Oidc({
    ...desk.means,
    providers: [providerOf(idp, "corp", more), providerOf(evil, "evil")],
    fetch: wrap(both),
    cookieKey: desk.random.bytes(32),
  });
  return { desk, oidc };
}

/** Each test bends the account and gets it back. */
async function asAccount<T>(bent: Partial<Idp["account"]>, act: () => Promise<T>): Promise<T> {
  const { ...honest } = idp.account;
  Object.assign(idp.account, bent);
  try {
    return await act();
  } finally {
    Object.assign(idp.account, honest);
  }
}

async function begin(oidc: Oidc, id = "corp"): Promise<OidcStart> {
  const started = await oidc.start(id);
  assert.ok(started.kind === "started", JSON.stringify(started));
  return started;
}

async function signIn({ oidc }: Made): Promise<unknown> {
  const { url, cookie } = await begin(oidc);
  const query = await idp.signIn(url);
  return oidc.finish({ provider: "corp", query, cookie, source: SOURCE });
}

test("people of the organization sign in with its second factor, and get their groups' roles", async () => {
  const made = make();
  const signedIn = (await signIn(made)) as {
    kind: string;
    person: object;
    signIn: { factors: unknown };
  };
  assert.equal(signedIn.kind, "signed-in", JSON.stringify(signedIn));
  const { id, displayName, roles, origin } = (await made.desk.store.people.all())[0] ?? {};
  assert.deepEqual(
    { id, displayName, roles, origin },
    { id: "ines.meyer@corp", displayName: "Ines Meyer", roles: ["engineer"], origin: "corp" },
  );
  assert.deepEqual(signedIn.signIn.factors, ["oidc"]);
  const [fields] = made.desk.events.of("sign-in");
  assert.equal(fields?.["acr"], "urn:plant:mfa");
  assert.deepEqual(fields?.["amr"], ["pwd", "otp"]);
});

test("the request has state, nonce, PKCE and what level is wanted, and its secrets are not in the address", async () => {
  const { oidc } = make();
  const { url, cookie } = await begin(oidc);
  const asked = new URL(url).searchParams;
  assert.equal(asked.get("code_challenge_method"), "S256");
  for (const name of ["state", "nonce", "code_challenge"])
    assert.equal(asked.get(name)?.length, 43);
  assert.equal(asked.get("acr_values"), "urn:plant:mfa");
  assert.equal(asked.get("redirect_uri"), CORP);
  assert.equal(asked.get("max_age"), "3600");
  assert.ok(!Buffer.from(cookie, "base64url").includes(asked.get("state") ?? "-"), "sealed");
});

test("groups that change at the provider change roles here at the next sign-in", async () => {
  const made = make();
  await signIn(made);
  await asAccount({ groups: ["ot-ops", "others"] }, async () => signIn(made));
  assert.deepEqual((await made.desk.store.people.get("ines.meyer@corp"))?.roles, ["operator"]);
  assert.equal(made.desk.store.people.kept.size, 1);
  assert.equal(made.desk.events.of("person-changed").length, 1);
});

test("an answer counts once: the same state again is a replay", async () => {
  const { desk, oidc } = make();
  const { url, cookie } = await begin(oidc);
  const query = await idp.signIn(url);
  const answer = { provider: "corp", query, cookie, source: SOURCE };
  assert.equal((await oidc.finish(answer)).kind, "signed-in");
  const replay = await oidc.finish(answer);
  assert.equal(causeOf(replay), "oidc-state-used");
  assert.ok(replay.kind === "refused" && replay.code === "oidc-refused");
  assert.equal(desk.events.of("sign-in").length, 1);
  assert.equal(desk.events.of("sign-in-refused")[0]?.["because"], "oidc-state-used");
});

test("of one answer given twice at the same moment, one signs in", async () => {
  const { oidc } = make();
  const { url, cookie } = await begin(oidc);
  const query = await idp.signIn(url);
  const answer = { provider: "corp", query, cookie, source: SOURCE };
  const kinds = (await Promise.all([oidc.finish(answer), oidc.finish(answer)])).map(
    ({ kind }) => kind,
  );
  assert.deepEqual(kinds.sort(), ["refused", "signed-in"]);
});

test("a token of another sign-in is refused by its nonce", async () => {
  let recorded: string | undefined;
  let isReplaying = false;
  const made = make({}, (fetch) => async (url, options) => {
    const response = await fetch(url, options);
    if (!url.endsWith("/token")) return response;
    const body = await response.text();
    recorded ??= body;
    const answer = isReplaying ? recorded : body;
    return new Response(answer, { status: response.status, headers: response.headers });
  });
  assert.equal(((await signIn(made)) as { kind: string }).kind, "signed-in");
  isReplaying = true;
  assert.equal(causeOf(await signIn(made)), "oidc-nonce");
});

test("a token that somebody changed is refused by its signature", async () => {
  const made = make({}, (fetch) => async (url, options) => {
    const response = await fetch(url, options);
    if (!url.endsWith("/token")) return response;
    const tokens = (await response.json()) as { id_token: string };
    const [head = "", body = "", signature = ""] = tokens.id_token.split(".");
    const claims = JSON.parse(Buffer.from(body, "base64url").toString()) as object;
    const bent = Buffer.from(
      JSON.stringify({ ...claims, acr: "urn:plant:mfa", groups: ["ot-audit"] }),
    );
    const id_token = `${head}.${bent.toString("base64url")}.${signature}`;
    return Response.json({ ...tokens, id_token });
  });
  assert.equal(causeOf(await signIn(made)), "oidc-token-invalid");
});

test("mix-up: an answer of another provider is refused by the issuer that it names", async () => {
  const { oidc } = make();
  const { url, cookie } = await begin(oidc);
  const query = new URLSearchParams(await idp.signIn(url));
  assert.equal(query.get("iss"), idp.issuer, "the provider names itself (RFC 9207)");
  query.set("iss", evil.issuer);
  const outcome = await oidc.finish({
    provider: "corp",
    query: query.toString(),
    cookie,
    source: SOURCE,
  });
  assert.equal(causeOf(outcome), "oidc-mix-up");
});

test("mix-up: an answer without an issuer, or with two, is refused where the provider names itself", async () => {
  for (const bend of ["none", "two"]) {
    const { oidc } = make();
    const { url, cookie } = await begin(oidc);
    const query = new URLSearchParams(await idp.signIn(url));
    if (bend === "none") query.delete("iss");
    else query.append("iss", idp.issuer);
    const outcome = await oidc.finish({
      provider: "corp",
      query: query.toString(),
      cookie,
      source: SOURCE,
    });
    assert.equal(causeOf(outcome), "oidc-mix-up", bend);
  }
});

test("mix-up: a sign-in begun at one provider does not end at another's address", async () => {
  const { oidc } = make();
  const { url, cookie } = await begin(oidc, "evil");
  const query = await evil.signIn(url);
  const outcome = await oidc.finish({ provider: "corp", query, cookie, source: SOURCE });
  assert.equal(causeOf(outcome), "oidc-mix-up");
  // Nor when that provider lies about who it is.
  const again = await begin(oidc, "evil");
  const lie = new URLSearchParams(await evil.signIn(again.url));
  lie.set("iss", idp.issuer);
  const answer = { provider: "corp", query: lie.toString(), cookie: again.cookie, source: SOURCE };
  assert.equal(causeOf(await oidc.finish(answer)), "oidc-mix-up");
});

test("an answer counts only in the browser that asked", async () => {
  const { oidc } = make();
  const { url } = await begin(oidc);
  const query = await idp.signIn(url);
  const other = await begin(oidc);
  const finish = async (cookie: unknown): Promise<string> =>
    causeOf(await oidc.finish({ provider: "corp", query, cookie, source: SOURCE }));
  assert.equal(await finish(other.cookie), "oidc-state-unknown");
  for (const cookie of [undefined, "", 7, "AAAA", other.cookie.slice(1), "A".repeat(5000)]) {
    assert.equal(await finish(cookie), "oidc-state-unknown");
  }
});

test("an answer without its state, with two, or too late is refused", async () => {
  const { desk, oidc } = make();
  const { url, cookie } = await begin(oidc);
  const good = await idp.signIn(url);
  const finish = async (query: unknown): Promise<string> =>
    causeOf(await oidc.finish({ provider: "corp", query, cookie, source: SOURCE }));
  const state = new URLSearchParams(good).get("state") ?? "";
  assert.equal(await finish(good.replace(state, "x")), "oidc-state-unknown");
  assert.equal(await finish(`${good}&state=${state}`), "oidc-state-unknown");
  assert.equal(await finish(""), "oidc-state-unknown");
  assert.equal(await finish(7), "request-malformed");
  assert.equal(await finish("x".repeat(8193)), "request-malformed");
  desk.clock.advance(OIDC_FLOW_MS);
  assert.equal(await finish(good), "oidc-state-expired");
  desk.clock.advance(-OIDC_FLOW_MS - 1);
  assert.equal(await finish(good), "oidc-state-expired");
});

test("a code that the provider did not give is refused", async () => {
  const { oidc } = make();
  const { url, cookie } = await begin(oidc);
  const query = new URLSearchParams(await idp.signIn(url));
  query.set("code", "invented");
  const outcome = await oidc.finish({
    provider: "corp",
    query: query.toString(),
    cookie,
    source: SOURCE,
  });
  assert.equal(causeOf(outcome), "oidc-token-invalid");
});

test("PKCE: a code stolen on its way is no good in a flow of the thief's", async () => {
  const { oidc } = make();
  const victim = await begin(oidc);
  const stolen = new URLSearchParams(await idp.signIn(victim.url)).get("code") ?? "";
  const thief = await begin(oidc);
  const query = new URLSearchParams(await idp.signIn(thief.url));
  query.set("code", stolen);
  const outcome = await oidc.finish({
    provider: "corp",
    query: query.toString(),
    cookie: thief.cookie,
    source: SOURCE,
  });
  assert.equal(causeOf(outcome), "oidc-token-invalid");
});

test("a refusal of the provider signs nobody in, and must be the provider's", async () => {
  const { oidc } = make();
  const { url, cookie } = await begin(oidc);
  const state = new URL(url).searchParams.get("state") ?? "";
  const query = new URLSearchParams({ error: "access_denied", state, iss: idp.issuer }).toString();
  assert.equal(
    causeOf(await oidc.finish({ provider: "corp", query, cookie, source: SOURCE })),
    "oidc-declined",
  );
});

const BENT: readonly [string, Partial<Idp["account"]>, string][] = [
  ["the level was not reached", { acr: "urn:plant:pwd" }, "oidc-acr"],
  ["the provider says no level", { acr: undefined }, "oidc-acr"],
  ["no second factor was used", { amr: ["pwd"] }, "oidc-amr"],
  ["the provider names no methods", { amr: undefined }, "oidc-amr"],
  ["no group has a role", { groups: ["sales"] }, "oidc-no-role"],
  [
    "a group is named like a built-in member",
    { groups: ["constructor", "__proto__"] },
    "oidc-no-role",
  ],
  ["groups are no list", { groups: "ot-engineers" }, "oidc-no-role"],
  [
    "more groups than are read",
    { groups: Array<string>(501).fill("ot-engineers") },
    "oidc-no-role",
  ],
  ["groups that exclude each other", { groups: ["ot-audit", "ot-ops"] }, "oidc-roles-conflict"],
  ["a name that is none", { username: "Ines Meyer!" }, "oidc-name"],
  ["a name with another provider's mark", { username: "root@corp" }, "oidc-name"],
];

for (const [what, bent, cause] of BENT) {
  test(`nobody signs in when ${what}`, async () => {
    const made = make();
    await asAccount(bent, async () => assert.equal(causeOf(await signIn(made)), cause));
    assert.equal(made.desk.store.people.kept.size, 0);
    assert.equal(made.desk.store.signIns.kept.size, 0);
  });
}

test("a name that the provider gives to a successor opens nothing of the first holder's", async () => {
  const made = make();
  await signIn(made);
  await asAccount({ sub: "u-2002" }, async () => {
    assert.equal(causeOf(await signIn(made)), "oidc-name-taken");
  });
});

test("a process that ended in the middle of a first sign-in locks nobody out", async () => {
  const made = make();
  await signIn(made);
  made.desk.store.oidcSubjects.kept.clear();
  assert.equal(((await signIn(made)) as { kind: string }).kind, "signed-in");
  assert.equal(made.desk.store.people.kept.size, 1);
  assert.equal(made.desk.store.oidcSubjects.kept.size, 1);
});

test("who is disabled here stays out, whatever the provider says", async () => {
  const made = make();
  await signIn(made);
  const kept = await made.desk.store.people.get("ines.meyer@corp");
  assert.ok(kept);
  await made.desk.store.people.replace(kept, {
    ...kept,
    revision: kept.revision + 1,
    state: "disabled",
  });
  assert.equal(causeOf(await signIn(made)), "oidc-person-disabled");
});

test("the provider's people are not local people of the same name", async () => {
  const made = make();
  await made.desk.person("ines.meyer", "admin");
  await signIn(made);
  assert.deepEqual((await made.desk.store.people.get("ines.meyer"))?.roles, ["admin"]);
  assert.deepEqual((await made.desk.store.people.get("ines.meyer@corp"))?.roles, ["engineer"]);
});

test("signing in at the provider again steps up, for the same person in the same sign-in", async () => {
  const made = make();
  const signedIn = (await signIn(made)) as { kind: string };
  assert.equal(signedIn.kind, "signed-in");
  const [person] = await made.desk.store.people.all();
  assert.ok(person);
  const present = await made.desk.present(person, "oidc");
  const started = await made.oidc.start("corp", present);
  assert.ok(started.kind === "started");
  assert.equal(new URL(started.url).searchParams.get("prompt"), "login");
  assert.equal(new URL(started.url).searchParams.get("max_age"), "0");
  const query = await idp.signIn(started.url);
  const answer = { provider: "corp", query, cookie: started.cookie, source: SOURCE };
  assert.equal(
    causeOf(await made.oidc.finish(answer)),
    "oidc-state-unknown",
    "not as a new sign-in",
  );
  const outcome = await made.oidc.finish(answer, present);
  assert.equal(outcome.kind, "present", JSON.stringify(outcome));
  const other = await made.oidc.start("corp", present);
  assert.ok(other.kind === "started");
  const eve = await asAccount({ sub: "u-3003", username: "eve" }, () =>
    idp
      .signIn(other.url)
      .then((eves) =>
        made.oidc.finish(
          { provider: "corp", query: eves, cookie: other.cookie, source: SOURCE },
          present,
        ),
      ),
  );
  assert.equal(causeOf(eve), "oidc-state-unknown");
});

test("a provider that cannot be reached, or whose certificate is not trusted, signs nobody in", async () => {
  const desk = new Desk(Date.now());
  const oidc = new Oidc({
    ...desk.means,
    providers: [providerOf(idp, "corp")],
    fetch: fetchWith(evil.ca),
    cookieKey: Buffer.alloc(32, 1),
  });
  assert.equal(causeOf(await oidc.start("corp")), "oidc-provider-failed");
  assert.equal(causeOf(await oidc.start("nobody")), "oidc-provider-unknown");
  const answer = { provider: "nobody", query: "", cookie: "", source: SOURCE };
  assert.equal(causeOf(await oidc.finish(answer)), "oidc-provider-unknown");
});

test("what a provider once said of itself serves on while it is away", async () => {
  let isAway = false;
  const { desk, oidc } = make(
    {},
    (fetch) => (url, options) => (isAway ? Promise.reject(new Error("down")) : fetch(url, options)),
  );
  await begin(oidc);
  isAway = true;
  desk.clock.advance(2 * HOUR_MS);
  await begin(oidc);
});

test("a source that sends nonsense is slowed down", async () => {
  const { oidc } = make();
  const answer = { provider: "corp", query: "", cookie: "", source: SOURCE };
  for (let index = 0; index < 21; index++)
    assert.equal(causeOf(await oidc.finish(answer)), "oidc-state-unknown");
  assert.equal(causeOf(await oidc.finish(answer)), "sign-in-later");
});

test("a provider that asks for no second factor is not set up at all", () => {
  const good = providerOf(idp, "corp");
  checkOidcProvider(good);
  checkOidcProvider({ ...good, acr: [] });
  checkOidcProvider({ ...good, amr: [] });
  const bad: Partial<OidcProvider>[] = [
    { acr: [], amr: [] },
    { id: "Corp" },
    { id: "a@b" },
    { issuer: "corp" },
    { redirectUri: `${ORIGIN}/oidc` },
    { roles: { x: ["root" as "admin"] } },
    { roles: { x: ["auditor", "admin"] } },
    { maxAgeSeconds: 0 },
    { maxAgeSeconds: Number.NaN },
  ];
  for (const more of bad) {
    assert.throws(
      () => checkOidcProvider({ ...good, ...more }),
      { code: "oidc-not-usable" },
      JSON.stringify(more),
    );
  }
});

test("claims are judged by our clock and default to no", () => {
  const nowMs = Date.UTC(2026, 2, 2);
  const nowS = nowMs / 1000;
  const provider = providerOf(idp, "corp");
  const good = {
    iss: provider.issuer,
    sub: "u",
    exp: nowS + 60,
    iat: nowS,
    auth_time: nowS - 60,
    acr: "urn:plant:mfa",
    amr: ["otp"],
    groups: ["ot-ops"],
    preferred_username: "ines",
  };
  const judge = (more: object): unknown =>
    personOfClaims(provider, { ...good, ...more }, { nowMs, notBeforeMs: nowMs - 60 * MINUTE_MS });
  assert.equal((judge({}) as { name: string }).name, "ines@corp");
  assert.equal((judge({ name: "\u202e" }) as { displayName: string }).displayName, "ines");
  const bad: [object, string][] = [
    [{ iss: "https://evil.example" }, "oidc-token-invalid"],
    [{ sub: 7 }, "oidc-token-invalid"],
    [{ exp: nowS - 31 }, "oidc-token-invalid"],
    [{ exp: "x" }, "oidc-token-invalid"],
    [{ iat: nowS + 31 }, "oidc-token-invalid"],
    [{ iat: nowS - OIDC_FLOW_MS / 1000 - 1 }, "oidc-token-invalid"],
    [{ iat: undefined }, "oidc-token-invalid"],
    [{ auth_time: nowS - 3600 - 31 }, "oidc-auth-time"],
    [{ auth_time: undefined }, "oidc-auth-time"],
    [{ acr: ["urn:plant:mfa"] }, "oidc-acr"],
    [{ amr: "otp" }, "oidc-amr"],
    [{ groups: { length: 1 } }, "oidc-no-role"],
    [{ preferred_username: undefined }, "oidc-name"],
  ];
  for (const [more, cause] of bad) assert.equal(judge(more), cause, JSON.stringify(more));
});
