/**
 * What waits for signatures. The enforcer judges them when the act is asked for; here they are kept, and looked at only
 * so that somebody hears at once that theirs will not count.
 */
import type { Approval, Caller, Signable } from "@sallyport/api";
import { canonicalJson, type Json, SallyportError } from "@sallyport/core";
import type { Clock } from "@sallyport/identity";
import { type ApproverKey, thresholds, verifyApproval } from "@sallyport/identity/approval";
import { type Act, digestOf, type NamedAct, requiredFor } from "../approvals/act.ts";
import { listOf } from "../cli/enforcer-client.ts";
import type { Asked } from "../messages.ts";
import type { AskEnforcer } from "./ask.ts";
import { personOf } from "./desk.ts";
import { runningOf } from "./running.ts";

export interface Given {
  readonly person: string;
  readonly atMs: number;
  readonly approval: Approval;
}

/** From here on a key must sign whose holder's own machine compiled the policy: identity's `thresholds`. */
const KEY_NEEDED_FROM = 2;

export class Signing {
  readonly #enforcer: AskEnforcer;
  readonly #clock: Clock;

  constructor(enforcer: AskEnforcer, clock: Clock) {
    this.#enforcer = enforcer;
    this.#clock = clock;
  }

  async signable(act: Act, given: readonly Given[]): Promise<Signable> {
    const needed = await this.#needed(act);
    return {
      bytes: canonicalJson(act as unknown as Json),
      sha256: digestOf(act).toString("hex"),
      needed,
      keyNeeded: needed >= KEY_NEEDED_FROM,
      approvals: given.map(({ person, atMs, approval: { kind } }) => {
        return { person, kind, at: new Date(atMs).toISOString() };
      }),
    };
  }

  /** Those given with this one. Throws when it is not the caller's own, or not of this act. */
  async with(
    caller: Caller,
    act: Act,
    given: readonly Given[],
    approval: Approval,
  ): Promise<readonly Given[]> {
    const person = personOf(caller);
    const key = (await this.keys()).find(({ id }) => id === approval.key);
    if (key?.person !== person || key.revokedAtMs !== undefined) {
      throw new SallyportError(
        "approver-unknown",
        `${approval.key} is no key of yours that counts`,
        {
          hint: "GET /v1/approvers lists whose signatures the enforcer counts",
        },
      );
    }
    if (person === act.author) {
      throw new SallyportError("not-permitted", "nobody approves what they asked for themselves");
    }
    const verdict = verifyApproval(approval, key, digestOf(act), this.#clock.nowMs());
    if (verdict.kind === "refused") {
      throw new SallyportError("approval-refused", `${verdict.why} (${verdict.code})`, {
        hint: "sign the SHA-256 of the bytes that were shown",
      });
    }
    const others = given.filter((one) => one.person !== person);
    return [...others, { person, atMs: this.#clock.nowMs(), approval }];
  }

  async isEnough(act: Act, given: readonly Given[]): Promise<boolean> {
    const keys = new Map((await this.keys()).map((key) => [key.id, key]));
    const nowMs = this.#clock.nowMs();
    const verified = given.flatMap(({ approval }) => {
      const key = keys.get(approval.key);
      if (key === undefined) return [];
      const verdict = verifyApproval(approval, key, digestOf(act), nowMs);
      return verdict.kind === "verified" ? [verdict] : [];
    });
    const people = await this.#needed(act);
    return thresholds(verified, { people, author: act.author }).kind === "met";
  }

  async keys(): Promise<readonly ApproverKey[]> {
    // The enforcer's own list, as it keeps it.
    return listOf(await this.#enforcer({ type: "approver-list" })) as unknown as ApproverKey[];
  }

  async #needed(act: Act): Promise<number> {
    return requiredFor(act, (await runningOf(this.#enforcer)).legs).people;
  }
}

/** All that the enforcer is told of a named act beside its terms. */
export function askedOf({ id, author, startBy }: NamedAct, given: readonly Given[]): Asked {
  return { id, author, startBy, approvals: given.map(({ approval }) => approval) };
}
