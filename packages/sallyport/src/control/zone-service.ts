import type { Approval, Approvers, Caller, Zones } from "@sallyport/api";
import { SallyportError } from "@sallyport/core";
import type { FirstApprover } from "@sallyport/identity/approval";
import { countsNeverAlone, type IdentityStore } from "@sallyport/identity";
import { fields, listOf, word } from "../cli/enforcer-client.ts";
import type { ActRequests, KeptRequest } from "./act-requests.ts";
import { personOf, type Desk } from "./desk.ts";
import { known } from "./pages.ts";
import { inForce, runningOf } from "./running.ts";
import { askedOf } from "./signing.ts";

type Zone = Awaited<ReturnType<Zones["island"]>>;
type Reconnection = Awaited<ReturnType<Zones["reconnect"]>>;
type Enrolment = Awaited<ReturnType<Approvers["enrol"]>>;
/** RFC 8410 §4: what stands before the 32 bytes of an Ed25519 key. */
const ED25519_SPKI_HEAD = Buffer.from("302a300506032b6570032100", "hex");

export class ZoneService implements Zones {
  readonly #requests: ActRequests;

  constructor(requests: ActRequests) {
    this.#requests = requests;
  }

  async list(): Promise<readonly Zone[]> {
    const running = await runningOf(this.#requests.means.enforcer);
    const { zones, thresholds } = inForce(running);
    const names = new Map(zones.map((zone) => [zone.name, zone]));
    // A component of the DMZ is a zone to the engines and none to people: it cannot be an island.
    const those = [...names.values()].filter(({ name }) => !name.includes("/"));
    return those.map(({ name, point }) => ({
      // Legs know sides, not Purdue levels.
      ...{ name, side: point === "outer" ? "it" : "ot", level: "" },
      island: running.circumstances.islanded?.has(name) === true,
      approvals: thresholds.find(({ zone }) => zone === name)?.approvals ?? 1,
    }));
  }

  /** A closing act: done first, recorded after. */
  async island(caller: Caller, name: string, reason: string): Promise<Zone> {
    await this.#find(name);
    const { enforcer, record } = this.#requests.means;
    await enforcer({ type: "island-on", zone: name });
    await record("island-asked", { zone: name, by: personOf(caller), reason });
    return this.#find(name);
  }

  async reconnect(caller: Caller, name: string, reason: string): Promise<Reconnection> {
    await this.#find(name);
    const terms = { act: "island-off", zone: name } as const;
    return this.#told(await this.#requests.ask(caller, terms, { reason }));
  }

  async reconnection(_caller: Caller, id: string): Promise<Reconnection> {
    return this.#told(await this.#requests.find(id, "island-off"));
  }

  async approveReconnection(caller: Caller, id: string, approval: Approval): Promise<Reconnection> {
    return this.#told(await this.#requests.approve(caller, id, "island-off", approval));
  }

  async finishReconnection(caller: Caller, id: string): Promise<Reconnection> {
    const kept = await this.#requests.in(id, "island-off", "approved");
    const { act, given } = kept;
    if (act.act !== "island-off") throw new TypeError("a request of another kind");
    const { enforcer, record } = this.#requests.means;
    await record("island-end-asked", { id, zone: act.zone, by: personOf(caller) });
    await enforcer({ type: "island-off", zone: act.zone, ...askedOf(act, given) });
    return this.#told(await this.#requests.step(kept, { state: "done" }));
  }

  async #find(name: string): Promise<Zone> {
    return known(
      (await this.list()).find((zone) => zone.name === name),
      "zone",
    );
  }

  async #told(kept: KeptRequest): Promise<Reconnection> {
    const { act, reason } = kept;
    if (act.act !== "island-off") throw new TypeError("a request of another kind");
    return {
      ...{ id: kept.id, zone: act.zone, state: stateOf(kept), person: act.author, reason },
      notAfter: act.startBy,
      signable: await this.#requests.means.signing.signable(act, kept.given),
    };
  }
}

export class ApproverService implements Approvers {
  readonly #requests: ActRequests;
  readonly #store: IdentityStore;

