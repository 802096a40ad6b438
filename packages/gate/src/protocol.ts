/**
 * What a gate process is told, as one JSON object a line on its standard input:
 *   {"type":"listeners","listeners":[…]}  the whole set; replaces the one before
 *   {"type":"drain"}                      take no new connections, let the present ones end
 * The end of the input ends the process. Whatever is not exactly this is refused as a whole, unknown
 * members too (one of them may be a limit that this code does not know), and what was loaded stays.
 */
import { type Interval, SallyportError } from "@sallyport/core";
import type { ConnectionLimits, L7, Listener, ModbusLimits } from "@sallyport/policy/legs";
import { modbus } from "@sallyport/wire";

/** A listener with the conduit that it belongs to, and where the policy says so, for events. */
export interface GateListener extends Listener {
  readonly conduit: string;
  /** `site.yaml:41`. */
  readonly policyLine: string;
}

export type GateMessage =
  | { readonly type: "listeners"; readonly listeners: readonly GateListener[] }
  | { readonly type: "drain" };

/** 4,096 listeners with long limits are well below this. */
export const MESSAGE_MAX_CHARS: number = 8 * 1024 * 1024;
export const LISTENERS_MAX = 4096;
const NAME_MAX_CHARS = 128;
/** A file's name of 255 characters, a colon and the number of a line. */
const LINE_MAX_CHARS = 265;
const INTERVALS_MAX = 4096;
/** Above any gate's file descriptors. */
const CONNECTIONS_MAX = 65_536;
/** A day: a connection that may idle longer is a connection that is never closed. */
const SECONDS_MAX = 86_400;
const RATE_MAX = 1_000_000;
const ADDRESS_MAX = 0xffff_ffff;
const U16_MAX = 0xffff;

type Members = Readonly<Record<string, unknown>>;

/** Throws `gate-message-refused` with the place of the first mistake. */
export function parseGateMessage(line: string): GateMessage {
  if (line.length > MESSAGE_MAX_CHARS) throw refused("message", "it is too long");
  let value: unknown;
  try {
    value = JSON.parse(line);
  } catch (cause) {
    throw refused("message", "it is not JSON", cause);
  }
  const type = typeof value === "object" && value !== null && "type" in value ? value.type : "";
  if (type === "drain") {
    members(value, "message", ["type"]);
    return { type };
  }
  if (type !== "listeners") throw refused("type", "it is none of: listeners, drain");
  const message = members(value, "message", ["type", "listeners"]);
  const items = list(message["listeners"], "listeners", LISTENERS_MAX);
  const listeners = items.map((item, index) => parseListener(item, `listeners[${index}]`));
  const places = new Set<string>();
  for (const { listenAddress, listenPort } of listeners) {
    const place = `${listenAddress}:${listenPort}`;
    if (places.has(place)) throw refused("listeners", "two listen at the same address and port");
    places.add(place);
  }
  return { type, listeners };
}

function parseListener(value: unknown, at: string): GateListener {
  const all = members(value, at, [
    "conduit",
    "policyLine",
    "room",
    "listenAddress",
    "listenPort",
    "egressAddress",
    "targetAddress",
    "targetPort",
    "asset",
    "slot",
    "l7",
    "connections",
  ]);
  return {
    conduit: text(all["conduit"], `${at}.conduit`),
    policyLine: text(all["policyLine"], `${at}.policyLine`, LINE_MAX_CHARS),
    room: text(all["room"], `${at}.room`),
    listenAddress: whole(all["listenAddress"], `${at}.listenAddress`, 1, ADDRESS_MAX),
    listenPort: whole(all["listenPort"], `${at}.listenPort`, 1, U16_MAX),
    egressAddress: whole(all["egressAddress"], `${at}.egressAddress`, 1, ADDRESS_MAX),
    targetAddress: whole(all["targetAddress"], `${at}.targetAddress`, 1, ADDRESS_MAX),
    targetPort: whole(all["targetPort"], `${at}.targetPort`, 1, U16_MAX),
    asset: text(all["asset"], `${at}.asset`),
    slot: whole(all["slot"], `${at}.slot`, 0, U16_MAX),
    l7: parseL7(all["l7"], `${at}.l7`),
    connections: parseConnections(all["connections"], `${at}.connections`),
  };
}

function parseConnections(value: unknown, at: string): ConnectionLimits {
  const all = members(value, at, ["max", "idleSeconds", "connectSeconds"]);
  return {
    max: whole(all["max"], `${at}.max`, 1, CONNECTIONS_MAX),
    idleSeconds: positive(all["idleSeconds"], `${at}.idleSeconds`, SECONDS_MAX),
    connectSeconds: positive(all["connectSeconds"], `${at}.connectSeconds`, SECONDS_MAX),
  };
}

