/** People, sessions and keys in memory: real tokens, real ends, real roles. */
import { createHash, randomBytes } from "node:crypto";
import { SallyportError } from "@sallyport/core";
import type { z } from "zod";
import type { Caller, Presented, Principal } from "../services/caller.ts";
import type { Keys, People } from "../services/people.ts";
import {
  type Permission,
  PERMISSIONS,
  type Permissions,
  STEP_UP,
} from "../services/permissions.ts";
import type { SignedIn, SignIns } from "../services/sign-ins.ts";
import type { PageRequest } from "../shapes/common.ts";
import type * as shapes from "../shapes/people.ts";
import type { Session } from "../shapes/sign-in.ts";
import { type Clock, known, pageOver } from "./clock.test-kit.ts";

const SEEN: readonly Permission[] = ["plant.read", "policy.read", "own.factors"];

/** Close to identity's table; an administrator may all, so that one key can ask every route. */
export const ROLES: Readonly<Record<string, readonly Permission[]>> = {
  admin: PERMISSIONS,
  engineer: [
    ...SEEN,
    "policy.propose",
    "policy.apply",
    "path.request",
    "path.close",
    "evidence.read",
  ],
  approver: [...SEEN, "path.approve", "path.close", "evidence.read"],
  operator: [...SEEN, "path.close", "path.request"],
  vendor: ["path.request"],
};

interface Held {
  readonly principal: Principal;
  readonly startedAt: string;
  readonly endsAtMs: number;
  stepUpAtMs?: number;
}

const STEP_UP_MS = 5 * 60_000;
const SESSION_SECONDS = 8 * 3600;
const TOTP = "123456";

export class MemoryPeople implements SignIns, Permissions {
  readonly people: People;
  readonly keys: Keys;
  readonly persons: shapes.Person[] = [];
  readonly held = new Map<string, Held>();
  readonly #passwords = new Map<string, string>();
  readonly #apiKeys: z.infer<typeof shapes.apiKey>[] = [];
  readonly #clock: Clock;
  /** How often a secret was looked up, and a password checked. */
  readonly counts = { authenticated: 0, passwords: 0 };
  #serial = 0;

  constructor(clock: Clock) {
    this.#clock = clock;
    this.people = this.#people();
    this.keys = this.#keys();
  }

  add(id: string, role: string, password = `${id}-has-a-long-password`): void {
    this.persons.push({
      id,
      name: id,
      roles: [role],
      state: "active",
      createdAt: this.#clock.iso(),
    });
    this.#passwords.set(id, sha256(password));
  }

