/**
 * `settings.json` of an instance: what only whoever installs the gateway knows. It is root's, in a directory where
 * only root can write, so no process that it binds can change it. All of it may be left out.
 */
import fs from "node:fs";
import path from "node:path";
import { SallyportError } from "@sallyport/core";
import { isRole, type Role } from "@sallyport/identity";
import type { Instance } from "../instance.ts";

export interface ProviderSettings {
  /** Stands after the `@` of its people's names, and in the address that the browser comes back to. */
  readonly id: string;
  readonly issuer: string;
  readonly clientId: string;
  /** Where the provider is: the room of `control` has no DNS unless the policy gives it one. */
  readonly address?: string;
  /** PEM of the authority that vouches for the provider; the machine's own list where absent. */
  readonly ca?: string;
  readonly scope: string;
  readonly acr: readonly string[];
  readonly amr: readonly string[];
  readonly nameClaim: string;
  readonly groupsClaim: string;
  /** Which roles each of the provider's groups has here. */
  readonly groups: Readonly<Record<string, readonly Role[]>>;
  readonly maxAgeSeconds: number;
}

export interface Settings {
  /** As people write them in a browser; the first host name is also that of passkeys. */
  readonly names: readonly string[];
  readonly port: number;
  readonly tls: "TLSv1.3" | "TLSv1.2";
  readonly providers: readonly ProviderSettings[];
}

/** Above 1023: the process has no right to any port below. */
const PORT_DEFAULT = 8443;
const NAMES_MAX = 20;
const PROVIDERS_MAX = 8;
const TEXT_MAX = 1024;
const LIST_MAX = 100;
/** A chain of three certificates is 6 kB. */
const CA_MAX = 64 * 1024;
const MAX_AGE_SECONDS_DEFAULT = 12 * 3600;
const HINT = "docs/operate/control.md shows one";

export function settingsFile({ stateDir }: Pick<Instance, "stateDir">): string {
  return path.join(stateDir, "settings.json");
}

export function readSettings(file: string): Settings {
  const text = fs.existsSync(file) ? fs.readFileSync(file, "utf8") : "{}";
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch (cause) {
    throw new SallyportError("settings-unreadable", `${file} is not JSON`, { cause, hint: HINT });
  }
  return parseSettings(value, file);
}

/** Throws `settings-unreadable` with the member that is wrong. */
export function parseSettings(value: unknown, file = "settings.json"): Settings {
  const wrong = (what: string): SallyportError =>
    new SallyportError("settings-unreadable", `${file}: ${what}`, { hint: HINT });
  const all = members(value, ["names", "port", "tls", "providers"], wrong, "the file");
  const { port = PORT_DEFAULT, tls = "TLSv1.3", providers = [] } = all;
  const isPort = typeof port === "number" && Number.isInteger(port) && port > 1023 && port < 65_536;
  if (!isPort) throw wrong("port is a number from 1024 to 65535");
  if (tls !== "TLSv1.3" && tls !== "TLSv1.2") throw wrong("tls is TLSv1.3 or TLSv1.2");
  if (!Array.isArray(providers) || providers.length > PROVIDERS_MAX) {
    throw wrong(`providers is a list of at most ${PROVIDERS_MAX}`);
  }
  const names = texts(all["names"] ?? [], wrong, "names");
  if (names.length > NAMES_MAX) throw wrong(`names are at most ${NAMES_MAX}`);
  const list: readonly unknown[] = providers;
  return { names, port, tls, providers: list.map((one) => providerOf(one, wrong)) };
}

type Wrong = (what: string) => SallyportError;

const PROVIDER_MEMBERS = [
  ...["id", "issuer", "clientId", "address", "ca", "scope", "acr", "amr"],
  ...["nameClaim", "groupsClaim", "groups", "maxAgeSeconds"],
];

function providerOf(value: unknown, wrong: Wrong): ProviderSettings {
  const one = members(value, PROVIDER_MEMBERS, wrong, "a provider");
  const { groups, maxAgeSeconds = MAX_AGE_SECONDS_DEFAULT } = one;
  const needed = (name: string, otherwise?: string): string => {
    const given = one[name] ?? otherwise;
    if (typeof given === "string" && given !== "" && given.length <= CA_MAX) return given;
    throw wrong(`${name} of a provider is a text`);
  };
  const maybe = (name: "address" | "ca"): Partial<Record<typeof name, string>> =>
    one[name] === undefined ? {} : { [name]: needed(name) };
  if (typeof maxAgeSeconds !== "number") throw wrong("maxAgeSeconds is a number");
  if (typeof groups !== "object" || groups === null || Array.isArray(groups)) {
    throw wrong('groups of a provider is like { "ot-engineers": ["engineer"] }');
  }
  const roles = Object.entries(groups).map(([group, given]): [string, readonly Role[]] => {
    const list = texts(given, wrong, `groups.${group}`);
    if (list.every(isRole)) return [group, list];
    throw wrong(`groups.${group} has a role that there is not`);
  });
  return {
    ...{ id: needed("id"), issuer: needed("issuer"), clientId: needed("clientId") },
    ...maybe("address"),
    ...maybe("ca"),
    scope: needed("scope", "openid profile groups"),
    acr: texts(one["acr"] ?? [], wrong, "acr"),
    amr: texts(one["amr"] ?? [], wrong, "amr"),
    nameClaim: needed("nameClaim", "preferred_username"),
    groupsClaim: needed("groupsClaim", "groups"),
    ...{ groups: Object.fromEntries(roles), maxAgeSeconds },
  };
}

/** A member that is mistyped would be one that is silently not in force. */
function members(
  value: unknown,
  known: readonly string[],
  wrong: Wrong,
  what: string,
): Readonly<Record<string, unknown>> {
  if (typeof value !== "object" || value === null || Array.isArray(value)) {
    throw wrong(`${what} is an object`);
  }
  const other = Object.keys(value).find((name) => !known.includes(name));
  if (other !== undefined) throw wrong(`${what} has no member ${other}`);
  return { ...value };
}

function texts(value: unknown, wrong: Wrong, what: string): readonly string[] {
  const list: readonly unknown[] | undefined = Array.isArray(value) ? value : undefined;
  const isText = (one: unknown): one is string =>
    typeof one === "string" && one !== "" && one.length <= TEXT_MAX;
  if (list !== undefined && list.length <= LIST_MAX && list.every(isText)) return list;
  throw wrong(`${what} is a list of texts`);
}
