/**
 * Passkeys: registration, sign-in, step-up. The library decides; where it verifies an assertion our
 * own verifier, which the enforcer uses, must agree, and gives the reason when it does not.
 */
import {
  generateAuthenticationOptions,
  generateRegistrationOptions,
  type PublicKeyCredentialCreationOptionsJSON,
  type PublicKeyCredentialRequestOptionsJSON,
  verifyAuthenticationResponse,
  verifyRegistrationResponse,
} from "@simplewebauthn/server";
import { decodeAttestationObject } from "@simplewebauthn/server/helpers";
import { parseClientData, verifyAssertion } from "../approval/assertion.ts";
import { CHALLENGE_MS, LABEL_MAX_CHARACTERS, PASSKEYS_MAX } from "../limits.ts";
import type { Means } from "../ports.ts";
import type { Passkey, Person } from "../records.ts";
import { type Refusal, refuse } from "../refusals.ts";
import { base64url, change, sha256 } from "../secrets.ts";
import type { Challenges, Purpose } from "./challenges.ts";
import { coseToSpki } from "./cose.ts";
import { Lockout, sourceCounter } from "./lockout.ts";
import type { Present, SignedIn, SignIns } from "./sign-ins.ts";
import {
  type AssertionForm,
  parseAssertionForm,
  parseRegistrationForm,
  type RegistrationForm,
} from "./web-authn-forms.ts";

/** Who passkeys are made for: a name, because browsers make none for an address. */
export interface RelyingParty {
  readonly id: string;
  readonly name: string;
  readonly origin: string;
}

/** COSE algorithms, RFC 9053 and RFC 8812: EdDSA, ES256, RS256. */
const ALGORITHMS = [-8, -7, -257];

/** From the console's address; browsers want a name and, but for this machine itself, https. */
export function relyingParty(origin: string, name: string): RelyingParty | Refusal {
  const url = URL.parse(origin);
  const host = url?.hostname ?? "";
  const isName = /^[a-z0-9-]+(\.[a-z0-9-]+)*$/.test(host) && !/^[0-9.]+$/.test(host);
  const isSafe = url?.protocol === "https:" || (url?.protocol === "http:" && host === "localhost");
  if (url === null || !isName || !isSafe || url.origin !== origin) {
    return refuse("relying-party-not-a-name");
  }
  return { id: host, name, origin };
}

export interface PasskeyMeans extends Means {
  readonly rp: RelyingParty;
  readonly challenges: Challenges;
  readonly signIns: SignIns;
}

export class Passkeys {
  readonly #means: PasskeyMeans;
  readonly #lockout: Lockout;

  constructor(means: PasskeyMeans) {
    this.#means = means;
    this.#lockout = new Lockout(means.store.attempts, means.clock);
  }

  async beginRegistration(person: Person): Promise<PublicKeyCredentialCreationOptionsJSON> {
    const { rp, challenges, store } = this.#means;
    const kept = await store.passkeys.ofPerson(person.id);
    return generateRegistrationOptions({
      rpName: rp.name,
      rpID: rp.id,
      userName: person.id,
      userDisplayName: person.displayName,
      userID: userHandle(person.id),
      challenge: Uint8Array.from(challenges.make("register", person.id)),
      timeout: CHALLENGE_MS,
      // No maker is asked to vouch: its certificate lists would have to be fetched.
      attestationType: "none",
      excludeCredentials: kept.map(({ id }) => ({ id })),
      // Found without a name, so that a sign-in page need not tell who has a passkey.
      authenticatorSelection: { residentKey: "required", userVerification: "required" },
      supportedAlgorithmIDs: ALGORITHMS,
    });
  }