  constructor(requests: ActRequests, desk: Desk) {
    this.#requests = requests;
    this.#store = desk.means.store;
  }

  async list(): ReturnType<Approvers["list"]> {
    const keys = await this.#requests.means.signing.keys();
    return keys
      .filter(({ revokedAtMs }) => revokedAtMs === undefined)
      .map(({ id, person, kind, enrolledAtMs }) => ({
        ...{ id, person, kind, name: id, enrolledAt: new Date(enrolledAtMs).toISOString() },
      }));
  }

  /** Whoever holds the first link's secret proves it to the enforcer itself; nothing here could. */
  async enrolFirst(caller: Caller, key: FirstApprover, proof: string): Promise<string> {
    if (key.person !== personOf(caller)) {
      throw new SallyportError("not-permitted", "the first key is of who opened the link");
    }
    const answer = await this.#requests.means.enforcer({ type: "first-enrol", key, proof });
    return word(fields(answer)["id"]);
  }

  async enrol(
    caller: Caller,
    { person, name, key }: Parameters<Approvers["enrol"]>[1],
  ): Promise<Enrolment> {
    const found = await this.#store.people.get(person);
    if (found === undefined) throw new SallyportError("no-such-person", "nobody has this name");
    const neverAlone = countsNeverAlone(found.roles) ? { neverAlone: true } : {};
    const about = { reason: `a key of ${person}` };
    const id = name;
    if (key.kind === "ed25519") {
      const raw = Buffer.from(key.publicKey, "base64url");
      const spki = Buffer.concat([ED25519_SPKI_HEAD, raw]).toString("base64");
      const wanted = { id, person, kind: key.kind, spki, ...neverAlone };
      return this.#told(await this.#requests.ask(caller, { act: "enrol", key: wanted }, about));
    }
    const passkey = await this.#store.passkeys.get(key.credential);
    if (passkey?.person !== person) known(undefined, "passkey of this person");
    const { spki = "", rpId = "", origin = "" } = passkey ?? {};
    const credential = { credentialId: key.credential, rpId, origin };
    const wanted = { id, person, kind: key.kind, spki, ...credential, ...neverAlone };
    return this.#told(await this.#requests.ask(caller, { act: "enrol", key: wanted }, about));
  }

  async enrolment(_caller: Caller, id: string): Promise<Enrolment> {
    return this.#told(await this.#requests.find(id, "enrol"));
  }

  async approveEnrolment(caller: Caller, id: string, approval: Approval): Promise<Enrolment> {
    return this.#told(await this.#requests.approve(caller, id, "enrol", approval));
  }

  async finishEnrolment(caller: Caller, id: string): Promise<Enrolment> {
    const kept = await this.#requests.in(id, "enrol", "approved");
    const { act, given } = kept;
    if (act.act !== "enrol") throw new TypeError("a request of another kind");
    const { enforcer, record } = this.#requests.means;
    await record("approver-enrol-asked", { id, key: act.key.id, by: personOf(caller) });
    await enforcer({ type: "approver-enrol", key: act.key, ...askedOf(act, given) });
    return this.#told(await this.#requests.step(kept, { state: "done" }));
  }

  /** A closing act: done first, recorded after. */
  async revoke(caller: Caller, key: string, reason: string): Promise<void> {
    const { enforcer, record } = this.#requests.means;
    const keys = listOf(await enforcer({ type: "approver-list" })).map((one) => fields(one)["id"]);
    if (!keys.includes(key)) known(undefined, "approver's key");
    await enforcer({ type: "approver-revoke", key });
    await record("approver-revoked", { key, by: personOf(caller), reason });
  }

  async #told(kept: KeptRequest): Promise<Enrolment> {
    const { act } = kept;
    if (act.act !== "enrol") throw new TypeError("a request of another kind");
    return {
      ...{ id: kept.id, person: act.key.person, name: act.key.id, state: stateOf(kept) },
      notAfter: act.startBy,
      signable: await this.#requests.means.signing.signable(act, kept.given),
    };
  }
}

function stateOf({ state }: KeptRequest): Reconnection["state"] {
  return state === "denied" || state === "withdrawn" ? "expired" : state;
}
