import { createHash } from "node:crypto";
import type {
  Backups,
  Caller,
  Conduit,
  Flow,
  Flows,
  Ledger,
  LedgerRecord,
  Page,
  PageRequest,
  Permissions,
  Status,
} from "@sallyport/api";
import type { Json } from "@sallyport/core";
import { SallyportError } from "@sallyport/core";
import type { FlowAnswers, FlowRow } from "@sallyport/store";
import { fields, listOf, word } from "../cli/enforcer-client.ts";
import type { Status as Enforced } from "../status.ts";
import type { AskArchivist, AskEnforcer, AskKeyholder } from "./ask.ts";
import { later, notBuiltYet } from "./not-built.ts";
import { known, pageOver } from "./pages.ts";

const EXPORT_HINT = "sallyport ledger export";
const ROWS_READ_MAX = 10_000;
const FLOWS_SINCE_MS = 24 * 3600 * 1000;

export interface WatchMeans {
  readonly enforcer: AskEnforcer;
  readonly archivist: AskArchivist;
  readonly keyholder: AskKeyholder;
  readonly nowMs: () => number;
  readFlows<Answer>(use: (answers: FlowAnswers) => Answer): Answer | undefined;
}

export class StatusService implements Status {
  readonly #means: WatchMeans;

  constructor(means: WatchMeans) {
    this.#means = means;
  }

  async status(_caller: Caller): ReturnType<Status["status"]> {
    const { conduits, grants, denials, tripwire: _, ...rest } = await this.#ask();
    const { pending, degraded, islands, ...told } = rest;
    return {
      ...told,
      ...(pending === undefined ? {} : { pending }),
      ...{ degraded: [...degraded], islands: [...islands], conduits: conduits.length },
      open: conduits.filter(({ open }) => open).length,
      grants: grants.length,
      refused: denials.reduce((sum, { packets }) => sum + packets, 0),
    };
  }

