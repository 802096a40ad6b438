/**
 * Sign-ins: what a browser holds after somebody showed who they are. The token is opaque and random,
 * and kept only as its SHA-256, so that a copy of the store lets nobody in. Each use is looked up,
 * which is why an end, a disabled person or another role counts at once.
 */
import {
  BREAK_GLASS_SIGN_IN_MS,
  CLOCK_BACK_MS,
  LINK_SIGN_IN_MS,
  SEEN_STEP_MS,
  SIGN_IN_ABSOLUTE_MS,
  SIGN_IN_IDLE_MS,
  SIGN_INS_MAX,
  STEP_UP_MS,
} from "../limits.ts";
import { allows, type Permission, termsOf } from "../people/roles.ts";
import type { Means } from "../ports.ts";
import type { Factor, Person, SignIn } from "../records.ts";
import { type Refusal, refuse } from "../refusals.ts";
import { change, makeToken, sha256Hex, TOKEN_PATTERN } from "../secrets.ts";

export interface SignedIn {
  readonly kind: "signed-in";
  /** For a cookie that is HttpOnly, Secure and SameSite=Strict. It is nowhere else. */
  readonly token: string;
  readonly person: Person;
  readonly signIn: SignIn;
}

/** Somebody with a live sign-in. */
export interface Present {
  readonly kind: "present";
  readonly person: Person;
  readonly signIn: SignIn;
}

export interface Begin {
  readonly person: Person;
  readonly factors: readonly Factor[];
  readonly source: string;
  /** What else is worth recording: which passkey, which provider. */
  readonly fields?: Readonly<Record<string, string | readonly string[]>>;
}

export class SignIns {
  readonly #means: Means;

  constructor(means: Means) {
    this.#means = means;
  }

  /** Recorded before the token exists for anybody; when that fails, nobody is signed in. */
  async begin({ person, factors, source, fields = {} }: Begin): Promise<SignedIn> {
    const { store, clock, random, events } = this.#means;
    const nowMs = clock.nowMs();
    const token = makeToken(random);
    const signIn: SignIn = {
      id: sha256Hex(token),
      revision: 1,
      person: person.id,
      factors,
      source,
      createdAtMs: nowMs,
      seenAtMs: nowMs,
      provedAtMs: provesSecond(factors) ? nowMs : 0,
      expiresAtMs: nowMs + lifeMs(factors),
    };
    try {
      await events.record("sign-in", { person: person.id, factors, source, ...fields });
    } catch (error) {
      // Its alarm was raised before; when the ledger itself is broken, this is who mends it.
      if (!factors.includes("break-glass")) throw error;
    }
    await this.#makeRoom(person.id);
    await store.signIns.add(signIn);
    return { kind: "signed-in", token, person, signIn };
  }

  /** Who holds the token, now. Its use moves the idle limit. */
  async check(token: unknown): Promise<Present | Refusal> {
    if (typeof token !== "string" || !TOKEN_PATTERN.test(token)) return refuse("sign-in-unknown");
    const { store, clock } = this.#means;
    const nowMs = clock.nowMs();
    const signIn = await store.signIns.get(sha256Hex(token));
    if (signIn === undefined) return refuse("sign-in-unknown");
    const person = await store.people.get(signIn.person);
    const ended = person?.state === "active" ? endOf(signIn, nowMs) : ("sign-in-unknown" as const);
    if (ended !== undefined || person === undefined) {
      await store.signIns.take(signIn.id);
      return refuse(ended ?? "sign-in-unknown");
    }
    if (nowMs - signIn.seenAtMs < SEEN_STEP_MS) return { kind: "present", person, signIn };
    const seen = await change(store.signIns, signIn.id, (kept) => ({ ...kept, seenAtMs: nowMs }));
    return seen === undefined
      ? refuse("sign-in-unknown")
      : { kind: "present", person, signIn: seen };
  }

