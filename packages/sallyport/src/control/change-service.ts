import { randomBytes } from "node:crypto";
import type {
  Approval,
  Caller,
  Change,
  Changes as Service,
  Page,
  PageRequest,
  PolicyFile,
} from "@sallyport/api";
import { SallyportError } from "@sallyport/core";
import type { Clock, Records, Stored } from "@sallyport/identity";
import type { Legs } from "@sallyport/policy";
import { type Act, digestOf } from "../approvals/act.ts";
import { fields, listOf, word } from "../cli/enforcer-client.ts";
import type { AskEnforcer } from "./ask.ts";
import { personOf } from "./desk.ts";
import { known, pageOver } from "./pages.ts";
import { type AppliedText, diffOf, draftChanged, type PolicyService } from "./policy-service.ts";
import { inForce, runningOf } from "./running.ts";
import type { Given, Signing } from "./signing.ts";

type ApplyAct = Extract<Act, { readonly act: "apply" }>;

export interface KeptChange extends Stored {
  readonly state: Change["state"];
  readonly reason: string;
  readonly ticket?: string;
  readonly createdAtMs: number;
  readonly files: readonly PolicyFile[];
  readonly act: ApplyAct;
  readonly diff: Change["diff"];
  readonly given: readonly Given[];
  readonly confirmByMs?: number;
}

export interface ChangeMeans {
  readonly enforcer: AskEnforcer;
  readonly policy: PolicyService;
  readonly signing: Signing;
  readonly changes: Records<KeptChange>;
  readonly texts: Records<AppliedText>;
  readonly clock: Clock;
  /** On record before it is answered; throws `not-recorded`. */
  readonly record: (type: string, told: Readonly<Record<string, string | number>>) => Promise<void>;
}

const ID_BYTES = 6;

export class ChangeService implements Service {
  readonly #means: ChangeMeans;

  constructor(means: ChangeMeans) {
    this.#means = means;
  }

  async plan(
    caller: Caller,
    { reason, ticket, draftSha256 }: Parameters<Service["plan"]>[1],
  ): Promise<Change> {
    const { enforcer, policy, changes, clock, record } = this.#means;
    const { files, sha256 } = await policy.draft(caller);
    if (sha256 !== draftSha256) throw draftChanged();
    const author = personOf(caller);
    const planned = fields(await enforcer({ type: "plan", files, author }));
    if (planned["legs"] === undefined) {
      const first = fields(listOf(planned["diagnostics"])[0] ?? null);
      throw new SallyportError("policy-refused", word(first["message"]), {
        hint: "POST /v1/policy/validate lists all mistakes",
      });
    }
    // The enforcer compiled them; what is signed is what it says it will apply.
    const legs = planned["legs"] as unknown as Legs;
    const act: ApplyAct = {
      ...{ act: "apply", site: legs.site, author },
      nodeEpoch: Number(planned["nodeEpoch"] ?? 0),
      baseGeneration: Number(planned["baseGeneration"]),
      nextGeneration: Number(planned["nextGeneration"]),
      ...{ policySha256: legs.policySha256, legs },
    };
    if (digestOf(act).toString("hex") !== planned["planSha256"]) {
      throw new SallyportError("plan-changed", "the enforcer plans something else");
    }
    const running = await runningOf(enforcer);
    const before = running.legs === undefined ? undefined : { legs: inForce(running) };
    const kept: KeptChange = {
      id: newId(clock.nowMs()),
      ...{ revision: 1, state: "planned", reason, createdAtMs: clock.nowMs(), files, act },
      ...(ticket === undefined ? {} : { ticket }),
      ...{ diff: diffOf(before, legs), given: [] },
    };
    const digest = digestOf(act).toString("hex");
    await record("change-planned", { change: kept.id, digest, author, reason });
    await changes.add(kept);
    return this.#told(kept);
  }

