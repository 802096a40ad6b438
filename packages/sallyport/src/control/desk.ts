/** Identity's parts put together for this process, and what the services ask of them together. */
import { type Caller, HttpError, type Principal } from "@sallyport/api";
import { type Json, SallyportError } from "@sallyport/core";
import {
  type Alarms,
  ApiKeys,
  argon2id,
  BreakGlassAccounts,
  Challenges,
  HashPool,
  type KeyPresent,
  Links,
  type Means,
  Passkeys,
  Passwords,
  People,
  type Present,
  RecoveryCodes,
  type Refusal,
  type RelyingParty,
  SignIns,
  type TotpVerdict,
} from "@sallyport/identity";
import { fields } from "../cli/enforcer-client.ts";
import type { AskKeyholder } from "./ask.ts";
import { Providers } from "./providers.ts";
import type { ProviderSettings } from "./settings.ts";

const CHALLENGE_KEY_BYTES = 32;

export interface DeskMeans extends Means {
  readonly keyholder: AskKeyholder;
  /** Absent where the gateway has only an address, for which browsers make no passkey. */
  readonly rp: RelyingParty | undefined;
  readonly alarms: Alarms;
  readonly providers: readonly ProviderSettings[];
}

export class Desk {
  readonly means: DeskMeans;
  readonly signIns: SignIns;
  readonly people: People;
  readonly links: Links;
  readonly apiKeys: ApiKeys;
  readonly passwords: Passwords;
  readonly recoveryCodes: RecoveryCodes;
  readonly breakGlass: BreakGlassAccounts;
  readonly providers: Providers;
  readonly #passkeys: Passkeys | undefined;

  constructor(means: DeskMeans) {
    this.means = means;
    const { keyholder, rp } = means;
    this.signIns = new SignIns(means);
    const { signIns } = this;
    this.people = new People(means, signIns);
    this.links = new Links(means, signIns);
    this.apiKeys = new ApiKeys(means);
    this.recoveryCodes = new RecoveryCodes(means);
    this.breakGlass = new BreakGlassAccounts({ ...means, signIns });
    this.providers = new Providers({ ...means, signIns, origin: rp?.origin });
    const { recoveryCodes } = this;
    const totp = {
      verify: async (person: string, code: string) =>
        verdictOf(await keyholder({ type: "totp-verify", person, code })),
    };
    const pool = new HashPool(argon2id);
    this.passwords = new Passwords({ ...means, totp, pool, signIns, recoveryCodes });
    const challenges = new Challenges(means, means.random.bytes(CHALLENGE_KEY_BYTES));
    this.#passkeys =
      rp === undefined ? undefined : new Passkeys({ ...means, rp, challenges, signIns });
  }

  get passkeys(): Passkeys {
    if (this.#passkeys !== undefined) return this.#passkeys;
    throw new SallyportError("relying-party-not-a-name", "passkeys need a name, and https", {
      hint: "give the gateway a name: docs/operate/control.md",
    });
  }

  /** Who asks, as the store knows them at this moment. */
  async presentOf({ principal }: Pick<Caller, "principal">): Promise<Present> {
    const { signIns, people } = this.means.store;
    const signIn = principal === undefined ? undefined : await signIns.get(principal.id);
    const person = signIn === undefined ? undefined : await people.get(signIn.person);
    if (signIn === undefined || person?.state !== "active") throw ended();
    return { kind: "present", signIn, person };
  }

  async keyPresentOf({ id }: Principal): Promise<KeyPresent> {
    const { apiKeys, people } = this.means.store;
    const key = await apiKeys.get(id);
    const person = key === undefined ? undefined : await people.get(key.person);
    if (key === undefined || person?.state !== "active") throw ended();
    return { kind: "key", key, person };
  }
}

export function personOf({ principal }: Pick<Caller, "principal">): string {
  if (principal === undefined) throw ended();
  return principal.personId;
}

/** The outcome, or its refusal as an error with the words that may leave. */
export function agreed<Outcome>(outcome: Outcome | Refusal): Exclude<Outcome, Refusal> {
  if (!isRefusal(outcome)) return outcome as Exclude<Outcome, Refusal>;
  const { code, why, retryAfterMs } = outcome;
  if (retryAfterMs === undefined) throw new SallyportError(code, why);
  throw new HttpError(code, why, {
    headers: { "retry-after": String(Math.ceil(retryAfterMs / 1000)) },
  });
}

function isRefusal(outcome: unknown): outcome is Refusal {
  return (
    typeof outcome === "object" &&
    outcome !== null &&
    "kind" in outcome &&
    outcome.kind === "refused"
  );
}

function ended(): SallyportError {
  return new SallyportError("sign-in-ended", "sign in again");
}

function verdictOf(answer: Json): TotpVerdict {
  const { kind, code } = fields(answer);
  if (kind === "verified") return { kind };
  const known = code === "totp-not-enrolled" || code === "totp-wrong" || code === "totp-used";
  return { kind: "refused", code: known ? code : "totp-unavailable" };
}
