/**
 * The recorded flows of the last seven days, judged by a new policy: what would break, what would newly pass. Each
 * flow is asked about for every hour in which it was seen, at the same time of the week to come, so that weekly
 * windows and expiry dates count as they will. Nothing is sent anywhere: the model answers.
 */
import type { Legs } from "@sallyport/policy/legs";
import type { Peer } from "@sallyport/store";
import { instanceNamed } from "../instance.ts";
import { askFlows } from "../journal-place.ts";
import { Judge } from "./replay-judge.ts";
import { type Asked, Naming, type NotAsked } from "./replay-question.ts";

const HOUR_MS = 3_600_000;
const WEEK_MS = 7 * 24 * HOUR_MS;
/** What a person reads; `--json` has all. */
const LISTED_MAX = 50;

export interface Replay {
  /** Nothing is recorded: nothing was replayed, and zeros below mean nothing. */
  readonly empty: boolean;
  readonly since: string;
  /** Flows that passed and would go on doing so. */
  readonly staying: number;
  /** Flows that were refused and would be again. */
  readonly stillRefused: number;
  /** Passed, and would be refused. */
  readonly breaking: readonly ReplayedFlow[];
  /** Refused, and would pass. */
  readonly passing: readonly ReplayedFlow[];
  /** Not asked about, by reason. */
  readonly notReplayed: readonly { readonly why: NotAsked; readonly flows: number }[];
}

export interface ReplayedFlow {
  readonly point: string;
  /** Of the record; empty when none was involved. */
  readonly conduit: string;
  readonly source: string;
  readonly destination: string;
  readonly protocol: string;
  readonly port: number;
  /** Empty for a connection as a whole. */
  readonly function: string;
  /** Recorded: sessions or requests that passed, or refusals counted and sampled. */
  readonly times: number;
  /** Hours in which the answer would be another, of those in which the flow was seen. */
  readonly hours: number;
  readonly hoursSeen: number;
  /** Breaking: the new policy's reason. Passing: the reason on record. */
  readonly reason: string;
  /** Passing: the conduit that would carry it. */
  readonly by: string;
  /** The policy in force answers the same by now: it is not this change that does it. */
  readonly alsoNow: boolean;
}

export function replayed(
  instanceName: string,
  running: Legs | undefined,
  legs: Legs,
  nowMs: number = Date.now(),
): Replay {
  const sinceMs = nowMs - WEEK_MS;
  const question = { sinceMs, everyMs: HOUR_MS };
  const peers = askFlows(instanceNamed(instanceName), (flows) => flows.peers(question)) ?? [];
  return replayOf(peers, running, legs, nowMs);
}

/** The judgment itself, of `peers` as the store tells them. */
export function replayOf(
  peers: readonly Peer[],
  running: Legs | undefined,
  legs: Legs,
  nowMs: number,
): Replay {
  const naming = new Naming(running, legs);
  const left = new Map<NotAsked, Set<string>>();
  const seen: Seen[] = [];
  for (const peer of peers) {
    const asked = naming.questionOf(peer);
    if (typeof asked === "string") {
      left.set(asked, (left.get(asked) ?? new Set()).add(keyOf(peer)));
    } else {
      seen.push({ peer, asked, atMs: nextWeek(peer.lastMs, nowMs) });
    }
  }
  // The model's clock never goes back.
  seen.sort((a, b) => a.atMs - b.atMs);
  const next = new Judge(legs, running, grantsNeeded(seen));
  const now = running === undefined ? undefined : new Judge(running, legs, grantsNeeded(seen));
  const flows = new Map<string, Judged>();
  for (const one of seen) {
    const judged = judgedOf(flows, one);
    const answer = next.answer(one.asked, one.atMs);
    if (answer.passes === one.asked.passed) continue;
    const before = now?.answer(one.asked, one.atMs);
    const alsoNow = before?.passes === answer.passes;
    judged.changed.set(hourOf(one.atMs), { reason: answer.reason, by: answer.conduit, alsoNow });
  }
  return summary(flows, left, peers.length === 0, nowMs);
}

interface Seen {
  readonly peer: Peer;
  readonly asked: Asked;
  readonly atMs: number;
}

interface Judged {
  readonly first: Seen;
  /** By who recorded it: an engine and a gate tell of the same connection. */
  readonly times: Map<string, number>;
  readonly hours: Set<number>;
  readonly changed: Map<number, Changed>;
}

interface Changed {
  readonly reason: string;
  readonly by: string;
  readonly alsoNow: boolean;
}

function judgedOf(flows: Map<string, Judged>, one: Seen): Judged {
  const { asked, peer, atMs } = one;
  const key = JSON.stringify([asked, peer.conduit, peer.reason]);
  const made: Judged = { first: one, times: new Map(), hours: new Set(), changed: new Map() };
  const judged = flows.get(key) ?? made;
  flows.set(key, judged);
  const times = judged.times.get(peer.point) ?? 0;
  judged.times.set(peer.point, times + peer.accepted + Math.max(peer.refused, peer.sampled));
  judged.hours.add(hourOf(atMs));
  return judged;
}

