/**
 * Break-glass accounts: for the day when nobody can sign in. The secret exists only as two halves on
 * paper, each useless alone, kept by two people. Opening raises an alarm, works once, and lasts two
 * hours; then the account must be sealed anew.
 */
import type { Alarms, Means } from "./ports.ts";
import type { BreakGlass, Person } from "./records.ts";
import { type Refusal, refuse } from "./refusals.ts";
import {
  change,
  equalText,
  fromLetters,
  inGroups,
  sha256,
  sha256Hex,
  toLetters,
} from "./secrets.ts";
import { isLocalName, newPerson } from "./people/people.ts";
import { isRole, type Role, rolesConflict } from "./people/roles.ts";
import { Lockout, sourceCounter } from "./sign-in/lockout.ts";
import type { Present, SignedIn, SignIns } from "./sign-in/sign-ins.ts";

const SECRET_BYTES = 32;
/** One mistyped letter of 55 goes unnoticed once in 65,536 times, and then opens nothing. */
const CHECK_BYTES = 2;
const REASON_MAX_CHARACTERS = 500;
/** Letters, the hyphens of groups and some blanks. */
const HALF_MAX_CHARACTERS = 100;

type Side = "A" | "B";

export interface SealedAccount {
  readonly kind: "sealed";
  /** To be printed, given to the holders, and kept nowhere. */
  readonly halves: readonly [string, string];
}

export interface BreakGlassMeans extends Means {
  readonly alarms: Alarms;
  readonly signIns: SignIns;
}

export class BreakGlassAccounts {
  readonly #means: BreakGlassMeans;
  readonly #lockout: Lockout;

  constructor(means: BreakGlassMeans) {
    this.#means = means;
    this.#lockout = new Lockout(means.store.attempts, means.clock);
  }

  /** Makes the account, or seals it anew: older halves are good no more. */
  async seal(
    by: Present,
    account: string,
    {
      holders,
      roles,
    }: { readonly holders: readonly [string, string]; readonly roles: readonly Role[] },
  ): Promise<SealedAccount | Refusal> {
    const { store, clock, random, events, signIns } = this.#means;
    const allowed = await signIns.authorize(by, "break-glass.seal");
    if (allowed.kind === "refused") return allowed;
    if (!isLocalName(account)) return refuse("person-name-invalid");
    if (roles.length === 0 || !roles.every(isRole) || rolesConflict(roles)) {
      return refuse("roles-conflict");
    }
    if (holders[0] === holders[1]) return refuse("break-glass-holders");
    for (const holder of holders) {
      const person = await store.people.get(holder);
      if (person?.state !== "active") return refuse("no-such-person");
    }
    const kept = await store.people.get(account);
    if (kept !== undefined && kept.origin !== "break-glass") return refuse("person-exists");
    const secret = Buffer.from(random.bytes(SECRET_BYTES));
    const one = Buffer.from(random.bytes(SECRET_BYTES));
    const other = xor(secret, one);
    const fields = { person: account, holders, roles, by: by.person.id };
    await events.record("break-glass-sealed", fields);
    await signIns.revokeAll(account, "sealed anew");
    await this.#keep(account, roles, {
      id: account,
      revision: 1,
      person: account,
      secretSha256: sha256Hex(secret),
      holders,
      sealedAtMs: clock.nowMs(),
    });
    return { kind: "sealed", halves: [write(account, "A", one), write(account, "B", other)] };
  }

  /** The alarm is raised before anybody is in. Without a recorder the alarm alone is enough. */
  async open(request: unknown, source: string): Promise<SignedIn | Refusal> {
    const counter = sourceCounter(source);
    const locked = await this.#lockout.begin([counter]);
    const outcome = locked ?? (await this.#verify(request, source));
    if (outcome.kind === "refused") {
      const account = (request as { readonly account?: unknown } | null)?.account;
      const person = isLocalName(account) ? account : "";
      const fields = { person, source, because: outcome.cause };
      await this.#means.events.record("break-glass-refused", fields);
      return outcome;
    }
    await this.#lockout.takeBack([counter]);
    const { person } = outcome;
    return this.#means.signIns.begin({ person, factors: ["break-glass"], source });
  }

  async #verify(
    request: unknown,
    source: string,
  ): Promise<{ readonly kind: "opened"; readonly person: Person } | Refusal> {
    const { store, clock } = this.#means;
    const asked = parseRequest(request);
    if (asked === undefined) return refuse("request-malformed");
    const { account, halves, reason } = asked;
    const kept = await store.breakGlass.get(account);
    const person = await store.people.get(account);
    if (kept === undefined || person?.state !== "active") return refuse("break-glass-unknown");
    if (kept.openedAtMs !== undefined) return refuse("break-glass-opened-before");
    const [one, other] = halves.map((half) => read(account, half));
    if (one === undefined || other === undefined || one.side === other.side) {
      return refuse("break-glass-half");
    }
    if (!equalText(sha256Hex(xor(one.bytes, other.bytes)), kept.secretSha256)) {
      return refuse("break-glass-wrong");
    }
    const isSeen = await this.#alarm({ person: account, holders: kept.holders, reason, source });
    if (!isSeen) return refuse("break-glass-unseen");
    const opened = await change(store.breakGlass, account, (now) =>
      now.openedAtMs === undefined && now.secretSha256 === kept.secretSha256
        ? { ...now, openedAtMs: clock.nowMs() }
        : undefined,
    );
    return opened === undefined ? refuse("break-glass-opened-before") : { kind: "opened", person };
  }

  /** False when neither way of being seen works. */
  async #alarm(fields: Readonly<Record<string, string | readonly string[]>>): Promise<boolean> {
    const { alarms, events } = this.#means;
    const ways = [
      alarms.raise("break-glass-opened", fields),
      events.record("break-glass-opened", fields),
    ];
    return (await Promise.allSettled(ways)).some((way) => way.status === "fulfilled");
  }

  async #keep(account: string, roles: readonly Role[], record: BreakGlass): Promise<void> {
    const { store, clock } = this.#means;
    const wanted = { name: account, displayName: `Break-glass ${account}`, roles };
    const person = newPerson(wanted, "break-glass", clock.nowMs());
    const isChanged = await change(store.people, account, (kept) => ({ ...kept, roles }));
    if (isChanged === undefined) await store.people.add(person);
    await store.breakGlass.take(account);
    await store.breakGlass.add(record);
  }
}

