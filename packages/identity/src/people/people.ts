/** People and their roles, changed by administrators, never by oneself. */
import { LABEL_MAX_CHARACTERS } from "../limits.ts";
import type { Means } from "../ports.ts";
import type { Person } from "../records.ts";
import { type Refusal, type RefusalCause, refuse } from "../refusals.ts";
import { change } from "../secrets.ts";
import type { Present, SignIns } from "../sign-in/sign-ins.ts";
import { isRole, type Role, rolesConflict } from "./roles.ts";

/** As policy files name people. An `@` stands only in names that a provider vouches for. */
const LOCAL_NAME = /^[a-z0-9][a-z0-9._-]{0,62}$/;

export function isLocalName(name: unknown): name is string {
  return typeof name === "string" && LOCAL_NAME.test(name);
}

export function isDisplayName(name: unknown): name is string {
  // No control character, and none that turns the direction of what stands beside it.
  const isText = typeof name === "string" && name !== "" && name.length <= LABEL_MAX_CHARACTERS;
  return isText && name.isWellFormed() && !/[\p{Cc}\p{Cf}\p{Zl}\p{Zp}]/u.test(name);
}

export interface NewPerson {
  readonly name: string;
  readonly displayName: string;
  readonly roles: readonly Role[];
}

export class People {
  readonly #means: Means;
  readonly #signIns: SignIns;
  /** Changes come one after the other, or two administrators could remove each other at once. */
  #last: Promise<unknown> = Promise.resolve();

  constructor(means: Means, signIns: SignIns) {
    this.#means = means;
    this.#signIns = signIns;
  }

  add(by: Present, wanted: unknown): Promise<Person | Refusal> {
    return this.#inTurn(by, "", async () => {
      const asked = parseNewPerson(wanted);
      if (typeof asked === "string") return refuse(asked);
      const person = newPerson(asked, "local", this.#means.clock.nowMs());
      if ((await this.#means.store.people.get(person.id)) !== undefined) {
        return refuse("person-exists");
      }
      const { id, roles } = person;
      await this.#means.events.record("person-added", { person: id, roles, by: by.person.id });
      return (await this.#means.store.people.add(person)) ? person : refuse("person-exists");
    });
  }

  setRoles(by: Present, id: string, roles: unknown): Promise<Person | Refusal> {
    return this.#inTurn(by, id, async () => {
      const list = parseRoles(roles);
      if (list === undefined) return refuse("request-malformed");
      if (rolesConflict(list)) return refuse("roles-conflict");
      const person = await this.#means.store.people.get(id);
      if (person === undefined) return refuse("no-such-person");
      if (person.origin !== "local") return refuse("roles-not-ours");
      if (!list.includes("admin") && (await this.#isLastAdmin(person))) return refuse("last-admin");
      return this.#change(by, id, { roles: list });
    });
  }

  /** Disabling ends all of the person's sign-ins at once. */
  setState(by: Present, id: string, state: Person["state"]): Promise<Person | Refusal> {
    return this.#inTurn(by, id, async () => {
      const person = await this.#means.store.people.get(id);
      if (person === undefined) return refuse("no-such-person");
      if (state === "disabled" && (await this.#isLastAdmin(person))) return refuse("last-admin");
      const changed = await this.#change(by, id, { state });
      if (state === "disabled") await this.#signIns.revokeAll(id, "disabled");
      return changed;
    });
  }

  /** Each act is authorized here, so that no caller can forget to. */
  async #inTurn(
    by: Present,
    about: string,
    act: () => Promise<Person | Refusal>,
  ): Promise<Person | Refusal> {
    const allowed = await this.#signIns.authorize(by, "person.manage");
    if (allowed.kind === "refused") return allowed;
    const isOwn = about === by.person.id;
    const turn = this.#last.then(() => (isOwn ? refuse("own-roles") : act()));
    // Whoever comes next does so however this ends; its own caller sees the error.
    this.#last = turn.catch(() => undefined);
    const outcome = await turn;
    if ("kind" in outcome) {
      const fields = { person: about, by: by.person.id, because: outcome.cause };
      await this.#means.events.record("person-refused", fields);
    }
    return outcome;
  }

  async #change(
    by: Present,
    id: string,
    to: Partial<Pick<Person, "roles" | "state">>,
  ): Promise<Person | Refusal> {
    await this.#means.events.record("person-changed", { person: id, by: by.person.id, ...to });
    const changed = await change(this.#means.store.people, id, (kept) => ({ ...kept, ...to }));
    return changed ?? refuse("no-such-person");
  }

  async #isLastAdmin(person: Person): Promise<boolean> {
    const admins = await activeAdmins(this.#means);
    return admins.length === 1 && admins[0]?.id === person.id;
  }
}

/** Sealed accounts don't count: they are no one's. */
export async function activeAdmins({ store }: Means): Promise<readonly Person[]> {
  const people = await store.people.all();
  return people.filter(
    ({ state, roles, origin }) =>
      state === "active" && roles.includes("admin") && origin !== "break-glass",
  );
}

export function newPerson(wanted: NewPerson, origin: string, createdAtMs: number): Person {
  const { name, displayName, roles } = wanted;
  return { id: name, revision: 1, displayName, roles, state: "active", origin, createdAtMs };
}

function parseNewPerson(value: unknown): NewPerson | RefusalCause {
  if (typeof value !== "object" || value === null) return "request-malformed";
  const { name, displayName, roles } = value as Readonly<Record<string, unknown>>;
  const list = parseRoles(roles);
  if (list === undefined || !isDisplayName(displayName)) return "request-malformed";
  if (!isLocalName(name)) return "person-name-invalid";
  return rolesConflict(list) ? "roles-conflict" : { name, displayName, roles: list };
}

function parseRoles(value: unknown): readonly Role[] | undefined {
  if (!Array.isArray(value) || value.length === 0 || !value.every(isRole)) return undefined;
  return [...new Set(value)];
}
