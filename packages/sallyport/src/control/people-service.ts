import { randomBytes } from "node:crypto";
import type { Caller, Keys, Page, PageRequest, People as Service, Person } from "@sallyport/api";
import { SallyportError } from "@sallyport/core";
import type { BreakGlass, Passkey, Records, Stored, Person as Kept } from "@sallyport/identity";
import { fields, word } from "../cli/enforcer-client.ts";
import { agreed, type Desk, personOf } from "./desk.ts";
import { known, pageOver } from "./pages.ts";

const DAY_MS = 24 * 3600 * 1000;
const FLOW_BYTES = 24;

/** When somebody made the one-time codes that the keyholder checks; the seed itself is there. */
export interface TotpNote extends Stored {
  readonly person: string;
  readonly createdAtMs: number;
}

type Credential = Awaited<ReturnType<Service["addPasskey"]>>;

export class PeopleService implements Service {
  readonly #desk: Desk;
  readonly #notes: Records<TotpNote>;
  readonly #endGrants: (person: string) => Promise<void>;

  /** `endGrants` closes what the person holds open. */
  constructor(desk: Desk, notes: Records<TotpNote>, endGrants: (person: string) => Promise<void>) {
    this.#desk = desk;
    this.#notes = notes;
    this.#endGrants = endGrants;
  }

