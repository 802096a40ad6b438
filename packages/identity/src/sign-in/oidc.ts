/**
 * Sign-in at the organization's identity provider: OpenID Connect, code flow with PKCE, state and
 * nonce. What belongs to one sign-in is sealed into a cookie, so that nothing is kept for visitors,
 * and the answer counts only in the browser that asked. Each answer counts once. The answer must
 * name the provider that was asked (RFC 9207) wherever that one says it does.
 */
import { Buffer } from "node:buffer";
import * as client from "openid-client";
import { OIDC_FLOW_MS, OIDC_METADATA_MS } from "../limits.ts";
import type { Means } from "../ports.ts";
import type { Person } from "../records.ts";
import { type Refusal, type RefusalCause, refuse } from "../refusals.ts";
import { seal, unseal } from "../sealing.ts";
import { base64url, change, equalText, makeToken, sha256, sha256Hex } from "../secrets.ts";
import { newPerson } from "../people/people.ts";
import { Lockout, sourceCounter } from "./lockout.ts";
import {
  checkOidcProvider,
  type OidcPerson,
  type OidcProvider,
  personOfClaims,
} from "./oidc-provider.ts";
import type { Present, SignedIn, SignIns } from "./sign-ins.ts";

export interface OidcMeans extends Means {
  readonly signIns: SignIns;
  readonly providers: readonly OidcProvider[];
  /** With a limit of time and size, and no way to addresses but the providers'. */
  readonly fetch: client.CustomFetch;
  /** Seals the cookie; one per start of the process will do. */
  readonly cookieKey: Uint8Array;
}

export interface OidcStart {
  readonly kind: "started";
  /** Where to send the browser. */
  readonly url: string;
  /** For a cookie that is HttpOnly, Secure and SameSite=Lax: the answer comes from another site. */
  readonly cookie: string;
}

/** What is sealed into the cookie. */
interface Flow {
  readonly provider: string;
  readonly state: string;
  readonly nonce: string;
  readonly verifier: string;
  readonly startedAtMs: number;
  /** The sign-in that is stepped up; empty for a new one. */
  readonly stepUp: string;
}

interface Claims {
  readonly kind: "claims";
  readonly claims: Readonly<Record<string, unknown>>;
}

/** An answer has a code, a state, an issuer and perhaps an error with a sentence. */
const QUERY_MAX_CHARACTERS = 8192;
const COOKIE_NAME = "oidc-flow";
const COOKIE_MAX_CHARACTERS = 4096;

export class Oidc {
  readonly #means: OidcMeans;
  readonly #providers: ReadonlyMap<string, OidcProvider>;
  readonly #lockout: Lockout;
  readonly #known = new Map<
    string,
    { readonly config: client.Configuration; readonly atMs: number }
  >();

  /** Throws `oidc-not-usable` for a provider that asks for no second factor. */
  constructor(means: OidcMeans) {
    for (const provider of means.providers) checkOidcProvider(provider);
    this.#means = means;
    this.#providers = new Map(means.providers.map((provider) => [provider.id, provider]));
    this.#lockout = new Lockout(means.store.attempts, means.clock);
  }

  /** With `present`, people show their second factor at the provider again. */
  async start(providerId: string, present?: Present): Promise<OidcStart | Refusal> {
    const provider = this.#providers.get(providerId);
    if (provider === undefined) return refuse("oidc-provider-unknown");
    const { random, clock, cookieKey } = this.#means;
    const config = await this.#configuration(provider);
    if (config === undefined) return refuse("oidc-provider-failed");
    const flow: Flow = {
      provider: providerId,
      state: makeToken(random),
      nonce: makeToken(random),
      verifier: makeToken(random),
      startedAtMs: clock.nowMs(),
      stepUp: present?.signIn.id ?? "",
    };
    const url = client.buildAuthorizationUrl(config, {
      redirect_uri: provider.redirectUri,
      scope: provider.scope,
      state: flow.state,
      nonce: flow.nonce,
      code_challenge: base64url(sha256(flow.verifier)),
      code_challenge_method: "S256",
      max_age: String(present === undefined ? provider.maxAgeSeconds : 0),
      ...wantedClaims(provider),
      ...(present === undefined ? {} : { prompt: "login" }),
    });
    const sealed = seal([cookieKey], COOKIE_NAME, Buffer.from(JSON.stringify(flow)), random);
    return { kind: "started", url: url.href, cookie: base64url(sealed) };
  }