  async conduits(_caller: Caller, page: PageRequest): Promise<Page<Conduit>> {
    return pageOver((await this.#ask()).conduits, page, ({ name }) => name);
  }

  readonly processes: Status["processes"] = later(
    "the state of each process over the API",
    "sallyport status",
  );

  async drift(_caller: Caller): ReturnType<Status["drift"]> {
    const { differences } = fields(await this.#means.enforcer({ type: "drift" }));
    return {
      at: new Date(this.#means.nowMs()).toISOString(),
      differences: listOf(differences).map(word),
    };
  }

  readonly doctor: Status["doctor"] = later("doctor over the API", "sallyport doctor");

  async readiness(): ReturnType<Status["readiness"]> {
    const asked: readonly (readonly [string, () => Promise<Json>])[] = [
      ["enforcer", () => this.#means.enforcer({ type: "running" })],
      ["archivist", () => this.#means.archivist({ type: "head" })],
      ["keyholder", () => this.#means.keyholder({ type: "status" })],
    ];
    return await Promise.all(
      asked.map(async ([name, ask]) => ({
        name,
        ready: await ask().then(
          () => true,
          () => false,
        ),
      })),
    );
  }

  async #ask(): Promise<Enforced> {
    // The enforcer's own words, as `sallyport status` reads them.
    return (await this.#means.enforcer({ type: "status" })) as unknown as Enforced;
  }
}

export class FlowService implements Flows {
  readonly #means: WatchMeans;

  constructor(means: WatchMeans) {
    this.#means = means;
  }

  async flows(
    _caller: Caller,
    { since, until, conduit, by }: Parameters<Flows["flows"]>[1],
    page: PageRequest,
  ): Promise<Page<Flow>> {
    const rows = this.#rows({ since, until, ...(by === undefined ? {} : { by }) }, conduit);
    return numbered(rows, page);
  }

  async denials(
    _caller: Caller,
    { since, until, zone, reason, source }: Parameters<Flows["denials"]>[1],
    page: PageRequest,
  ): Promise<Page<Flow>> {
    const rows = this.#rows({ since, until }, undefined)
      .filter((row) => row.refused > 0)
      .filter((row) => zone === undefined || [row.sourceZone, row.destinationZone].includes(zone))
      .filter((row) => reason === undefined || row.reason === reason)
      .filter((row) => source === undefined || row.source === source);
    return numbered(rows, page);
  }

  #rows(
    {
      since,
      until,
      by,
    }: { since?: string | undefined; until?: string | undefined; by?: "minute" | "hour" },
    conduit: string | undefined,
  ): readonly FlowRow[] {
    const question = {
      sinceMs: since === undefined ? this.#means.nowMs() - FLOWS_SINCE_MS : Date.parse(since),
      ...(until === undefined ? {} : { untilMs: Date.parse(until) }),
      ...(conduit === undefined ? {} : { conduit }),
      ...(by === undefined ? {} : { by }),
      limit: ROWS_READ_MAX,
    };
    return this.#means.readFlows((answers) => answers.flows(question)) ?? [];
  }
}

export class LedgerService implements Ledger {
  readonly #means: WatchMeans;
  readonly #permissions: Permissions;

  constructor(means: WatchMeans, permissions: Permissions) {
    this.#means = means;
    this.#permissions = permissions;
  }

  async head(_caller: Caller): ReturnType<Ledger["head"]> {
    const { size, root, signed } = fields(await this.#means.archivist({ type: "head" }));
    const checkpoint = word(signed);
    return {
      origin: checkpoint.split("\n")[0] ?? "",
      size: Number(size),
      root: hex(word(root)),
      at: new Date(this.#means.nowMs()).toISOString(),
      checkpoint,
    };
  }

  async records(
    caller: Caller,
    { type, person, since, until }: Parameters<Ledger["records"]>[1],
    { limit, after }: PageRequest,
  ): Promise<Page<LedgerRecord>> {
    if (person !== undefined) throw notBuiltYet("finding records by person");
    const question = {
      ...(type === undefined ? {} : { type }),
      ...(since === undefined ? {} : { fromMs: Date.parse(since) }),
      ...(until === undefined ? {} : { toMs: Date.parse(until) }),
      ...(after === undefined ? {} : { from: Number(after) }),
      limit,
    };
    const page = fields(await this.#means.archivist({ type: "list", question }));
    const items = listOf(page["records"]).map((record) => this.#told(caller, record));
    return { items, ...(page["next"] === undefined ? {} : { next: word(page["next"]) }) };
  }

  async record(caller: Caller, index: number): Promise<LedgerRecord> {
    try {
      return this.#told(caller, await this.#means.archivist({ type: "record", index }));
    } catch (error) {
      if (!(error instanceof SallyportError && error.code === "no-such-record")) throw error;
      return known<LedgerRecord>(undefined, "record");
    }
  }

  readonly proof: Ledger["proof"] = later("a proof over the API", "sallyport ledger prove");
  readonly startExport: Ledger["startExport"] = later("an export over the API", EXPORT_HINT);
  readonly export: Ledger["export"] = later("an export over the API", EXPORT_HINT);
  readonly readExport: Ledger["readExport"] = later("an export over the API", EXPORT_HINT);
  readonly witnesses: Ledger["witnesses"] = later("the list of witnesses over the API");

  async consistency(_caller: Caller, from: number, to: number): ReturnType<Ledger["consistency"]> {
    const { hashes } = fields(await this.#means.archivist({ type: "consistency", from, to }));
    return { from, to, hashes: listOf(hashes).map((hash) => hex(word(hash))) };
  }

  /** Names are for whoever may see people; the commitments are for everybody. */
  #told({ principal }: Caller, value: Json): LedgerRecord {
    const { index, type, at, leaf, personal } = fields(value);
    const text = word(leaf);
    const { type: _type, at: _at, commit, ...plain } = fields(JSON.parse(text) as Json);
    const isNamed = principal !== undefined && this.#permissions.may(principal, "person.read");
    const names = isNamed ? fields(personal ?? null) : {};
    const { person } = names;
    return {
      ...{ index: Number(index), type: word(type), at: word(at) },
      ...(person === undefined ? {} : { person: word(person) }),
      fields: { ...plain, ...names },
      commitments: Object.fromEntries(
        Object.entries(fields(commit ?? null)).map(([name, hash]) => [name, word(hash)]),
      ),
      leaf: leafHash(text),
    };
  }
}

export const backups: Backups = {
  list: later("backups over the API"),
  create: later("backups over the API"),
  verify: later("backups over the API"),
};

/** The place in the answer is the cursor: rows have no name of their own. */
function numbered(rows: readonly FlowRow[], { limit, after }: PageRequest): Page<Flow> {
  const start = after === undefined ? 0 : Number(after);
  const items = rows.slice(start, start + limit).map(({ startMs, ...row }) => ({
    start: new Date(startMs).toISOString(),
    ...row,
  }));
  const end = start + limit;
  return { items, ...(end < rows.length ? { next: String(end) } : {}) };
}

/** RFC 6962 §2.1. */
function leafHash(leaf: string): string {
  return createHash("sha256").update(Uint8Array.of(0)).update(leaf, "utf8").digest("hex");
}

function hex(base64: string): string {
  return Buffer.from(base64, "base64").toString("hex");
}
