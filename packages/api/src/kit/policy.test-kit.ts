/** Policy, changes, grants and zones in memory: the order of steps and the rules of who signs are real. */
import { createHash, createPublicKey, type KeyObject, verify } from "node:crypto";
import { canonicalJson, type Json, SallyportError } from "@sallyport/core";
import type { z } from "zod";
import type { Caller } from "../services/caller.ts";
import type { Changes } from "../services/changes.ts";
import type { Approvers, Grants, Zones } from "../services/grants.ts";
import type { Policy } from "../services/policy.ts";
import type { Approval, Signable } from "../shapes/common.ts";
import type * as shapes from "../shapes/policy.ts";
import { type Clock, known, pageOver } from "./clock.test-kit.ts";

type Files = readonly shapes.PolicyFile[];
type Mutable<Value> = { -readonly [Key in keyof Value]: Value[Key] };

const DIFF = { opens: ["erp may read plc-1"], closes: [], changes: [], isOpening: true };

export class MemoryPolicy {
  readonly policy: Policy;
  readonly changes: Changes;
  readonly grants: Grants;
  readonly zones: Zones;
  readonly approvers: Approvers;
  readonly #clock: Clock;
  readonly #keys = new Map<string, { readonly person: string; readonly key: KeyObject }>();
  readonly #changes: Mutable<shapes.Change>[] = [];
  readonly #requests: Mutable<shapes.GrantRequest>[] = [];
  readonly #grants: shapes.Grant[] = [];
  readonly #islands = new Set<string>();
  readonly #reconnections: Mutable<z.infer<typeof shapes.reconnection>>[] = [];
  readonly #enrolments: Mutable<z.infer<typeof shapes.enrolment>>[] = [];
  #generation = 1;
  #running: Files = [{ name: "site.yaml", text: "site: lab\n" }];
  #draft: Files = this.#running;
  #serial = 0;

  constructor(clock: Clock) {
    this.#clock = clock;
    this.policy = this.#policy();
    this.changes = this.#makeChanges();
    this.grants = this.#makeGrants();
    this.zones = this.#zones();
    this.approvers = this.#approvers();
  }

  /** `spki` is PEM. */
  addKey(id: string, person: string, spki: string): void {
    this.#keys.set(id, { person, key: createPublicKey(spki) });
  }