function parseL7(value: unknown, at: string): L7 {
  const protocol =
    typeof value === "object" && value !== null && "protocol" in value ? value.protocol : "";
  if (protocol === "tcp") {
    members(value, at, ["protocol"]);
    return { protocol };
  }
  if (protocol !== "modbus") throw refused(`${at}.protocol`, "it is none of: tcp, modbus");
  return parseModbus(value, at);
}

function parseModbus(value: unknown, at: string): ModbusLimits {
  const all = members(
    value,
    at,
    [
      "protocol",
      "functions",
      "units",
      "coils",
      "discreteInputs",
      "holdingRegisters",
      "inputRegisters",
      "writeValues",
    ],
    ["maxQuantity", "requestsPerSecond"],
  );
  const set = (name: string, max: number): Interval[] =>
    list(all[name], `${at}.${name}`, INTERVALS_MAX).map((item, index) =>
      interval(item, `${at}.${name}[${index}]`, max),
    );
  const functions = list(all["functions"], `${at}.functions`, modbus.FUNCTIONS.length);
  const { maxQuantity, requestsPerSecond } = all;
  return {
    protocol: "modbus",
    functions: functions.map((item, index) => functionName(item, `${at}.functions[${index}]`)),
    units: set("units", 255),
    coils: set("coils", U16_MAX),
    discreteInputs: set("discreteInputs", U16_MAX),
    holdingRegisters: set("holdingRegisters", U16_MAX),
    inputRegisters: set("inputRegisters", U16_MAX),
    writeValues: list(all["writeValues"], `${at}.writeValues`, INTERVALS_MAX).map((item, index) => {
      const here = `${at}.writeValues[${index}]`;
      const rule = members(item, here, ["registers", "values"]);
      return {
        registers: interval(rule["registers"], `${here}.registers`, U16_MAX),
        values: interval(rule["values"], `${here}.values`, U16_MAX),
      };
    }),
    ...(maxQuantity === undefined
      ? {}
      : { maxQuantity: whole(maxQuantity, `${at}.maxQuantity`, 1, U16_MAX) }),
    ...(requestsPerSecond === undefined
      ? {}
      : { requestsPerSecond: positive(requestsPerSecond, `${at}.requestsPerSecond`, RATE_MAX) }),
  };
}

function functionName(value: unknown, at: string): string {
  const name = text(value, at);
  if (!modbus.isFunctionName(name)) throw refused(at, "it is no Modbus function");
  return name;
}

function interval(value: unknown, at: string, max: number): Interval {
  const all = members(value, at, ["first", "last"]);
  const first = whole(all["first"], `${at}.first`, 0, max);
  return { first, last: whole(all["last"], `${at}.last`, first, max) };
}

function members(
  value: unknown,
  at: string,
  required: readonly string[],
  optional: readonly string[] = [],
): Members {
  if (typeof value !== "object" || value === null || Array.isArray(value)) {
    throw refused(at, "it is not an object");
  }
  for (const name of required) {
    if (!Object.hasOwn(value, name)) throw refused(at, `it lacks ${name}`);
  }
  for (const name of Object.keys(value)) {
    if (!required.includes(name) && !optional.includes(name)) {
      throw refused(at, `${JSON.stringify(name).slice(0, NAME_MAX_CHARS)} is unknown here`);
    }
  }
  return value as Members;
}

function list(value: unknown, at: string, max: number): readonly unknown[] {
  if (!Array.isArray(value)) throw refused(at, "it is not a list");
  if (value.length > max) throw refused(at, `it has more than ${max} items`);
  return value;
}

function text(value: unknown, at: string, maxChars: number = NAME_MAX_CHARS): string {
  if (typeof value !== "string" || value === "" || value.length > maxChars) {
    throw refused(at, `it is no text of 1 to ${maxChars} characters`);
  }
  return value;
}

function whole(value: unknown, at: string, min: number, max: number): number {
  if (typeof value !== "number" || !Number.isInteger(value) || value < min || value > max) {
    throw refused(at, `it is no whole number from ${min} to ${max}`);
  }
  return value;
}

function positive(value: unknown, at: string, max: number): number {
  if (typeof value !== "number" || !(value > 0) || value > max) {
    throw refused(at, `it is no number above 0 and up to ${max}`);
  }
  return value;
}

function refused(at: string, why: string, cause?: unknown): SallyportError {
  return new SallyportError("gate-message-refused", `${at}: ${why}`, { cause });
}
