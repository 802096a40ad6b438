import type {
  Approval,
  Caller,
  Grant,
  GrantRequest,
  Grants as Service,
  Page,
  PageRequest,
} from "@sallyport/api";
import { SallyportError } from "@sallyport/core";
import { fields, listOf, word } from "../cli/enforcer-client.ts";
import type { ActRequests, KeptRequest, RequestState } from "./act-requests.ts";
import { personOf } from "./desk.ts";
import { notBuiltYet } from "./not-built.ts";
import { pageOver } from "./pages.ts";
import { askedOf } from "./signing.ts";

const STATES: Readonly<Record<RequestState, GrantRequest["state"]>> = {
  waiting: "waiting",
  approved: "approved",
  done: "granted",
  denied: "denied",
  withdrawn: "withdrawn",
  expired: "expired",
};

export class GrantService implements Service {
  readonly #requests: ActRequests;

  constructor(requests: ActRequests) {
    this.#requests = requests;
  }

  async request(caller: Caller, asked: Parameters<Service["request"]>[1]): Promise<GrantRequest> {
    const { conduit, asset, source, seconds, reason, ticket, notBefore } = asked;
    if (notBefore !== undefined) throw notBuiltYet("a grant that begins later");
    const person = personOf(caller);
    const terms = { act: "grant", conduit, asset, source, seconds, reason, person } as const;
    const about = { reason, ...(ticket === undefined ? {} : { ticket }) };
    return this.#told(await this.#requests.ask(caller, terms, about));
  }

  async requests(
    _caller: Caller,
    { state, person }: Parameters<Service["requests"]>[1],
    page: PageRequest,
  ): Promise<Page<GrantRequest>> {
    const all = (await this.#requests.all("grant"))
      .filter((kept) => state === undefined || STATES[kept.state] === state)
      .filter(({ act }) => person === undefined || act.author === person);
    const { items, next } = pageOver(all, page, ({ id }) => id);
    const told = await Promise.all(items.map((kept) => this.#told(kept)));
    return { items: told, ...(next === undefined ? {} : { next }) };
  }

  async getRequest(_caller: Caller, id: string): Promise<GrantRequest> {
    return this.#told(await this.#requests.find(id, "grant"));
  }

  async approve(caller: Caller, id: string, approval: Approval): Promise<GrantRequest> {
    return this.#told(await this.#requests.approve(caller, id, "grant", approval));
  }

  async deny(caller: Caller, id: string, reason: string): Promise<GrantRequest> {
    const kept = await this.#requests.in(id, "grant", "waiting", "approved");
    await this.#requests.means.record("act-denied", { id, by: personOf(caller), reason });
    return this.#told(await this.#requests.step(kept, { state: "denied", because: reason }));
  }

  async withdraw(caller: Caller, id: string, reason: string): Promise<GrantRequest> {
    const kept = await this.#requests.in(id, "grant", "waiting", "approved");
    if (kept.act.author !== personOf(caller)) {
      throw new SallyportError("not-permitted", "only who asked withdraws a request");
    }
    await this.#requests.means.record("act-withdrawn", { id, by: personOf(caller), reason });
    return this.#told(await this.#requests.step(kept, { state: "withdrawn" }));
  }

  /** The enforcer judges the approvals, and knows an id that was used. */
  async add(caller: Caller, id: string): Promise<Grant> {
    const kept = await this.#requests.in(id, "grant", "approved");
    const { act, given } = kept;
    if (act.act !== "grant") throw new TypeError("a request of another kind");
    const { enforcer, record } = this.#requests.means;
    await record("grant-open-asked", { id, by: personOf(caller) });
    const { conduit, person, reason, source, asset, seconds } = act;
    const grant = { conduit, person, reason, source, asset, seconds };
    const answer = await enforcer({ type: "grant-add", grant, ...askedOf(act, given) });
    const { id: made, until } = fields(answer);
    await this.#requests.step(kept, { state: "done" });
    return { id: word(made), person, conduit, asset, source, until: word(until), packets: 0 };
  }

  async list(_caller: Caller, page: PageRequest): Promise<Page<Grant>> {
    return pageOver(await this.#live(), page, ({ id }) => id);
  }

  /** A closing act: done first, recorded after. */
  async revoke(caller: Caller, grant: string, reason: string): Promise<void> {
    const { enforcer, record } = this.#requests.means;
    await enforcer({ type: "grant-revoke", grant });
    await record("grant-revoked", { grant, by: personOf(caller), reason });
  }

  async revokeAll(caller: Caller, reason: string): Promise<number> {
    const { record } = this.#requests.means;
    const count = await this.#revoke(await this.#live());
    await record("grants-revoked", { count, by: personOf(caller), reason });
    return count;
  }

  /** Of a person who may not be here any more. */
  async endOf(person: string): Promise<void> {
    await this.#revoke((await this.#live()).filter((grant) => grant.person === person));
  }

  async #revoke(grants: readonly Grant[]): Promise<number> {
    let count = 0;
    for (const { id } of grants) {
      try {
        await this.#requests.means.enforcer({ type: "grant-revoke", grant: id });
        count++;
      } catch (error) {
        // It ended by itself in between; of the others each must still be tried.
        if (!(error instanceof SallyportError && error.code === "no-such-grant")) throw error;
      }
    }
    return count;
  }

  async #live(): Promise<readonly Grant[]> {
    return listOf(await this.#requests.means.enforcer({ type: "grant-list" })).map((item) => {
      const { id, person, conduit, asset, source, until, packets } = fields(item);
      return {
        ...{ id: word(id), person: word(person), conduit: word(conduit), asset: word(asset) },
        ...{ source: word(source), until: word(until), packets: Number(packets) },
      };
    });
  }

  async #told(kept: KeptRequest): Promise<GrantRequest> {
    const { act, createdAtMs, reason, ticket, because } = kept;
    if (act.act !== "grant") throw new TypeError("a request of another kind");
    const { conduit, asset, source, seconds, person } = act;
    const createdAt = new Date(createdAtMs).toISOString();
    return {
      ...{ id: kept.id, state: STATES[kept.state], person, conduit, asset, source, seconds },
      ...{ reason, createdAt, notBefore: createdAt, notAfter: act.startBy },
      ...(ticket === undefined ? {} : { ticket }),
      ...(because === undefined ? {} : { deniedBecause: because }),
      signable: await this.#requests.means.signing.signable(act, kept.given),
    };
  }
}
