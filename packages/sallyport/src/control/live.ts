/**
 * What happens, published to live streams as it happens: the ledger's new records once a second, and what the enforcer
 * counts every few seconds. It keeps what it saw last, for metrics, and nothing older: the hub has the bounds.
 */
import type { EventHub, LiveEvent } from "@sallyport/api";
import type { Json } from "@sallyport/core";
import type { LedgerHead, RecordSource } from "../forward/source.ts";
import type { ToldRecord } from "../forward/lines.ts";
import type { DenialStatus, Status } from "../status.ts";
import type { AskEnforcer } from "./ask.ts";

/** Asking costs the enforcer a look at both kernels' counters. */
const STATUS_EVERY_MS = 5000;
export const LEDGER_EVERY_MS = 1000;
const PAGE_RECORDS = 100;
/** Kinds of refusals, and conduits, told one by one in one turn; a scan makes no more events than that. */
const DENIALS_MAX = 50;
const FLOWS_MAX = 100;

type Type = LiveEvent["type"];

/** Beside `record`, what a record means to who watches; by the words of its type. */
const MEANINGS: readonly (readonly [RegExp, Type])[] = [
  [/^enforcer\.(applied|confirmed|rolled-back|booted)$|^control\.change-/, "change"],
  [/^enforcer\.grant-|^control\.(grant|act)-/, "grant"],
  [/^enforcer\.island$|^control\.island-/, "island"],
  [/^supervisor\.process-/, "process"],
  [/^control\.(sign-|stepped-up|step-up-|permission-refused|link-)/, "session"],
  [/\.(drift|drift-gone|clock-stepped|gap|unreadable|tick-failed)$|break-glass/, "finding"],
];

export interface LiveMeans {
  readonly hub: EventHub;
  readonly source: RecordSource;
  readonly enforcer: AskEnforcer;
  readonly nowMs: () => number;
}

export class LiveNews {
  readonly #means: LiveMeans;
  #next: number | undefined;
  #origin = "";
  #statusAtMs = Number.NEGATIVE_INFINITY;
  #isEnforcerUp: boolean | undefined;
  #shown = "";
  head: LedgerHead | undefined;
  status: Status | undefined;
  /** By type, since this process started. */
  readonly counted: Map<string, number> = new Map();

  constructor(means: LiveMeans) {
    this.#means = means;
  }

  /** Milliseconds since the enforcer told its status; undefined before the first time. */
  get statusAgeMs(): number | undefined {
    return this.status === undefined ? undefined : this.#means.nowMs() - this.#statusAtMs;
  }

  /** Called every second; what does not answer is asked again the next time. */
  async turn(): Promise<void> {
    await this.#ledgerTurn().catch(() => {
      this.head = undefined;
    });
    const sinceMs = this.#means.nowMs() - this.#askedAtMs;
    if (sinceMs >= STATUS_EVERY_MS || sinceMs < 0) await this.#statusTurn();
  }

  #askedAtMs = Number.NEGATIVE_INFINITY;

  async #ledgerTurn(): Promise<void> {
    const { source } = this.#means;
    const head = await source.head();
    // What was there before this process is in the lists; another ledger begins anew.
    if (this.#next === undefined || head.origin !== this.#origin) this.#next = head.size;
    this.#origin = head.origin;
    while (this.#next < head.size) {
      const records = await source.records(this.#next, PAGE_RECORDS);
      if (records.length === 0) break;
      for (const record of records) this.#recordSeen(record);
      this.#next = (records.at(-1)?.index ?? this.#next) + 1;
    }
    this.head = head;
  }

  #recordSeen({ index, type, at, leaf }: ToldRecord): void {
    this.counted.set(type, (this.counted.get(type) ?? 0) + 1);
    const about = String(index);
    this.#publish("record", { index, type, at }, about);
    const meaning = MEANINGS.find(([words]) => words.test(type))?.[1];
    if (meaning === undefined) return;
    // Without what is about people: who may see that asks for the record.
    const { commit: _, at: __, ...plain } = JSON.parse(leaf) as Record<string, Json>;
    this.#publish(meaning, { ...plain, record: index }, about);
  }

  async #statusTurn(): Promise<void> {
    const { enforcer, nowMs } = this.#means;
    this.#askedAtMs = nowMs();
    let status: Status;
    try {
      // The enforcer's own words, as `sallyport status` reads them.
      status = (await enforcer({ type: "status" })) as unknown as Status;
      this.#enforcerIs(true);
    } catch {
      this.#enforcerIs(false);
      return;
    }
    const before = this.status;
    this.status = status;
    this.#statusAtMs = nowMs();
    if (before !== undefined) this.#denials(before, status);
    this.#states(before, status);
  }

  #enforcerIs(isUp: boolean): void {
    if (this.#isEnforcerUp === isUp) return;
    const isFirst = this.#isEnforcerUp === undefined;
    this.#isEnforcerUp = isUp;
    if (!isFirst || !isUp) this.#publish("process", { name: "enforcer", ready: isUp }, "enforcer");
  }

  #denials(before: Status, after: Status): void {
    const was = new Map(before.denials.map((one) => [keyOf(one), one.packets]));
    const grown = after.denials
      .map((one) => ({ ...one, packets: grownBy(was.get(keyOf(one)), one.packets) }))
      .filter(({ packets }) => packets > 0)
      .sort((a, b) => b.packets - a.packets);
    for (const one of grown.slice(0, DENIALS_MAX)) this.#publish("denial", { ...one });
    const rest = grown.slice(DENIALS_MAX).reduce((sum, { packets }) => sum + packets, 0);
    if (rest > 0) this.#publish("denial", { other: true, packets: rest });
  }

  #states(before: Status | undefined, after: Status): void {
    const { generation, pending, islands, degraded, timeTrusted, grants } = after;
    const was = new Map((before?.conduits ?? []).map((one) => [one.name, one]));
    const flows = after.conduits
      .map(({ name, packets, bytes }) => ({
        conduit: name,
        packets: before === undefined ? 0 : grownBy(was.get(name)?.packets, packets),
        bytes: before === undefined ? 0 : grownBy(was.get(name)?.bytes, bytes),
      }))
      .filter(({ packets }) => packets > 0)
      .sort((a, b) => b.packets - a.packets)
      .slice(0, FLOWS_MAX);
    const told = {
      ...(generation === undefined ? {} : { generation }),
      ...(pending === undefined ? {} : { pending }),
      ...{ islands, degraded, timeTrusted, grants: grants.length },
      open: after.conduits.filter(({ open }) => open).length,
    };
    const shown = JSON.stringify(told);
    if (shown === this.#shown && flows.length === 0) return;
    this.#shown = shown;
    this.#publish("status", { ...told, flows });
  }

  #publish(type: Type, data: Readonly<Record<string, unknown>>, about?: string): void {
    const { hub, nowMs } = this.#means;
    const at = new Date(nowMs()).toISOString();
    hub.publish({ type, at, data: { ...data }, ...(about === undefined ? {} : { about }) });
  }
}

function keyOf(denial: DenialStatus): string {
  const { point, reason, sourceZone, destinationZone, conduit } = denial;
  return [point, reason, sourceZone, destinationZone, conduit].join("\n");
}

/** Counters begin anew with a generation. */
function grownBy(before: number | undefined, after: number): number {
  return before === undefined || after < before ? after : after - before;
}
