import { type Json, SallyportError } from "@sallyport/core";
import type { Clock, Randomness, Records, Stored, TotpVerdict } from "@sallyport/identity";
import {
  certificateState,
  issueServer,
  SealedTotp,
  seal,
  type SealingKeys,
  type SiteCa,
  type TotpSeed,
  unseal,
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
  readonly secrets: Records<SealedSecret>;
  /** Which names are the gateway's own: a certificate for another would be somebody else's door. */
  readonly ownNames: () => Promise<ReadonlySet<string>>;
}

export interface SealedSecret extends Stored {
  /** Base64url of what `seal` made. */
  readonly sealed: string;
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
    const { recorder, seeds, ca, secrets } = this.#means;
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
      case "secret-set":
        return await this.#setSecret(request);
      case "secret-get":
        return { secret: await this.#secret(request.name) };
      case "secret-remove":
        await recorder.record("secret-removed", { secret: request.name });
        await secrets.take(request.name);
        return {};
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

  async #setSecret({
    name,
    secret,
  }: KeyholderRequest & { readonly type: "secret-set" }): Promise<Json> {
    const { recorder, secrets, keys, random } = this.#means;
    await recorder.record("secret-sealed", { secret: name });
    const sealed = Buffer.from(seal(keys, nameOf(name), Buffer.from(secret), random));
    await secrets.take(name);
    await secrets.add({ id: name, revision: 1, sealed: sealed.toString("base64url") });
    return {};
  }

  async #secret(name: string): Promise<string | null> {
    const kept = await this.#means.secrets.get(name);
    if (kept === undefined) return null;
    const bytes = Buffer.from(kept.sealed, "base64url");
    const opened = unseal(this.#means.keys, nameOf(name), bytes);
    if (opened.kind === "opened") return Buffer.from(opened.secret).toString("utf8");
    throw new SallyportError("sealing-key-gone", `${name} was sealed with another key`, {
      hint: "restore sealing.key from the backup that the rest is of, or set it anew",
    });
  }

  async #issue({ key, names }: KeyholderRequest & { readonly type: "tls-issue" }): Promise<Json> {
    const { ca, clock, random, recorder } = this.#means;
    const own = await this.#means.ownNames();
    const foreign = names.find((one) => !own.has(one));
    if (foreign !== undefined) {
      await recorder.record("certificate-refused", { names, because: "certificate-foreign-name" });
      const message = `${foreign} is no name or address of this gateway`;
      throw new SallyportError("certificate-foreign-name", message, {
        hint: "root writes its names into settings.json; addresses are those of the policy's component",
      });
    }
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

/** What was sealed under one name opens under no other. */
function nameOf(secret: string): string {
  return `secret-${secret}`;
}
