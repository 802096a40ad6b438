/**
 * What changes about a conduit that moves no packet filter cell: dates, windows, L7 limits, session
 * terms. Each change says whether it lets more pass. What is not proved narrower counts as wider.
 */
import { canonicalJson, type Interval, type Json, subtract } from "@sallyport/core";
import type { Conduit, L7, Listener, ModbusLimits, SessionTerms, Window } from "./legs/types.ts";
import { timeText } from "./words.ts";

export interface TermChange {
  readonly text: string;
  readonly widens: boolean;
}

export function termChanges(before: Conduit, after: Conduit): TermChange[] {
  const changes: TermChange[] = [];
  const say = (text: string, widens: boolean): void => {
    changes.push({ text, widens });
  };
  if (before.expires !== after.expires) {
    const [from, to] = [timeText(before.expires), timeText(after.expires)];
    say(`expires ${from} → ${to}`, after.expires > before.expires);
  }
  if (!same(before.windows, after.windows)) {
    const [from, to] = [windowsText(before.windows), windowsText(after.windows)];
    say(`windows ${from} → ${to}`, !windowsWithin(after.windows, before.windows));
  }
  if (before.island !== after.island) {
    say(`island ${before.island} → ${after.island}`, after.island === "keep");
  }
  if (before.audit !== after.audit) {
    say(after.audit ? "enforce → audit" : "audit → enforce", after.audit);
  }
  if (before.via !== after.via) say(`via ${before.via} → ${after.via}`, true);
  changes.push(...sessionChanges(before.session, after.session));
  for (const listener of after.listeners) {
    const old = before.listeners.find((candidate) => sameTarget(candidate, listener));
    // A new target is a new cell, which says so itself.
    if (old !== undefined) changes.push(...listenerChanges(old, listener));
  }
  return unique(changes);
}

function sameTarget(a: Listener, b: Listener): boolean {
  return a.targetAddress === b.targetAddress && a.targetPort === b.targetPort && a.slot === b.slot;
}

function listenerChanges(before: Listener, after: Listener): TermChange[] {
  const changes = l7Changes(before.l7, after.l7);
  for (const name of ["max", "idleSeconds", "connectSeconds"] as const) {
    const [from, to] = [before.connections[name], after.connections[name]];
    if (from !== to)
      changes.push({ text: `connections.${name} ${from} → ${to}`, widens: to > from });
  }
  return changes;
}

function sessionChanges(
  before: SessionTerms | undefined,
  after: SessionTerms | undefined,
): TermChange[] {
  if (before === undefined || after === undefined) return [];
  const changes: TermChange[] = [];
  const compare = <Name extends keyof SessionTerms>(
    name: Name,
    widens: (from: SessionTerms[Name], to: SessionTerms[Name]) => boolean,
  ): void => {
    const from = before[name];
    const to = after[name];
    if (same(from, to)) return;
    const text = `session.${name} ${String(from)} → ${String(to)}`;
    changes.push({ text, widens: widens(from, to) });
  };
  compare("people", (from, to) => to.some((person) => !from.includes(person)));
  compare("maxSeconds", (from, to) => to > from);
  compare("approvals", (from, to) => to < from);
  compare("slots", (from, to) => to > from);
  compare("attended", (_, to) => !to);
  compare("localEnable", (_, to) => !to);
  compare("record", (_, to) => !to);
  compare("device", (_, to) => to === "any");
  compare("mode", (_, to) => to === "write-approved");
  return changes;
}

/** Changes of what a gate lets through. */
export function l7Changes(before: L7, after: L7): TermChange[] {
  if (same(before, after)) return [];
  if (before.protocol !== "modbus" || after.protocol !== "modbus") {
    const widens = after.protocol === "tcp";
    return [{ text: `l7 ${before.protocol} → ${after.protocol}`, widens }];
  }
  return modbusChanges(before, after);
}