  /** A session as a sign-in makes it; answers the token. */
  open(id: string, kind: Principal["kind"] = "session", stepUp = true): string {
    const person = known(
      this.persons.find((one) => one.id === id),
      "person",
    );
    const token = randomBytes(24).toString("base64url");
    this.#serial += 1;
    const principal: Principal = {
      personId: id,
      name: person.name,
      roles: person.roles,
      kind,
      id: `${kind}-${this.#serial}`,
    };
    this.held.set(sha256(token), {
      principal,
      startedAt: this.#clock.iso(),
      endsAtMs: this.#clock.nowMs + SESSION_SECONDS * 1000,
      ...(stepUp ? { stepUpAtMs: this.#clock.nowMs } : {}),
    });
    return token;
  }

  may({ roles, scopes }: Principal, permission: Permission): boolean {
    const byRole = roles.some((role) => ROLES[role]?.includes(permission) === true);
    return byRole && scopes?.includes(permission) !== false;
  }

  async authorize({ principal }: Caller, permission: Permission, isFresh: boolean): Promise<void> {
    if (principal === undefined || !this.may(principal, permission)) {
      throw new SallyportError("not-permitted", `lacks ${permission}`);
    }
    if (!isFresh && !STEP_UP.has(permission)) return;
    const age =
      this.#clock.nowMs - (this.#heldOf(principal).stepUpAtMs ?? Number.NEGATIVE_INFINITY);
    if (age < 0 || age > STEP_UP_MS) throw new SallyportError("step-up-needed", "too long ago");
  }

  authenticate({ by, secret }: Presented): Promise<Principal | undefined> {
    this.counts.authenticated += 1;
    const held = this.held.get(sha256(secret));
    if (held === undefined || held.endsAtMs <= this.#clock.nowMs) return Promise.resolve(undefined);
    const { principal } = held;
    const person = this.persons.find(({ id }) => id === principal.personId);
    const isCookie = principal.kind === "session";
    if (person?.state !== "active" || isCookie !== (by === "cookie")) {
      return Promise.resolve(undefined);
    }
    return Promise.resolve({ ...principal, roles: person.roles });
  }

  password(_caller: Caller, answer: { person: string; password: string; totp: string }) {
    this.counts.passwords += 1;
    const isRight = this.#passwords.get(answer.person) === sha256(answer.password);
    if (!isRight || answer.totp !== TOTP) return Promise.reject(wrong());
    return Promise.resolve(this.#signedIn(this.open(answer.person)));
  }

  passkeyOptions() {
    const challenge = randomBytes(32).toString("base64url");
    return Promise.resolve({
      flow: randomBytes(16).toString("base64url"),
      publicKey: { challenge },
    });
  }

  passkeyFinish(): Promise<SignedIn> {
    return Promise.reject(wrong());
  }

  recoveryCode(): Promise<SignedIn> {
    return Promise.reject(wrong());
  }

  link(): Promise<SignedIn> {
    return Promise.reject(wrong());
  }

  oidcStart() {
    return Promise.resolve({ flow: "flow", url: "https://idp.example/authorize" });
  }

  oidcFinish(): Promise<SignedIn> {
    return Promise.reject(wrong());
  }

  breakGlass(): Promise<SignedIn> {
    return Promise.reject(wrong());
  }

  recover(): Promise<never> {
    return Promise.reject(new SallyportError("denied", "only local root recovers"));
  }

  localBegin(_caller: Caller, uid: number) {
    return Promise.resolve({ flow: `uid-${uid}`, directory: "/run/proof", fileName: "f" });
  }

  localFinish(_caller: Caller, flow: string): Promise<SignedIn> {
    if (flow !== "uid-0") return Promise.reject(wrong());
    return Promise.resolve(this.#signedIn(this.open("ida", "uid")));
  }

  me({ principal }: Caller): Promise<Session> {
    return Promise.resolve(this.#session(this.#heldOf(principal), principal));
  }

  signOut({ principal }: Caller): Promise<void> {
    return this.#end(principal?.id ?? "");
  }

  sessions({ principal }: Caller, person: string | undefined, page: PageRequest) {
    const whose = person ?? principal?.personId;
    if (
      whose !== principal?.personId &&
      (principal === undefined || !this.may(principal, "person.read"))
    ) {
      return Promise.reject(new SallyportError("not-permitted", "not one's own"));
    }
    const all = [...this.held.values()].filter((held) => held.principal.personId === whose);
    return Promise.resolve(
      pageOver(
        all.map((held) => this.#session(held, principal)),
        page,
      ),
    );
  }

  revoke(_caller: Caller, session: string): Promise<void> {
    return this.#end(session);
  }

  stepUpOptions() {
    return this.passkeyOptions();
  }

  stepUpFinish({ principal }: Caller, answer: { kind: string; totp?: string }): Promise<Session> {
    if (answer.totp !== TOTP) return Promise.reject(wrong());
    const held = this.#heldOf(principal);
    held.stepUpAtMs = this.#clock.nowMs;
    return Promise.resolve(this.#session(held, principal));
  }

  #signedIn(token: string): SignedIn {
    const held = known(this.held.get(sha256(token)), "session");
    return { token, maxAgeSeconds: SESSION_SECONDS, session: this.#session(held, held.principal) };
  }

  #heldOf(principal: Principal | undefined): Held {
    const held = [...this.held.values()].find((one) => one.principal.id === principal?.id);
    return known(held, "session");
  }

  #session({ principal, startedAt, endsAtMs }: Held, asking: Principal | undefined): Session {
    return {
      id: principal.id,
      person: principal.personId,
      name: principal.name,
      roles: [...principal.roles],
      permissions: PERMISSIONS.filter((permission) => this.may(principal, permission)),
      kind: principal.kind,
      startedAt,
      lastUsedAt: this.#clock.iso(),
      endsAt: new Date(endsAtMs).toISOString(),
      peer: "127.0.0.1",
      current: principal.id === asking?.id,
    };
  }

  #end(session: string): Promise<void> {
    for (const [hash, { principal }] of this.held) {
      if (principal.id === session) this.held.delete(hash);
    }
    return Promise.resolve();
  }

  #find(id: string): shapes.Person {
    return known(
      this.persons.find((person) => person.id === id),
      "person",
    );
  }

  #change(id: string, change: Partial<shapes.Person>): Promise<shapes.Person> {
    const made = { ...this.#find(id), ...change };
    this.persons.splice(this.persons.indexOf(this.#find(id)), 1, made);
    return Promise.resolve(made);
  }

  #people(): People {
    const credential = {
      id: "c-1",
      kind: "passkey",
      name: "key",
      createdAt: this.#clock.iso(),
      // What a service lets slip must not reach the wire.
      privateNote: "secret-of-the-store",
    } as const;
    const invite = (person: shapes.Person) =>
      Promise.resolve({
        person,
        secret: randomBytes(16).toString("base64url"),
        endsAt: this.#clock.iso(3_600_000),
      });
    return {
      list: (_caller, page) => Promise.resolve(pageOver(this.persons, page)),
      get: async (_caller, id) => this.#find(id),
      create: (_caller, { id, name, roles }) => {
        if (this.persons.some((person) => person.id === id)) {
          return Promise.reject(new SallyportError("name-taken", `there is a person ${id}`));
        }
        const person = { id, name, roles, state: "invited", createdAt: this.#clock.iso() } as const;
        this.persons.push(person);
        return invite(person);
      },
      invite: async (_caller, id) => invite(this.#find(id)),
      setRoles: (_caller, id, roles) => this.#change(id, { roles: [...roles] }),
      disable: (_caller, id) => this.#change(id, { state: "disabled" }),
      enable: (_caller, id) => this.#change(id, { state: "active" }),
      credentials: async (_caller, id) => (this.#find(id), [credential]),
      removeCredential: async (_caller, id) => void this.#find(id),
      sealed: () => Promise.resolve([]),
      seal: async (_caller, id, { holders, roles }) => ({
        account: { id, roles, holders, sealedAt: this.#clock.iso() },
        halves: ["one", "two"],
      }),
      ownCredentials: () => Promise.resolve([credential]),
      passkeyOptions: () => this.passkeyOptions(),
      addPasskey: () => Promise.resolve(credential),
      setPassword: async ({ principal }, password) => {
        this.#passwords.set(principal?.personId ?? "", sha256(password));
      },
      totpBegin: () => Promise.resolve({ flow: "totp", uri: "otpauth://totp/x" }),
      totpFinish: () => Promise.resolve(credential),
      recoveryCodes: () => Promise.resolve(["one", "two"]),
    };
  }

  #keys(): Keys {
    return {
      list: (_caller, page) => Promise.resolve(pageOver(this.#apiKeys, page)),
      create: async ({ principal }, { name, scopes, days }) => {
        const owner = principal?.personId ?? "";
        const secret = this.open(owner, "key", false);
        const held = known(this.held.get(sha256(secret)), "key");
        this.held.set(sha256(secret), { ...held, principal: { ...held.principal, scopes } });
        const key = {
          id: held.principal.id,
          name,
          owner,
          scopes,
          createdAt: this.#clock.iso(),
          endsAt: this.#clock.iso(days * 86_400_000),
        };
        this.#apiKeys.push(key);
        return { key, secret };
      },
      revoke: (_caller, key) => this.#end(key),
    };
  }
}

function sha256(text: string): string {
  return createHash("sha256").update(text).digest("hex");
}

function wrong(): SallyportError {
  return new SallyportError("sign-in-failed", "the credentials are not right");
}
