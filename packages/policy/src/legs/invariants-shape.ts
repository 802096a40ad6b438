/**
 * The shape of legs as they come from another process: every member there and of its type, none
 * besides, every list bounded, every set sorted and disjoint. Says nothing about what they mean.
 */
import { isTimezone } from "./schedule.ts";

/** Adds to `out` what is wrong with `value`, each with the path to it. */
export type Check = (value: unknown, path: string, out: Violations) => void;

/** Findings after this many are not kept: what is so broken is refused all the same. */
const VIOLATIONS_MAX = 50;
/** Quoted values are cut, since they come from a process that is not trusted. */
const QUOTE_MAX = 40;

export class Violations {
  readonly list: string[] = [];

  add(path: string, what: string): void {
    if (this.list.length < VIOLATIONS_MAX) this.list.push(`${path}: ${what}`);
  }

  get full(): boolean {
    return this.list.length >= VIOLATIONS_MAX;
  }
}

/** A name that ends in `?` need not be there. */
function object(fields: Readonly<Record<string, Check>>): Check {
  const known = new Map(
    Object.entries(fields).map(([name, check]) => [name.replace("?", ""), check]),
  );
  return (value, path, out) => {
    if (typeof value !== "object" || value === null || Array.isArray(value)) {
      out.add(path, "is not an object");
      return;
    }
    const members = new Map<string, unknown>(Object.entries(value));
    for (const name of members.keys()) {
      if (!known.has(name)) out.add(path, `has an unknown member "${name.slice(0, QUOTE_MAX)}"`);
    }
    for (const [name, check] of known) {
      if (members.has(name)) check(members.get(name), `${path}.${name}`, out);
      else if (fields[`${name}?`] === undefined) out.add(path, `has no "${name}"`);
    }
  };
}

function list(item: Check, max: number): Check {
  return (value, path, out) => {
    if (!Array.isArray(value)) {
      out.add(path, "is not a list");
      return;
    }
    if (value.length > max) {
      out.add(path, `has ${value.length} entries, at most ${max} are allowed`);
      return;
    }
    for (const [index, entry] of value.entries()) {
      if (out.full) return;
      item(entry, `${path}[${index}]`, out);
    }
  };
}

function integer(min: number, max: number): Check {
  return (value, path, out) => {
    if (typeof value !== "number" || !Number.isInteger(value) || value < min || value > max) {
      out.add(path, `is not a whole number from ${min} to ${max}`);
    }
  };
}

function text(pattern: RegExp): Check {
  return (value, path, out) => {
    if (typeof value !== "string" || !pattern.test(value)) out.add(path, `is not ${pattern}`);
  };
}

function oneOf(...allowed: readonly unknown[]): Check {
  return (value, path, out) => {
    if (!allowed.includes(value)) out.add(path, `is none of ${allowed.join(", ")}`);
  };
}

/** Sorted, with a gap between neighbors: the form that every lookup counts on. */
function set(min: number, max: number): Check {
  const end = integer(min, max);
  const shape = list(object({ first: end, last: end }), INTERVALS_MAX);
  return (value, path, out) => {
    const before = out.list.length;
    shape(value, path, out);
    if (out.list.length > before || out.full) return;
    // The shape was just checked.
    const intervals = value as readonly { readonly first: number; readonly last: number }[];
    let previous = min - 2;
    for (const { first, last } of intervals) {
      if (first > last || first <= previous + 1) {
        out.add(path, "is not sorted, disjoint and merged");
        return;
      }
      previous = last;
    }
  };
}

const timezone: Check = (value, path, out) => {
  if (typeof value !== "string" || !isTimezone(value)) out.add(path, "is not a known time zone");
};

export const CONDUITS_MAX = 20_000;
export const ZONES_MAX = 4_096;
const ROOMS_MAX = 1_024;
const LEGS_MAX = 64;
const INTERVALS_MAX = 65_536;
/** Addresses times ports of one leg to a gate; also the listeners of one conduit. */
const REDIRECTS_MAX = 65_536;
const SHORT_LIST_MAX = 1_024;
const SLOTS_MAX = 64;

const boolean = oneOf(true, false);
const address = integer(0, 0xffffffff);
const addresses = set(0, 0xffffffff);
const port = integer(1, 65_535);
const count = integer(1, 1_000_000_000);
const moment = integer(0, Number.MAX_SAFE_INTEGER);
const prefixLength = integer(0, 32);
/** IFNAMSIZ is 16 with the final zero; names are also arguments of tools, so no leading dash. */
const interfaceName = text(/^[a-z0-9][a-z0-9.-]{0,14}$/);
/** Of rooms and conduits. */
const plainName = text(/^[a-z0-9][a-z0-9-]{0,62}$/);
const zoneName = text(/^(dmz\/)?[a-z0-9][a-z0-9-]{0,62}$/);
const prose = text(/^[^\p{Cc}]{0,1000}$/u);
const point = oneOf("outer", "inner");
const protocol = oneOf("tcp", "udp", "icmp");

