/**
 * Keys of programs: `sp_`, an id, and a secret that is kept as its SHA-256. A key does at most what
 * its scope names, what its owner may do at that moment, and what keys may do at all.
 */
import {
  API_KEY_LIFE_MAX_MS,
  API_KEY_SEEN_STEP_MS,
  API_KEYS_OF_PERSON_MAX,
  LABEL_MAX_CHARACTERS,
} from "./limits.ts";
import { allows, isPermission, type Permission, termsOf } from "./people/roles.ts";
import type { Means } from "./ports.ts";
import type { ApiKey, Person } from "./records.ts";
import { type Refusal, refuse } from "./refusals.ts";
import { change, equalText, makeToken, sha256Hex } from "./secrets.ts";
import { Lockout, sourceCounter } from "./sign-in/lockout.ts";

const ID_BYTES = 8;
/** The secret may hold `_` itself, so both have their exact length. */
const KEY = /^sp_([0-9a-f]{16})_([A-Za-z0-9_-]{43})$/;

export interface KeyTerms {
  readonly label: string;
  readonly scope: readonly Permission[];
  readonly expiresAtMs: number;
}

export interface MadeKey {
  readonly kind: "made";
  /** Shown this once. */
  readonly text: string;
  readonly key: ApiKey;
}

export interface KeyPresent {
  readonly kind: "key";
  readonly key: ApiKey;
  readonly person: Person;
}

export function parseKey(
  text: unknown,
): { readonly id: string; readonly secret: string } | undefined {
  const [, id, secret] = typeof text === "string" ? (KEY.exec(text) ?? []) : [];
  return id === undefined || secret === undefined ? undefined : { id, secret };
}

export class ApiKeys {
  readonly #means: Means;
  readonly #lockout: Lockout;

  constructor(means: Means) {
    this.#means = means;
    this.#lockout = new Lockout(means.store.attempts, means.clock);
  }

  /** `by` is who makes it for `owner`, and may be the same. */
  async make(owner: Person, terms: unknown, by: string): Promise<MadeKey | Refusal> {
    const { store, clock, random, events } = this.#means;
    const nowMs = clock.nowMs();
    const asked = parseTerms(terms, nowMs);
    if (asked === undefined) return refuse("api-key-terms");
    if (asked.scope.some((permission) => !allows(owner.roles, permission))) {
      return refuse("api-key-terms", { detail: "the owner may not do all of it" });
    }
    if ((await store.apiKeys.ofPerson(owner.id)).length >= API_KEYS_OF_PERSON_MAX) {
      return refuse("api-keys-at-limit");
    }
    const id = Buffer.from(random.bytes(ID_BYTES)).toString("hex");
    const secret = makeToken(random);
    const key: ApiKey = {
      id,
      revision: 1,
      person: owner.id,
      ...asked,
      secretSha256: sha256Hex(secret),
      createdAtMs: nowMs,
      usedAtMs: 0,
      usedFrom: "",
    };
    const { label, scope, expiresAtMs } = asked;
    await events.record("api-key-made", {
      person: owner.id,
      key: id,
      by,
      label,
      scope,
      expiresAtMs,
    });
    if (!(await store.apiKeys.add(key))) throw new Error("randomness gave an id twice");
    return { kind: "made", text: `sp_${id}_${secret}`, key };
  }

  /** Who a program is. Each failure counts for its source; wrong secrets cannot be guessed. */
  async check(text: unknown, source: string): Promise<KeyPresent | Refusal> {
    const counter = sourceCounter(source);
    const locked = await this.#lockout.begin([counter]);
    const outcome = locked ?? (await this.#verify(text));
    if (outcome.kind === "refused") {
      const id = parseKey(text)?.id ?? "";
      const fields = { key: id, source, because: outcome.cause };
      await this.#means.events.record("api-key-refused", fields);
      return outcome;
    }
    await this.#lockout.takeBack([counter]);
    return this.#seen(outcome, source);
  }

  /** Default deny. */
  async authorize(
    { key, person }: KeyPresent,
    permission: Permission,
  ): Promise<Refusal | undefined> {
    const isAllowed =
      key.scope.includes(permission) &&
      termsOf(permission).byKey === true &&
      allows(person.roles, permission);
    if (isAllowed) return undefined;
    const refusal = refuse("not-permitted");
    const fields = { person: person.id, key: key.id, permission, because: refusal.cause };
    await this.#means.events.record("permission-refused", fields);
    return refusal;
  }

  /** A closing act: done first, recorded after. False when there is no such key. */
  async revoke(id: string, by: string): Promise<boolean> {
    const key = await this.#means.store.apiKeys.take(id);
    if (key === undefined) return false;
    await this.#means.events.record("api-key-revoked", { person: key.person, key: id, by });
    return true;
  }

  async #verify(text: unknown): Promise<KeyPresent | Refusal> {
    const { store, clock } = this.#means;
    const parsed = parseKey(text);
    if (parsed === undefined) return refuse("api-key-malformed");
    const key = await store.apiKeys.get(parsed.id);
    if (key === undefined) return refuse("api-key-unknown");
    if (!equalText(sha256Hex(parsed.secret), key.secretSha256)) return refuse("api-key-wrong");
    if (clock.nowMs() >= key.expiresAtMs) return refuse("api-key-expired");
    const person = await store.people.get(key.person);
    if (person?.state !== "active") return refuse("api-key-owner");
    return { kind: "key", key, person };
  }

  async #seen(present: KeyPresent, source: string): Promise<KeyPresent | Refusal> {
    const { store, clock, events } = this.#means;
    const usedAtMs = clock.nowMs();
    const isNew = Math.abs(usedAtMs - present.key.usedAtMs) >= API_KEY_SEEN_STEP_MS;
    if (!isNew && present.key.usedFrom === source) return present;
    const { id, person } = present.key;
    await events.record("api-key-used", { person, key: id, source });
    const key = await change(store.apiKeys, id, (kept) => ({
      ...kept,
      usedAtMs,
      usedFrom: source,
    }));
    return key === undefined ? refuse("api-key-unknown") : { ...present, key };
  }
}

function parseTerms(value: unknown, nowMs: number): KeyTerms | undefined {
  if (typeof value !== "object" || value === null) return undefined;
  const { label, scope, expiresAtMs } = value as Readonly<Record<string, unknown>>;
  if (typeof label !== "string" || label === "" || label.length > LABEL_MAX_CHARACTERS) {
    return undefined;
  }
  if (!Array.isArray(scope) || scope.length === 0 || !scope.every(isPermission)) return undefined;
  if (scope.some((permission) => termsOf(permission).byKey !== true)) return undefined;
  if (typeof expiresAtMs !== "number" || !Number.isSafeInteger(expiresAtMs)) return undefined;
  const lifeMs = expiresAtMs - nowMs;
  if (lifeMs <= 0 || lifeMs > API_KEY_LIFE_MAX_MS) return undefined;
  return { label, scope: [...new Set(scope)], expiresAtMs };
}