function keyOf(peer: Peer): string {
  const { point, conduit, source, destination, protocol, port, reason } = peer;
  return JSON.stringify([
    point,
    conduit,
    source,
    destination,
    protocol,
    port,
    peer.function,
    reason,
  ]);
}

function hourOf(atMs: number): number {
  return Math.floor(atMs / HOUR_MS);
}

/** The same minute of the week, from now on. */
function nextWeek(atMs: number, nowMs: number): number {
  return atMs + Math.max(0, Math.ceil((nowMs - atMs) / WEEK_MS)) * WEEK_MS;
}

/** Whoever passed by a grant is asked about with one like it: what counts is whether it could be given again. */
function grantsNeeded(seen: readonly Seen[]): Asked[] {
  return seen.flatMap(({ asked }) => (asked.byGrant ? [asked] : []));
}

function summary(
  flows: ReadonlyMap<string, Judged>,
  left: ReadonlyMap<NotAsked, ReadonlySet<string>>,
  empty: boolean,
  nowMs: number,
): Replay {
  const breaking: ReplayedFlow[] = [];
  const passing: ReplayedFlow[] = [];
  let staying = 0;
  let stillRefused = 0;
  for (const judged of flows.values()) {
    const { passed } = judged.first.asked;
    if (judged.changed.size > 0) (passed ? breaking : passing).push(flowOf(judged));
    else if (passed) staying++;
    else stillRefused++;
  }
  const notReplayed = [...left].map(([why, keys]) => ({ why, flows: keys.size }));
  const since = new Date(nowMs - WEEK_MS).toISOString();
  return { empty, since, staying, stillRefused, breaking, passing, notReplayed };
}

function flowOf({ first, times, hours, changed }: Judged): ReplayedFlow {
  const { peer, asked } = first;
  const changes = [...changed.values()];
  // What this change does is told before what would happen without it too.
  const chosen = changes.find(({ alsoNow }) => !alsoNow) ?? changes[0];
  return {
    point: asked.point,
    conduit: peer.conduit,
    source: peer.source,
    destination: asked.destination,
    protocol: peer.protocol,
    port: asked.port,
    function: peer.function,
    times: Math.max(...times.values()),
    hours: changed.size,
    hoursSeen: hours.size,
    reason: asked.passed ? (chosen?.reason ?? "") : peer.reason,
    by: chosen?.by ?? "",
    alsoNow: changes.every(({ alsoNow }) => alsoNow),
  };
}

export function replayText(replay: Replay): string {
  if (replay.empty) return "replay: no flows are recorded yet: nothing was replayed";
  const { breaking, passing, staying, stillRefused, notReplayed } = replay;
  const skipped = notReplayed.map(({ why, flows }) => `  not replayed: ${flows} (${why})`);
  return [
    `replay of the flows since ${replay.since.slice(0, 16).replace("T", " ")} UTC:`,
    `  ${breaking.length} that passed would be refused, ${staying} would go on passing`,
    ...listed(breaking, (flow) => `would break: ${line(flow)}: ${flow.reason}${note(flow)}`),
    `  ${passing.length} that were refused would pass, ${stillRefused} would still be refused`,
    ...listed(
      passing,
      (flow) => `would pass: ${line(flow)}: was ${flow.reason}, ${by(flow)}${note(flow)}`,
    ),
    ...skipped,
  ].join("\n");
}

function listed(flows: readonly ReplayedFlow[], text: (flow: ReplayedFlow) => string): string[] {
  const shown = flows.slice(0, LISTED_MAX).map((flow) => `    ${text(flow)}`);
  const rest = flows.length - shown.length;
  return rest > 0 ? [...shown, `    and ${rest} more: --json lists all`] : shown;
}

function line(flow: ReplayedFlow): string {
  const port = flow.port === 0 ? "" : `:${flow.port}`;
  const what = flow.function === "" ? flow.protocol : `${flow.protocol} ${flow.function}`;
  const conduit = flow.conduit === "" ? "" : `${flow.conduit}  `;
  return `${conduit}${flow.source} → ${flow.destination}${port} ${what} at ${flow.point}, ${flow.times} times`;
}

function by({ by: conduit }: ReplayedFlow): string {
  return conduit === "" ? "now allowed" : `now carried by ${conduit}`;
}

function note(flow: ReplayedFlow): string {
  const when = flow.hours < flow.hoursSeen ? `, in ${flow.hours} of ${flow.hoursSeen} hours` : "";
  return `${when}${flow.alsoNow ? " (also without this change)" : ""}`;
}
