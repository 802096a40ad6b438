/**
 * The story that shows what the gateway is for: what must flow flows, what must not is refused for
 * the written reason, and the process does not notice. The product is seen only through
 * `GatewayPort`; what happened in the plant is taken from the plant's own links and devices.
 */
import type { Capture } from "./capture.ts";
import type { Endpoint } from "./client.ts";
import type { HostName } from "./plant.ts";
import { ROWS } from "./story-rows.ts";
import { within } from "./shell.ts";
import type { Plant } from "./topology.ts";

/**
 * `kernel`: rooms and both engines. `one-engine`: the same rooms, nftables on both sides (no eBPF).
 * `loopback`: only the gates, on ports of this machine.
 */
export type Mode = "kernel" | "one-engine" | "loopback";

/** What the story needs of the product. */
export interface GatewayPort {
  readonly mode: Mode;
  /**
   * Where a client dials to reach `asset` over `conduit`. Undefined: the asset's own address, which
   * is how clients go on dialing wherever there are rooms.
   */
  dial(conduit: string, asset: string): Endpoint | undefined;
  /** The address a gate dials the conduit's assets from, for an attacker to steal. */
  egressAddress(conduit: string): Promise<string | undefined>;
  /** Refusals of both engines and the gates since then (ms since 1970), counted exactly. */
  denials(since: number): Promise<readonly DenialSeen[]>;
  grant(request: GrantWanted): Promise<GrantMade>;
  /** Plans and applies with all approvals it takes; never confirms. */
  apply(file: PolicyText, confirmWithinSeconds: number): Promise<ApplyOutcome>;
  status(): Promise<GatewayState>;
  /**
   * Takes the inner engine's program off the interface to that NIC, as an intruder with root would.
   * `repair` asks for the drift check, if it has not run by itself by then.
   */
  detachProgram(nic: string): Promise<{ repair(): Promise<void> }>;
}

export interface DenialSeen {
  readonly reason: string;
  /** Zone names as in the policy; empty where there is none. */
  readonly fromZone: string;
  readonly toZone: string;
  /** Conduit name; empty when no conduit was involved. */
  readonly conduit: string;
  readonly count: number;
}

export interface GrantWanted {
  readonly conduit: string;
  readonly person: string;
  readonly reason: string;
  readonly source: string;
  readonly asset: string;
  readonly seconds: number;
}

export interface GrantMade {
  readonly id: string;
  /** Milliseconds since 1970. */
  readonly notAfter: number;
}

export interface PolicyText {
  readonly name: string;
  readonly text: string;
}

export type ApplyOutcome =
  | { readonly kind: "refused"; readonly diagnostics: readonly string[] }
  | { readonly kind: "pending"; readonly generation: number };

export interface GatewayState {
  /** The confirmed generation. */
  readonly generation: number;
  readonly pending: boolean;
}

/** What a row needs to be enforceable: the gates, packet rules, or the eBPF engine itself. */
export type Needs = "gates" | "packets" | "ebpf";
export type Verdict =
  | "allow"
  | "deny"
  | "refused"
  | "open, then ended"
  | "rolled back"
  | "stopped, then restored";

export interface Expectation {
  readonly verdict: Verdict;
  /** For a denial, as the product must have recorded it. */
  readonly reason?: string;
  readonly fromZone?: string;
  readonly toZone?: string;
  readonly conduit?: string;
  /** What the process must show. */
  readonly effect: string;
}

export interface Row {
  readonly id: string;
  readonly what: string;
  readonly from: HostName | "operator";
  readonly needs: Needs;
  readonly expect: Expectation;
  act(stage: Stage): Promise<Outcome>;
}

/** What was seen; a row is right when the verdict is the expected one and nothing is wrong. */
export interface Outcome {
  readonly verdict: string;
  readonly evidence: readonly string[];
  readonly faults: readonly string[];
}

export interface Stage {
  readonly plant: Plant;
  readonly gateway: GatewayPort;
  /** The policy that is in force, for changes to be made from it. */
  readonly policy: PolicyText;
  /** When this row began, in milliseconds since 1970. */
  readonly since: number;
  /** Captures on the links of the assets; none on loopback. */
  readonly links: ReadonlyMap<HostName, Capture>;
}

export interface RowResult {
  readonly id: string;
  readonly what: string;
  readonly from: string;
  readonly expected: string;
  readonly effect: string;
  readonly seen: string;
  /** False: this mode cannot enforce the row, which was not played. */
  readonly enforced: boolean;
  readonly ok: boolean;
  readonly evidence: readonly string[];
  readonly milliseconds: number;
}

