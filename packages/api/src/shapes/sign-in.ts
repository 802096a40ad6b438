import { z } from "zod";
import { base64url, id, line, reason, secret, time } from "./common.ts";

/** What the browser's WebAuthn API takes and gives, as its own toJSON() writes it. */
export const passkeyOptions = z
  .object({
    /** Binds options and answer; of use once. */
    flow: secret,
    publicKey: z.record(z.string(), z.unknown()),
  })
  .meta({ id: "PasskeyOptions" });

const transports = z.array(z.string().max(32)).max(8);
const extensions = z.record(z.string().max(64), z.json());
const common = {
  id: base64url,
  rawId: base64url,
  type: z.literal("public-key"),
  authenticatorAttachment: z.enum(["platform", "cross-platform"]).nullish(),
  clientExtensionResults: extensions.exactOptional(),
};

export const passkeyAssertion = z
  .strictObject({
    ...common,
    response: z.strictObject({
      clientDataJSON: base64url,
      authenticatorData: base64url,
      signature: base64url,
      userHandle: base64url.nullish(),
    }),
  })
  .meta({ id: "PasskeyAssertion" });

export const passkeyRegistration = z
  .strictObject({
    ...common,
    response: z.strictObject({
      clientDataJSON: base64url,
      attestationObject: base64url,
      authenticatorData: base64url.exactOptional(),
      transports: transports.exactOptional(),
      publicKey: base64url.exactOptional(),
      publicKeyAlgorithm: z.int().exactOptional(),
    }),
  })
  .meta({ id: "PasskeyRegistration" });

export const passkeyFinish = z
  .strictObject({ flow: secret, credential: passkeyAssertion })
  .meta({ id: "PasskeyFinish" });

const totp = z.string().regex(/^\d{6,8}$/, "must be 6 to 8 digits");

export const passwordSignIn = z
  .strictObject({ person: id, password: secret, totp })
  .meta({ id: "PasswordSignIn" });

export const recoverySignIn = z
  .strictObject({ person: id, password: secret, code: secret })
  .meta({ id: "RecoverySignIn" });

/** A one-time link: the first admin's, or that of an invitation. */
export const linkSignIn = z
  .strictObject({
    secret,
    /** Who the first administrator is; the other links know whose they are. */
    first: z.strictObject({ id, name: line(128) }).exactOptional(),
  })
  .meta({ id: "LinkSignIn" });

/** Which of the gateway's providers; the first of its settings where absent. */
const provider = id.exactOptional();
export const oidcStart = z.strictObject({ provider }).meta({ id: "OidcStart" });
export const oidcStarted = z.object({ flow: secret, url: z.string() }).meta({ id: "OidcStarted" });

/** What the provider sent the browser back with; `iss` (RFC 9207) wherever it was there. */
const oidcAnswer = {
  ...{ flow: secret, state: secret, code: z.string().min(1).max(4096) },
  iss: z.string().min(1).max(1024).exactOptional(),
  provider,
};
export const oidcFinish = z.strictObject(oidcAnswer).meta({ id: "OidcFinish" });

/** Local root at the command line. */
export const recover = z
  .strictObject({
    ...{ person: id, reason },
    /** Otherwise old factors, which somebody else may have found, are forgotten. */
    keepFactors: z.boolean().exactOptional(),
  })
  .meta({ id: "Recover" });

export const breakGlassSignIn = z
  .strictObject({ account: id, halves: z.tuple([secret, secret]), reason: line(500) })
  .meta({ id: "BreakGlassSignIn" });

export const localBegin = z
  .strictObject({
    uid: z
      .int()
      .min(0)
      .max(2 ** 32 - 2),
  })
  .meta({ id: "LocalBegin" });

/** The caller proves its uid by a file that only it could have made. */
export const localChallenge = z
  .object({ flow: secret, directory: z.string(), fileName: z.string() })
  .meta({ id: "LocalChallenge" });

export const flowOnly = z.strictObject({ flow: secret }).meta({ id: "FlowOnly" });

export const session = z
  .object({
    id,
    person: id,
    name: z.string(),
    roles: z.array(id),
    permissions: z.array(z.string()),
    kind: z.enum(["session", "key", "uid"]),
    /** Of a key: all that it may. */
    scopes: z.array(z.string()).exactOptional(),
    startedAt: time,
    lastUsedAt: time,
    endsAt: time,
    stepUpAt: time.exactOptional(),
    peer: z.string(),
    /** Whether this is the session that asks. */
    current: z.boolean(),
  })
  .meta({ id: "Session" });
export type Session = z.infer<typeof session>;

/** Only over the local socket: a bearer token, since no browser keeps it. */
export const localSession = z.object({ session, token: secret }).meta({ id: "LocalSession" });

export const stepUpFinish = z
  .discriminatedUnion("kind", [
    z.strictObject({ kind: z.literal("passkey"), flow: secret, credential: passkeyAssertion }),
    z.strictObject({ kind: z.literal("totp"), totp }),
    z.strictObject({ kind: z.literal("oidc"), ...oidcAnswer }),
  ])
  .meta({ id: "StepUpFinish" });

export const passkeyRegister = z
  .strictObject({ flow: secret, name: line(64), credential: passkeyRegistration })
  .meta({ id: "PasskeyRegister" });

export const newPassword = z
  .strictObject({ password: z.string().min(12).max(1024) })
  .meta({ id: "NewPassword" });

/** Shown once; `flow` is given back with the first code that the app shows. */
export const totpSeed = z.object({ flow: secret, uri: z.string() }).meta({ id: "TotpSeed" });
export const totpFinish = z.strictObject({ flow: secret, totp }).meta({ id: "TotpFinish" });
export const recoveryCodes = z.object({ codes: z.array(z.string()) }).meta({ id: "RecoveryCodes" });
