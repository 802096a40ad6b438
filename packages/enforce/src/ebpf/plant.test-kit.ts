/** A plant of a page and frames for it: what the tests of the eBPF engine run on. */
import { type Interval, type Ipv4, parseIpv4 } from "@sallyport/core";
import type {
  Conduit,
  EngineZone,
  Grant,
  Leg,
  Legs,
  Liveness,
  Redirect,
} from "@sallyport/policy/legs";
import type { LiveEntry, Lowering, Slot } from "../engine.ts";

export const NOW: number = Date.UTC(2026, 10, 18, 11, 0);
export const PASS = 0x5a000001;
export const ARP = 0x5a000002;
export const INSPECT = 0x5a010000;

export function ip(text: string): Ipv4 {
  const address = parseIpv4(text);
  if (address === undefined) throw new RangeError(`${text} is no address`);
  return address;
}

export function span(first: string, last: string = first): Interval {
  return { first: ip(first), last: ip(last) };
}

export function port(first: number, last: number = first): Interval {
  return { first, last };
}

export function leg(from: Interval, to: Interval, share: Partial<Leg>): Leg {
  const rest = {
    point: "inner",
    protocol: "tcp",
    ports: [],
    replies: true,
    redirects: [],
  } as const;
  return { ...rest, from: [from], to: [to], ...share };
}

export function conduit(name: string, legs: readonly Leg[], terms: Partial<Conduit> = {}): Conduit {
  return {
    name,
    key: `${name}#000000000000`,
    via: "direct",
    source: "site.yaml:1",
    owner: "operations",
    why: "A test",
    expires: NOW + 1e9,
    windows: [],
    island: "drop",
    system: false,
    audit: false,
    fromZones: [],
    toZones: [],
    legs,
    listeners: [],
    ...terms,
  };
}

const HMI = span("10.40.0.10");
const PLC = span("10.41.0.10");

const modbus: Redirect = {
  address: ip("10.41.0.10"),
  port: 502,
  room: "gate-cells",
  listenAddress: ip("10.31.0.20"),
  listenPort: 5001,
  slot: 0,
};

const SERVICE: Redirect = { ...modbus, port: 4711, listenPort: 5002 };

export const SESSION = {
  people: ["vendor-tech"],
  maxSeconds: 7200,
  approvals: 1,
  attended: false,
  localEnable: false,
  device: "any",
  record: true,
  mode: "read-only",
  slots: 1,
} as const;

/** By name: what each is open for is in its ports. */
export const CONDUITS: readonly Conduit[] = [
  conduit("audited", [leg(HMI, PLC, { protocol: "udp", ports: [port(2000)] })], { audit: true }),
  conduit("closed", [leg(HMI, PLC, { ports: [port(600, 700)] })]),
  conduit("diode", [leg(PLC, HMI, { protocol: "udp", ports: [port(514)], replies: false })], {
    via: "diode",
  }),
  conduit("inspected", [
    leg(HMI, PLC, { ports: [port(502)], redirects: [modbus] }),
    leg(span("10.31.0.21"), PLC, { ports: [port(502)] }),
  ]),
  conduit("open", [leg(HMI, PLC, { ports: [port(650), port(1000, 1010)] })]),
  conduit("ping", [leg(span("10.40.0.0", "10.40.0.255"), PLC, { protocol: "icmp" })]),
  conduit("service", [leg(HMI, PLC, { ports: [port(4711)], redirects: [SERVICE] })], {
    session: SESSION,
  }),
  conduit("status", [leg(HMI, PLC, { protocol: "udp", ports: [port(161)] })]),
];

const zone = (name: string, device: string, addresses: Interval[]): EngineZone => {
  return { name, kind: "control", point: "inner", interface: device, addresses };
};

export function plant(
  conduits: readonly Conduit[] = CONDUITS,
  limits?: Partial<Legs["limits"]>,
): Legs {
  return {
    format: 1,
    site: "test",
    policySha256: "0".repeat(64),
    timezone: "UTC",
    limits: {
      sessionsPerZone: 3,
      timeoutsSeconds: { tcpOpening: 60, tcpOpen: 60, tcpClosing: 60, udp: 60, icmp: 60 },
      ...limits,
    },
    zones: [
      zone("supervisory", "sup0", [span("10.40.0.2", "10.40.0.254")]),
      zone("cell-a", "cella0", [span("10.41.0.2", "10.41.0.254")]),
      zone("dmz/gate-cells", "gate-cells", [span("10.31.0.20", "10.31.0.21")]),
      { ...zone("enterprise", "it0", [span("10.10.0.2", "10.10.0.254")]), point: "outer" },
    ],
    attachments: [],
    rooms: [
      { name: "portal", kind: "portal" },
      {
        name: "gate-cells",
        kind: "gate",
        inner: { interface: "gate-cells", addresses: [ip("10.31.0.20"), ip("10.31.0.21")] },
      },
    ],
    transit: { outer: ip("10.30.0.1"), inner: ip("10.31.0.1") },
    own: [ip("10.40.0.1"), ip("10.41.0.1"), ip("10.31.0.1")],
    assets: [],
    broadcast: [ip("10.40.0.255"), ip("10.41.0.255"), ip("10.40.0.0"), ip("10.41.0.0")],
    thresholds: [],
    conduits,
  };
}

