/**
 * The organization's identity provider: `oidc-provider`, as it is, behind TLS. Whoever comes signs in as the account that
 * a file says at that moment, so that a test can change who it is. Arguments: one JSON object, see `IdpOptions`.
 */
import { generateKeyPairSync, randomBytes } from "node:crypto";
import fs from "node:fs";
import https from "node:https";
import process from "node:process";
import { type Context, Provider } from "oidc-provider";

/** What the provider knows about whoever signs in next. */
export interface IdpAccount {
  readonly sub: string;
  readonly username: string;
  readonly name: string;
  readonly groups: readonly string[];
  readonly acr?: string;
}

export interface IdpOptions {
  readonly issuer: string;
  readonly host: string;
  readonly certFile: string;
  readonly keyFile: string;
  readonly redirectUri: string;
  readonly clientSecret: string;
  readonly accountFile: string;
}

// Whoever starts it wrote the argument.
const options = JSON.parse(process.argv[2] ?? "{}") as IdpOptions;
const account = (): IdpAccount =>
  JSON.parse(fs.readFileSync(options.accountFile, "utf8")) as IdpAccount;

const { privateKey } = generateKeyPairSync("rsa", { modulusLength: 2048 });
const provider = new Provider(options.issuer, {
  clients: [
    {
      client_id: "sallyport",
      client_secret: options.clientSecret,
      redirect_uris: [options.redirectUri],
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
    claims: () => {
      const { name, username, groups } = account();
      return { sub: accountId, name, preferred_username: username, groups };
    },
  }),
  // Consent was given by the organization.
  async loadExistingGrant(this: unknown, context: Context & { oidc: { provider: Provider } }) {
    const { client, session, provider: own } = context.oidc;
    const grant = new own.Grant({ accountId: session.accountId, clientId: client.clientId });
    grant.addOIDCScope("openid profile groups");
    await grant.save();
    return grant;
  },
});
const callback = provider.callback();
const server = https.createServer({
  key: fs.readFileSync(options.keyFile),
  cert: fs.readFileSync(options.certFile),
});
server.on("request", (request, response) => {
  if (request.url?.startsWith("/interaction/") !== true) return callback(request, response);
  const { sub: accountId, acr } = account();
  const login = { accountId, remember: false, ...(acr === undefined ? {} : { acr }) };
  void provider.interactionFinished(
    request,
    response,
    { login },
    { mergeWithLastSubmission: false },
  );
});
server.listen(Number(new URL(options.issuer).port), options.host, () => {
  process.stdout.write("listening\n");
});
