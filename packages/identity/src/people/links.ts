/**
 * Links that let somebody in once, only to enroll the factors to sign in with: the first
 * administrator's, invitations, and an administrator's recovery by local root.
 */
import { INVITATION_LIFE_MS, RECOVERY_LIFE_MS } from "../limits.ts";
import type { Means } from "../ports.ts";
import type { Link, Person } from "../records.ts";
import { type Refusal, refuse } from "../refusals.ts";
import { change, makeToken, sha256Hex, TOKEN_PATTERN } from "../secrets.ts";
import { Lockout, sourceCounter } from "../sign-in/lockout.ts";
import type { Present, SignedIn, SignIns } from "../sign-in/sign-ins.ts";
import { activeAdmins, isDisplayName, isLocalName, newPerson } from "./people.ts";
import { rolesConflict } from "./roles.ts";

export interface MadeLink {
  readonly kind: "made";
  /** Shown this once. */
  readonly token: string;
  readonly expiresAtMs: number;
}

export class Links {
  readonly #means: Means;
  readonly #signIns: SignIns;
  readonly #lockout: Lockout;

  constructor(means: Means, signIns: SignIns) {
    this.#means = means;
    this.#signIns = signIns;
    this.#lockout = new Lockout(means.store.attempts, means.clock);
  }

  /**
   * The enforcer made the secret and printed the link; here comes only the hash of `firstAdminToken`
   * of it. Refused while there is an administrator.
   */
  async offerFirstAdmin(tokenSha256: string, expiresAtMs: number): Promise<"offered" | Refusal> {
    if ((await activeAdmins(this.#means)).length > 0) return refuse("admin-exists");
    await this.#means.events.record("link-made", { link: "first-admin", by: "root" });
    const link: Link = { id: tokenSha256, revision: 1, kind: "first-admin", expiresAtMs };
    return (await this.#means.store.links.add(link)) ? "offered" : refuse("link-unknown");
  }

  async invite(by: Present, name: string): Promise<MadeLink | Refusal> {
    const allowed = await this.#signIns.authorize(by, "person.manage");
    if (allowed.kind === "refused") return allowed;
    const person = await this.#means.store.people.get(name);
    if (person?.state !== "active" || person.origin !== "local") return refuse("no-such-person");
    return this.#make("invitation", person, by.person.id, INVITATION_LIFE_MS);
  }

  /**
   * `admin recover`, for local root alone: whoever runs it has proved to be root. The person becomes
   * an active administrator again; old sign-ins end, and old factors, which somebody else may have
   * found, are forgotten unless root says to keep them.
   */
  async recoverAdmin(
    name: string,
    { reason, keepFactors }: { readonly reason: string; readonly keepFactors: boolean },
  ): Promise<MadeLink | Refusal> {
    const { store, events } = this.#means;
    const person = await store.people.get(name);
    if (person?.origin !== "local") return refuse("no-such-person");
    const roles = person.roles.includes("admin")
      ? person.roles
      : [...person.roles, "admin" as const];
    if (rolesConflict(roles)) return refuse("roles-conflict");
    await events.record("admin-recovered", { person: name, by: "root", reason, keepFactors });
    await this.#signIns.revokeAll(name, "recovered");
    if (!keepFactors) await this.#forget(name);
    await change(store.people, name, (kept) => ({
      ...kept,
      roles,
      state: "active" as const,
    }));
    return this.#make("recovery", person, "root", RECOVERY_LIFE_MS);
  }

  /** `first` names the first administrator; the other links know whose they are. */
  async redeem(token: unknown, source: string, first?: unknown): Promise<SignedIn | Refusal> {
    const counter = sourceCounter(source);
    const locked = await this.#lockout.begin([counter]);
    const outcome = locked ?? (await this.#use(token, first));
    if ("cause" in outcome) {
      await this.#means.events.record("link-refused", { source, because: outcome.cause });
      return outcome;
    }
    await this.#lockout.takeBack([counter]);
    const { id } = outcome;
    await this.#means.events.record("link-used", { person: id, source });
    return this.#signIns.begin({ person: outcome, factors: ["link"], source });
  }

  async #use(token: unknown, first: unknown): Promise<Person | Refusal> {
    const { store, clock } = this.#means;
    if (typeof token !== "string" || !TOKEN_PATTERN.test(token)) return refuse("link-unknown");
    const id = sha256Hex(token);
    const link = await store.links.get(id);
    if (link === undefined) return refuse("link-unknown");
    if (clock.nowMs() >= link.expiresAtMs) return refuse("link-expired");
    if (link.kind === "first-admin") return this.#firstAdmin(id, first);
    if ((await store.links.take(id)) === undefined) return refuse("link-unknown");
    const person = await store.people.get(link.person ?? "");
    return person?.state === "active" ? person : refuse("link-unknown");
  }

  async #firstAdmin(id: string, first: unknown): Promise<Person | Refusal> {
    const { store, clock, events } = this.#means;
    const { name, displayName } = (first ?? {}) as Readonly<Record<string, unknown>>;
    // A typing error must not use the link up.
    if (!isLocalName(name)) return refuse("person-name-invalid");
    if (!isDisplayName(displayName)) return refuse("request-malformed");
    if ((await store.people.get(name)) !== undefined) return refuse("person-exists");
    if ((await activeAdmins(this.#means)).length > 0) return refuse("admin-exists");
    if ((await store.links.take(id)) === undefined) return refuse("link-unknown");
    // Their key is the first approver's, and without it nobody could approve the second one's.
    const roles = ["admin", "approver"] as const;
    const person = newPerson({ name, displayName, roles }, "local", clock.nowMs());
    await events.record("person-added", { person: name, roles: person.roles, by: "first-admin" });
    return (await store.people.add(person)) ? person : refuse("person-exists");
  }

  async #make(
    kind: Link["kind"],
    { id: person }: Person,
    by: string,
    lifeMs: number,
  ): Promise<MadeLink> {
    const { store, clock, random, events } = this.#means;
    const token = makeToken(random);
    const expiresAtMs = clock.nowMs() + lifeMs;
    await events.record("link-made", { person, link: kind, by });
    // An earlier link of the person is good no more.
    for (const old of await store.links.ofPerson(person)) await store.links.take(old.id);
    await store.links.add({ id: sha256Hex(token), revision: 1, person, kind, expiresAtMs });
    return { kind: "made", token, expiresAtMs };
  }

  async #forget(person: string): Promise<void> {
    const { passkeys, recoveryCodes, passwords } = this.#means.store;
    for (const { id } of await passkeys.ofPerson(person)) await passkeys.take(id);
    for (const { id } of await recoveryCodes.ofPerson(person)) await recoveryCodes.take(id);
    await passwords.take(person);
  }
}