  /** `query` is what stands after `?` in the address the browser came back to. */
  async finish(
    answer: {
      readonly provider: string;
      readonly query: unknown;
      readonly cookie: unknown;
      readonly source: string;
    },
    present?: Present,
  ): Promise<SignedIn | Present | Refusal> {
    const { events, signIns } = this.#means;
    const { source, provider } = answer;
    const counter = sourceCounter(source);
    const locked = await this.#lockout.begin([counter]);
    const outcome = locked ?? (await this.#verify(answer, present));
    if (outcome.kind === "refused") {
      const { cause, detail = "" } = outcome;
      const fields = { source, by: "oidc", provider, because: cause, detail };
      await events.record("sign-in-refused", fields);
      return outcome;
    }
    await this.#lockout.succeed(undefined, counter);
    if (present !== undefined) return signIns.stepUp(present, "oidc");
    const { person, claims } = outcome;
    const fields = { provider, acr: claims.acr, amr: claims.amr };
    return signIns.begin({ person, factors: ["oidc"], source, fields });
  }

  async #verify(
    {
      provider: id,
      query,
      cookie,
    }: { readonly provider: string; readonly query: unknown; readonly cookie: unknown },
    present: Present | undefined,
  ): Promise<
    { readonly kind: "verified"; readonly person: Person; readonly claims: OidcPerson } | Refusal
  > {
    const provider = this.#providers.get(id);
    if (provider === undefined) return refuse("oidc-provider-unknown");
    if (typeof query !== "string" || query.length > QUERY_MAX_CHARACTERS)
      return refuse("request-malformed");
    const flow = this.#flowOf(cookie);
    if (flow === undefined || flow.stepUp !== (present?.signIn.id ?? "")) {
      return refuse("oidc-state-unknown");
    }
    const answer = new URLSearchParams(query);
    const fault = await this.#refuseAnswer(provider, flow, answer);
    if (fault !== undefined) return refuse(fault);
    const config = await this.#configuration(provider);
    if (config === undefined) return refuse("oidc-provider-failed");
    if (isMixedUp(provider, config, answer)) return refuse("oidc-mix-up");
    if (answer.has("error")) return refuse("oidc-declined");
    const answered = await this.#claims(provider, config, flow, answer);
    if (answered.kind === "refused") return answered;
    const nowMs = this.#means.clock.nowMs();
    const notBeforeMs =
      flow.stepUp === "" ? nowMs - provider.maxAgeSeconds * 1000 : flow.startedAtMs;
    const known = personOfClaims(provider, answered.claims, { nowMs, notBeforeMs });
    if (typeof known === "string") return refuse(known);
    const person = await this.#personOf(provider, known);
    if (typeof person === "string") return refuse(person);
    const isOther = present !== undefined && present.person.id !== person.id;
    return isOther ? refuse("oidc-state-unknown") : { kind: "verified", person, claims: known };
  }

  #flowOf(cookie: unknown): Flow | undefined {
    if (typeof cookie !== "string" || cookie.length > COOKIE_MAX_CHARACTERS) return undefined;
    const opened = unseal([this.#means.cookieKey], COOKIE_NAME, Buffer.from(cookie, "base64url"));
    if (opened.kind === "refused") return undefined;
    // Nobody but us can have sealed it, so it is what `start` wrote.
    return JSON.parse(Buffer.from(opened.secret).toString("utf8")) as Flow;
  }

  /** All that can be said before the provider is asked. Of two equal answers one goes on. */
  async #refuseAnswer(
    provider: OidcProvider,
    flow: Flow,
    answer: URLSearchParams,
  ): Promise<RefusalCause | undefined> {
    const { clock, store } = this.#means;
    if (flow.provider !== provider.id) return "oidc-mix-up";
    const states = answer.getAll("state");
    if (states.length !== 1 || !equalText(states[0] ?? "", flow.state)) return "oidc-state-unknown";
    const ageMs = clock.nowMs() - flow.startedAtMs;
    if (ageMs < 0 || ageMs >= OIDC_FLOW_MS) return "oidc-state-expired";
    const isFirst = await store.used.add({
      id: `oidc:${sha256Hex(flow.state)}`,
      revision: 1,
      expiresAtMs: flow.startedAtMs + OIDC_FLOW_MS,
    });
    return isFirst ? undefined : "oidc-state-used";
  }