  async list(_caller: Caller, page: PageRequest): Promise<Page<Person>> {
    const all = await this.#desk.means.store.people.all();
    const { items, next } = pageOver(all, page, ({ id }) => id);
    const people = await Promise.all(items.map((person) => this.#told(person)));
    return { items: people, ...(next === undefined ? {} : { next }) };
  }

  async get(_caller: Caller, person: string): Promise<Person> {
    return this.#told(await this.#find(person));
  }

  async create(
    caller: Caller,
    { id, name, roles }: Parameters<Service["create"]>[1],
  ): ReturnType<Service["create"]> {
    const by = await this.#desk.presentOf(caller);
    agreed(await this.#desk.people.add(by, { name: id, displayName: name, roles }));
    return this.invite(caller, id);
  }

  async invite(caller: Caller, id: string): ReturnType<Service["invite"]> {
    const by = await this.#desk.presentOf(caller);
    const { token, expiresAtMs } = agreed(await this.#desk.links.invite(by, id));
    const person = await this.#told(await this.#find(id));
    return { person, secret: token, endsAt: iso(expiresAtMs) };
  }

  async setRoles(caller: Caller, id: string, roles: readonly string[]): Promise<Person> {
    const by = await this.#desk.presentOf(caller);
    return this.#told(agreed(await this.#desk.people.setRoles(by, id, roles)));
  }

  async disable(caller: Caller, id: string, _reason: string): Promise<Person> {
    const by = await this.#desk.presentOf(caller);
    const person = agreed(await this.#desk.people.setState(by, id, "disabled"));
    for (const key of await this.#desk.means.store.apiKeys.ofPerson(id)) {
      await this.#desk.apiKeys.revoke(key.id, by.person.id);
    }
    await this.#endGrants(id);
    return this.#told(person);
  }

  async enable(caller: Caller, id: string, _reason: string): Promise<Person> {
    const by = await this.#desk.presentOf(caller);
    return this.#told(agreed(await this.#desk.people.setState(by, id, "active")));
  }

  async credentials(_caller: Caller, id: string): Promise<readonly Credential[]> {
    return this.#credentialsOf(await this.#find(id));
  }

  async removeCredential(caller: Caller, id: string, credential: string): Promise<void> {
    const person = await this.#find(id);
    if (credential === "totp") {
      await this.#desk.means.keyholder({ type: "totp-remove", person: id });
      await this.#notes.take(id);
      return;
    }
    if (credential === "password") {
      const isGone = await this.#desk.passwords.remove(person, personOf(caller));
      if (!isGone) known(undefined, "credential");
      return;
    }
    if (!(await this.#desk.passkeys.remove(person, credential))) known(undefined, "credential");
  }

  async sealed(): ReturnType<Service["sealed"]> {
    const { breakGlass, people } = this.#desk.means.store;
    const all = await breakGlass.all();
    return await Promise.all(
      all.map(async (account) => sealedShape(account, (await people.get(account.id))?.roles ?? [])),
    );
  }

  async seal(
    caller: Caller,
    id: string,
    { holders, roles }: Parameters<Service["seal"]>[2],
  ): ReturnType<Service["seal"]> {
    const by = await this.#desk.presentOf(caller);
    // Roles come as words; `seal` refuses those that there are not.
    const terms = { holders, roles: roles as Kept["roles"] };
    const { halves } = agreed(await this.#desk.breakGlass.seal(by, id, terms));
    const account = known(await this.#desk.means.store.breakGlass.get(id), "account");
    return { account: sealedShape(account, terms.roles), halves: [...halves] };
  }

  /** Whoever calls it has shown that local root asks. What may be a thief's is forgotten, keys of programs too. */
  async recover({
    person: id,
    reason,
    keepFactors = false,
  }: {
    readonly person: string;
    readonly reason: string;
    readonly keepFactors?: boolean;
  }): ReturnType<Service["invite"]> {
    const { links, apiKeys, means } = this.#desk;
    const made = agreed(await links.recoverAdmin(id, { reason, keepFactors }));
    for (const key of await means.store.apiKeys.ofPerson(id)) await apiKeys.revoke(key.id, "root");
    if (!keepFactors) {
      // Codes alone let nobody in: a keyholder that is down does not stop a recovery.
      await means.keyholder({ type: "totp-remove", person: id }).catch(() => undefined);
      await this.#notes.take(id);
    }
    const person = await this.#told(await this.#find(id));
    return { person, secret: made.token, endsAt: iso(made.expiresAtMs) };
  }

  async ownCredentials(caller: Caller): Promise<readonly Credential[]> {
    return this.#credentialsOf((await this.#desk.presentOf(caller)).person);
  }

  async passkeyOptions(caller: Caller): ReturnType<Service["passkeyOptions"]> {
    const { person } = await this.#desk.presentOf(caller);
    const options = await this.#desk.passkeys.beginRegistration(person);
    return { flow: options.challenge, publicKey: { ...options } };
  }

  async addPasskey(
    caller: Caller,
    { credential, name }: Parameters<Service["addPasskey"]>[1],
  ): Promise<Credential> {
    const { person } = await this.#desk.presentOf(caller);
    return passkey(agreed(await this.#desk.passkeys.finishRegistration(person, credential, name)));
  }

  async setPassword(caller: Caller, password: string): Promise<void> {
    const { person } = await this.#desk.presentOf(caller);
    agreed(await this.#desk.passwords.set(person, password));
  }

  async totpBegin(caller: Caller): ReturnType<Service["totpBegin"]> {
    const person = personOf(caller);
    const { uri } = fields(await this.#desk.means.keyholder({ type: "totp-enroll", person }));
    // The keyholder knows which seed waits for its first code: there is one a person.
    return { flow: randomBytes(FLOW_BYTES).toString("base64url"), uri: word(uri) };
  }

  async totpFinish(
    caller: Caller,
    { totp }: Parameters<Service["totpFinish"]>[1],
  ): Promise<Credential> {
    const person = personOf(caller);
    const request = { type: "totp-confirm", person, code: totp } as const;
    const { kind } = fields(await this.#desk.means.keyholder(request));
    if (kind !== "verified") {
      throw new SallyportError("sign-in-failed", "this is not the code that the app shows now", {
        hint: "look at the clock of the phone, and give the next code",
      });
    }
    await this.#notes.take(person);
    const createdAtMs = this.#desk.means.clock.nowMs();
    await this.#notes.add({ id: person, revision: 1, person, createdAtMs });
    return totpCredential(createdAtMs);
  }

  async recoveryCodes(caller: Caller): Promise<readonly string[]> {
    return this.#desk.recoveryCodes.make((await this.#desk.presentOf(caller)).person);
  }

  async #find(id: string): Promise<Kept> {
    const person = await this.#desk.means.store.people.get(id);
    if (person !== undefined) return person;
    throw new SallyportError("no-such-person", "nobody has this name");
  }

  async #credentialsOf({ id }: Kept): Promise<readonly Credential[]> {
    const { passkeys, passwords } = this.#desk.means.store;
    const [password, note] = [await passwords.get(id), await this.#notes.get(id)];
    return [
      ...(await passkeys.ofPerson(id)).map(passkey),
      ...(password === undefined
        ? []
        : [
            {
              ...{ id: "password", name: "password", createdAt: iso(password.setAtMs) },
              kind: "password" as const,
            },
          ]),
      ...(note === undefined ? [] : [totpCredential(note.createdAtMs)]),
    ];
  }

  async #told({ id, displayName, roles, state, origin, createdAtMs }: Kept): Promise<Person> {
    const { passkeys, passwords } = this.#desk.means.store;
    const isNew =
      origin === "local" &&
      (await passkeys.ofPerson(id)).length === 0 &&
      (await passwords.get(id)) === undefined;
    return {
      ...{ id, name: displayName, roles: [...roles], createdAt: iso(createdAtMs) },
      state: state === "active" && isNew ? "invited" : state,
    };
  }
}

export class KeysService implements Keys {
  readonly #desk: Desk;

  constructor(desk: Desk) {
    this.#desk = desk;
  }

  async list(_caller: Caller, page: PageRequest): ReturnType<Keys["list"]> {
    const all = await this.#desk.means.store.apiKeys.all();
    const { items, next } = pageOver(all, page, ({ id }) => id);
    return { items: items.map(keyShape), ...(next === undefined ? {} : { next }) };
  }

  async create(
    caller: Caller,
    { name, scopes, days }: Parameters<Keys["create"]>[1],
  ): ReturnType<Keys["create"]> {
    const { person } = await this.#desk.presentOf(caller);
    const expiresAtMs = this.#desk.means.clock.nowMs() + days * DAY_MS;
    const terms = { label: name, scope: scopes, expiresAtMs };
    const { key, text } = agreed(await this.#desk.apiKeys.make(person, terms, person.id));
    return { key: keyShape(key), secret: text };
  }

  async revoke(caller: Caller, key: string): Promise<void> {
    if (!(await this.#desk.apiKeys.revoke(key, personOf(caller)))) known(undefined, "key");
  }
}

function sealedShape(
  { id, holders, sealedAtMs, openedAtMs }: BreakGlass,
  roles: readonly string[],
): Awaited<ReturnType<Service["sealed"]>>[number] {
  const opened = openedAtMs === undefined ? {} : { openedAt: iso(openedAtMs) };
  return { id, roles: [...roles], holders: [...holders], sealedAt: iso(sealedAtMs), ...opened };
}

type KeyShape = Awaited<ReturnType<Keys["create"]>>["key"];

function keyShape(
  key: Awaited<ReturnType<Desk["means"]["store"]["apiKeys"]["all"]>>[number],
): KeyShape {
  const { id, label, person, scope, createdAtMs, expiresAtMs, usedAtMs } = key;
  return {
    ...{ id, name: label, owner: person, scopes: [...scope] },
    ...{ createdAt: iso(createdAtMs), endsAt: iso(expiresAtMs) },
    ...(usedAtMs === 0 ? {} : { lastUsedAt: iso(usedAtMs) }),
  };
}

function passkey({ id, label, createdAtMs }: Passkey): Credential {
  return { id, kind: "passkey", name: label, createdAt: iso(createdAtMs) };
}

function totpCredential(createdAtMs: number): Credential {
  return { id: "totp", kind: "totp", name: "one-time codes", createdAt: iso(createdAtMs) };
}

function iso(ms: number): string {
  return new Date(ms).toISOString();
}
