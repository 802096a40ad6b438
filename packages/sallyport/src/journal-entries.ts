/**
 * Events to what they count. Each process is believed only about itself: packets are the engines', told by the
 * enforcer and the watch; whatever a gate's file says is counted as that gate's, whoever it names.
 */
import type { FlowEntry } from "@sallyport/store";

const MINUTE_MS = 60_000;
/** Who tells of packets. All other files are gates', named after their rooms. */
const ENGINES: ReadonlySet<string> = new Set(["enforcer", "traffic", "watch"]);
const ENDPOINT = /^(\d{1,3}(?:\.\d{1,3}){3})(?::(\d{1,5}))?$/;
/** Events are of our time: a number that is no such moment is no event. */
const AT_MIN_MS = Date.UTC(2020, 0);
const AT_MAX_MS = Date.UTC(2120, 0);
/** More in one minute is no count. */
const COUNT_MAX = 1e12;

type Fields = Readonly<Record<string, unknown>>;

const NOTHING = {
  conduit: "",
  source: "",
  destination: "",
  sourceZone: "",
  destinationZone: "",
  protocol: "",
  port: 0,
  function: "",
  reason: "",
  accepted: 0,
  refused: 0,
  sampled: 0,
} as const;

export interface Line {
  readonly entry: FlowEntry | undefined;
  /** False: the line is no event, or one with impossible numbers. An event that counts nothing is readable. */
  readonly readable: boolean;
}

/** `process` is the event file's name without its ending. */
export function entryOf(line: string, process: string): Line {
  let value: unknown;
  try {
    value = JSON.parse(line);
  } catch {
    return { entry: undefined, readable: line === "" };
  }
  if (typeof value !== "object" || value === null || !("type" in value)) {
    return { entry: undefined, readable: false };
  }
  const fields: Fields = { ...value };
  const entry = ENGINES.has(process) ? engineEntry(fields) : gateEntry(fields, process);
  if (entry !== undefined && !isSound(entry)) return { entry: undefined, readable: false };
  return { entry, readable: true };
}

function engineEntry(fields: Fields): FlowEntry | undefined {
  const atMs = Date.parse(text(fields["at"]));
  const common = {
    ...NOTHING,
    point: text(fields["point"]),
    conduit: text(fields["conduit"]),
    sourceZone: text(fields["sourceZone"]),
    destinationZone: text(fields["destinationZone"]),
    protocol: text(fields["protocol"]),
    reason: text(fields["reason"]),
  };
  if (fields["type"] === "flow-minute") {
    return {
      ...common,
      // The event is written when its minute is over.
      atMs: atMs - MINUTE_MS,
      source: text(fields["source"]),
      destination: text(fields["destination"]),
      port: number(fields["port"]),
      accepted: number(fields["accepted"]),
      refused: number(fields["refused"]),
    };
  }
  if (fields["type"] !== "packet-denied") return undefined;
  const [source] = endpoint(fields["source"]);
  const [destination, port] = endpoint(fields["destination"]);
  return { ...common, atMs, source, destination, port, sampled: 1 };
}

function gateEntry(fields: Fields, process: string): FlowEntry | undefined {
  const common = {
    ...NOTHING,
    atMs: number(fields["atMs"] ?? fields["minuteMs"]),
    point: process,
    conduit: text(fields["conduit"]),
    source: text(fields["peer"]),
    destination: text(fields["asset"]),
    protocol: "tcp",
  };
  const reason = text(fields["reason"]);
  switch (fields["type"]) {
    case "connection-opened":
      return { ...common, accepted: 1 };
    case "connection-refused":
      return { ...common, refused: 1, reason };
    case "connection-closed":
      // The bytes of a refusal that is no PDU: malformed, unanswered, out of turn.
      return reason.startsWith("l7.") ? { ...common, refused: 1, reason } : undefined;
    case "pdus-allowed": {
      const { protocol, name } = pduOf(fields);
      return { ...common, protocol, function: name, accepted: number(fields["count"]) };
    }
    case "pdu-refused": {
      const pdu = fields["pdu"];
      const { protocol, name } = pduOf(typeof pdu === "object" && pdu !== null ? { ...pdu } : {});
      return { ...common, protocol, function: name, refused: 1, reason };
    }
    case "suppressed":
      return suppressed(fields, common, reason);
    default:
      return undefined;
  }
}

/** Events that a gate counted instead of telling them one by one. */
function suppressed(
  fields: Fields,
  common: Omit<FlowEntry, "accepted" | "refused">,
  reason: string,
): FlowEntry | undefined {
  const count = number(fields["count"]);
  switch (fields["kind"]) {
    case "connection-opened":
      return { ...common, accepted: count, refused: 0 };
    case "connection-refused":
      return { ...common, accepted: 0, refused: count, reason };
    case "connection-closed":
      if (!reason.startsWith("l7.")) return undefined;
      return { ...common, accepted: 0, refused: count, reason };
    case "pdu-refused": {
      const { protocol, name } = pduOf(fields);
      return { ...common, protocol, function: name, accepted: 0, refused: count, reason };
    }
    default:
      return undefined;
  }
}

function pduOf(fields: Fields): { protocol: string; name: string } {
  // Counts don't name their protocol; Modbus is the one that gates decode.
  return { protocol: text(fields["protocol"]) || "modbus", name: text(fields["function"]) };
}

function endpoint(value: unknown): [address: string, port: number] {
  const match = ENDPOINT.exec(text(value));
  return [match?.[1] ?? "", Number(match?.[2] ?? 0)];
}

function isSound(entry: FlowEntry): boolean {
  const { atMs, port, accepted, refused } = entry;
  const counts = [accepted, refused].every((n) => Number.isInteger(n) && n >= 0 && n <= COUNT_MAX);
  const when = atMs >= AT_MIN_MS && atMs <= AT_MAX_MS;
  return when && counts && Number.isInteger(port) && port >= 0 && port <= 65_535;
}

function text(value: unknown): string {
  return typeof value === "string" ? value : "";
}

function number(value: unknown): number {
  return typeof value === "number" ? value : Number.NaN;
}
