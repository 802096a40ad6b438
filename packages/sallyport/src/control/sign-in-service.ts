import { createHash } from "node:crypto";
import {
  type Caller,
  type Origin,
  type Page,
  type PageRequest,
  type Permission,
  PERMISSIONS,
  type Permissions,
  type Presented,
  type Principal,
  type Session,
  type SignedIn as Opened,
  type SignIns as Service,
} from "@sallyport/api";
import { SallyportError } from "@sallyport/core";
import {
  allows,
  limits,
  type Person,
  type Present,
  type Refusal,
  type SignedIn,
  type SignIn,
  termsOf,
} from "@sallyport/identity";
import { fields } from "../cli/enforcer-client.ts";
import type { AskEnforcer } from "./ask.ts";
import { agreed, type Desk, personOf } from "./desk.ts";
import { accountOf, type LocalProof } from "./local-proof.ts";
import { pageOver } from "./pages.ts";
import type { PeopleService } from "./people-service.ts";

export interface SignInMeans {
  readonly desk: Desk;
  readonly people: PeopleService;
  readonly enforcer: AskEnforcer;
  readonly proof: LocalProof;
  /** What /etc/passwd says. */
  readonly accounts: () => string;
}

type First = Parameters<Service["link"]>[2];

/** Sign-ins and what they may do, by identity's rules. */
export class SignInService implements Service, Permissions {
  readonly #desk: Desk;
  readonly #means: SignInMeans;

  constructor(means: SignInMeans) {
    this.#means = means;
    this.#desk = means.desk;
  }

  async authenticate({ by, secret }: Presented, origin: Origin): Promise<Principal | undefined> {
    if (secret.startsWith("sp_")) {
      const present = await this.#desk.apiKeys.check(secret, origin.peer);
      if (present.kind === "refused" || by === "cookie") return undefined;
      const { key, person } = present;
      return { ...who(person), kind: "key", id: key.id, scopes: key.scope };
    }
    const present = await this.#desk.signIns.check(secret);
    if (present.kind === "refused") return undefined;
    const { signIn, person } = present;
    const kind = kindOf(signIn);
    // A browser's token is in its cookie; that of the box is good on the box.
    const isHere =
      kind === "uid" ? by === "bearer" && origin.transport === "local" : by === "cookie";
    return isHere ? { ...who(person), kind, id: signIn.id } : undefined;
  }

  async authorize(caller: Caller, permission: Permission, isFresh: boolean): Promise<void> {
    const { principal } = caller;
    if (principal?.kind === "key") {
      const key = await this.#desk.keyPresentOf(principal);
      const refusal = await this.#desk.apiKeys.authorize(key, permission);
      if (refusal !== undefined) agreed(refusal);
      if (isFresh) throw new SallyportError("step-up-needed", "a key has no second factor");
      return;
    }
    const { signIn, person } = agreed(
      await this.#desk.signIns.authorize(await this.#desk.presentOf(caller), permission),
    );
    if (!isFresh || termsOf(permission).isDangerous === true) return;
    const { clock, events } = this.#desk.means;
    if (clock.nowMs() - signIn.provedAtMs < limits.STEP_UP_MS) return;
    const because = "step-up-needed";
    await events.record("permission-refused", { person: person.id, permission, because });
    throw new SallyportError(because, "show your second factor again first");
  }

  may({ roles, scopes }: Principal, permission: Permission): boolean {
    // Roles in a principal came from the store, whose words they are.
    const byRole = allows(roles as Person["roles"], permission);
    return byRole && scopes?.includes(permission) !== false;
  }