const link = object({ interface: interfaceName, addresses: list(address, INTERVALS_MAX) });
const prefix = object({ address, length: prefixLength });
const route = object({ network: address, length: prefixLength, via: address });

const redirect = object({
  address,
  port,
  room: plainName,
  listenAddress: address,
  listenPort: port,
  slot: integer(0, SLOTS_MAX),
});

const registers = set(0, 65_535);
const register = integer(0, 65_535);
const range = object({ first: register, last: register });
const modbus = object({
  protocol: oneOf("modbus"),
  functions: list(prose, 256),
  units: set(0, 255),
  coils: registers,
  discreteInputs: registers,
  holdingRegisters: registers,
  inputRegisters: registers,
  writeValues: list(object({ registers: range, values: range }), SHORT_LIST_MAX),
  "maxQuantity?": integer(1, 65_536),
  "requestsPerSecond?": integer(1, 1_000_000),
});
const opaque = object({ protocol: oneOf("tcp") });

const l7: Check = (value, path, out) => {
  const isModbus =
    typeof value === "object" && value !== null && Reflect.get(value, "protocol") === "modbus";
  (isModbus ? modbus : opaque)(value, path, out);
};

const listener = object({
  room: plainName,
  listenAddress: address,
  listenPort: port,
  egressAddress: address,
  targetAddress: address,
  targetPort: port,
  asset: prose,
  slot: integer(0, SLOTS_MAX),
  l7,
  connections: object({ max: count, idleSeconds: count, connectSeconds: count }),
});

const conduit = object({
  name: text(/^(audit:[a-z0-9-]{1,63}:)?[a-z0-9][a-z0-9-]{0,62}$/),
  key: text(/^(audit:[a-z0-9-]{1,63}:)?[a-z0-9][a-z0-9-]{0,62}#[0-9a-f]{12}$/),
  via: oneOf("proxy", "inspect", "session", "direct", "diode"),
  source: prose,
  owner: prose,
  why: prose,
  expires: moment,
  windows: list(
    object({
      days: list(integer(0, 6), 7),
      fromMinute: integer(0, 1439),
      toMinute: integer(1, 1440),
      timezone,
    }),
    SHORT_LIST_MAX,
  ),
  island: oneOf("keep", "drop"),
  system: boolean,
  audit: boolean,
  fromZones: list(zoneName, ZONES_MAX),
  toZones: list(zoneName, ZONES_MAX),
  legs: list(
    object({
      point,
      from: addresses,
      to: addresses,
      protocol,
      ports: set(1, 65_535),
      replies: boolean,
      redirects: list(redirect, REDIRECTS_MAX),
    }),
    LEGS_MAX,
  ),
  listeners: list(listener, REDIRECTS_MAX),
  "session?": object({
    people: list(prose, SHORT_LIST_MAX),
    maxSeconds: count,
    approvals: integer(0, 100),
    attended: boolean,
    localEnable: boolean,
    device: oneOf("any", "enrolled"),
    record: boolean,
    mode: oneOf("read-only", "write-approved"),
    slots: integer(1, SLOTS_MAX),
  }),
});

export const legsShape: Check = object({
  format: oneOf(1),
  site: prose,
  policySha256: text(/^[0-9a-f]{64}$/),
  timezone,
  limits: object({
    sessionsPerZone: count,
    timeoutsSeconds: object({
      tcpOpening: count,
      tcpOpen: count,
      tcpClosing: count,
      udp: count,
      icmp: count,
    }),
  }),
  zones: list(
    object({
      name: zoneName,
      kind: oneOf("business", "dmz", "control", "safety", "temporary", "external"),
      point,
      interface: interfaceName,
      addresses,
      "dialledFrom?": list(object({ to: addresses, address }), SHORT_LIST_MAX),
    }),
    ZONES_MAX,
  ),
  attachments: list(
    object({
      zone: zoneName,
      point,
      nic: interfaceName,
      interface: interfaceName,
      mode: oneOf("routed", "tap"),
      addresses: list(prefix, SHORT_LIST_MAX),
      routes: list(route, SHORT_LIST_MAX),
      "vlan?": integer(1, 4094),
    }),
    ZONES_MAX,
  ),
  rooms: list(
    object({
      name: plainName,
      kind: oneOf("gate", "replica", "portal", "control", "service"),
      "outer?": link,
      "inner?": link,
    }),
    ROOMS_MAX,
  ),
  transit: object({ outer: address, inner: address }),
  assets: list(object({ name: plainName, address }), INTERVALS_MAX),
  own: list(address, INTERVALS_MAX),
  broadcast: list(address, INTERVALS_MAX),
  thresholds: list(object({ zone: zoneName, approvals: integer(1, 5) }), ZONES_MAX),
  conduits: list(conduit, CONDUITS_MAX),
});
