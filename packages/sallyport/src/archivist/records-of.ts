/**
 * What processes wrote of themselves, as records of the ledger. Acts become records one by one, what is counted (sessions,
 * requests, refusals) one record a minute and process; samples of refused packets are counted by the kernels already.
 */
import type { Json } from "@sallyport/core";
import type { NewRecord } from "@sallyport/ledger";
import type { FlowEntry } from "@sallyport/store";
import { entryOf } from "../journal-entries.ts";

const MINUTE_MS = 60_000;
/** Groups of one minute that are told apart; the rest is summed up, so that a scan cannot fill the ledger. */
const ROWS_MAX = 200;
/** Who tells of acts. Every other file is a gate's, named after its room. */
const OWN_NAMES: ReadonlySet<string> = new Set([
  "enforcer",
  "supervisor",
  "journal",
  "traffic",
  "watch",
]);
/** Members that are about a person: committed to, and erasable. */
const PERSONAL: ReadonlySet<string> = new Set([
  "person",
  "author",
  "people",
  "reason",
  "source",
  "approvals",
]);
const TYPE = /^[a-z][a-z0-9-]{0,40}$/;

export interface Records {
  readonly records: readonly NewRecord[];
  /** Lines that are no event: never silently lost. */
  readonly unreadable: number;
}

/** `process` is the event file's name without its ending; a line's words are believed only about that process. */
export function recordsOf(process: string, lines: readonly string[]): Records {
  const records: NewRecord[] = [];
  const minutes = new Map<number, FlowEntry[]>();
  let unreadable = 0;
  for (const line of lines) {
    const { entry, readable } = entryOf(line, process);
    if (!readable) unreadable++;
    else if (entry === undefined) records.push(...actOf(process, line));
    else {
      const minute = Math.floor(entry.atMs / MINUTE_MS) * MINUTE_MS;
      minutes.set(minute, [...(minutes.get(minute) ?? []), entry]);
    }
  }
  for (const [minute, entries] of minutes) records.push(...minuteOf(process, minute, entries));
  return { records, unreadable };
}

function actOf(process: string, line: string): NewRecord[] {
  if (line === "") return [];
  const event: Readonly<Record<string, Json>> = { ...(JSON.parse(line) as Record<string, Json>) };
  const { type, at, atMs, ...rest } = event;
  const ms = typeof atMs === "number" ? atMs : Date.parse(typeof at === "string" ? at : "");
  if (typeof type !== "string" || !TYPE.test(type)) return [];
  const isGate = !OWN_NAMES.has(process);
  const plain: Record<string, Json> = {};
  const personal: Record<string, Json> = {};
  for (const [name, value] of Object.entries(rest)) {
    // A gate's `reason` is a code, and its peers are machines.
    if (!isGate && PERSONAL.has(name)) personal[name] = value;
    else if (name !== "personal" && name !== "commit") plain[name] = value;
  }
  return [
    {
      ...plain,
      // Last, whatever the line said of these.
      ...(isGate ? { room: process } : {}),
      type: `${isGate ? "gate" : process}.${type}`,
      at: Number.isSafeInteger(ms) ? ms : 0,
      ...(Object.keys(personal).length === 0 ? {} : { personal }),
    },
  ];
}

/** Sums of one minute; nothing of a minute in which nothing was counted. */
function minuteOf(process: string, minute: number, entries: readonly FlowEntry[]): NewRecord[] {
  const rows = new Map<string, { accepted: number; refused: number; row: Record<string, Json> }>();
  for (const entry of entries) {
    const { accepted, refused } = entry;
    if (accepted + refused === 0) continue;
    const { point, conduit, sourceZone, destinationZone, protocol, reason } = entry;
    const named = { point, conduit, sourceZone, destinationZone, protocol, reason };
    const row = { ...named, function: entry.function };
    const full = JSON.stringify(row);
    const key = rows.has(full) || rows.size < ROWS_MAX ? full : "";
    const sum = rows.get(key) ?? {
      accepted: 0,
      refused: 0,
      row: key === "" ? { other: true } : row,
    };
    rows.set(key, {
      row: sum.row,
      accepted: sum.accepted + accepted,
      refused: sum.refused + refused,
    });
  }
  if (rows.size === 0) return [];
  const sums = [...rows.values()];
  const total = (name: "accepted" | "refused"): number =>
    sums.reduce((all, sum) => all + sum[name], 0);
  return [
    {
      type: OWN_NAMES.has(process) ? "traffic.minute" : "gate.minute",
      at: minute + MINUTE_MS,
      ...(OWN_NAMES.has(process) ? {} : { room: process }),
      minute: new Date(minute).toISOString(),
      accepted: total("accepted"),
      refused: total("refused"),
      rows: sums.map(({ row, accepted, refused }) => ({ ...filled(row), accepted, refused })),
    },
  ];
}

function filled(row: Readonly<Record<string, Json>>): Record<string, Json> {
  return Object.fromEntries(Object.entries(row).filter(([, value]) => value !== ""));
}
