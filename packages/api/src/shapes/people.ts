import { z } from "zod";
import { base64url, id, line, secret, time } from "./common.ts";

export const person = z
  .object({
    id,
    name: z.string(),
    roles: z.array(id),
    state: z.enum(["invited", "active", "disabled"]),
    createdAt: time,
    lastSignInAt: time.exactOptional(),
  })
  .meta({ id: "Person" });
export type Person = z.infer<typeof person>;

export const newPerson = z
  .strictObject({ id, name: line(128), roles: z.array(id).min(1).max(16) })
  .meta({ id: "NewPerson" });

/** The secret of the one-time link is told here and never again. */
export const invitation = z.object({ person, secret, endsAt: time }).meta({ id: "Invitation" });

export const roles = z.strictObject({ roles: z.array(id).min(1).max(16) }).meta({ id: "Roles" });

export const credential = z
  .object({
    id,
    kind: z.enum(["passkey", "password", "totp", "recovery-codes", "oidc"]),
    name: z.string(),
    createdAt: time,
    lastUsedAt: time.exactOptional(),
  })
  .meta({ id: "Credential" });

export const apiKey = z
  .object({
    id,
    name: z.string(),
    owner: id,
    scopes: z.array(z.string()),
    createdAt: time,
    endsAt: time,
    lastUsedAt: time.exactOptional(),
  })
  .meta({ id: "ApiKey" });

export const newApiKey = z
  .strictObject({
    name: line(64),
    scopes: z.array(line(64)).min(1).max(64),
    /** A key without an end is a password that nobody changes. */
    days: z.int().min(1).max(366),
  })
  .meta({ id: "NewApiKey" });

export const createdApiKey = z.object({ key: apiKey, secret }).meta({ id: "CreatedApiKey" });

export const approver = z
  .object({
    id,
    person: id,
    kind: z.enum(["passkey", "ed25519"]),
    name: z.string(),
    enrolledAt: time,
  })
  .meta({ id: "Approver" });

/** `proof` is an HMAC under the secret of the first link, so that nothing in between can put another key in its place. */
export const firstApprover = z
  .strictObject({
    key: z.strictObject({
      kind: z.enum(["passkey", "ed25519"]),
      person: id,
      /** Base64 of the DER SubjectPublicKeyInfo. */
      spki: z.string().min(1).max(1400),
      /** These three are empty for an Ed25519 key. */
      credentialId: z.string().max(1400),
      rpId: z.string().max(253),
      origin: z.string().max(300),
    }),
    proof: base64url.max(64),
  })
  .meta({ id: "FirstApprover" });

export const enrolled = z.object({ id }).meta({ id: "EnrolledApprover" });

/** Its roles are what it may while it is open, two hours at most. */
export const sealing = z
  .strictObject({ holders: z.tuple([id, id]), roles: z.array(id).min(1).max(16) })
  .meta({ id: "Sealing" });

export const sealedAccount = z
  .object({
    id,
    roles: z.array(id),
    /** The people who have a half each. */
    holders: z.array(id),
    sealedAt: time,
    /** Then it was used up, and must be sealed anew. */
    openedAt: time.exactOptional(),
  })
  .meta({ id: "SealedAccount" });

/** To be printed, given to the holders, and kept nowhere. */
export const sealedHalves = z
  .object({ account: sealedAccount, halves: z.array(secret) })
  .meta({ id: "SealedHalves" });
