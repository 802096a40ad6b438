/**
 * Password with TOTP, or with a recovery code: for whoever has no passkey. Both are asked for at
 * once, and the answer does not tell which of them was wrong, nor whether somebody has the name.
 */
import { timingSafeEqual } from "node:crypto";
import { PASSWORD_MAX_CHARACTERS, PASSWORD_MIN_CHARACTERS } from "../limits.ts";
import type { Means, TotpVerdict, TotpVerifier } from "../ports.ts";
import type { Factor, Person } from "../records.ts";
import { type Refusal, refuse } from "../refusals.ts";
import { change } from "../secrets.ts";
import type { HashPool } from "./hash-pool.ts";
import { COST, parsePhc, SALT_BYTES, writePhc } from "./argon2.ts";
import { type Counter, Lockout, personCounter, sourceCounter } from "./lockout.ts";
import { isTotpCode } from "./totp-code.ts";
import type { RecoveryCodes } from "./recovery-codes.ts";
import type { Present, SignedIn, SignIns } from "./sign-ins.ts";

export interface PasswordRequest {
  readonly name: string;
  readonly password: string;
  readonly second:
    | { readonly kind: "totp"; readonly code: string }
    | { readonly kind: "recovery-code"; readonly code: string };
}

export interface PasswordMeans extends Means {
  readonly totp: TotpVerifier;
  readonly pool: HashPool;
  readonly signIns: SignIns;
  readonly recoveryCodes: RecoveryCodes;
}

/** A name is at most a local one, an `@` and a provider's. */
const NAME_MAX_CHARACTERS = 127;
const CODE_MAX_CHARACTERS = 64;

export class Passwords {
  readonly #means: PasswordMeans;
  readonly #lockout: Lockout;

  constructor(means: PasswordMeans) {
    this.#means = means;
    this.#lockout = new Lockout(means.store.attempts, means.clock);
  }

  async signIn(request: unknown, source: string): Promise<SignedIn | Refusal> {
    const asked = parseRequest(request);
    if (asked === undefined) return refuse("request-malformed");
    // Before any counting: who is refused here has not tried.
    if (!this.#means.pool.hasRoom)
      return this.#refused(asked.name, source, refuse("hash-queue-full", { retryAfterMs: 1000 }));
    const person = await this.#means.store.people.get(asked.name);
    const counters = [
      sourceCounter(source),
      personCounter(asked.name, person !== undefined),
    ] as const;
    const locked = await this.#lockout.begin(counters);
    if (locked !== undefined) return this.#refused(asked.name, source, locked);
    const refusal = await this.#verify(person, asked);
    if (refusal !== undefined || person === undefined) {
      if (refusal?.code === "hash-queue-full") await this.#lockout.takeBack(counters);
      return this.#refused(asked.name, source, refusal ?? refuse("person-unknown"));
    }
    await this.#lockout.succeed(counters[1], counters[0]);
    const factors: readonly Factor[] = ["password", asked.second.kind];
    return this.#means.signIns.begin({ person, factors, source });
  }

  /** A closing act: it is done first and recorded after. False when there was none. */
  async remove({ id }: Person, by: string): Promise<boolean> {
    const { store, events } = this.#means;
    if ((await store.passwords.take(id)) === undefined) return false;
    await events.record("password-removed", { person: id, by });
    return true;
  }

  /** TOTP again, for a dangerous act. Recovery codes don't serve, and wrong ones are counted. */
  async stepUp(present: Present, code: unknown, source: string): Promise<Present | Refusal> {
    if (!isTotpCode(code)) return refuse("request-malformed");
    const { person } = present;
    const counters: readonly [Counter, Counter] = [
      sourceCounter(source),
      personCounter(person.id, true),
    ];
    const locked = await this.#lockout.begin(counters);
    const verdict = locked ?? (await this.#askTotp(person.id, code));
    if (verdict.kind === "refused") {
      const refusal = locked ?? refuse(verdict.code);
      await this.#means.events.record("step-up-refused", {
        person: person.id,
        source,
        because: refusal.cause,
      });
      return refusal;
    }
    await this.#lockout.succeed(counters[1], counters[0]);
    return this.#means.signIns.stepUp(present, "totp");
  }

