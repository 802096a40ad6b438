/**
 * Why: every leg that one conversation would take, with its verdict, the conduit and policy line
 * that decide, and the nearest change that would allow it.
 */
import { contains, formatIpv4, type Ipv4 } from "@sallyport/core";
import { listenerOf } from "./cells.ts";
import { type Carrier, endpointKey, PointTable, type Row } from "./legs/model-table.ts";
import { nextChange } from "./legs/schedule.ts";
import type { PacketReason, Reason } from "./legs/reasons.ts";
import type { Conduit, L7, Legs, Listener, Point, Protocol, ZoneKind } from "./legs/types.ts";
import type { MatrixContext } from "./matrix.ts";
import { serviceText, timeText, Words } from "./words.ts";

/** A PDU in its protocol's own words; only the authorizer that judges it looks inside. */
export type L7Request = unknown;

export interface L7Verdict {
  readonly verdict: "allow" | "deny";
  readonly reason?: Reason;
  /** What was asked and what is allowed, in a sentence. */
  readonly because?: string;
  /** What would have to be added to the limits. */
  readonly nearest?: string;
}

/** The gate's own judgment of one request: handed in, so that policy does not know gates. */
export type L7Authorizer = (limits: L7, request: L7Request) => L7Verdict;

export interface Question {
  readonly from: Ipv4;
  /** Where it arrives; absent: the interface of its zone. */
  readonly fromInterface?: string;
  readonly to: Ipv4;
  readonly protocol: Protocol;
  /** 0 for icmp. */
  readonly port: number;
  readonly at: number;
  readonly l7?: L7Request;
}

export interface ExplainContext extends MatrixContext {
  readonly authorize?: L7Authorizer;
  /** Hits by conduit key or grant id. */
  readonly hits?: ReadonlyMap<string, { readonly packets: number }>;
  /** The policy's own invariant that the change would break, or null. */
  readonly breaks?: (change: Nearest) => string | null;
}

export interface Step {
  readonly where: Point | "gate";
  /** The gate's room. */
  readonly room: string | undefined;
  readonly verdict: "allow" | "deny" | "not-reached";
  readonly reason: Reason | undefined;
  readonly conduit: string | undefined;
  /** Policy line, `site.yaml:41`. */
  readonly source: string | undefined;
  readonly text: string;
  readonly hits: number | undefined;
}

/** The smallest change that would allow it. */
export interface Nearest {
  readonly conduit: string;
  readonly source: string;
  readonly field:
    | "from"
    | "to"
    | "protocol"
    | "port"
    | "expires"
    | "windows"
    | "island"
    | "grant"
    | "l7"
    | "time";
  readonly text: string;
  /** It would forward between IT and OT, which no policy may. */
  readonly across?: boolean;
}

export interface Explanation {
  readonly verdict: "allow" | "deny";
  readonly question: Question;
  /** The step that decided. */
  readonly where: Step["where"];
  readonly reason: Reason | undefined;
  readonly conduit: string | undefined;
  readonly source: string | undefined;
  readonly owner: string | undefined;
  readonly steps: readonly Step[];
  readonly nearest: Nearest | undefined;
  /** The invariant that the nearest change would break; null: none; undefined: nobody checked. */
  readonly breaks: string | null | undefined;
}

export function explain(legs: Legs, question: Question, context: ExplainContext = {}): Explanation {
  return new Explainer(legs, question, context).explanation();
}

class Explainer {
  readonly #question: Question;
  readonly #context: ExplainContext;
  readonly #tables: Readonly<Record<Point, PointTable>>;
  readonly #words: Words;
  readonly #steps: Step[] = [];
  #decided: { readonly step: Step; readonly conduit: Conduit | undefined } | undefined;
  #nearest: Nearest | undefined;