export const NOT_ENFORCED = "not enforced here";
/** Denial events and counters may come a moment after the packet. */
const DENIAL_LIMIT_MS = 3_000;
/** A row that begins later than this is not played and not right: the story is bounded. */
const STORY_LIMIT_MS = 60_000;
const WATCHED: readonly HostName[] = ["tank-plc", "press-plc", "sis"];

export interface StoryOptions {
  readonly policy: PolicyText;
  readonly limitMs?: number;
  /** Only the rows of these ids. */
  readonly only?: readonly string[];
}

/** Plays row after row; each result is handed out as it is known. Answers all of them. */
export async function playStory(
  gateway: GatewayPort,
  plant: Plant,
  onRow: (result: RowResult) => void,
  options: StoryOptions,
): Promise<readonly RowResult[]> {
  const links = new Map<HostName, Capture>();
  const end = performance.now() + (options.limitMs ?? STORY_LIMIT_MS);
  const results: RowResult[] = [];
  const { only } = options;
  try {
    if (plant.kind === "namespaces") {
      for (const host of WATCHED) links.set(host, await plant.capture(host, ["ip"]));
    }
    for (const row of ROWS.filter(({ id }) => only === undefined || only.includes(id))) {
      const stage: Stage = { plant, gateway, policy: options.policy, since: Date.now(), links };
      const result = await playRow(row, stage, performance.now() >= end);
      results.push(result);
      onRow(result);
    }
  } finally {
    await Promise.allSettled([...links.values()].map((link) => link.stop()));
  }
  return results;
}

async function playRow(row: Row, stage: Stage, isLate: boolean): Promise<RowResult> {
  const began = performance.now();
  const { id, what, from, expect } = row;
  const known = { id, what, from, expected: describeExpectation(expect), effect: expect.effect };
  if (!canEnforce(stage.gateway.mode, row.needs)) {
    const seen = NOT_ENFORCED;
    return { ...known, seen, enforced: false, ok: false, evidence: [], milliseconds: 0 };
  }
  const outcome = isLate ? broken("the story ran out of time") : await attempt(row, stage);
  const denial = isLate ? "" : await denialFault(expect, stage, outcome);
  const faults = denial === "" ? outcome.faults : [...outcome.faults, denial];
  const right = outcome.verdict === expect.verdict && faults.length === 0;
  const seen = right ? known.expected : [outcome.verdict, ...faults].join("; ");
  const milliseconds = Math.round(performance.now() - began);
  return { ...known, seen, enforced: true, ok: right, evidence: outcome.evidence, milliseconds };
}

/** Whatever goes wrong while a row is played is a row that is not right, never the story's end. */
async function attempt(row: Row, stage: Stage): Promise<Outcome> {
  try {
    return await row.act(stage);
  } catch (error) {
    return broken(error instanceof Error ? error.message : String(error));
  }
}

function broken(why: string): Outcome {
  return { verdict: "unknown", evidence: [], faults: [why] };
}

/** Empty when the product recorded the denial that the row expects, for the expected reason. */
async function denialFault(expect: Expectation, stage: Stage, outcome: Outcome): Promise<string> {
  const { reason } = expect;
  if (reason === undefined || outcome.verdict !== expect.verdict) return "";
  let seen: readonly DenialSeen[] = [];
  const found = await within(DENIAL_LIMIT_MS, async () => {
    seen = await stage.gateway.denials(stage.since);
    return seen.find((denial) => isExpected(expect, reason, denial));
  });
  if (found !== undefined) return "";
  const others = seen.map((d) => `${d.reason} ${d.fromZone}>${d.toZone} ${d.conduit}`.trim());
  return `no denial ${reason} was recorded (recorded: ${others.join(", ") || "nothing"})`;
}

function isExpected(expect: Expectation, reason: string, denial: DenialSeen): boolean {
  return (
    denial.reason === reason &&
    denial.count > 0 &&
    (expect.fromZone ?? denial.fromZone) === denial.fromZone &&
    (expect.toZone ?? denial.toZone) === denial.toZone &&
    (expect.conduit ?? denial.conduit) === denial.conduit
  );
}

export function canEnforce(mode: Mode, needs: Needs): boolean {
  if (mode === "kernel") return true;
  return mode === "one-engine" ? needs !== "ebpf" : needs === "gates";
}

function describeExpectation(expect: Expectation): string {
  const { verdict, reason, conduit, fromZone, toZone } = expect;
  const where = conduit ?? (fromZone === undefined ? "" : `${fromZone} → ${toZone ?? "?"}`);
  return [verdict, reason ?? "", where === "" ? "" : `(${where})`]
    .filter((part) => part !== "")
    .join(" ");
}
