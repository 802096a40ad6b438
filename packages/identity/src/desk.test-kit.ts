/** All parts of the package put together as `control` does, on a clock and randomness of the test. */
import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import { ApiKeys } from "./api-keys.ts";
import { SoftAuthenticator } from "./authenticator.test-kit.ts";
import { BreakGlassAccounts } from "./break-glass.ts";
import { SealedTotp, type TotpSeed } from "./keyholder/totp.ts";
import { MemoryRecords, memoryStore } from "./memory-store.test-kit.ts";
import { Links } from "./people/links.ts";
import { newPerson, People } from "./people/people.ts";
import type { Role } from "./people/roles.ts";
import type {
  Alarms,
  EventFields,
  EventType,
  IdentityEvents,
  Means,
  PasswordHasher,
} from "./ports.ts";
import type { Factor, Person } from "./records.ts";
import type { Refusal } from "./refusals.ts";
import { Challenges } from "./sign-in/challenges.ts";
import { HashPool } from "./sign-in/hash-pool.ts";
import { Passkeys, relyingParty } from "./sign-in/passkeys.ts";
import { Passwords } from "./sign-in/passwords.ts";
import { RecoveryCodes } from "./sign-in/recovery-codes.ts";
import { type Present, SignIns } from "./sign-in/sign-ins.ts";

export const ORIGIN = "https://gate.plant.example";
export const SOURCE = "10.1.0.7";
const START_MS = Date.UTC(2026, 2, 2, 6, 0, 0);
export const MINUTE_MS = 60_000;
export const HOUR_MS: number = 60 * MINUTE_MS;
export const DAY_MS: number = 24 * HOUR_MS;

export class TestClock {
  #nowMs: number;
  constructor(nowMs: number = START_MS) {
    this.#nowMs = nowMs;
  }
  nowMs(): number {
    return this.#nowMs;
  }
  advance(ms: number): void {
    this.#nowMs += ms;
  }
}

/** The same bytes in each run, and never the same twice in one. */
export class TestRandom {
  #count = 0;
  bytes(size: number): Uint8Array {
    const blocks: Buffer[] = [];
    for (let made = 0; made < size; made += 32) {
      blocks.push(
        createHash("sha256")
          .update(`test ${this.#count++}`)
          .digest(),
      );
    }
    return Buffer.concat(blocks).subarray(0, size);
  }
}

export class TestEvents implements IdentityEvents, Alarms {
  readonly events: { readonly type: string; readonly fields: EventFields }[] = [];
  readonly alarms: EventFields[] = [];
  isRecorderBroken = false;
  areAlarmsBroken = false;

  async record(type: EventType, fields: EventFields): Promise<void> {
    if (this.isRecorderBroken) throw new Error("disk full");
    this.events.push({ type, fields });
  }

  async raise(_what: string, fields: EventFields): Promise<void> {
    if (this.areAlarmsBroken) throw new Error("no alarm");
    this.alarms.push(fields);
  }

  of(type: EventType): EventFields[] {
    return this.events.filter((event) => event.type === type).map((event) => event.fields);
  }
}

/** Fast, so that tests don't burn the machine; `argon2.test.ts` uses the real one. */
export class QuickHasher implements PasswordHasher {
  calls = 0;
  async hash(password: Uint8Array, salt: Uint8Array): Promise<Uint8Array> {
    this.calls++;
    return createHash("sha256").update(salt).update(password).digest();
  }
}

export class Desk {
  readonly clock: TestClock;
  readonly random: TestRandom = new TestRandom();
  readonly events: TestEvents = new TestEvents();
  readonly store: ReturnType<typeof memoryStore> = memoryStore();
  readonly hasher: QuickHasher = new QuickHasher();
  readonly seeds: MemoryRecords<TotpSeed> = new MemoryRecords();
  readonly totp: SealedTotp;
  readonly pool: HashPool = new HashPool(this.hasher);
  readonly signIns: SignIns;
  readonly passkeys: Passkeys;
  readonly passwords: Passwords;
  readonly recoveryCodes: RecoveryCodes;
  readonly people: People;
  readonly links: Links;
  readonly apiKeys: ApiKeys;
  readonly breakGlass: BreakGlassAccounts;

  /** For parts that a test makes itself. */
  get means(): Means & { readonly signIns: SignIns } {
    const { store, clock, random, events, signIns } = this;
    return { store, clock, random, events, signIns };
  }

  constructor(nowMs?: number, origin: string = ORIGIN) {
    this.clock = new TestClock(nowMs);
    const { store, clock, random, events } = this;
    const means = { store, clock, random, events };
    const keys = [random.bytes(32)] as const;
    this.totp = new SealedTotp({ seeds: this.seeds, keys, clock, random, issuer: "Plant" });
    this.signIns = new SignIns(means);
    const { signIns, totp, pool } = this;
    const rp = relyingParty(origin, "Plant");
    assert.ok(!("kind" in rp));
    const challenges = new Challenges(means, random.bytes(32));
    this.passkeys = new Passkeys({ ...means, rp, challenges, signIns });
    this.recoveryCodes = new RecoveryCodes(means);
    const { recoveryCodes } = this;
    this.passwords = new Passwords({ ...means, totp, pool, signIns, recoveryCodes });
    this.people = new People(means, signIns);
    this.links = new Links(means, signIns);
    this.apiKeys = new ApiKeys(means);
    this.breakGlass = new BreakGlassAccounts({ ...means, alarms: events, signIns });
  }

  async person(name: string, ...roles: Role[]): Promise<Person> {
    const person = newPerson({ name, displayName: name, roles }, "local", this.clock.nowMs());
    assert.ok(await this.store.people.add(person));
    return person;
  }

  async present(person: Person, ...factors: Factor[]): Promise<Present> {
    const begun = await this.signIns.begin({
      person,
      factors: factors.length === 0 ? ["passkey"] : factors,
      source: SOURCE,
    });
    return { kind: "present", person, signIn: begun.signIn };
  }

  async somebody(name: string, ...roles: Role[]): Promise<Present> {
    return this.present(await this.person(name, ...roles));
  }

  async withPasskey(
    person: Person,
    key: SoftAuthenticator = new SoftAuthenticator(),
  ): Promise<SoftAuthenticator> {
    const options = await this.passkeys.beginRegistration(person);
    const made = await this.passkeys.finishRegistration(person, key.create(options, ORIGIN), "key");
    assert.ok(!("kind" in made), "registers");
    return key;
  }
}

/** The cause of a refusal; anything else fails the test. */
export function causeOf(outcome: unknown): string {
  const refusal = outcome as Partial<Refusal> | undefined;
  assert.equal(refusal?.kind, "refused", `not refused: ${JSON.stringify(outcome)}`);
  return refusal?.cause ?? "";
}