  async finishRegistration(
    person: Person,
    response: unknown,
    label: unknown,
  ): Promise<Passkey | Refusal> {
    const form = parseRegistrationForm(response);
    const isLabel =
      typeof label === "string" && label !== "" && label.length <= LABEL_MAX_CHARACTERS;
    if (form === undefined || !isLabel) return refuse("request-malformed");
    const passkey = await this.#register(person, form, label);
    const isRefused = "kind" in passkey;
    await this.#means.events.record(isRefused ? "passkey-refused" : "passkey-registered", {
      person: person.id,
      ...(isRefused
        ? { because: passkey.cause, detail: passkey.detail ?? "" }
        : { passkey: passkey.id, synced: passkey.isSynced }),
    });
    if (isRefused) return passkey;
    return (await this.#means.store.passkeys.add(passkey)) ? passkey : refuse("passkey-taken");
  }

  async beginSignIn(): Promise<PublicKeyCredentialRequestOptionsJSON> {
    return this.#ask("sign-in", "", []);
  }

  async finishSignIn(response: unknown, source: string): Promise<SignedIn | Refusal> {
    const form = parseAssertionForm(response);
    if (form === undefined) return refuse("request-malformed");
    const counter = sourceCounter(source);
    const locked = await this.#lockout.begin([counter]);
    const outcome = locked ?? (await this.#verify(form, "sign-in", ""));
    if (outcome.kind === "refused") {
      const { cause, detail = "" } = outcome;
      const fields = { source, by: "passkey", passkey: form.id, because: cause, detail };
      await this.#means.events.record("sign-in-refused", fields);
      return outcome;
    }
    await this.#lockout.succeed(undefined, counter);
    return this.#means.signIns.begin({
      person: outcome.person,
      factors: ["passkey"],
      source,
      fields: { passkey: form.id },
    });
  }

  async beginStepUp(present: Present): Promise<PublicKeyCredentialRequestOptionsJSON> {
    const kept = await this.#means.store.passkeys.ofPerson(present.person.id);
    return this.#ask(
      "step-up",
      present.signIn.id,
      kept.map(({ id }) => ({ id })),
    );
  }

  async finishStepUp(present: Present, response: unknown): Promise<Present | Refusal> {
    const form = parseAssertionForm(response);
    if (form === undefined) return refuse("request-malformed");
    const outcome = await this.#verify(form, "step-up", present.signIn.id);
    const isOther = outcome.kind !== "refused" && outcome.person.id !== present.person.id;
    const refusal = isOther ? refuse("passkey-other-person") : outcome;
    if (refusal.kind !== "refused") return this.#means.signIns.stepUp(present, "passkey");
    await this.#means.events.record("step-up-refused", {
      person: present.person.id,
      because: refusal.cause,
    });
    return refusal;
  }

  /** False when it is not a passkey of this person. */
  async remove(person: Person, id: string): Promise<boolean> {
    const { store, events } = this.#means;
    if ((await store.passkeys.get(id))?.person !== person.id) return false;
    await store.passkeys.take(id);
    await events.record("passkey-removed", { person: person.id, passkey: id });
    return true;
  }

  #ask(
    purpose: Purpose,
    subject: string,
    allowCredentials: { id: string }[],
  ): Promise<PublicKeyCredentialRequestOptionsJSON> {
    const { rp, challenges } = this.#means;
    return generateAuthenticationOptions({
      rpID: rp.id,
      challenge: Uint8Array.from(challenges.make(purpose, subject)),
      timeout: CHALLENGE_MS,
      userVerification: "required",
      allowCredentials,
    });
  }

  #challengeOf(clientDataJSON: string, purpose: Purpose, subject: string): Buffer | Refusal {
    const data = parseClientData(Buffer.from(clientDataJSON, "base64url"));
    return this.#means.challenges.check(data?.["challenge"], purpose, subject);
  }

  async #register(
    person: Person,
    form: RegistrationForm,
    label: string,
  ): Promise<Passkey | Refusal> {
    const { rp, challenges, store, clock } = this.#means;
    const challenge = this.#challengeOf(form.clientDataJSON, "register", person.id);
    if ("kind" in challenge) return challenge;
    if ((await store.passkeys.ofPerson(person.id)).length >= PASSKEYS_MAX) {
      return refuse("passkeys-at-limit");
    }
    if (!vouchesForNothing(form.attestationObject)) {
      return refuse("passkey-refused", { detail: "carries an attestation that was not asked for" });
    }
    const { id, transports, ...response } = form;
    const verified = await settled(() =>
      verifyRegistrationResponse({
        response: { id, rawId: id, type: "public-key", response, clientExtensionResults: {} },
        expectedChallenge: base64url(challenge),
        expectedOrigin: rp.origin,
        expectedRPID: rp.id,
        requireUserVerification: true,
        supportedAlgorithmIDs: ALGORITHMS,
      }),
    );
    if (typeof verified === "string") return refuse("passkey-refused", { detail: verified });
    if (!verified.verified) return refuse("passkey-refused", { detail: "does not verify" });
    const { credential, credentialDeviceType } = verified.registrationInfo;
    const spki = coseToSpki(credential.publicKey);
    if (spki === undefined || credential.id !== id) {
      return refuse("passkey-refused", { detail: "a key of an unknown kind, or of another id" });
    }
    const spent = await challenges.spend(challenge);
    if (spent !== undefined) return spent;
    return {
      id,
      revision: 1,
      person: person.id,
      label,
      cose: base64url(credential.publicKey),
      spki,
      counter: credential.counter,
      transports,
      rpId: rp.id,
      origin: rp.origin,
      isSynced: credentialDeviceType === "multiDevice",
      createdAtMs: clock.nowMs(),
    };
  }

  async #verify(
    form: AssertionForm,
    purpose: Purpose,
    subject: string,
  ): Promise<{ readonly kind: "verified"; readonly person: Person } | Refusal> {
    const { challenges, store } = this.#means;
    const challenge = this.#challengeOf(form.clientDataJSON, purpose, subject);
    if ("kind" in challenge) return challenge;
    const passkey = await store.passkeys.get(form.id);
    if (passkey === undefined) return refuse("passkey-unknown");
    const isOwn = form.userHandle ?? base64url(userHandle(passkey.person));
    if (isOwn !== base64url(userHandle(passkey.person))) return refuse("passkey-other-person");
    const counter = await bothVerify(form, passkey, challenge);
    if (typeof counter !== "number") return counter;
    const spent = await challenges.spend(challenge);
    if (spent !== undefined) return spent;
    // Somebody else may have used a copy in the meantime: the counter decides once more.
    const kept = await change(store.passkeys, passkey.id, (now) =>
      counter === 0 || counter > now.counter ? { ...now, counter } : undefined,
    );
    if (kept === undefined) return refuse("passkey-assertion", { detail: "counter-went-back" });
    const person = await store.people.get(passkey.person);
    if (person === undefined) return refuse("person-unknown");
    return person.state === "active" ? { kind: "verified", person } : refuse("person-disabled");
  }
}

