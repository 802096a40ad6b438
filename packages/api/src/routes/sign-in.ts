import { z } from "zod";
import { get, del, post, put, type SessionCookie } from "../http/route.ts";
import type { SignedIn } from "../services/sign-ins.ts";
import { empty, id, pageOf, pageQuery } from "../shapes/common.ts";
import * as people from "../shapes/people.ts";
import * as shapes from "../shapes/sign-in.ts";

/** The token goes into the cookie and nowhere else. */
function keep(cookie: SessionCookie, { token, maxAgeSeconds, session }: SignedIn) {
  cookie.set(token, maxAgeSeconds);
  return session;
}

const access = "sign-in";
const answer = shapes.session;
const nothing = z.undefined();

export const signInRoutes = [
  post("/v1/sign-in/passkey/options", {
    summary: "Begin to sign in with a passkey",
    access,
    body: empty,
    answer: shapes.passkeyOptions,
    run: ({ signIns }, caller) => signIns.passkeyOptions(caller),
  }),
  post("/v1/sign-in/passkey/finish", {
    summary: "Sign in with the passkey's answer",
    access,
    body: shapes.passkeyFinish,
    answer,
    run: async ({ signIns }, caller, { body, session }) =>
      keep(session, await signIns.passkeyFinish(caller, body)),
  }),
  post("/v1/sign-in/password", {
    summary: "Sign in with a password and a one-time code",
    access,
    body: shapes.passwordSignIn,
    answer,
    run: async ({ signIns }, caller, { body, session }) =>
      keep(session, await signIns.password(caller, body)),
  }),
  post("/v1/sign-in/recovery-code", {
    summary: "Sign in with a password and a recovery code",
    access,
    body: shapes.recoverySignIn,
    answer,
    run: async ({ signIns }, caller, { body, session }) =>
      keep(session, await signIns.recoveryCode(caller, body)),
  }),
  post("/v1/sign-in/link", {
    summary: "Sign in with the secret of a one-time link, to add a first credential",
    access,
    body: shapes.linkSignIn,
    answer,
    run: async ({ signIns }, caller, { body, session }) =>
      keep(session, await signIns.link(caller, body.secret, body.first)),
  }),
  post("/v1/sign-in/oidc/start", {
    summary: "Begin to sign in at the identity provider",
    access,
    body: shapes.oidcStart,
    answer: shapes.oidcStarted,
    run: ({ signIns }, caller, { body }) => signIns.oidcStart(caller, body.provider),
  }),
  post("/v1/sign-in/oidc/finish", {
    summary: "Sign in with what the identity provider sent back",
    access,
    body: shapes.oidcFinish,
    answer,
    run: async ({ signIns }, caller, { body, session }) =>
      keep(session, await signIns.oidcFinish(caller, body)),
  }),
  post("/v1/sign-in/break-glass", {
    summary: "Open a sealed account with both halves of its secret; raises an alarm",
    access,
    body: shapes.breakGlassSignIn,
    answer,
    run: async ({ signIns }, caller, { body, session }) =>
      keep(session, await signIns.breakGlass(caller, body)),
  }),
  post("/v1/local-root/recover", {
    summary: "As local root: a one-time link for a person, who becomes an administrator again",
    access,
    localOnly: true,
    body: shapes.recover,
    answer: people.invitation,
    status: 201,
    run: ({ signIns }, caller, { body }) => signIns.recover(caller, body),
  }),
  post("/v1/sign-in/local/begin", {
    summary: "Begin to prove a uid of this machine",
    access,
    localOnly: true,
    body: shapes.localBegin,
    answer: shapes.localChallenge,
    run: ({ signIns }, caller, { body }) => signIns.localBegin(caller, body.uid),
  }),
  post("/v1/sign-in/local/finish", {
    summary: "Sign in with the proof of a uid",
    access,
    localOnly: true,
    body: shapes.flowOnly,
    answer: shapes.localSession,
    run: async ({ signIns }, caller, { body }) => {
      const { token, session } = await signIns.localFinish(caller, body.flow);
      return { token, session };
    },
  }),
] as const;

