import { createHash } from "node:crypto";
import type { Caller, Policy as Service, PolicyFile, PolicyName } from "@sallyport/api";
import { canonicalJson, parseIpv4, SallyportError } from "@sallyport/core";
import type { Clock, Records, Stored } from "@sallyport/identity";
import {
  type Compiled,
  compilePolicy,
  diff,
  explain,
  formatPolicy,
  type Legs,
  matrix,
} from "@sallyport/policy";
import type { AskEnforcer } from "./ask.ts";
import { personOf } from "./desk.ts";
import { inForce, runningOf } from "./running.ts";

export interface Draft extends Stored {
  readonly files: readonly PolicyFile[];
  readonly sha256: string;
  readonly baseGeneration: number;
  readonly editedBy: string;
  readonly editedAtMs: number;
}

/** The text of what was applied through here, by the SHA-256 that its legs carry. */
export interface AppliedText extends Stored {
  readonly files: readonly PolicyFile[];
}

export interface PolicyMeans {
  readonly enforcer: AskEnforcer;
  readonly drafts: Records<Draft>;
  readonly texts: Records<AppliedText>;
  readonly clock: Clock;
}

type Files = readonly PolicyFile[];
const DRAFT = "draft";

/**
 * Drafts and questions about them. It compiles to tell people what a policy does; what is applied the enforcer
 * compiles itself.
 */
export class PolicyService implements Service {
  readonly #means: PolicyMeans;

  constructor(means: PolicyMeans) {
    this.#means = means;
  }

