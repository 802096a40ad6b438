import type { Caller, Conduit, Flow, Flows, Page, PageRequest, Status } from "@sallyport/api";
import type { Json } from "@sallyport/core";
import type { FlowAnswers, FlowRow } from "@sallyport/store";
import { fields, listOf, word } from "../cli/enforcer-client.ts";
import type { Status as Enforced } from "../status.ts";
import type { AskArchivist, AskEnforcer, AskKeyholder } from "./ask.ts";
import { doctorFindings, processesOf } from "./machine.ts";
import { pageOver } from "./pages.ts";

const ROWS_READ_MAX = 10_000;
const FLOWS_SINCE_MS = 24 * 3600 * 1000;

/** Files that others write. */
export interface Machine {
  /** The supervisor's events, newest last. */
  supervisorLines(): readonly string[];
  /** What `sallyport doctor` wrote down as root, if it did. */
  doctorText(): string | undefined;
  bootedAtMs(): number;
}

export interface WatchMeans {
  readonly machine: Machine;
  readonly enforcer: AskEnforcer;
  readonly archivist: AskArchivist;
  readonly keyholder: AskKeyholder;
  readonly nowMs: () => number;
  /** Sentences on what is not the enforcer's to know, such as the disk. */
  readonly degradedBy: () => readonly string[];
  /** Alarms that stand, as sentences. */
  readonly standing: () => Promise<readonly string[]>;
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
      degraded: [...degraded, ...this.#means.degradedBy(), ...(await this.#means.standing())],
      ...{ islands: [...islands], conduits: conduits.length },
      open: conduits.filter(({ open }) => open).length,
      grants: grants.length,
      refused: denials.reduce((sum, { packets }) => sum + packets, 0),
    };
  }

  async conduits(_caller: Caller, page: PageRequest): Promise<Page<Conduit>> {
    return pageOver((await this.#ask()).conduits, page, ({ name }) => name);
  }

  async processes(_caller: Caller): ReturnType<Status["processes"]> {
    const answers = new Map((await this.readiness()).map(({ name, ready }) => [name, ready]));
    return processesOf(this.#means.machine.supervisorLines(), answers);
  }

  async drift(_caller: Caller): ReturnType<Status["drift"]> {
    const { differences } = fields(await this.#means.enforcer({ type: "drift" }));
    return {
      at: new Date(this.#means.nowMs()).toISOString(),
      differences: listOf(differences).map(word),
    };
  }

  async doctor(_caller: Caller): ReturnType<Status["doctor"]> {
    const { machine } = this.#means;
    const degraded = await this.#ask().then(
      (status) => status.degraded,
      () => undefined,
    );
    return doctorFindings(machine.doctorText(), machine.bootedAtMs(), degraded);
  }

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