export const sessionRoutes = [
  get("/v1/session", {
    summary: "Who is signed in, and what they may do",
    access: "signed-in",
    answer,
    run: ({ signIns }, caller) => signIns.me(caller),
  }),
  del("/v1/session", {
    summary: "Sign out",
    access: "signed-in",
    answer: nothing,
    status: 204,
    run: async ({ signIns }, caller, { session }) => {
      await signIns.signOut(caller);
      session.clear();
    },
  }),
  get("/v1/sessions", {
    summary: "List own sessions, or those of a person",
    access: "signed-in",
    query: z.strictObject({ person: id.exactOptional(), ...pageQuery }),
    answer: pageOf(shapes.session),
    run: ({ signIns }, caller, { query, page }) => signIns.sessions(caller, query.person, page),
  }),
  del("/v1/sessions/{session}", {
    summary: "End a session",
    access: "signed-in",
    answer: nothing,
    status: 204,
    run: ({ signIns }, caller, { params }) => signIns.revoke(caller, params.session),
  }),
  post("/v1/session/step-up/options", {
    summary: "Begin to give a second factor again",
    access: "signed-in",
    body: empty,
    answer: shapes.passkeyOptions,
    run: ({ signIns }, caller) => signIns.stepUpOptions(caller),
  }),
  post("/v1/session/step-up/finish", {
    summary: "Give a second factor again",
    access: "signed-in",
    body: shapes.stepUpFinish,
    answer,
    run: ({ signIns }, caller, { body }) => signIns.stepUpFinish(caller, body),
  }),
  post("/v1/session/step-up/oidc", {
    summary: "Begin to give a second factor again at the identity provider",
    access: "signed-in",
    body: shapes.oidcStart,
    answer: shapes.oidcStarted,
    run: ({ signIns }, caller, { body }) => signIns.oidcStart(caller, body.provider),
  }),
  get("/v1/session/credentials", {
    summary: "List own credentials",
    access: "signed-in",
    answer: z.object({ items: z.array(people.credential) }),
    run: async (services, caller) => ({ items: await services.people.ownCredentials(caller) }),
  }),
  post("/v1/session/passkeys/options", {
    summary: "Begin to add a passkey to oneself",
    access: "own.factors",
    stepUp: true,
    body: empty,
    answer: shapes.passkeyOptions,
    run: (services, caller) => services.people.passkeyOptions(caller),
  }),
  post("/v1/session/passkeys", {
    summary: "Add a passkey to oneself",
    access: "own.factors",
    stepUp: true,
    body: shapes.passkeyRegister,
    answer: people.credential,
    status: 201,
    run: (services, caller, { body }) => services.people.addPasskey(caller, body),
  }),
  put("/v1/session/password", {
    summary: "Set the own password",
    access: "own.factors",
    stepUp: true,
    body: shapes.newPassword,
    answer: nothing,
    status: 204,
    run: (services, caller, { body }) => services.people.setPassword(caller, body.password),
  }),
  post("/v1/session/totp/begin", {
    summary: "Begin to add an app for one-time codes to oneself",
    access: "own.factors",
    stepUp: true,
    body: empty,
    answer: shapes.totpSeed,
    run: (services, caller) => services.people.totpBegin(caller),
  }),
  post("/v1/session/totp", {
    summary: "Add an app for one-time codes to oneself, with its first code",
    access: "own.factors",
    stepUp: true,
    body: shapes.totpFinish,
    answer: people.credential,
    status: 201,
    run: (services, caller, { body }) => services.people.totpFinish(caller, body),
  }),
  post("/v1/session/recovery-codes", {
    summary: "Make new recovery codes for oneself; those before are void",
    access: "own.factors",
    stepUp: true,
    body: empty,
    answer: shapes.recoveryCodes,
    status: 201,
    run: async (services, caller) => ({ codes: await services.people.recoveryCodes(caller) }),
  }),
] as const;