  constructor(legs: Legs, question: Question, context: ExplainContext) {
    this.#question = question;
    this.#context = context;
    this.#words = new Words(legs, context.names);
    this.#tables = {
      outer: new PointTable(legs, "outer", context),
      inner: new PointTable(legs, "inner", context),
    };
  }

  explanation(): Explanation {
    const { from, to, port, fromInterface } = this.#question;
    const first = this.#leg(this.#entry(), from, fromInterface, to, port);
    if (first?.listener !== undefined) this.#behindGate(first.carrier, first.listener);
    const decided = this.#decided ?? lastOf(this.#steps);
    const { step, conduit } = decided;
    const verdict = this.#steps.every((each) => each.verdict === "allow") ? "allow" : "deny";
    const nearest = verdict === "allow" ? undefined : this.#nearest;
    return {
      verdict,
      question: this.#question,
      where: step.where,
      reason: step.reason,
      conduit: step.conduit,
      source: step.source,
      owner: conduit?.owner,
      steps: this.#steps,
      nearest,
      breaks: nearest && (nearest.across ? ACROSS : this.#context.breaks?.(nearest)),
    };
  }

  /** The room that the packet enters: by its interface if that is given, else its address. */
  #entry(): Point {
    const { from, fromInterface } = this.#question;
    const home = this.#tables.outer.zoneOf(from);
    if (fromInterface === undefined || home?.interface === fromInterface) {
      return home?.point ?? "outer";
    }
    return this.#tables.inner.knows(fromInterface) ? "inner" : "outer";
  }

  /** Steps 7, 9 and 10 at one point. */
  #leg(
    point: Point,
    source: Ipv4,
    arrivesOn: string | undefined,
    destination: Ipv4,
    port: number,
  ): { carrier: Carrier; listener: Listener | undefined } | undefined {
    const table = this.#tables[point];
    const { protocol, at } = this.#question;
    const zone = table.zoneOf(source);
    const allowed = table.sourceZone(source, arrivesOn ?? zone?.interface ?? "");
    const refusal = typeof allowed === "string" ? allowed : table.refusesDestination(destination);
    const path = this.#path(source, destination, protocol, port);
    if (refusal !== undefined) {
      this.#deny(point, refusal, undefined, path);
      return undefined;
    }
    const answer = table.carry({ source, destination, protocol, port }, at);
    if ("reason" in answer) {
      this.#deny(point, answer.reason, answer.carrier, path);
      const ask = { source, destination, protocol, port };
      this.#nearest ??=
        answer.carrier === undefined
          ? nearestRow(table, ask, this.#words)
          : nearestTime(answer.reason, answer.carrier, at);
      return undefined;
    }
    const { carrier } = answer.row;
    const listener = answer.redirect && listenerOf(carrier.conduit, answer.redirect);
    const handed =
      listener === undefined
        ? ""
        : ` → ${listener.room} ${formatIpv4(listener.listenAddress)}:${listener.listenPort}`;
    const from = listener === undefined ? table.dialledFrom(destination) : undefined;
    const as = from === undefined ? "" : `, seen there as ${formatIpv4(from)}`;
    const reason = carrier.audit ? "would-deny" : undefined;
    this.#say(point, undefined, "allow", reason, carrier, `${path}${handed}${as}`);
    return { carrier, listener };
  }

  #behindGate(carrier: Carrier, listener: Listener): void {
    const { l7 } = this.#question;
    const { authorize } = this.#context;
    const { room, egressAddress, targetAddress, targetPort } = listener;
    const outcome = l7 === undefined ? undefined : authorize?.(listener.l7, l7);
    const limits = l7Text(listener.l7);
    const next = this.#tables.outer.zoneOf(targetAddress)?.point ?? "inner";
    if (outcome?.verdict === "deny") {
      const reason = outcome.reason ?? "l7.refused";
      const text = outcome.because ?? limits;
      const step = this.#say("gate", room, "deny", reason, carrier, text);
      this.#decided = { step, conduit: carrier.conduit };
      const { name: conduit, source } = carrier.conduit;
      const wanted = outcome.nearest ?? "allow it in the conduit's l7 limits";
      this.#nearest = { conduit, source, field: "l7", text: wanted };
      const path = this.#path(egressAddress, targetAddress, "tcp", targetPort);
      this.#say(next, undefined, "not-reached", undefined, carrier, path);
      return;
    }
    const judged = outcome === undefined && l7 !== undefined ? `${limits}, not judged` : limits;
    this.#say("gate", room, "allow", undefined, carrier, judged);
    this.#leg(next, egressAddress, undefined, targetAddress, targetPort);
  }

  #deny(point: Point, reason: PacketReason, carrier: Carrier | undefined, text: string): void {
    const step = this.#say(point, undefined, "deny", reason, carrier, text);
    this.#decided = { step, conduit: carrier?.conduit };
  }

  #say(
    where: Step["where"],
    room: string | undefined,
    verdict: Step["verdict"],
    reason: Reason | undefined,
    carrier: Carrier | undefined,
    text: string,
  ): Step {
    const conduit = carrier?.conduit.name;
    const source = carrier?.conduit.source;
    const hits = carrier && this.#context.hits?.get(carrier.id)?.packets;
    const step = { where, room, verdict, reason, conduit, source, text, hits };
    this.#steps.push(step);
    return step;
  }

  #path(source: Ipv4, destination: Ipv4, protocol: Protocol, port: number): string {
    const service = serviceText(protocol, [{ first: port, last: port }]);
    const name = (address: Ipv4): string =>
      this.#words.addresses({ first: address, last: address });
    return `${name(source)} → ${name(destination)} ${service}`;
  }
}

function lastOf(steps: readonly Step[]): { step: Step; conduit: Conduit | undefined } {
  const step = steps.at(-1);
  if (step === undefined) throw new RangeError("an explanation has at least one step");
  return { step, conduit: undefined };
}

function l7Text(limits: L7): string {
  if (limits.protocol === "tcp") return "relays bytes, undecoded";
  const { functions, requestsPerSecond: rate } = limits;
  const atMost = rate === undefined ? "" : `; at most ${rate} requests a second and connection`;
  return `modbus: ${functions.join(", ")}${atMost}`;
}