function write(account: string, side: Side, bytes: Buffer): string {
  return inGroups(toLetters(Buffer.concat([bytes, check(account, side, bytes)])), 5);
}

/** Which half it is, too: the check differs. */
function read(account: string, half: string): { side: Side; bytes: Buffer } | undefined {
  const all = fromLetters(half, SECRET_BYTES + CHECK_BYTES);
  if (all === undefined) return undefined;
  const bytes = all.subarray(0, SECRET_BYTES);
  const sides: readonly Side[] = ["A", "B"];
  const side = sides.find((one) => check(account, one, bytes).equals(all.subarray(SECRET_BYTES)));
  return side === undefined ? undefined : { side, bytes };
}

function check(account: string, side: Side, bytes: Buffer): Buffer {
  const head = Buffer.from(`sallyport-half/v1\n${account}\n${side}\n`);
  return sha256(Buffer.concat([head, bytes])).subarray(0, CHECK_BYTES);
}

function xor(left: Buffer, right: Buffer): Buffer {
  return Buffer.from(left.map((byte, index) => byte ^ (right[index] ?? 0)));
}

interface OpenRequest {
  readonly account: string;
  readonly halves: readonly [string, string];
  readonly reason: string;
}

function parseRequest(value: unknown): OpenRequest | undefined {
  if (typeof value !== "object" || value === null) return undefined;
  const { account, halves, reason } = value as Readonly<Record<string, unknown>>;
  if (!isLocalName(account) || !Array.isArray(halves) || halves.length !== 2) return undefined;
  const one: unknown = halves[0];
  const other: unknown = halves[1];
  const isHalf = (half: unknown): half is string =>
    typeof half === "string" && half.length <= HALF_MAX_CHARACTERS;
  if (!isHalf(one) || !isHalf(other)) return undefined;
  if (typeof reason !== "string" || reason === "" || reason.length > REASON_MAX_CHARACTERS) {
    return undefined;
  }
  return { account, halves: [one, other], reason };
}
