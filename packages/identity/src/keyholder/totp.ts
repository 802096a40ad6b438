/**
 * TOTP (RFC 6238) where its seeds are: sealed, in the keyholder. A code of one time step before or
 * after the clock's counts too, for phones that run late; each step counts once.
 */
import { Buffer } from "node:buffer";
import { Secret, TOTP } from "otpauth";
import type { Clock, Randomness, Records, TotpVerdict, TotpVerifier } from "../ports.ts";
import type { Stored } from "../records.ts";
import { type SealingKeys, seal, unseal } from "../sealing.ts";
import { base64url, change } from "../secrets.ts";
import { isTotpCode } from "../sign-in/totp-code.ts";

/** RFC 4226 §4 R6 recommends 160 bits. */
const SEED_BYTES = 20;
const DIGITS = 6;
export const TOTP_STEP_MS = 30_000;
/** RFC 6238 §5.2: at most one step of delay. */
const WINDOW_STEPS = 1;

export interface TotpSeed extends Stored {
  /** The id is the person's, or `<person>/new` until they showed that their app has it. */
  readonly person: string;
  readonly sealed: string;
  /** The latest time step that served; older ones and this are used. */
  readonly lastStep: number;
}

export interface TotpMeans {
  readonly seeds: Records<TotpSeed>;
  readonly keys: SealingKeys;
  readonly clock: Clock;
  readonly random: Randomness;
  /** Shown by the app beside the code: the site's name. */
  readonly issuer: string;
}

export interface TotpEnrollment {
  /** `otpauth://…`, for a QR code; the secret alone for typing. Shown this once. */
  readonly uri: string;
  readonly secret: string;
}

export class SealedTotp implements TotpVerifier {
  readonly #means: TotpMeans;

  constructor(means: TotpMeans) {
    this.#means = means;
  }

  /** A new seed, which counts once `confirm` saw a code of it. Until then the old one does. */
  async enroll(person: string): Promise<TotpEnrollment> {
    const { seeds, keys, random } = this.#means;
    const seed = random.bytes(SEED_BYTES);
    const id = newId(person);
    await seeds.take(id);
    const sealed = base64url(seal(keys, sealName(person), seed, random));
    await seeds.add({ id, revision: 1, person, sealed, lastStep: 0 });
    const totp = this.#totp(seed, person);
    return { uri: totp.toString(), secret: totp.secret.base32 };
  }

  async confirm(person: string, code: string): Promise<TotpVerdict> {
    const { seeds } = this.#means;
    const verdict = await this.#use(newId(person), person, code);
    if (verdict.kind === "refused") return verdict;
    const fresh = await seeds.take(newId(person));
    if (fresh === undefined) return { kind: "refused", code: "totp-not-enrolled" };
    const kept = await change(seeds, person, () => ({ ...fresh, id: person }));
    if (kept === undefined) await seeds.add({ ...fresh, id: person, revision: 1 });
    return verdict;
  }

  verify(person: string, code: string): Promise<TotpVerdict> {
    return this.#use(person, person, code);
  }

  async remove(person: string): Promise<void> {
    await this.#means.seeds.take(person);
    await this.#means.seeds.take(newId(person));
  }

  async #use(id: string, person: string, code: string): Promise<TotpVerdict> {
    const { seeds, keys, clock } = this.#means;
    const kept = await seeds.get(id);
    if (kept === undefined) return { kind: "refused", code: "totp-not-enrolled" };
    if (!isTotpCode(code)) return { kind: "refused", code: "totp-wrong" };
    const opened = unseal(keys, sealName(person), Buffer.from(kept.sealed, "base64url"));
    if (opened.kind === "refused") return { kind: "refused", code: "totp-unavailable" };
    const nowMs = clock.nowMs();
    const delta = this.#totp(opened.secret, person).validate({
      token: code,
      timestamp: nowMs,
      window: WINDOW_STEPS,
    });
    if (delta === null) return { kind: "refused", code: "totp-wrong" };
    const step = Math.floor(nowMs / TOTP_STEP_MS) + delta;
    // Of two with the same code, one moves the step.
    const moved = await change(seeds, id, (now) =>
      step > now.lastStep ? { ...now, lastStep: step } : undefined,
    );
    return moved === undefined ? { kind: "refused", code: "totp-used" } : { kind: "verified" };
  }

  #totp(seed: Uint8Array, person: string): TOTP {
    return new TOTP({
      issuer: this.#means.issuer,
      label: person,
      algorithm: "SHA1",
      digits: DIGITS,
      period: TOTP_STEP_MS / 1000,
      secret: new Secret({ buffer: Uint8Array.from(seed).buffer }),
    });
  }
}

function newId(person: string): string {
  return `${person}/new`;
}

function sealName(person: string): string {
  return `totp/${person}`;
}