  /** Default deny. A dangerous act wants a second factor shown within the last minutes. */
  async authorize(present: Present, permission: Permission): Promise<Present | Refusal> {
    const { person, signIn } = present;
    const nowMs = this.#means.clock.nowMs();
    // A link only lets a person enroll the factors to sign in with.
    const isLink = signIn.factors.includes("link");
    const isAllowed = isLink ? permission === "own.factors" : allows(person.roles, permission);
    const isFresh = hasFreshFactor(signIn, permission, nowMs);
    if (isAllowed && (isFresh || termsOf(permission).isDangerous !== true)) return present;
    const refusal = refuse(isAllowed ? "step-up-needed" : "not-permitted");
    await this.#means.events.record("permission-refused", {
      person: person.id,
      permission,
      because: refusal.cause,
    });
    return refusal;
  }

  /** After a second factor was shown again. */
  async stepUp(present: Present, factor: Factor): Promise<Present | Refusal> {
    const { store, clock, events } = this.#means;
    await events.record("stepped-up", { person: present.person.id, factor });
    const signIn = await change(store.signIns, present.signIn.id, (kept) => ({
      ...kept,
      provedAtMs: clock.nowMs(),
    }));
    return signIn === undefined ? refuse("sign-in-unknown") : { ...present, signIn };
  }

  async end(present: Present): Promise<void> {
    await this.#means.store.signIns.take(present.signIn.id);
    await this.#means.events.record("sign-out", { person: present.person.id });
  }

  /** A closing act: it is done first and recorded after, so a recorder that fails keeps nobody in. */
  async revokeAll(person: string, because: string): Promise<number> {
    const signIns = await this.#means.store.signIns.ofPerson(person);
    for (const signIn of signIns) await this.#means.store.signIns.take(signIn.id);
    await this.#means.events.record("sign-ins-revoked", {
      person,
      count: signIns.length,
      because,
    });
    return signIns.length;
  }

  /** One of a person's sign-ins, by the id that their list shows. */
  async revoke(person: string, id: string, because: string): Promise<boolean> {
    const kept = await this.#means.store.signIns.get(id);
    if (kept?.person !== person) return false;
    await this.#means.store.signIns.take(id);
    await this.#means.events.record("sign-ins-revoked", { person, count: 1, because });
    return true;
  }

  async #makeRoom(person: string): Promise<void> {
    const { signIns } = this.#means.store;
    const kept = [...(await signIns.ofPerson(person))].sort((a, b) => a.seenAtMs - b.seenAtMs);
    for (const old of kept.slice(0, Math.max(0, kept.length - SIGN_INS_MAX + 1))) {
      await signIns.take(old.id);
    }
  }
}

function hasFreshFactor(signIn: SignIn, permission: Permission, nowMs: number): boolean {
  const { factors, provedAtMs, createdAtMs } = signIn;
  // Neither has a second factor to show again; both sign-ins are short, and break-glass is alarmed.
  if (factors.includes("link") || factors.includes("break-glass")) return true;
  // Who came in by a recovery code lost their factor, and enrolls another at once.
  const isRecovered = factors.includes("recovery-code") && permission === "own.factors";
  const ageMs = nowMs - (isRecovered ? Math.max(provedAtMs, createdAtMs) : provedAtMs);
  return ageMs < STEP_UP_MS && ageMs > -CLOCK_BACK_MS;
}

function endOf(
  signIn: SignIn,
  nowMs: number,
): "clock-went-back" | "sign-in-over" | "sign-in-idle" | undefined {
  if (nowMs < signIn.seenAtMs - CLOCK_BACK_MS) return "clock-went-back";
  if (nowMs >= signIn.expiresAtMs) return "sign-in-over";
  return nowMs - signIn.seenAtMs >= SIGN_IN_IDLE_MS ? "sign-in-idle" : undefined;
}

function lifeMs(factors: readonly Factor[]): number {
  if (factors.includes("link")) return LINK_SIGN_IN_MS;
  return factors.includes("break-glass") ? BREAK_GLASS_SIGN_IN_MS : SIGN_IN_ABSOLUTE_MS;
}

/** What gets somebody in and does not serve for a dangerous act. */
const SINGLE: readonly Factor[] = ["recovery-code", "link", "uid"];

function provesSecond(factors: readonly Factor[]): boolean {
  return !factors.some((factor) => SINGLE.includes(factor));
}
