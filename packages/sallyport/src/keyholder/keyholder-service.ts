import { type Json, SallyportError } from "@sallyport/core";
import type { Clock, Randomness, Records, TotpVerdict } from "@sallyport/identity";
import {
  certificateState,
  issueServer,
  SealedTotp,
  type SealingKeys,
  type SiteCa,
  type TotpSeed,
} from "@sallyport/identity/keyholder";
import type { Recorder } from "../recorder.ts";
import type { KeyholderRequest } from "./keyholder-messages.ts";

/** A key in memory is made anew at each start; a stolen certificate of it is soon worth nothing. */
const TLS_LIFE_MS = 7 * 24 * 3600 * 1000;

export interface KeyholderMeans {
  readonly seeds: Records<TotpSeed>;
  readonly keys: SealingKeys;
  readonly ca: SiteCa;
  readonly issuer: string;
  readonly clock: Clock;
  readonly random: Randomness;
  readonly recorder: Recorder;
}

/**
 * Answers for seeds and the site's CA. Each act is on record before it counts; where that fails it is refused.
 * Removing a seed only closes: it is done first.
 */
export class KeyholderService {
  readonly #means: KeyholderMeans;
  readonly #totp: SealedTotp;
  /** The last certificate that was given out, to tell how it stands. */
  #issued: string | undefined;

  constructor(means: KeyholderMeans) {
    this.#means = means;
    this.#totp = new SealedTotp(means);
  }

  async answer(request: KeyholderRequest): Promise<Json> {
    const { recorder, seeds, ca } = this.#means;
    switch (request.type) {
      case "totp-enroll": {
        const { person } = request;
        await recorder.record("totp-enrolled", { person });
        return { ...(await this.#totp.enroll(person)) };
      }
      case "totp-confirm":
        return await this.#used("confirm", request.person, request.code);
      case "totp-verify":
        return await this.#used("verify", request.person, request.code);
      case "totp-remove":
        await this.#totp.remove(request.person);
        await recorder.record("totp-removed", { person: request.person });
        return {};
      case "totp-status":
        return { enrolled: (await seeds.get(request.person)) !== undefined };
      case "tls-issue":
        return await this.#issue(request);
      case "ca-certificate":
        return { certificate: ca.certificatePem };
      case "status":
        return this.#status();
    }
  }

  async #used(how: "confirm" | "verify", person: string, code: string): Promise<Json> {
    const verdict: TotpVerdict = await this.#totp[how](person, code);
    const because = verdict.kind === "refused" ? { because: verdict.code } : {};
    const type = verdict.kind === "refused" ? "totp-refused" : "totp-accepted";
    // The code is used up whether or not this is written: a code that nobody saw used opens nothing.
    await this.#means.recorder.record(type, { person, how, ...because });
    return { ...verdict };
  }

  async #issue({ key, names }: KeyholderRequest & { readonly type: "tls-issue" }): Promise<Json> {
    const { ca, clock, random, recorder } = this.#means;
    const moment = { nowMs: clock.nowMs(), random };
    const issued = await issueServer(ca, { key, names, lifeMs: TLS_LIFE_MS }, moment);
    if (issued.kind === "refused") {
      await recorder.record("certificate-refused", { names, because: issued.code });
      throw new SallyportError(issued.code, "the site's CA does not sign this", {
        hint: "names are host names and IPv4 addresses; keys P-256, Ed25519 or RSA from 2048 bits",
      });
    }
    const { endMs } = certificateState(issued.certificatePem, clock.nowMs());
    await recorder.record("certificate-issued", { names, until: new Date(endMs).toISOString() });
    this.#issued = issued.certificatePem;
    return { certificate: issued.certificatePem, chain: issued.chainPem };
  }

  #status(): Json {
    const nowMs = this.#means.clock.nowMs();
    const told = (pem: string): Json => {
      const { state, endMs, renewAtMs } = certificateState(pem, nowMs);
      return { state, endMs, renewAtMs };
    };
    return {
      ca: told(this.#means.ca.certificatePem),
      issued: this.#issued === undefined ? null : told(this.#issued),
    };
  }
}