export const GRANT: Grant = {
  id: "g-1",
  conduit: "service",
  person: "vendor-tech",
  reason: "Bearing",
  source: ip("10.40.0.10"),
  asset: "plc",
  target: ip("10.41.0.10"),
  protocol: "tcp",
  port: 4711,
  slot: 0,
  notBefore: NOW,
  notAfter: NOW + 3_600_000,
};

const OPEN: Liveness = { open: true, until: null, closedReason: "expired" };
/** Conduits are numbered from 1 by name; `closed` is outside its window, `service` wants a grant. */
export function lowering(
  legs: Legs,
  slot: Slot = 0,
  change: {
    generation?: number;
    live?: Record<string, Liveness>;
    ids?: Record<string, number>;
  } = {},
): Lowering {
  const closed = { open: false, until: null } as const;
  const given: Record<string, Liveness> = {
    closed: { ...closed, closedReason: "outside-window" },
    service: { ...closed, closedReason: "no-grant" },
    ...change.live,
  };
  const entries = legs.conduits.map(({ name, key, audit, via }, index): [string, LiveEntry] => {
    const id = change.ids?.[name] ?? index + 1;
    return [key, { id, liveness: given[name] ?? OPEN, audit, diode: via === "diode" }];
  });
  const generation = change.generation ?? 1;
  const conduits = new Map(entries);
  return { legs, point: "inner", slot, generation, now: NOW, conduits, grants: [] };
}

export interface FrameSpec {
  readonly from: string;
  readonly to: string;
  readonly protocol?: number;
  readonly ports?: readonly [number, number];
  readonly flags?: number;
  readonly icmp?: readonly [type: number, code: number, identifier: number];
  /** Bytes to overwrite, by offset in the IP packet; the IP checksum is right afterwards. */
  readonly patch?: Readonly<Record<number, number>>;
  readonly payload?: Uint8Array;
  readonly badChecksum?: boolean;
}

export const FLAG = { fin: 1, syn: 2, rst: 4, ack: 16 } as const;
const TCP = 6;
const UDP = 17;
const ICMP = 1;

/** A frame as a link carries it; a TCP SYN if nothing else is said. */
export function frame(spec: FrameSpec): Uint8Array {
  const protocol = spec.protocol ?? (spec.icmp === undefined ? TCP : ICMP);
  const payload = spec.payload ?? new Uint8Array(0);
  const head = protocol === TCP ? 20 : 8;
  const total = 20 + head + payload.length;
  const bytes = new Uint8Array(14 + total);
  const view = new DataView(bytes.buffer);
  bytes.set([2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 2, 0x08, 0x00, 0x45]);
  view.setUint16(16, total);
  bytes.set([64, protocol], 22);
  view.setUint32(26, ip(spec.from));
  view.setUint32(30, ip(spec.to));
  const [source, target] = spec.ports ?? [0, 0];
  view.setUint16(34, source);
  view.setUint16(36, target);
  if (protocol === TCP) bytes.set([0x50, spec.flags ?? FLAG.syn], 46);
  if (protocol === UDP) view.setUint16(38, 8 + payload.length);
  if (spec.icmp !== undefined) {
    const [type, code, identifier] = spec.icmp;
    bytes.set([type, code, 0, 0], 34);
    view.setUint16(38, identifier);
  }
  bytes.set(payload, 34 + head);
  for (const [offset, byte] of Object.entries(spec.patch ?? {})) bytes[14 + Number(offset)] = byte;
  const size = Math.min(((bytes[14] ?? 0) & 15) * 4, total);
  let sum = spec.badChecksum === true ? 1 : 0;
  for (let at = 14; at < 14 + Math.max(size, 20); at += 2) sum += view.getUint16(at);
  while (sum > 0xffff) sum = (sum & 0xffff) + (sum >>> 16);
  view.setUint16(24, ~sum & 0xffff);
  return bytes;
}

export function udp(from: string, to: string, source: number, target: number): Uint8Array {
  return frame({ from, to, protocol: UDP, ports: [source, target] });
}

/** An ICMP error from `from` about a frame. */
export function icmpError(type: number, from: string, to: string, about: Uint8Array): Uint8Array {
  return frame({ from, to, icmp: [type, 1, 0], payload: about.subarray(14, 14 + 28) });
}
