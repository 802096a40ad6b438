import type { z } from "zod";
import type { Page, PageRequest } from "../shapes/common.ts";
import type * as people from "../shapes/people.ts";
import type * as shapes from "../shapes/sign-in.ts";
import type { Caller, Origin, Presented, Principal } from "./caller.ts";

type Session = shapes.Session;

/** `token` goes into the cookie, or over the local socket to the command line; the service keeps its hash. */
export interface SignedIn {
  readonly token: string;
  readonly maxAgeSeconds: number;
  readonly session: Session;
}

/**
 * Signing in and what follows from it. A wrong credential throws `sign-in-failed`, always the same words, in
 * a time that does not tell who exists; the service records it and counts it against person and source.
 */
export interface SignIns {
  /** Answers nothing for a secret that is unknown, ended or disabled. Called for each request. */
  authenticate(presented: Presented, origin: Origin): Promise<Principal | undefined>;

  passkeyOptions(caller: Caller): Promise<z.infer<typeof shapes.passkeyOptions>>;
  passkeyFinish(caller: Caller, answer: z.infer<typeof shapes.passkeyFinish>): Promise<SignedIn>;
  password(caller: Caller, answer: z.infer<typeof shapes.passwordSignIn>): Promise<SignedIn>;
  recoveryCode(caller: Caller, answer: z.infer<typeof shapes.recoverySignIn>): Promise<SignedIn>;
  /** The first admin's one-time link, or an invitation: a session that can only add credentials. */
  link(
    caller: Caller,
    secret: string,
    first?: z.infer<typeof shapes.linkSignIn>["first"],
  ): Promise<SignedIn>;
  /** Of somebody who is signed in: to step up. `flow` binds the answer to whoever keeps it. */
  oidcStart(
    caller: Caller,
    provider: string | undefined,
  ): Promise<z.infer<typeof shapes.oidcStarted>>;
  oidcFinish(caller: Caller, answer: z.infer<typeof shapes.oidcFinish>): Promise<SignedIn>;
  breakGlass(caller: Caller, answer: z.infer<typeof shapes.breakGlassSignIn>): Promise<SignedIn>;
  /** Throws `denied` unless it came through the door of local root. */
  recover(
    caller: Caller,
    order: z.infer<typeof shapes.recover>,
  ): Promise<z.infer<typeof people.invitation>>;
  localBegin(caller: Caller, uid: number): Promise<z.infer<typeof shapes.localChallenge>>;
  localFinish(caller: Caller, flow: string): Promise<SignedIn>;

  me(caller: Caller): Promise<Session>;
  signOut(caller: Caller): Promise<void>;
  /** The caller's own, or with `people.read` those of another. */
  sessions(caller: Caller, person: string | undefined, page: PageRequest): Promise<Page<Session>>;
  revoke(caller: Caller, session: string): Promise<void>;

  stepUpOptions(caller: Caller): Promise<z.infer<typeof shapes.passkeyOptions>>;
  stepUpFinish(caller: Caller, answer: z.infer<typeof shapes.stepUpFinish>): Promise<Session>;
}
