/**
 * A real identity provider (oidc-provider) on loopback, over TLS with a certificate of our own site
 * CA, and a browser that follows redirects and keeps cookies.
 */
import { generateKeyPairSync, randomBytes } from "node:crypto";
import https from "node:https";
import type { AddressInfo } from "node:net";
import type { CustomFetch } from "openid-client";
import { type Context, Provider } from "oidc-provider";
import { issueServer, makeSiteCa } from "../keyholder/site-ca.ts";

/** What the provider knows about whoever signs in next. */
export interface Account {
  sub: string;
  username: string;
  name: string;
  groups: unknown;
  acr: string | undefined;
  amr: readonly string[] | undefined;
}

export interface Idp {
  readonly issuer: string;
  readonly ca: string;
  readonly account: Account;
  readonly clientSecret: string;
  /** Signs in as `account` and answers the query that the browser brings back. */
  signIn(url: string): Promise<string>;
  close(): Promise<void>;
}

const random = { bytes: (size: number): Uint8Array => randomBytes(size) };

export async function startIdp(redirectUris: readonly string[]): Promise<Idp> {
  const nowMs = Date.now();
  const ca = await makeSiteCa("idp", { nowMs, random });
  const { publicKey, privateKey } = generateKeyPairSync("ec", { namedCurve: "P-256" });
  const spki = publicKey.export({ format: "der", type: "spki" }).toString("base64");
  const issued = await issueServer(ca, { key: { spki }, names: ["localhost"] }, { nowMs, random });
  if (issued.kind === "refused") throw new Error(issued.code);
  const key = privateKey.export({ format: "pem", type: "pkcs8" });
  const server = https.createServer({ key, cert: issued.chainPem });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const issuer = `https://localhost:${(server.address() as AddressInfo).port}`;
  const account: Account = {
    sub: "u-1001",
    username: "Ines.Meyer",
    name: "Ines Meyer",
    groups: ["ot-engineers"],
    acr: "urn:plant:mfa",
    amr: ["pwd", "otp"],
  };
  const clientSecret = randomBytes(32).toString("hex");
  const provider = new Provider(issuer, configuration({ redirectUris, account, clientSecret }));
  const callback = provider.callback();
  server.on("request", (request, response) => {
    if (request.url?.startsWith("/interaction/") !== true) return callback(request, response);
    const { sub: accountId, acr, amr } = account;
    const login = { accountId, remember: false, acr, amr };
    void provider.interactionFinished(
      request,
      response,
      { login },
      { mergeWithLastSubmission: false },
    );
  });
  return {
    issuer,
    ca: ca.certificatePem,
    account,
    clientSecret,
    signIn: (url) => browse(url, ca.certificatePem, redirectUris),
    close: () => new Promise((resolve) => server.close(() => resolve())),
  };
}

interface Setup {
  readonly redirectUris: readonly string[];
  readonly account: Account;
  readonly clientSecret: string;
}

function configuration({ redirectUris, account, clientSecret }: Setup): object {
  const { privateKey } = generateKeyPairSync("rsa", { modulusLength: 2048 });
  return {
    clients: [
      {
        client_id: "sallyport",
        client_secret: clientSecret,
        redirect_uris: redirectUris,
        token_endpoint_auth_method: "client_secret_basic",
      },
    ],
    jwks: {
      keys: [{ ...privateKey.export({ format: "jwk" }), kid: "k1", alg: "RS256", use: "sig" }],
    },
    cookies: { keys: [randomBytes(16).toString("hex")] },
    acrValues: ["urn:plant:mfa", "urn:plant:pwd"],
    claims: {
      openid: ["sub"],
      profile: ["name", "preferred_username"],
      groups: ["groups"],
      acr: null,
      amr: null,
      auth_time: null,
    },
    features: { devInteractions: { enabled: false }, claimsParameter: { enabled: true } },
    interactions: { url: (_context: unknown, { uid }: { uid: string }) => `/interaction/${uid}` },
    findAccount: (_context: unknown, accountId: string) => ({
      accountId,
      claims: () => ({
        sub: accountId,
        name: account.name,
        preferred_username: account.username,
        groups: account.groups,
      }),
    }),
    // Consent was given by the organization.
    async loadExistingGrant(this: unknown, context: Context & { oidc: { provider: Provider } }) {
      const { client, session, provider } = context.oidc;
      const grant = new provider.Grant({ accountId: session.accountId, clientId: client.clientId });
      grant.addOIDCScope("openid profile groups");
      await grant.save();
      return grant;
    },
  };
}

interface Answer {
  readonly status: number;
  readonly location: string | undefined;
  readonly cookies: readonly string[];
  readonly body: string;
  readonly headers: Record<string, string>;
}

interface Asked {
  readonly ca: string;
  readonly method?: string;
  readonly headers?: Record<string, string>;
  readonly body?: string;
}

function ask(url: string, { ca, method = "GET", headers = {}, body }: Asked): Promise<Answer> {
  return new Promise((resolve, reject) => {
    const options = { ca, method, headers, agent: false, lookup: undefined, family: 4 };
    const request = https.request(url, options, (response) => {
      const parts: Buffer[] = [];
      response.on("data", (part: Buffer) => parts.push(part));
      response.on("end", () =>
        resolve({
          status: response.statusCode ?? 0,
          location: response.headers.location,
          cookies: response.headers["set-cookie"] ?? [],
          body: Buffer.concat(parts).toString(),
          headers: { "content-type": response.headers["content-type"] ?? "" },
        }),
      );
    });
    request.on("error", (error) => reject(error));
    request.end(body);
  });
}

/** `fetch` as `control` would be handed it: it trusts one CA and follows nothing. */
export function fetchWith(ca: string): CustomFetch {
  return async (url, { method, headers, body }) => {
    const text = body instanceof URLSearchParams ? body.toString() : undefined;
    const answer = await ask(url, {
      ca,
      method,
      headers: {
        ...headers,
        ...(text === undefined ? {} : { "content-length": `${text.length}` }),
      },
      ...(text === undefined ? {} : { body: text }),
    });
    return new Response(answer.body, { status: answer.status, headers: answer.headers });
  };
}

const REDIRECTS_MAX = 10;

async function browse(start: string, ca: string, ends: readonly string[]): Promise<string> {
  const jar = new Map<string, string>();
  let url = new URL(start);
  for (let hop = 0; hop < REDIRECTS_MAX; hop++) {
    const cookie = [...jar].map(([name, value]) => `${name}=${value}`).join("; ");
    const answer = await ask(url.href, { ca, headers: cookie === "" ? {} : { cookie } });
    for (const line of answer.cookies) {
      const [, name = "", value = ""] = /^([^=]+)=([^;]*)/.exec(line) ?? [];
      jar.set(name, value);
    }
    if (answer.location === undefined) throw new Error(`${answer.status} ${answer.body}`);
    url = new URL(answer.location, url);
    if (ends.some((end) => url.href.startsWith(`${end}?`))) return url.search.slice(1);
  }
  throw new Error(`no end after ${REDIRECTS_MAX} redirects`);
}