  async passkeyOptions(): ReturnType<Service["passkeyOptions"]> {
    return optionsOf(await this.#desk.passkeys.beginSignIn());
  }

  async passkeyFinish(
    { peer }: Caller,
    { credential }: Parameters<Service["passkeyFinish"]>[1],
  ): Promise<Opened> {
    return this.#opened(agreed(await this.#desk.passkeys.finishSignIn(credential, peer)));
  }

  async password(
    { peer }: Caller,
    { person, password, totp }: Parameters<Service["password"]>[1],
  ): Promise<Opened> {
    const second = { kind: "totp", code: totp };
    const asked = { name: person, password, second };
    return this.#opened(agreed(await this.#desk.passwords.signIn(asked, peer)));
  }

  async recoveryCode(
    { peer }: Caller,
    { person, password, code }: Parameters<Service["recoveryCode"]>[1],
  ): Promise<Opened> {
    const asked = { name: person, password, second: { kind: "recovery-code", code } };
    return this.#opened(agreed(await this.#desk.passwords.signIn(asked, peer)));
  }

  async link({ peer }: Caller, secret: string, first?: First): Promise<Opened> {
    if (first !== undefined) await this.#offerFirst(secret);
    const named = first === undefined ? undefined : { name: first.id, displayName: first.name };
    return this.#opened(agreed(await this.#desk.links.redeem(secret, peer, named)));
  }

  /** The enforcer made the link of the first administrator, and alone knows whether this is it. */
  async #offerFirst(token: string): Promise<void> {
    const id = createHash("sha256").update(token).digest("hex");
    if ((await this.#desk.means.store.links.get(id)) !== undefined) return;
    if (token.length > 64) return;
    const { valid } = fields(await this.#means.enforcer({ type: "first-check", token }));
    if (valid !== true) return;
    const endMs = this.#desk.means.clock.nowMs() + FIRST_LINK_MS;
    // Refused while there is an administrator; what was refused is told when it is redeemed.
    await this.#desk.links.offerFirstAdmin(id, endMs);
  }

  /** What is answered as `flow` stays with the page that asked: it is what the answer is bound to. */
  async oidcStart(caller: Caller, named: string | undefined): ReturnType<Service["oidcStart"]> {
    const { providers } = this.#desk;
    const id = providers.idOf(named);
    const isSignedIn = caller.principal !== undefined;
    const present = isSignedIn ? await this.#desk.presentOf(caller) : undefined;
    const { url, cookie } = agreed(await (await providers.oidc()).start(id, present));
    return { flow: cookie, url };
  }

  async oidcFinish(
    { peer }: Caller,
    answer: Parameters<Service["oidcFinish"]>[1],
  ): Promise<Opened> {
    const outcome = agreed(
      await (await this.#desk.providers.oidc()).finish(this.#oidc(answer, peer)),
    );
    if (outcome.kind === "signed-in") return this.#opened(outcome);
    throw new TypeError("a sign-in that steps nobody up signs somebody in");
  }

  #oidc(
    { flow, state, code, iss, provider }: Parameters<Service["oidcFinish"]>[1],
    source: string,
  ): Parameters<Awaited<ReturnType<Desk["providers"]["oidc"]>>["finish"]>[0] {
    const query = new URLSearchParams({ code, state, ...(iss === undefined ? {} : { iss }) });
    const id = this.#desk.providers.idOf(provider);
    return { provider: id, query: query.toString(), cookie: flow, source };
  }

  async breakGlass(
    { peer }: Caller,
    answer: Parameters<Service["breakGlass"]>[1],
  ): Promise<Opened> {
    return this.#opened(agreed(await this.#desk.breakGlass.open(answer, peer)));
  }

  /** Who came through root's own door is root. */
  async recover(
    { peer }: Caller,
    order: Parameters<Service["recover"]>[1],
  ): ReturnType<Service["recover"]> {
    if (peer === "root") return this.#means.people.recover(order);
    const told = { person: order.person, by: peer, because: "not-root" };
    await this.#desk.means.events.record("person-refused", told);
    throw new SallyportError("denied", "only local root recovers an administrator", {
      hint: "on the gateway: sudo sallyport admin recover NAME --reason TEXT",
    });
  }

  async localBegin(_caller: Caller, uid: number): ReturnType<Service["localBegin"]> {
    return this.#means.proof.begin(uid);
  }

  /** Whoever has an account of the box is the person of the same name, if an administrator added one. */
  async localFinish({ peer }: Caller, flow: string): Promise<Opened> {
    const { store, events } = this.#desk.means;
    const uid = this.#means.proof.finish(flow);
    const account = uid === undefined ? undefined : accountOf(uid, this.#means.accounts());
    const person = account === undefined ? undefined : await store.people.get(account);
    if (person?.state !== "active" || person.origin !== "local") {
      const because = uid === undefined ? "uid-not-shown" : "person-unknown";
      const told = { person: account ?? "", source: peer, by: "uid", because };
      await events.record("sign-in-refused", told);
      throw new SallyportError("sign-in-failed", "nobody is known by this account", {
        hint: "an administrator adds a person with the name of the account",
      });
    }
    const begun = await this.#desk.signIns.begin({ person, factors: ["uid"], source: peer });
    return this.#opened(begun);
  }

  async me(caller: Caller): Promise<Session> {
    const { principal } = caller;
    if (principal?.kind !== "key") {
      const { signIn, person } = await this.#desk.presentOf(caller);
      return this.#sessionOf(signIn, person, caller);
    }
    const { key, person } = await this.#desk.keyPresentOf(principal);
    return {
      ...{ id: key.id, person: person.id, name: person.displayName, roles: [...person.roles] },
      permissions: PERMISSIONS.filter((permission) => this.may(principal, permission)),
      ...{ kind: "key", scopes: [...key.scope], startedAt: iso(key.createdAtMs) },
      ...{ lastUsedAt: iso(key.usedAtMs), endsAt: iso(key.expiresAtMs) },
      ...{ peer: key.usedFrom, current: true },
    };
  }

  async signOut(caller: Caller): Promise<void> {
    await this.#desk.signIns.end(await this.#desk.presentOf(caller));
  }

  async sessions(
    caller: Caller,
    whose: string | undefined,
    page: PageRequest,
  ): Promise<Page<Session>> {
    const own = personOf(caller);
    if (whose !== undefined && whose !== own) await this.authorize(caller, "person.read", false);
    const id = whose ?? own;
    const { signIns, people } = this.#desk.means.store;
    const person = await people.get(id);
    const all = person === undefined ? [] : await signIns.ofPerson(id);
    const sessions = all.flatMap((one) =>
      person === undefined ? [] : [this.#sessionOf(one, person, caller)],
    );
    return pageOver(sessions, page, (session) => session.id);
  }

  async revoke(caller: Caller, session: string): Promise<void> {
    const found = await this.#desk.means.store.signIns.get(session);
    if (found !== undefined && found.person !== personOf(caller)) {
      await this.authorize(caller, "person.manage", false);
    }
    const because = `by ${personOf(caller)}`;
    if (found === undefined || !(await this.#desk.signIns.revoke(found.person, session, because))) {
      throw new SallyportError("no-such-thing", "there is no such session");
    }
  }

  async stepUpOptions(caller: Caller): ReturnType<Service["stepUpOptions"]> {
    return optionsOf(await this.#desk.passkeys.beginStepUp(await this.#desk.presentOf(caller)));
  }

  async stepUpFinish(
    caller: Caller,
    answer: Parameters<Service["stepUpFinish"]>[1],
  ): Promise<Session> {
    const present = await this.#desk.presentOf(caller);
    const after = agreed(await this.#steppedUp(present, answer, caller.peer));
    return this.#sessionOf(after.signIn, after.person, caller);
  }

  async #steppedUp(
    present: Present,
    answer: Parameters<Service["stepUpFinish"]>[1],
    peer: string,
  ): Promise<Pick<Present, "signIn" | "person"> | Refusal> {
    switch (answer.kind) {
      case "totp":
        return await this.#desk.passwords.stepUp(present, answer.totp, peer);
      case "passkey":
        return await this.#desk.passkeys.finishStepUp(present, answer.credential);
      case "oidc":
        return await (await this.#desk.providers.oidc()).finish(this.#oidc(answer, peer), present);
    }
  }

  #opened({ token, person, signIn }: SignedIn): Opened {
    const maxAgeSeconds = (signIn.expiresAtMs - signIn.createdAtMs) / 1000;
    const session = { ...this.#sessionOf(signIn, person, { principal: undefined }), current: true };
    return { token, maxAgeSeconds, session };
  }

  #sessionOf(signIn: SignIn, person: Person, { principal }: Pick<Caller, "principal">): Session {
    const isLink = signIn.factors.includes("link");
    const permissions = PERMISSIONS.filter((permission) =>
      isLink ? permission === "own.factors" : allows(person.roles, permission),
    );
    return {
      ...{ id: signIn.id, person: person.id, name: person.displayName, roles: [...person.roles] },
      permissions,
      kind: kindOf(signIn),
      startedAt: iso(signIn.createdAtMs),
      lastUsedAt: iso(signIn.seenAtMs),
      endsAt: iso(signIn.expiresAtMs),
      ...(signIn.provedAtMs === 0 ? {} : { stepUpAt: iso(signIn.provedAtMs) }),
      peer: signIn.source,
      current: signIn.id === principal?.id,
    };
  }
}

/** The enforcer judges the secret anew when the key comes; this only bounds what waits here. */
const FIRST_LINK_MS = 10 * 60_000;

function who({ id, displayName, roles }: Person): Pick<Principal, "personId" | "name" | "roles"> {
  return { personId: id, name: displayName, roles };
}

function kindOf({ factors }: SignIn): "session" | "uid" {
  return factors.includes("uid") ? "uid" : "session";
}

/** The challenge binds options and answer by itself. */
function optionsOf(publicKey: { readonly challenge: string }): {
  flow: string;
  publicKey: Record<string, unknown>;
} {
  return { flow: publicKey.challenge, publicKey: { ...publicKey } };
}

function iso(ms: number): string {
  return new Date(ms).toISOString();
}