  async running(_caller: Caller): ReturnType<Service["running"]> {
    const running = await runningOf(this.#means.enforcer);
    const { site, policySha256 } = inForce(running);
    const text = await this.#means.texts.get(policySha256);
    if (text === undefined) {
      throw new SallyportError(
        "policy-text-unknown",
        "the policy in force was applied at the command line, and its text is not here",
        { hint: "put it as the draft once: PUT /v1/policy/draft" },
      );
    }
    const { generation } = running;
    return { generation, site, sha256: policySha256, files: [...text.files] };
  }

  async draft(_caller?: Caller): ReturnType<Service["draft"]> {
    const kept = await this.#means.drafts.get(DRAFT);
    if (kept !== undefined) {
      const { files, sha256, baseGeneration, editedBy, editedAtMs } = kept;
      const editedAt = new Date(editedAtMs).toISOString();
      return { files: [...files], sha256, baseGeneration, editedBy, editedAt };
    }
    const { legs, generation } = await runningOf(this.#means.enforcer);
    const text = legs === undefined ? undefined : await this.#means.texts.get(legs.policySha256);
    const files = text?.files ?? [];
    return { files: [...files], sha256: hashOf(files), baseGeneration: generation };
  }

  async putDraft(caller: Caller, files: Files, ifMatch: string): ReturnType<Service["putDraft"]> {
    const { drafts, clock, enforcer } = this.#means;
    const kept = await drafts.get(DRAFT);
    const { generation } = await runningOf(enforcer);
    const before = kept?.sha256 ?? (await this.draft(caller)).sha256;
    if (before !== ifMatch) throw draftChanged();
    const after: Draft = {
      ...{ id: DRAFT, revision: (kept?.revision ?? 0) + 1, files, sha256: hashOf(files) },
      ...{ baseGeneration: generation, editedBy: personOf(caller), editedAtMs: clock.nowMs() },
    };
    // Of two who write at once, one finds the other's revision.
    const isOurs = kept === undefined ? await drafts.add(after) : await drafts.replace(kept, after);
    if (!isOurs) throw draftChanged();
    return this.draft(caller);
  }

  async validate(_caller: Caller, files: Files): ReturnType<Service["validate"]> {
    const { diagnostics, legs } = this.#compile(files);
    return {
      valid: legs !== undefined,
      diagnostics: diagnostics.map(({ code, severity, file, line, column, message, hint }) => ({
        ...{ code, severity, file, line, column, message },
        ...(hint === undefined ? {} : { hint }),
      })),
      conduits: legs?.conduits.length ?? 0,
    };
  }

  async format(_caller: Caller, files: Files): Promise<Files> {
    return files.map(({ name, text }) => ({ name, text: formatPolicy(text) }));
  }

  async explain(
    _caller: Caller,
    { source, destination, protocol, port, at, of }: Parameters<Service["explain"]>[1],
  ): ReturnType<Service["explain"]> {
    const { legs, circumstances } = await this.#policyOf(of ?? "running");
    const [from, to] = [parseIpv4(source), parseIpv4(destination)];
    if (from === undefined || to === undefined) {
      throw new SallyportError("wrong-fields", "source and destination are IPv4 addresses");
    }
    const atMs = at === undefined ? this.#means.clock.nowMs() : Date.parse(at);
    const question = { from, to, protocol, at: atMs, port: port ?? 0 };
    const names = namesOf(legs);
    const answer = explain(legs, question, { ...circumstances, names });
    return {
      verdict: answer.verdict === "allow" ? "pass" : "refuse",
      reason: answer.reason ?? "",
      ...(answer.conduit === undefined ? {} : { conduit: answer.conduit }),
      ...(answer.source === undefined ? {} : { policyLine: answer.source }),
      steps: answer.steps.map(({ where, text }) => `${where}: ${text}`),
      nearest:
        answer.nearest === undefined ? [] : [`${answer.nearest.text} (${answer.nearest.source})`],
    };
  }

  async matrix(_caller: Caller, of: PolicyName): ReturnType<Service["matrix"]> {
    const { legs, circumstances } = await this.#policyOf(of);
    const atMs = this.#means.clock.nowMs();
    const found = matrix(legs, atMs, { ...circumstances, names: namesOf(legs) });
    const rows = new Map<string, { from: string; to: string; conduits: MatrixConduit[] }>();
    for (const { fromZone, toZone, protocol, ports, via, conduit } of found.rows) {
      const key = `${fromZone} ${toZone}`;
      const row = rows.get(key) ?? { from: fromZone, to: toZone, conduits: [] };
      const service = `${protocol} ${ports.map(({ first, last }) => (first === last ? first : `${first}-${last}`)).join(",")}`;
      row.conduits.push({ name: conduit, via, service: service.trim(), open: true });
      rows.set(key, row);
    }
    const zones = legs.zones.map(({ name }) => name);
    return { at: new Date(atMs).toISOString(), zones, rows: [...rows.values()] };
  }

  async diff(
    _caller: Caller,
    before: PolicyName,
    after: PolicyName | Files,
  ): ReturnType<Service["diff"]> {
    const old = await this.#policyOf(before).catch(noneInForce);
    const next =
      typeof after === "string" ? (await this.#policyOf(after)).legs : this.#legsOf(after);
    return diffOf(old, next);
  }

  #compile(files: Files): Compiled {
    const bytes = files.map(({ name, text }) => ({ name, bytes: new TextEncoder().encode(text) }));
    return compilePolicy(bytes, { now: this.#means.clock.nowMs() });
  }

  #legsOf(files: Files): Legs {
    const { legs, diagnostics } = this.#compile(files);
    if (legs !== undefined) return legs;
    const [first] = diagnostics;
    throw new SallyportError("policy-refused", first?.message ?? "the policy has mistakes", {
      hint: "POST /v1/policy/validate lists all of them",
    });
  }

  async #policyOf(of: PolicyName): Promise<{
    legs: Legs;
    circumstances: Awaited<ReturnType<typeof runningOf>>["circumstances"];
  }> {
    if (of === "draft") {
      return { legs: this.#legsOf((await this.draft()).files), circumstances: {} };
    }
    const running = await runningOf(this.#means.enforcer);
    return { legs: inForce(running), circumstances: running.circumstances };
  }
}

type MatrixConduit = Awaited<ReturnType<Service["matrix"]>>["rows"][number]["conduits"][number];
type ShapedDiff = Awaited<ReturnType<Service["diff"]>>;

/** By what each line begins with; `other` moves no packet by itself. */
export function diffOf(before: { readonly legs: Legs } | undefined, after: Legs): ShapedDiff {
  const { lines, other, widens } = diff(before?.legs, after, { names: namesOf(after) });
  const those = (sign: string): string[] =>
    lines.filter((line) => line.startsWith(sign)).map((line) => line.slice(2));
  const changes = [...those("~"), ...other];
  return { opens: those("+"), closes: those("-"), changes, isOpening: widens };
}

export function hashOf(files: Files): string {
  const plain = files.map(({ name, text }) => ({ name, text }));
  return createHash("sha256").update(canonicalJson(plain)).digest("hex");
}

export function draftChanged(): SallyportError {
  return new SallyportError("draft-changed", "the draft is another by now", {
    hint: "read it again",
  });
}

function namesOf({ assets }: Legs): ReadonlyMap<number, string> {
  return new Map(assets.map(({ name, address }) => [address, name]));
}

function noneInForce(error: unknown): undefined {
  if (error instanceof SallyportError && error.code === "no-policy-in-force") return undefined;
  throw error;
}