const RANGES = [
  ["units", "units"],
  ["coils", "coils"],
  ["discreteInputs", "discrete-inputs"],
  ["holdingRegisters", "holding-registers"],
  ["inputRegisters", "input-registers"],
] as const;

function modbusChanges(before: ModbusLimits, after: ModbusLimits): TermChange[] {
  const changes: TermChange[] = [];
  const say = (sign: string, what: string, widens: boolean): void => {
    changes.push({ text: `l7 ${sign} ${what}`, widens });
  };
  for (const name of after.functions) if (!before.functions.includes(name)) say("+", name, true);
  for (const name of before.functions) if (!after.functions.includes(name)) say("-", name, false);
  for (const [field, word] of RANGES) {
    const added = subtract(after[field], before[field]);
    const removed = subtract(before[field], after[field]);
    if (added.length > 0) say("+", `${word} ${rangesText(added)}`, true);
    if (removed.length > 0) say("-", `${word} ${rangesText(removed)}`, false);
  }
  for (const [field, word] of [
    ["maxQuantity", "max-quantity"],
    ["requestsPerSecond", "rate"],
  ] as const) {
    const [from, to] = [before[field], after[field]];
    if (from === to) continue;
    const widens = to === undefined || (from !== undefined && to > from);
    say("~", `${word} ${from ?? "none"} → ${to ?? "none"}`, widens);
  }
  if (!same(before.writeValues, after.writeValues)) {
    // Narrower only where there was no limit at all, or where ranges were taken away as a whole.
    const kept = after.writeValues.every((range) => before.writeValues.some((b) => same(b, range)));
    const narrower = before.writeValues.length === 0 || (kept && after.writeValues.length > 0);
    say("~", `write-values ${valuesText(before)} → ${valuesText(after)}`, !narrower);
  }
  return changes;
}

function valuesText({ writeValues }: ModbusLimits): string {
  if (writeValues.length === 0) return "any";
  return writeValues
    .map(({ registers, values }) => `${rangesText([registers])}=${rangesText([values])}`)
    .join(" ");
}

function rangesText(ranges: readonly Interval[]): string {
  return ranges
    .map(({ first, last }) => (first === last ? `${first}` : `${first}-${last}`))
    .join(",");
}

const DAYS = ["sun", "mon", "tue", "wed", "thu", "fri", "sat"] as const;

export function windowsText(windows: readonly Window[]): string {
  if (windows.length === 0) return "always";
  return windows
    .map(({ days, fromMinute, toMinute, timezone }) => {
      const names = days.map((day) => DAYS[day] ?? "?").join(",");
      return `${names} ${clock(fromMinute)}-${clock(toMinute)} ${timezone}`;
    })
    .join("; ");
}

function clock(minute: number): string {
  const [hours, minutes] = [Math.floor(minute / 60), minute % 60];
  return `${String(hours).padStart(2, "0")}:${String(minutes).padStart(2, "0")}`;
}

/** Whether each of `inner` lies inside one of `outer` in the same zone and on the same days. */
function windowsWithin(inner: readonly Window[], outer: readonly Window[]): boolean {
  if (outer.length === 0) return true;
  if (inner.length === 0) return false;
  const length = (window: Window): number =>
    window.toMinute > window.fromMinute
      ? window.toMinute - window.fromMinute
      : window.toMinute + 1440 - window.fromMinute;
  return inner.every((a) =>
    outer.some(
      (b) =>
        a.timezone === b.timezone &&
        a.days.every((day) => b.days.includes(day)) &&
        a.fromMinute >= b.fromMinute &&
        a.fromMinute + length(a) <= b.fromMinute + length(b),
    ),
  );
}

/** Both come from legs, which are plain JSON. */
export function same(a: unknown, b: unknown): boolean {
  return canonicalJson(a as Json) === canonicalJson(b as Json);
}

function unique(changes: readonly TermChange[]): TermChange[] {
  return [...new Map(changes.map((change) => [change.text, change])).values()];
}