/** The new counter, when both verifiers say yes. */
async function bothVerify(
  { id, clientDataJSON, authenticatorData, signature }: AssertionForm,
  { cose, spki, counter, rpId, origin }: Passkey,
  challenge: Buffer,
): Promise<number | Refusal> {
  const response = { clientDataJSON, authenticatorData, signature };
  const own = verifyAssertion(response, { challenge, origin, rpId, spki, counter });
  if (own.kind === "refused") return refuse("passkey-assertion", { detail: own.code });
  const theirs = await settled(() =>
    verifyAuthenticationResponse({
      response: { id, rawId: id, type: "public-key", response, clientExtensionResults: {} },
      expectedChallenge: base64url(challenge),
      expectedOrigin: origin,
      expectedRPID: rpId,
      requireUserVerification: true,
      credential: { id, publicKey: Uint8Array.from(Buffer.from(cose, "base64url")), counter },
    }),
  );
  if (typeof theirs === "string") return refuse("passkey-assertion", { detail: theirs });
  return theirs.verified
    ? own.counter
    : refuse("passkey-assertion", { detail: "signature-invalid" });
}

/** What the library answers; or, as it throws for each fault, the sentence of its error. */
async function settled<T>(verify: () => Promise<T>): Promise<T | string> {
  try {
    return await verify();
  } catch (error) {
    return error instanceof Error ? error.message : "refused by the library";
  }
}

/**
 * No certificate comes along. With one the library would fetch its revocation list, from an address
 * that whoever registers can choose.
 */
function vouchesForNothing(attestationObject: string): boolean {
  try {
    const object = decodeAttestationObject(
      Uint8Array.from(Buffer.from(attestationObject, "base64url")),
    );
    const format = object.get("fmt");
    // Self attestation is a signature by the new key itself.
    return (
      format === "none" || (format === "packed" && object.get("attStmt").get("x5c") === undefined)
    );
  } catch {
    return false;
  }
}

/** Stays with the person and tells an authenticator's finder nothing (WebAuthn §14.6.1). */
function userHandle(person: string): Uint8Array<ArrayBuffer> {
  return Uint8Array.from(sha256(`sallyport-user/v1\n${person}\n`));
}