  async set(person: Person, password: unknown): Promise<"set" | Refusal> {
    const { store, clock, random, events, pool } = this.#means;
    if (typeof password !== "string") return refuse("request-malformed");
    const weakness = weaknessOf(password, person);
    if (weakness !== undefined) return refuse("password-weak", { detail: weakness });
    const salt = random.bytes(SALT_BYTES);
    const hash = await pool.run(bytesOf(password), salt, COST);
    if ("kind" in hash) return hash;
    await events.record("password-set", { person: person.id });
    const fresh = { id: person.id, person: person.id, phc: writePhc({ cost: COST, salt, hash }) };
    const setAtMs = clock.nowMs();
    const kept = await change(store.passwords, person.id, () => ({ ...fresh, setAtMs }));
    if (kept === undefined) await store.passwords.add({ ...fresh, revision: 1, setAtMs });
    return "set";
  }

  /** The same work whether or not somebody has the name, so that time tells nothing either. */
  async #verify(person: Person | undefined, asked: PasswordRequest): Promise<Refusal | undefined> {
    const { store, pool, recoveryCodes } = this.#means;
    const kept = person === undefined ? undefined : await store.passwords.get(person.id);
    const phc = kept === undefined ? undefined : parsePhc(kept.phc);
    const { salt, cost } = phc ?? { salt: Buffer.alloc(SALT_BYTES), cost: COST };
    const hash = await pool.run(bytesOf(asked.password), salt, cost);
    if ("kind" in hash) return hash;
    if (person === undefined) return refuse("person-unknown");
    if (phc === undefined) return refuse("password-not-set");
    if (!timingSafeEqual(hash, phc.hash)) return refuse("password-wrong");
    if (person.state !== "active") return refuse("person-disabled");
    if (asked.second.kind === "recovery-code") {
      const isGood = await recoveryCodes.use(person, asked.second.code);
      return isGood ? undefined : refuse("recovery-code-wrong");
    }
    // Only now, so that a wrong password cannot use up the code of the moment.
    const verdict = await this.#askTotp(person.id, asked.second.code);
    return verdict.kind === "verified" ? undefined : refuse(verdict.code);
  }

  /** A keyholder that does not answer lets nobody in, and the record says why. */
  async #askTotp(person: string, code: string): Promise<TotpVerdict> {
    try {
      return await this.#means.totp.verify(person, code);
    } catch {
      return { kind: "refused", code: "totp-unavailable" };
    }
  }

  async #refused(name: string, source: string, refusal: Refusal): Promise<Refusal> {
    await this.#means.events.record("sign-in-refused", {
      person: name,
      source,
      by: "password",
      because: refusal.cause,
    });
    return refusal;
  }
}

function parseRequest(value: unknown): PasswordRequest | undefined {
  if (typeof value !== "object" || value === null) return undefined;
  const { name, password, second } = value as Readonly<Record<string, unknown>>;
  const isText = (text: unknown, max: number): text is string =>
    typeof text === "string" && text !== "" && text.length <= max && text.isWellFormed();
  if (!isText(name, NAME_MAX_CHARACTERS)) return undefined;
  if (!isText(password, PASSWORD_MAX_CHARACTERS)) return undefined;
  if (typeof second !== "object" || second === null) return undefined;
  const { kind, code } = second as Readonly<Record<string, unknown>>;
  if (kind === "totp" && isTotpCode(code)) return { name, password, second: { kind, code } };
  if (kind !== "recovery-code" || !isText(code, CODE_MAX_CHARACTERS)) return undefined;
  return { name, password, second: { kind, code } };
}

/** RFC 8265, §4.2: one form for a character that keyboards make in two ways. */
function bytesOf(password: string): Uint8Array {
  return Buffer.from(password.normalize("NFC"), "utf8");
}

function weaknessOf(password: string, person: Person): string | undefined {
  // Code points: a letter outside the basic plane is one, not two.
  const characters = Array.from(password);
  if (!password.isWellFormed()) return "not Unicode";
  if (characters.length < PASSWORD_MIN_CHARACTERS)
    return `under ${PASSWORD_MIN_CHARACTERS} characters`;
  if (password.length > PASSWORD_MAX_CHARACTERS)
    return `over ${PASSWORD_MAX_CHARACTERS} characters`;
  if (new Set(characters).size < PASSWORD_MIN_CHARACTERS / 2) return "few different characters";
  const words = [person.id.split("@")[0] ?? "", "sallyport", "password"];
  const lower = password.toLowerCase();
  // What is left without the words that everybody tries first must still be something.
  const rest = words.reduce(
    (text, word) => (word === "" ? text : text.replaceAll(word, "")),
    lower,
  );
  return rest.length < PASSWORD_MIN_CHARACTERS / 2 ? "made of a name or a common word" : undefined;
}