/** For a closed conduit: what opens it. */
function nearestTime(reason: PacketReason, carrier: Carrier, at: number): Nearest {
  const { conduit, grant } = carrier;
  const base = { conduit: conduit.name, source: conduit.source };
  if (reason === "outside-window") {
    const next = nextChange(conduit, at);
    const text = next === null ? "no window is left" : `wait: it opens at ${timeText(next)}`;
    return { ...base, field: "windows", text };
  }
  if (reason === "expired") return { ...base, field: "expires", text: "extend its expires" };
  if (reason === "island") return { ...base, field: "island", text: "end the island of its zone" };
  if (reason === "time-untrusted") {
    return { ...base, field: "time", text: "have two time sources agree, or a person sign" };
  }
  const text = grant === undefined ? "ask for a grant" : `ask for another grant than ${grant.id}`;
  return { ...base, field: "grant", text };
}

const ACROSS = "nothing is forwarded between IT and OT";
const FORWARDING_ACROSS: readonly (readonly ZoneKind[])[] = [
  ["business", "external"],
  ["control", "safety"],
];

/** For no conduit: the one that would cover it if a single field said something else. */
function nearestRow(
  table: PointTable,
  ask: { source: Ipv4; destination: Ipv4; protocol: Protocol; port: number },
  words: Words,
): Nearest | undefined {
  const name = (address: Ipv4): string => words.addresses({ first: address, last: address });
  for (const field of ["port", "to", "from", "protocol"] as const) {
    for (const row of table.rows) {
      if (row.carrier.grant !== undefined || differsIn(row, ask) !== field) continue;
      const wanted = {
        port: serviceText(ask.protocol, [{ first: ask.port, last: ask.port }]),
        to: name(ask.destination),
        from: name(ask.source),
        protocol: ask.protocol,
      }[field];
      const { name: conduit, source } = row.carrier.conduit;
      const across = crosses(table, row, ask);
      const text = `add ${wanted} to "${field}" of ${conduit}`;
      return { conduit, source, field, text, across };
    }
  }
  return undefined;
}

/** The only field that does not fit; undefined if none or more than one does not. */
function differsIn(
  row: Row,
  ask: { source: Ipv4; destination: Ipv4; protocol: Protocol; port: number },
): "from" | "to" | "protocol" | "port" | undefined {
  const wrong: ("from" | "to" | "protocol" | "port")[] = [];
  if (!contains(row.from, ask.source)) wrong.push("from");
  if (!contains(row.to, ask.destination)) wrong.push("to");
  if (row.protocol !== ask.protocol) wrong.push("protocol");
  const redirected = row.redirects?.has(endpointKey(ask.destination, ask.port)) ?? true;
  const fits = ask.protocol === "icmp" || row.protocol === "icmp" || contains(row.ports, ask.port);
  if (!fits || (wrong.length === 0 && !redirected)) wrong.push("port");
  return wrong.length === 1 ? wrong[0] : undefined;
}

/** Whether the conduit is forwarded and the wanted ends are on the two sides of the boundary. */
function crosses(table: PointTable, row: Row, ask: { source: Ipv4; destination: Ipv4 }): boolean {
  if (row.redirects !== undefined) return false;
  const side = (address: Ipv4): number => {
    const kind = table.zoneOf(address)?.kind;
    return FORWARDING_ACROSS.findIndex((kinds) => kind !== undefined && kinds.includes(kind));
  };
  const [from, to] = [side(ask.source), side(ask.destination)];
  return from >= 0 && to >= 0 && from !== to;
}

export function formatExplanation(answer: Explanation): string {
  const { verdict, where, reason, conduit, source, owner, steps, nearest, breaks, question } =
    answer;
  const room = steps.find((step) => step.where === where && step.verdict === "deny")?.room;
  const place = verdict === "allow" ? "" : ` at ${room ?? where}`;
  const line =
    source === undefined ? "" : ` (${source}${owner === undefined ? "" : `, owner ${owner}`})`;
  const named = conduit === undefined ? "" : `, ${conduit}${line}`;
  const because = reason === undefined ? "" : `: ${reason}`;
  const width = Math.max(...steps.map((step) => (step.room ?? step.where).length));
  const rows = steps.map((step) => {
    const label = { allow: "allow", deny: "DENY", "not-reached": "not reached" }[step.verdict];
    const hits = step.hits === undefined ? "" : `  hits ${step.hits}`;
    const why = step.reason === undefined ? "" : `${step.reason}: `;
    return `  ${(step.room ?? step.where).padEnd(width)}  ${label.padEnd(11)}  ${why}${step.text}${hits}`;
  });
  const broken = typeof breaks === "string" ? `invariant: ${breaks}` : "no invariant";
  const change =
    nearest === undefined
      ? []
      : [
          `nearest allowing change: ${nearest.text} (${nearest.source})${breaks === undefined ? "" : ` – breaks ${broken}`}`,
        ];
  const head = `${verdict === "allow" ? "ALLOW" : "DENY"}${place}${named}${because}`;
  return [`${head} at ${timeText(question.at)}`, ...rows, ...change].join("\n");
}