  async list(
    _caller: Caller,
    { state, author }: Parameters<Service["list"]>[1],
    page: PageRequest,
  ): Promise<Page<Change>> {
    const all = await Promise.all((await this.#means.changes.all()).map((one) => this.#seen(one)));
    const found = all
      .filter((one) => state === undefined || one.state === state)
      .filter(({ act }) => author === undefined || act.author === author)
      .toReversed();
    const { items, next } = pageOver(found, page, ({ id }) => id);
    const told = await Promise.all(items.map((one) => this.#told(one)));
    return { items: told, ...(next === undefined ? {} : { next }) };
  }

  async get(_caller: Caller, id: string): Promise<Change> {
    return this.#told(await this.#find(id));
  }

  async approve(caller: Caller, id: string, approval: Approval): Promise<Change> {
    const kept = await this.#in(id, "planned", "approved");
    const given = await this.#means.signing.with(caller, kept.act, kept.given, approval);
    const isEnough = await this.#means.signing.isEnough(kept.act, given);
    const person = personOf(caller);
    await this.#means.record("change-approved", { change: id, person, key: approval.key });
    return this.#step(kept, { state: isEnough ? "approved" : "planned", given });
  }

  async apply(
    caller: Caller,
    id: string,
    { sha256, confirmWithinSeconds }: Parameters<Service["apply"]>[2],
  ): Promise<Change> {
    const kept = await this.#in(id, "planned", "approved");
    if (sha256 !== digestOf(kept.act).toString("hex")) {
      throw new SallyportError("plan-changed", "this is not the plan that was looked at");
    }
    const { enforcer, texts, clock, record } = this.#means;
    await record("change-apply-asked", { change: id, by: personOf(caller) });
    const { files, act, given } = kept;
    try {
      await enforcer({
        ...{ type: "apply", files, author: act.author, planSha256: sha256, confirmWithinSeconds },
        approvals: given.map(({ approval }) => approval),
      });
    } catch (error) {
      const isOver = error instanceof SallyportError && error.code === "plan-changed";
      if (isOver) await this.#step(kept, { state: "outdated" });
      throw error;
    }
    await texts.add({ id: act.policySha256, revision: 1, files });
    const confirmByMs = clock.nowMs() + confirmWithinSeconds * 1000;
    return this.#step(kept, { state: "applied", confirmByMs });
  }

  async confirm(caller: Caller, id: string): Promise<Change> {
    const kept = await this.#in(id, "applied");
    await this.#means.record("change-confirm-asked", { change: id, by: personOf(caller) });
    await this.#means.enforcer({ type: "confirm", generation: kept.act.nextGeneration });
    return this.#step(kept, { state: "confirmed" });
  }

  /** A closing act: done first, recorded after. */
  async rollBack(caller: Caller, id: string, reason: string): Promise<Change> {
    const kept = await this.#in(id, "applied");
    await this.#means.enforcer({ type: "rollback", generation: kept.act.nextGeneration });
    const change = await this.#step(kept, { state: "rolled-back" });
    const by = personOf(caller);
    await this.#means.record("change-rolled-back", { change: id, by, reason });
    return change;
  }

  async withdraw(caller: Caller, id: string, reason: string): Promise<Change> {
    const kept = await this.#in(id, "planned", "approved");
    if (kept.act.author !== personOf(caller)) {
      throw new SallyportError("not-permitted", "only its author withdraws a change");
    }
    const by = personOf(caller);
    await this.#means.record("change-withdrawn", { change: id, by, reason });
    return this.#step(kept, { state: "withdrawn" });
  }

  async #find(id: string): Promise<KeptChange> {
    return this.#seen(known(await this.#means.changes.get(id), "change"));
  }

  /** What nobody confirmed in time was taken back without anybody asking here. */
  async #seen(kept: KeptChange): Promise<KeptChange> {
    const { clock, enforcer, changes } = this.#means;
    if (kept.state !== "applied" || clock.nowMs() < (kept.confirmByMs ?? 0)) return kept;
    const { generation } = await runningOf(enforcer);
    const state = generation === kept.act.nextGeneration ? "confirmed" : "rolled-back";
    const after: KeptChange = { ...kept, state, revision: kept.revision + 1 };
    await changes.replace(kept, after);
    return after;
  }

  async #in(id: string, ...states: readonly Change["state"][]): Promise<KeptChange> {
    const kept = await this.#find(id);
    if (states.includes(kept.state)) return kept;
    throw new SallyportError("change-state", `the change is ${kept.state}`, {
      hint: `this is for one that is ${states.join(" or ")}`,
    });
  }

  async #step(kept: KeptChange, to: Partial<KeptChange>): Promise<Change> {
    const after: KeptChange = { ...kept, ...to, revision: kept.revision + 1 };
    if (await this.#means.changes.replace(kept, after)) return this.#told(after);
    throw new SallyportError("change-state", "somebody changed this change at the same time", {
      hint: "look at it again",
    });
  }

  async #told(kept: KeptChange): Promise<Change> {
    const { act, createdAtMs, confirmByMs, ticket } = kept;
    return {
      ...{ id: kept.id, state: kept.state, author: act.author, reason: kept.reason },
      ...(ticket === undefined ? {} : { ticket }),
      createdAt: new Date(createdAtMs).toISOString(),
      policySha256: act.policySha256,
      ...{ baseGeneration: act.baseGeneration, nextGeneration: act.nextGeneration },
      diff: kept.diff,
      ...(confirmByMs === undefined || kept.state !== "applied"
        ? {}
        : { confirmBy: new Date(confirmByMs).toISOString() }),
      signable: await this.#means.signing.signable(act, kept.given),
    };
  }
}

/** In the order in which they were made. */
export function newId(nowMs: number): string {
  return `c-${nowMs.toString(36).padStart(9, "0")}-${randomBytes(ID_BYTES).toString("hex")}`;
}
