/** Sign-in at the organization's identity provider: settings and the sealed secret put together for identity's part. */
import https from "node:https";
import net from "node:net";
import { SallyportError } from "@sallyport/core";
import { Oidc, type OidcMeans, type OidcProvider } from "@sallyport/identity";
import { fields, word } from "../cli/enforcer-client.ts";
import type { AskKeyholder } from "./ask.ts";
import type { ProviderSettings } from "./settings.ts";

/** Metadata, keys and tokens are a few kB; a key set of a large organization tens. */
const ANSWER_MAX_BYTES = 1024 * 1024;
const ANSWER_WITHIN_MS = 10_000;
const COOKIE_KEY_BYTES = 32;

export interface ProvidersMeans extends Omit<OidcMeans, "providers" | "fetch" | "cookieKey"> {
  readonly providers: readonly ProviderSettings[];
  readonly keyholder: AskKeyholder;
  /** `https://gateway.plant.example:8443`: where the provider sends the browser back to. */
  readonly origin: string | undefined;
}

export class Providers {
  readonly #means: ProvidersMeans;
  readonly #cookieKey: Uint8Array;
  #made: { readonly secrets: string; readonly oidc: Oidc } | undefined;

  constructor(means: ProvidersMeans) {
    this.#means = means;
    this.#cookieKey = means.random.bytes(COOKIE_KEY_BYTES);
  }

  /** The one that was named, or the first of the settings. */
  idOf(named: string | undefined): string {
    const [first] = this.#means.providers;
    if (first !== undefined) return named ?? first.id;
    throw new SallyportError("oidc-not-usable", "no identity provider is set up", {
      hint: "docs/operate/sign-in-at-a-provider.md",
    });
  }

  /** Made anew when root sealed another secret. What was begun before goes on: it is sealed with a key of this process. */
  async oidc(): Promise<Oidc> {
    const { providers, keyholder, origin } = this.#means;
    if (origin === undefined) {
      throw new SallyportError("relying-party-not-a-name", "a provider needs a name to send to", {
        hint: "give the gateway a name: docs/operate/control.md",
      });
    }
    const all: OidcProvider[] = [];
    for (const { groups: roles, address: _, ca: _ca, ...one } of providers) {
      const asked = { type: "secret-get", name: `oidc.${one.id}` } as const;
      const { secret } = fields(await keyholder(asked));
      if (secret === undefined || secret === null) continue;
      const redirectUri = redirectUriOf(origin, one.id);
      all.push({ ...one, roles, clientSecret: word(secret), redirectUri });
    }
    if (all.length === 0) {
      throw new SallyportError("oidc-not-usable", "no provider's client secret is there", {
        hint: "as root: sallyport admin oidc-secret ID < FILE",
      });
    }
    const secrets = all.map(({ id, clientSecret }) => `${id} ${clientSecret}`).join("\n");
    if (this.#made?.secrets !== secrets) {
      const { store, clock, random, events, signIns } = this.#means;
      const fetch = fetchOf(providers);
      const more = { providers: all, fetch, cookieKey: this.#cookieKey };
      this.#made = { secrets, oidc: new Oidc({ store, clock, random, events, signIns, ...more }) };
    }
    return this.#made.oidc;
  }
}

/** A page of the console, one for each provider (RFC 9700 §4.4.2.2). */
export function redirectUriOf(origin: string, id: string): string {
  return `${origin}/sign-in/${id}`;
}

/** Bounds on time and size, no redirect, TLS only; where it may go the engines decide. */
function fetchOf(providers: readonly ProviderSettings[]): OidcMeans["fetch"] {
  return async (url, { method, headers, body }) => {
    const { hostname, protocol } = new URL(url);
    if (protocol !== "https:") throw new Error("a provider is asked over TLS only");
    const own = providers.find(({ issuer }) => new URL(issuer).hostname === hostname);
    const text = body instanceof URLSearchParams ? body.toString() : undefined;
    if (body !== undefined && body !== null && text === undefined) {
      throw new TypeError("only forms are sent to a provider");
    }
    return await new Promise((resolve, reject) => {
      const sent = text === undefined ? {} : { "content-length": String(Buffer.byteLength(text)) };
      const options: https.RequestOptions = {
        ...{ method, headers: { ...headers, ...sent }, agent: false, minVersion: "TLSv1.2" },
        ...(own?.ca === undefined ? {} : { ca: own.ca }),
        ...(own?.address === undefined ? {} : { lookup: lookupOf(own.address) }),
      };
      const request = https.request(url, options, (answer) => {
        const parts: Buffer[] = [];
        let sizeBytes = 0;
        answer.on("data", (part: Buffer) => {
          sizeBytes += part.length;
          if (sizeBytes > ANSWER_MAX_BYTES) answer.destroy(new Error("the answer is too long"));
          else parts.push(part);
        });
        answer.on("error", reject);
        answer.on("end", () => {
          const { statusCode: status = 500, headers: told } = answer;
          const type = { "content-type": told["content-type"] ?? "" };
          resolve(new Response(Buffer.concat(parts), { status, headers: type }));
        });
      });
      const timer = setTimeout(() => request.destroy(new Error("no answer")), ANSWER_WITHIN_MS);
      request.on("close", () => clearTimeout(timer));
      request.on("error", reject);
      request.end(text);
    });
  };
}

function lookupOf(address: string): net.LookupFunction {
  return (_host, { all }, done) => {
    const family = net.isIP(address);
    if (all === true) done(null, [{ address, family }]);
    else done(null, address, family);
  };
}
