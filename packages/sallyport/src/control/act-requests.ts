/** Acts that somebody asks for and others sign: grants, the end of an island, an approver's key. */
import { randomBytes } from "node:crypto";
import type { Approval, Caller } from "@sallyport/api";
import { SallyportError } from "@sallyport/core";
import type { Clock, Records, Stored } from "@sallyport/identity";
import type { NamedAct } from "../approvals/act.ts";
import type { AskEnforcer } from "./ask.ts";
import { personOf } from "./desk.ts";
import { known } from "./pages.ts";
import { runningOf } from "./running.ts";
import type { Given, Signing } from "./signing.ts";

/** Time to reach whoever signs, and to open; the enforcer takes at most seven days. */
const START_WITHIN_MS = 24 * 3600 * 1000;
const ID_BYTES = 8;

export type RequestState = "waiting" | "approved" | "done" | "denied" | "withdrawn" | "expired";

export interface KeptRequest extends Stored {
  readonly state: RequestState;
  readonly reason: string;
  readonly ticket?: string;
  readonly because?: string;
  readonly createdAtMs: number;
  readonly act: NamedAct;
  readonly given: readonly Given[];
}

export interface RequestMeans {
  readonly enforcer: AskEnforcer;
  readonly signing: Signing;
  readonly requests: Records<KeptRequest>;
  readonly clock: Clock;
  /** On record before it is answered; throws `not-recorded`. */
  readonly record: (type: string, told: Readonly<Record<string, string | number>>) => Promise<void>;
}

type Terms = NamedAct extends infer Act
  ? Act extends NamedAct
    ? Omit<Act, "site" | "nodeEpoch" | "id" | "author" | "startBy">
    : never
  : never;

export class ActRequests {
  readonly means: RequestMeans;

  constructor(means: RequestMeans) {
    this.means = means;
  }

  async ask(
    caller: Caller,
    terms: Terms,
    { reason, ticket }: { readonly reason: string; readonly ticket?: string },
  ): Promise<KeptRequest> {
    const { clock, requests, enforcer, record } = this.means;
    const author = personOf(caller);
    const { legs, nodeEpoch } = await runningOf(enforcer);
    const nowMs = clock.nowMs();
    const named = {
      ...{ site: legs?.site ?? "", nodeEpoch, author },
      id: `a-${randomBytes(ID_BYTES).toString("hex")}`,
      startBy: new Date(nowMs + START_WITHIN_MS).toISOString(),
    };
    // Terms are those of one kind, and get what every kind has.
    const act = { ...terms, ...named } as NamedAct;
    const kept: KeptRequest = {
      ...{ id: act.id, revision: 1, state: "waiting", reason, createdAtMs: nowMs, act, given: [] },
      ...(ticket === undefined ? {} : { ticket }),
    };
    await record("act-asked", { act: act.act, id: act.id, author, reason });
    await requests.add(kept);
    return kept;
  }

  /** Newest first. */
  async all(act: NamedAct["act"]): Promise<readonly KeptRequest[]> {
    const all = (await this.means.requests.all()).filter((kept) => kept.act.act === act);
    return all.map((kept) => this.#now(kept)).sort((a, b) => b.createdAtMs - a.createdAtMs);
  }

  async find(id: string, act: NamedAct["act"]): Promise<KeptRequest> {
    const kept = await this.means.requests.get(id);
    return this.#now(known(kept?.act.act === act ? kept : undefined, "request"));
  }

  async approve(
    caller: Caller,
    id: string,
    act: NamedAct["act"],
    approval: Approval,
  ): Promise<KeptRequest> {
    const kept = await this.in(id, act, "waiting", "approved");
    const { signing, record } = this.means;
    const given = await signing.with(caller, kept.act, kept.given, approval);
    const isEnough = await signing.isEnough(kept.act, given);
    await record("act-approved", { act, id, person: personOf(caller), key: approval.key });
    return this.step(kept, { state: isEnough ? "approved" : "waiting", given });
  }

  async in(
    id: string,
    act: NamedAct["act"],
    ...states: readonly RequestState[]
  ): Promise<KeptRequest> {
    const kept = await this.find(id, act);
    if (states.includes(kept.state)) return kept;
    throw new SallyportError("change-state", `the request is ${kept.state}`, {
      hint: `this is for one that is ${states.join(" or ")}`,
    });
  }

  async step(kept: KeptRequest, to: Partial<KeptRequest>): Promise<KeptRequest> {
    const after: KeptRequest = { ...kept, ...to, revision: kept.revision + 1 };
    if (await this.means.requests.replace(kept, after)) return after;
    throw new SallyportError("change-state", "somebody changed this request at the same time", {
      hint: "look at it again",
    });
  }

  #now(kept: KeptRequest): KeptRequest {
    const isOver = this.means.clock.nowMs() >= Date.parse(kept.act.startBy);
    const isOpen = kept.state === "waiting" || kept.state === "approved";
    return isOver && isOpen ? { ...kept, state: "expired" } : kept;
  }
}
