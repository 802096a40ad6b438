import type { z } from "zod";
import type { Page, PageRequest } from "../shapes/common.ts";
import type * as shapes from "../shapes/people.ts";
import type * as signIn from "../shapes/sign-in.ts";
import type { Caller } from "./caller.ts";

type Person = shapes.Person;
type Credential = z.infer<typeof shapes.credential>;

export interface People {
  list(caller: Caller, page: PageRequest): Promise<Page<Person>>;
  get(caller: Caller, person: string): Promise<Person>;
  create(
    caller: Caller,
    person: z.infer<typeof shapes.newPerson>,
  ): Promise<z.infer<typeof shapes.invitation>>;
  /** Another one-time link for whoever lost all credentials; the one before ends. */
  invite(caller: Caller, person: string): Promise<z.infer<typeof shapes.invitation>>;
  setRoles(caller: Caller, person: string, roles: readonly string[]): Promise<Person>;
  /** Ends the person's sessions, keys and grants too. */
  disable(caller: Caller, person: string, reason: string): Promise<Person>;
  enable(caller: Caller, person: string, reason: string): Promise<Person>;
  credentials(caller: Caller, person: string): Promise<readonly Credential[]>;
  removeCredential(caller: Caller, person: string, credential: string): Promise<void>;

  sealed(caller: Caller): Promise<readonly z.infer<typeof shapes.sealedAccount>[]>;
  /** The account's secret exists only as the two halves that are answered. */
  seal(
    caller: Caller,
    account: string,
    terms: z.infer<typeof shapes.sealing>,
  ): Promise<z.infer<typeof shapes.sealedHalves>>;

  /** What follows is about the caller's own credentials. */
  ownCredentials(caller: Caller): Promise<readonly Credential[]>;
  passkeyOptions(caller: Caller): Promise<z.infer<typeof signIn.passkeyOptions>>;
  addPasskey(caller: Caller, answer: z.infer<typeof signIn.passkeyRegister>): Promise<Credential>;
  setPassword(caller: Caller, password: string): Promise<void>;
  totpBegin(caller: Caller): Promise<z.infer<typeof signIn.totpSeed>>;
  totpFinish(caller: Caller, answer: z.infer<typeof signIn.totpFinish>): Promise<Credential>;
  recoveryCodes(caller: Caller): Promise<readonly string[]>;
}

type ApiKey = z.infer<typeof shapes.apiKey>;

/** A key may at most what its owner may, and only its scopes of that. */
export interface Keys {
  list(caller: Caller, page: PageRequest): Promise<Page<ApiKey>>;
  create(
    caller: Caller,
    key: z.infer<typeof shapes.newApiKey>,
  ): Promise<z.infer<typeof shapes.createdApiKey>>;
  revoke(caller: Caller, key: string): Promise<void>;
}