  #policy(): Policy {
    const draft = () => ({
      files: [...this.#draft],
      sha256: hashOf(this.#draft),
      baseGeneration: this.#generation,
    });
    return {
      running: async () => ({
        generation: this.#generation,
        site: "lab",
        sha256: hashOf(this.#running),
        files: [...this.#running],
      }),
      draft: async () => draft(),
      putDraft: async (_caller, files, ifMatch) => {
        if (ifMatch !== hashOf(this.#draft)) throw changed();
        this.#draft = files;
        return draft();
      },
      validate: async (_caller, files) => ({
        valid: files.every(({ text }) => text.startsWith("site:")),
        diagnostics: [],
        conduits: 0,
      }),
      format: async (_caller, files) =>
        files.map(({ name, text }) => ({ name, text: `${text.trimEnd()}\n` })),
      explain: async () => ({ verdict: "refuse", reason: "no-conduit", steps: [], nearest: [] }),
      matrix: async () => ({ at: this.#clock.iso(), zones: ["erp", "cell-1"], rows: [] }),
      diff: async () => DIFF,
    };
  }

  #sign(act: { readonly act: string } & Record<string, Json>, needed: number): Signable {
    const bytes = canonicalJson(act);
    const sha256 = createHash("sha256").update(bytes).digest("hex");
    return { bytes, sha256, needed, keyNeeded: false, approvals: [] };
  }

  #approved(
    { principal }: Caller,
    signable: Signable,
    author: string,
    approval: Approval,
  ): Signable {
    if (approval.kind !== "ed25519") throw new SallyportError("approval-missing", "no such key");
    const holder = this.#keys.get(approval.key);
    const signature = Buffer.from(approval.signature, "base64url");
    const isGood =
      holder !== undefined &&
      verify(null, Buffer.from(signable.sha256, "hex"), holder.key, signature);
    if (!isGood || holder.person !== principal?.personId) {
      throw new SallyportError("approval-missing", "the signature is not the caller's");
    }
    if (holder.person === author) throw new SallyportError("not-permitted", "never the author");
    const given = { person: holder.person, kind: "ed25519", at: this.#clock.iso() } as const;
    return { ...signable, approvals: [...signable.approvals, given] };
  }

  #id(prefix: string): string {
    this.#serial += 1;
    return `${prefix}-${this.#serial}`;
  }

  #change(id: string): Mutable<shapes.Change> {
    return known(
      this.#changes.find((change) => change.id === id),
      "change",
    );
  }

  #makeChanges(): Changes {
    const step = (
      id: string,
      from: readonly shapes.Change["state"][],
      state: shapes.Change["state"],
    ) => {
      const change = this.#change(id);
      if (!from.includes(change.state)) {
        throw new SallyportError("change-pending", `the change is ${change.state}`);
      }
      change.state = state;
      return change;
    };
    return {
      plan: async ({ principal }, { reason, draftSha256 }) => {
        if (draftSha256 !== hashOf(this.#draft)) throw changed();
        const next = this.#generation + 1;
        const signed = { act: "apply", policySha256: draftSha256, nextGeneration: next };
        const change: shapes.Change = {
          id: this.#id("change"),
          state: "planned",
          author: principal?.personId ?? "",
          reason,
          createdAt: this.#clock.iso(),
          policySha256: draftSha256,
          baseGeneration: this.#generation,
          nextGeneration: next,
          diff: DIFF,
          signable: this.#sign(signed, 1),
        };
        this.#changes.unshift(change);
        return change;
      },
      list: async (_caller, { state, author }, page) =>
        pageOver(
          this.#changes.filter(
            (change) =>
              (state === undefined || change.state === state) &&
              (author === undefined || change.author === author),
          ),
          page,
        ),
      get: async (_caller, id) => this.#change(id),
      approve: async (caller, id, approval) => {
        const change = this.#change(id);
        change.signable = this.#approved(caller, change.signable, change.author, approval);
        return step(id, ["planned", "approved"], "approved");
      },
      apply: async (_caller, id, { sha256, confirmWithinSeconds }) => {
        const change = this.#change(id);
        if (change.state === "planned")
          throw new SallyportError("approval-missing", "nobody signed");
        if (sha256 !== change.signable.sha256)
          throw new SallyportError("plan-changed", "another plan");
        change.confirmBy = this.#clock.iso(confirmWithinSeconds * 1000);
        return step(id, ["approved"], "applied");
      },
      confirm: async (_caller, id) => {
        const change = step(id, ["applied"], "confirmed");
        this.#generation = change.nextGeneration;
        this.#running = this.#draft;
        return change;
      },
      rollBack: async (_caller, id) => step(id, ["applied"], "rolled-back"),
      withdraw: async (_caller, id) => step(id, ["planned", "approved"], "withdrawn"),
    };
  }

  #request(id: string): Mutable<shapes.GrantRequest> {
    return known(
      this.#requests.find((request) => request.id === id),
      "request",
    );
  }

  #makeGrants(): Grants {
    const end = async (id: string, state: shapes.GrantRequest["state"]) => {
      const request = this.#request(id);
      request.state = state;
      return request;
    };
    return {
      request: async ({ principal }, asked) => {
        const id = this.#id("request");
        const { conduit, asset, source, seconds, reason } = asked;
        const request: shapes.GrantRequest = {
          id,
          state: "waiting",
          person: principal?.personId ?? "",
          conduit,
          asset,
          source,
          seconds,
          reason,
          createdAt: this.#clock.iso(),
          notBefore: this.#clock.iso(),
          notAfter: this.#clock.iso(3_600_000),
          signable: this.#sign({ act: "grant", id, conduit, asset, source, seconds }, 1),
        };
        this.#requests.unshift(request);
        return request;
      },
      requests: async (_caller, { state }, page) =>
        pageOver(
          this.#requests.filter((one) => state === undefined || one.state === state),
          page,
        ),
      getRequest: async (_caller, id) => this.#request(id),
      approve: async (caller, id, approval) => {
        const request = this.#request(id);
        request.signable = this.#approved(caller, request.signable, request.person, approval);
        return end(id, "approved");
      },
      deny: (_caller, id) => end(id, "denied"),
      withdraw: (_caller, id) => end(id, "withdrawn"),
      add: async (_caller, id) => {
        const { state, person, conduit, asset, source, seconds } = this.#request(id);
        if (state !== "approved") throw new SallyportError("approval-missing", "nobody signed");
        await end(id, "granted");
        const until = this.#clock.iso(seconds * 1000);
        const grant = { id, person, conduit, asset, source, until, packets: 0 };
        this.#grants.push(grant);
        return grant;
      },
      list: async (_caller, page) => pageOver(this.#grants, page),
      revoke: async (_caller, id) => {
        const at = this.#grants.findIndex((grant) => grant.id === id);
        if (at < 0) throw new SallyportError("no-such-grant", "there is no such grant");
        this.#grants.splice(at, 1);
      },
      revokeAll: async () => this.#grants.splice(0).length,
    };
  }

  #zone(name: string) {
    if (!["erp", "cell-1"].includes(name))
      throw new SallyportError("no-such-thing", "no such zone");
    const island = this.#islands.has(name);
    return { name, side: "ot", level: "1", island, approvals: 1 };
  }

  #zones(): Zones {
    const find = (id: string) =>
      known(
        this.#reconnections.find((one) => one.id === id),
        "reconnection",
      );
    return {
      list: async () => ["erp", "cell-1"].map((name) => this.#zone(name)),
      island: async (_caller, zone) => {
        this.#zone(zone);
        this.#islands.add(zone);
        return this.#zone(zone);
      },
      reconnect: async ({ principal }, zone, reason) => {
        const id = this.#id("reconnection");
        const made: z.infer<typeof shapes.reconnection> = {
          id,
          zone,
          state: "waiting",
          person: principal?.personId ?? "",
          reason,
          notAfter: this.#clock.iso(3_600_000),
          signable: this.#sign({ act: "island-off", zone, id }, 1),
        };
        this.#reconnections.push(made);
        return made;
      },
      reconnection: async (_caller, id) => find(id),
      approveReconnection: async (caller, id, approval) => {
        const one = find(id);
        one.signable = this.#approved(caller, one.signable, one.person, approval);
        one.state = "approved";
        return one;
      },
      finishReconnection: async (_caller, id) => {
        const one = find(id);
        if (one.state !== "approved") throw new SallyportError("approval-missing", "nobody signed");
        this.#islands.delete(one.zone);
        one.state = "done";
        return one;
      },
    };
  }

  #approvers(): Approvers {
    const find = (id: string) =>
      known(
        this.#enrolments.find((one) => one.id === id),
        "enrolment",
      );
    return {
      list: async () =>
        [...this.#keys].map(([id, { person }]) => ({
          id,
          person,
          kind: "ed25519" as const,
          name: id,
          enrolledAt: this.#clock.iso(),
        })),
      enrolFirst: async (_caller, { person }, proof) => {
        if (proof !== "AA") throw new SallyportError("approval-refused", "not proved");
        return `first-${person}`;
      },
      enrol: async (_caller, { person, name }) => {
        const id = this.#id("enrolment");
        const made: z.infer<typeof shapes.enrolment> = {
          id,
          person,
          name,
          state: "waiting",
          notAfter: this.#clock.iso(3_600_000),
          signable: this.#sign({ act: "enrol", id, person }, 1),
        };
        this.#enrolments.push(made);
        return made;
      },
      enrolment: async (_caller, id) => find(id),
      approveEnrolment: async (caller, id, approval) => {
        const one = find(id);
        one.signable = this.#approved(caller, one.signable, one.person, approval);
        one.state = "approved";
        return one;
      },
      finishEnrolment: async (_caller, id) => {
        const one = find(id);
        one.state = "done";
        return one;
      },
      revoke: async (_caller, id) => {
        if (!this.#keys.delete(id)) throw new SallyportError("no-such-thing", "no such key");
      },
    };
  }
}

function hashOf(files: Files): string {
  const text = canonicalJson(files.map(({ name, text: content }) => ({ name, text: content })));
  return createHash("sha256").update(text).digest("hex");
}

function changed(): SallyportError {
  return new SallyportError("draft-changed", "the draft is another by now", {
    hint: "read it again",
  });
}
