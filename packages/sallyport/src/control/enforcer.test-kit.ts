/** An enforcer without a kernel: real approver keys, real judgement of approvals, a policy that is only remembered. */
import { type Json, SallyportError } from "@sallyport/core";
import { compilePolicy, type Legs } from "@sallyport/policy";
import { type Act, digestOf } from "../approvals/act.ts";
import { ApprovalDesk } from "../approvals/approval-desk.ts";
import { ApproverActs } from "../approvals/approver-acts.ts";
import { ApproverBook } from "../approvals/approver-book.ts";
import { type EnforcerRequest, type PolicyFile, readRequest } from "../messages.ts";

export class TestEnforcer {
  readonly #acts: ApproverActs;
  readonly #desk: ApprovalDesk;
  readonly #nowMs: () => number;
  confirmed: { readonly number: number; readonly legs: Legs } | undefined;
  pending: { readonly number: number; readonly legs: Legs } | undefined;
  readonly asked: string[] = [];

  private constructor(book: ApproverBook, nowMs: () => number) {
    this.#acts = new ApproverActs(book, () => undefined);
    this.#desk = new ApprovalDesk(book);
    this.#nowMs = nowMs;
  }

  static async in(directory: string, nowMs: () => number): Promise<TestEnforcer> {
    return new TestEnforcer(await ApproverBook.load(directory), nowMs);
  }

  /** As root at the command line. */
  async firstSecret(): Promise<Buffer> {
    const made = (await this.#acts.makeFirst(this.#nowMs())) as { readonly secret: string };
    return Buffer.from(made.secret, "base64url");
  }

  /** `sallyport approver add`, as root at the command line. */
  async addKey(
    id: string,
    person: string,
    spki: string,
    passkey?: Readonly<Record<"credentialId" | "rpId" | "origin", string>>,
  ): Promise<void> {
    const kind = passkey === undefined ? "ed25519" : "passkey";
    await this.#acts.enrol({ id, person, kind, spki, ...passkey }, this.#nowMs());
  }

  readonly ask = async (request: EnforcerRequest): Promise<Json> => {
    // What is sent is what a socket would carry.
    const read = readRequest(JSON.stringify(request));
    this.asked.push(read.type);
    return JSON.parse(JSON.stringify(await this.#answer(read))) as Json;
  };

  async #answer(request: EnforcerRequest): Promise<unknown> {
    const nowMs = this.#nowMs();
    switch (request.type) {
      case "running":
        return { legs: this.confirmed?.legs, grants: [], confirmed: this.confirmed, islands: [] };
      case "plan": {
        const act = this.#applyOf(request.files, request.author ?? "local-root");
        return { ...act, diagnostics: [], planSha256: digestOf(act).toString("hex") };
      }
      case "apply": {
        if (request.approvals.length === 0) {
          throw new SallyportError("approval-missing", "nobody signed");
        }
        const act = this.#applyOf(request.files, request.author);
        if (digestOf(act).toString("hex") !== request.planSha256) {
          throw new SallyportError("plan-changed", "another plan");
        }
        const about = { caller: "control", running: this.confirmed?.legs, nowMs } as const;
        await this.#desk.approve(act, request.approvals, about);
        this.pending = { number: act.nextGeneration, legs: act.legs };
        return { generation: act.nextGeneration };
      }
      case "confirm":
        if (this.pending?.number !== request.generation) {
          throw new SallyportError("nothing-pending", "nothing waits for this");
        }
        this.confirmed = this.pending;
        this.pending = undefined;
        return { generation: request.generation };
      case "rollback":
        this.pending = undefined;
        return {};
      case "approver-list":
        return this.#acts.list();
      case "first-check":
        return this.#acts.checkFirst(request.token, nowMs);
      case "first-enrol":
        return await this.#acts.enrolFirst(request.key, request.proof, nowMs);
      case "approver-enrol": {
        const { key, id, author, startBy, approvals } = request;
        const running = this.confirmed?.legs;
        const act = { act: "enrol", key, site: running?.site ?? "", nodeEpoch: 0 } as const;
        const named = { ...act, id, author, startBy };
        await this.#desk.approve(named, approvals, { caller: "control", running, nowMs });
        return await this.#acts.enrol(key, nowMs);
      }
      case "grant-list":
        return [];
      default:
        throw new SallyportError("bad-message", `${request.type} is not for this test`);
    }
  }

  #applyOf(files: readonly PolicyFile[], author: string): Extract<Act, { readonly act: "apply" }> {
    const bytes = files.map(({ name, text }) => ({ name, bytes: new TextEncoder().encode(text) }));
    const { legs, diagnostics } = compilePolicy(bytes, { now: this.#nowMs() });
    if (legs === undefined) throw new SallyportError("policy-refused", JSON.stringify(diagnostics));
    const baseGeneration = this.confirmed?.number ?? 0;
    return {
      ...{ act: "apply", site: legs.site, nodeEpoch: 0, author, baseGeneration },
      ...{ nextGeneration: baseGeneration + 1, policySha256: legs.policySha256, legs },
    };
  }
}