  async #claims(
    provider: OidcProvider,
    config: client.Configuration,
    flow: Flow,
    answer: URLSearchParams,
  ): Promise<Claims | Refusal> {
    // Not the address that the request names: what a proxy or a browser says about it is not ours.
    const url = new URL(provider.redirectUri);
    url.search = answer.toString();
    try {
      const tokens = await client.authorizationCodeGrant(config, url, {
        expectedState: flow.state,
        expectedNonce: flow.nonce,
        pkceCodeVerifier: flow.verifier,
        idTokenExpected: true,
      });
      const claims = tokens.claims();
      if (claims === undefined) return refuse("oidc-token-invalid");
      if (claims[provider.groupsClaim] !== undefined) return { kind: "claims", claims };
      const more = await client.fetchUserInfo(config, tokens.access_token, claims.sub);
      // What the signed token says counts before what the other answer says.
      return { kind: "claims", claims: { ...more, ...claims } };
    } catch (error) {
      return refuse(causeOf(error), { detail: error instanceof Error ? error.message : "" });
    }
  }

  async #configuration(provider: OidcProvider): Promise<client.Configuration | undefined> {
    const { clock, fetch } = this.#means;
    const nowMs = clock.nowMs();
    const known = this.#known.get(provider.id);
    if (known !== undefined && Math.abs(nowMs - known.atMs) < OIDC_METADATA_MS) return known.config;
    try {
      const config = await client.discovery(
        new URL(provider.issuer),
        provider.clientId,
        {},
        client.ClientSecretBasic(provider.clientSecret),
        {
          [client.customFetch]: fetch,
          // The token's signature is verified, though it comes over TLS from the provider itself.
          execute: [client.enableNonRepudiationChecks],
        },
      );
      this.#known.set(provider.id, { config, atMs: nowMs });
      return config;
    } catch {
      // What was read an hour ago is better than to let nobody in.
      return known?.config;
    }
  }

  /** A name stays with the subject it was first given to; a provider may give it to a successor. */
  async #personOf(provider: OidcProvider, known: OidcPerson): Promise<Person | RefusalCause> {
    const { store, clock, events } = this.#means;
    const id = sha256Hex(`${provider.issuer}\n${known.subject}\n`);
    const { name, displayName, roles } = known;
    const subject = await store.oidcSubjects.get(id);
    if (subject === undefined) {
      const holder = await store.people.get(name);
      if (holder !== undefined && holder.subject !== id) return "oidc-name-taken";
      const wanted = newPerson({ name, displayName, roles }, provider.id, clock.nowMs());
      const person: Person = { ...wanted, subject: id };
      if (holder === undefined) {
        await events.record("person-added", { person: name, roles, by: provider.id });
        if (!(await store.people.add(person))) return "oidc-name-taken";
      }
      // The person first: should the process end in between, they carry their subject themselves.
      await store.oidcSubjects.add({ id, revision: 1, person: name });
      if (holder === undefined) return person;
    }
    const kept = await store.people.get(subject?.person ?? name);
    if (kept?.state !== "active") return "oidc-person-disabled";
    const isSame = kept.displayName === displayName && kept.roles.join() === roles.join();
    if (isSame) return kept;
    await events.record("person-changed", { person: kept.id, roles, by: provider.id });
    const changed = await change(store.people, kept.id, (now) => ({ ...now, displayName, roles }));
    return changed ?? "oidc-person-disabled";
  }
}

/** OpenID Connect Core §5.5: told in both ways, as providers know one or the other. */
function wantedClaims({ acr, amr }: OidcProvider): Record<string, string> {
  const id_token = {
    ...(acr.length > 0 ? { acr: { essential: true, values: acr } } : {}),
    ...(amr.length > 0 ? { amr: { essential: true } } : {}),
  };
  const claims = JSON.stringify({ id_token });
  return acr.length > 0 ? { acr_values: acr.join(" "), claims } : { claims };
}

/** RFC 9207 §2.4. */
function isMixedUp(
  { issuer }: OidcProvider,
  config: client.Configuration,
  answer: URLSearchParams,
): boolean {
  const named = answer.getAll("iss");
  const { authorization_response_iss_parameter_supported: mustName = false } =
    config.serverMetadata();
  if (named.length === 0) return mustName;
  return named.length > 1 || named[0] !== issuer;
}

function causeOf(error: unknown): RefusalCause {
  if (error instanceof client.ResponseBodyError) return "oidc-token-invalid";
  if (!(error instanceof client.ClientError)) return "oidc-provider-failed";
  const inner: unknown = error.cause;
  const detail: unknown = inner instanceof Error ? inner.cause : undefined;
  const isNonce =
    typeof detail === "object" && detail !== null && "claim" in detail && detail.claim === "nonce";
  return isNonce ? "oidc-nonce" : "oidc-token-invalid";
}
