/** What is set up about an organization's identity provider, and what its claims mean here. */
import { SallyportError } from "@sallyport/core";
import { OIDC_CLOCK_TOLERANCE_S, OIDC_FLOW_MS, OIDC_GROUPS_MAX } from "../limits.ts";
import { isDisplayName, isLocalName } from "../people/people.ts";
import { isRole, type Role, rolesConflict } from "../people/roles.ts";
import type { RefusalCause } from "../refusals.ts";

export interface OidcProvider {
  /** Stands after the `@` of its people's names. */
  readonly id: string;
  readonly issuer: string;
  readonly clientId: string;
  readonly clientSecret: string;
  /** Of this provider alone (RFC 9700 §4.4.2.2), registered there exactly so. */
  readonly redirectUri: string;
  readonly scope: string;
  /** The provider must say one of these; none asks for no level. */
  readonly acr: readonly string[];
  /** The provider must name one of these methods; none asks for none. */
  readonly amr: readonly string[];
  readonly nameClaim: string;
  readonly groupsClaim: string;
  readonly roles: Readonly<Record<string, readonly Role[]>>;
  /** How long ago people may have signed in there. */
  readonly maxAgeSeconds: number;
}

/** A name of a provider has no `@` and no dot, so that names stay readable. */
const PROVIDER_ID = /^[a-z][a-z0-9-]{0,30}$/;

/** A second factor is demanded, or the provider is not used: its silence is not a factor. */
export function checkOidcProvider(provider: OidcProvider): void {
  const { id, issuer, redirectUri, acr, amr, roles, maxAgeSeconds } = provider;
  const fault =
    (!PROVIDER_ID.test(id) && `"${id}" is not an id of a-z, 0-9 and hyphen`) ||
    (URL.parse(issuer) === null && "issuer is not an address") ||
    (!URL.parse(redirectUri)?.pathname.includes(id) && "redirectUri does not name the provider") ||
    (acr.length + amr.length === 0 && "neither acr nor amr is asked for") ||
    (Object.values(roles).some((list) => !list.every(isRole)) && "a group has an unknown role") ||
    (Object.values(roles).some(rolesConflict) && "a group has roles that exclude each other") ||
    (!(maxAgeSeconds > 0) && "maxAgeSeconds is not above 0");
  if (fault === false) return;
  throw new SallyportError("oidc-not-usable", `provider ${id}: ${fault}`, {
    hint: "See docs/reference/identity.md for what a provider needs.",
  });
}

export interface OidcPerson {
  readonly subject: string;
  readonly name: string;
  readonly displayName: string;
  readonly roles: readonly Role[];
  readonly acr: string;
  readonly amr: readonly string[];
}

/** Claims of a token that the library verified. Default deny: what is missing is refused. */
export function personOfClaims(
  provider: OidcProvider,
  claims: Readonly<Record<string, unknown>>,
  { nowMs, notBeforeMs }: { readonly nowMs: number; readonly notBeforeMs: number },
): OidcPerson | RefusalCause {
  const subject = claims["sub"];
  if (typeof subject !== "string" || claims["iss"] !== provider.issuer) return "oidc-token-invalid";
  if (!isTimely(claims, nowMs)) return "oidc-token-invalid";
  const acr = typeof claims["acr"] === "string" ? claims["acr"] : "";
  if (provider.acr.length > 0 && !provider.acr.includes(acr)) return "oidc-acr";
  const amr = texts(claims["amr"]);
  if (provider.amr.length > 0 && !provider.amr.some((one) => amr.includes(one))) return "oidc-amr";
  const authTimeS = claims["auth_time"];
  const notBeforeS = notBeforeMs / 1000 - OIDC_CLOCK_TOLERANCE_S;
  if (typeof authTimeS !== "number" || authTimeS < notBeforeS) return "oidc-auth-time";
  const roles = rolesOf(provider, texts(claims[provider.groupsClaim]));
  if (roles.length === 0) return "oidc-no-role";
  if (rolesConflict(roles)) return "oidc-roles-conflict";
  const plain = claims[provider.nameClaim];
  const name = typeof plain === "string" ? plain.toLowerCase() : "";
  if (!isLocalName(name)) return "oidc-name";
  const full = claims["name"];
  const displayName = isDisplayName(full) ? full : name;
  return { subject, name: `${name}@${provider.id}`, displayName, roles, acr, amr };
}

/** By our clock, beside what the library checked by the machine's. */
function isTimely(claims: Readonly<Record<string, unknown>>, nowMs: number): boolean {
  const { exp, iat } = claims;
  const nowS = nowMs / 1000;
  if (typeof exp !== "number" || typeof iat !== "number") return false;
  const oldestS = nowS - OIDC_FLOW_MS / 1000;
  return (
    exp + OIDC_CLOCK_TOLERANCE_S > nowS && iat >= oldestS && iat <= nowS + OIDC_CLOCK_TOLERANCE_S
  );
}

function rolesOf({ roles }: OidcProvider, groups: readonly string[]): readonly Role[] {
  const found = groups.flatMap((group) =>
    Object.hasOwn(roles, group) ? (roles[group] ?? []) : [],
  );
  return [...new Set(found)];
}

function texts(value: unknown): readonly string[] {
  if (!Array.isArray(value) || value.length > OIDC_GROUPS_MAX) return [];
  return value.filter((one): one is string => typeof one === "string");
}
