/** Legs written by hand after `lab/plant/site.yaml`: what tests of the model and its users run on. */
import { type Interval, type Ipv4, parseIpv4 } from "@sallyport/core";
import type { Conduit, EngineZone, Grant, L7, Leg, Legs, Listener, Redirect } from "./types.ts";

export const HOUR = 3_600_000;
/** A Wednesday, noon in Vienna. */
export const NOW: number = Date.UTC(2026, 10, 18, 11, 0);
/** Inside the Sunday window 02:00 to 06:00, Vienna. */
export const SUNDAY: number = Date.UTC(2026, 10, 22, 2, 0);
const EXPIRES = Date.UTC(2027, 0, 30, 23, 0);

export function ip(text: string): Ipv4 {
  const address = parseIpv4(text);
  if (address === undefined) throw new RangeError(`${text} is not an address`);
  return address;
}

export function host(text: string): Interval[] {
  return [{ first: ip(text), last: ip(text) }];
}

/** The addresses of 10.x.y.0/24 that hosts may have, without .1, which is the box's own. */
function hosts(network: string): Interval[] {
  return [{ first: ip(network) + 2, last: ip(network) + 254 }];
}

function ports(first: number, last: number = first): Interval[] {
  return [{ first, last }];
}

type HostName = "erp" | "historian" | "vendorPc" | "hmi" | "engWs" | "tankPlc" | "pressPlc" | "sis";
export const HOST: Readonly<Record<HostName, Ipv4>> = {
  erp: ip("10.10.0.10"),
  historian: ip("10.10.0.11"),
  vendorPc: ip("10.20.0.10"),
  hmi: ip("10.40.0.10"),
  engWs: ip("10.40.0.20"),
  tankPlc: ip("10.41.0.10"),
  pressPlc: ip("10.42.0.10"),
  sis: ip("10.43.0.10"),
};

const MODBUS: L7 = {
  protocol: "modbus",
  functions: ["read-holding-registers"],
  units: [{ first: 1, last: 1 }],
  coils: [],
  discreteInputs: [],
  holdingRegisters: [{ first: 0, last: 99 }],
  inputRegisters: [],
  maxQuantity: 20,
  writeValues: [],
};

function zone(
  name: string,
  kind: EngineZone["kind"],
  point: EngineZone["point"],
  device: string,
  addresses: Interval[],
): EngineZone {
  return { name, kind, point, interface: device, addresses };
}

const NETWORKS = [
  ["enterprise", "business", "outer", "it0", "10.10.0.0"],
  ["vendor", "external", "outer", "vendor0", "10.20.0.0"],
  ["supervisory", "control", "inner", "sup0", "10.40.0.0"],
  ["cell-a", "control", "inner", "cella0", "10.41.0.0"],
  ["cell-b", "control", "inner", "cellb0", "10.42.0.0"],
  ["safety", "safety", "inner", "sis0", "10.43.0.0"],
] as const;

const ROOMS = [
  {
    name: "gate-cells",
    kind: "gate",
    inner: { interface: "gate-cells", addresses: range("10.31.0.20", 5) },
  },
  {
    name: "gate-erp",
    kind: "gate",
    outer: { interface: "gate-erp", addresses: range("10.30.0.10", 1) },
    inner: { interface: "gate-erp", addresses: range("10.31.0.10", 3) },
  },
  {
    name: "gate-vendor",
    kind: "gate",
    outer: { interface: "gate-vendor", addresses: range("10.30.0.30", 1) },
    inner: { interface: "gate-vendor", addresses: range("10.31.0.30", 3) },
  },
  {
    name: "portal",
    kind: "portal",
    outer: { interface: "portal", addresses: range("10.30.0.40", 1) },
  },
] as const;

function range(first: string, count: number): Ipv4[] {
  return Array.from({ length: count }, (_, index) => ip(first) + index);
}

interface Gated {
  readonly name: string;
  readonly via: "proxy" | "inspect" | "session";
  readonly from: readonly [string, Ipv4];
  readonly to: readonly [string, Ipv4];
  readonly room: string;
  readonly listen: readonly [string, number];
  readonly egress: string;
  readonly slots?: number;
  readonly line: number;
}

/** A conduit to one asset, port 502, through a gate. */
export function gated(spec: Gated): Conduit {
  const { name, via, from, to, room, line } = spec;
  const point = from[1] < ip("10.40.0.0") ? "outer" : "inner";
  const slots = spec.slots ?? 1;
  const redirects: Redirect[] = [];
  const listeners: Listener[] = [];
  for (let slot = 0; slot < slots; slot++) {
    const listen = { listenAddress: ip(spec.listen[0]), listenPort: spec.listen[1] + slot };
    redirects.push({ address: to[1], port: 502, room, ...listen, slot });
    listeners.push({
      room,
      ...listen,
      egressAddress: ip(spec.egress) + slot,
      targetAddress: to[1],
      targetPort: 502,
      asset: to[1] === HOST.tankPlc ? "tank-plc" : "press-plc",
      slot,
      l7: MODBUS,
      connections: { max: 8, idleSeconds: 60, connectSeconds: 3 },
    });
  }
  const egress = [{ first: ip(spec.egress), last: ip(spec.egress) + slots - 1 }];
  const both = { to: [{ first: to[1], last: to[1] }], protocol: "tcp", ports: ports(502) } as const;
  const source = [{ first: from[1], last: from[1] }];
  const legs: Leg[] = [
    { point, from: source, ...both, replies: true, redirects },
    { point: "inner", from: egress, ...both, replies: true, redirects: [] },
  ];
  const session = {
    people: ["vendor-tech"],
    maxSeconds: 7200,
    approvals: 1,
    attended: false,
    localEnable: false,
    device: "any",
    record: true,
    mode: "write-approved",
    slots,
  } as const;
  const terms = via === "session" ? { session } : {};
  return {
    ...common(name, line),
    via,
    fromZones: [from[0]],
    toZones: [to[0]],
    legs,
    listeners,
    ...terms,
  };
}

function common(
  name: string,
  line: number,
): Omit<Conduit, "via" | "fromZones" | "toZones" | "legs" | "listeners"> {
  return {
    name,
    key: `${name}#00000000000a`,
    source: `site.yaml:${line}`,
    owner: "operations",
    why: "A test",
    expires: EXPIRES,
    windows: [],
    island: "drop",
    system: false,
    audit: false,
  };
}

/** A conduit inside `inner` without a gate. */
export function plain(
  name: string,
  via: "direct" | "diode",
  from: readonly [string, Ipv4],
  to: readonly [string, Ipv4],
  leg: Pick<Leg, "protocol" | "ports">,
  line = 150,
): Conduit {
  const ends = {
    from: [{ first: from[1], last: from[1] }],
    to: [{ first: to[1], last: to[1] }],
  };
  const legs: Leg[] = [
    { point: "inner", ...ends, ...leg, replies: via !== "diode", redirects: [] },
  ];
  return {
    ...common(name, line),
    via,
    fromZones: [from[0]],
    toZones: [to[0]],
    legs,
    listeners: [],
  };
}

const CONDUITS: readonly Conduit[] = [
  gated({
    name: "engineering-tunes-tank",
    via: "inspect",
    from: ["supervisory", HOST.engWs],
    to: ["cell-a", HOST.tankPlc],
    room: "gate-cells",
    listen: ["10.31.0.20", 5003],
    egress: "10.31.0.23",
    line: 129,
  }),
  gated({
    name: "erp-reads-tank",
    via: "proxy",
    from: ["enterprise", HOST.erp],
    to: ["cell-a", HOST.tankPlc],
    room: "gate-erp",
    listen: ["10.30.0.10", 5001],
    egress: "10.31.0.11",
    line: 79,
  }),
  gated({
    name: "historian-reads-press",
    via: "proxy",
    from: ["enterprise", HOST.historian],
    to: ["cell-b", HOST.pressPlc],
    room: "gate-erp",
    listen: ["10.30.0.10", 5002],
    egress: "10.31.0.12",
    line: 96,
  }),
  {
    ...gated({
      name: "hmi-operates-tank",
      via: "inspect",
      from: ["supervisory", HOST.hmi],
      to: ["cell-a", HOST.tankPlc],
      room: "gate-cells",
      listen: ["10.31.0.20", 5001],
      egress: "10.31.0.21",
      line: 106,
    }),
    island: "keep",
  },
  {
    ...plain("ping-press", "direct", ["supervisory", HOST.engWs], ["cell-b", HOST.pressPlc], {
      protocol: "icmp",
      ports: [],
    }),
  },
  {
    ...plain("press-diagnosis", "direct", ["supervisory", HOST.engWs], ["cell-b", HOST.pressPlc], {
      protocol: "tcp",
      ports: ports(4711, 4713),
    }),
    windows: [{ days: [0], fromMinute: 120, toMinute: 360, timezone: "Europe/Vienna" }],
  },
  plain("sis-status", "diode", ["safety", HOST.sis], ["supervisory", HOST.hmi], {
    protocol: "udp",
    ports: ports(514),
  }),
  gated({
    name: "vendor-services-press",
    via: "session",
    from: ["vendor", HOST.vendorPc],
    to: ["cell-b", HOST.pressPlc],
    room: "gate-vendor",
    listen: ["10.30.0.30", 5001],
    egress: "10.31.0.31",
    slots: 2,
    line: 141,
  }),
];

export function demoLegs(conduits: readonly Conduit[] = CONDUITS): Legs {
  const links = ROOMS.flatMap((room) =>
    (["outer", "inner"] as const).flatMap((point) => {
      const link = (room as Legs["rooms"][number])[point];
      if (link === undefined) return [];
      const first = link.addresses[0] ?? 0;
      const span = [{ first, last: first + link.addresses.length - 1 }];
      return [zone(`dmz/${room.name}`, "dmz", point, link.interface, span)];
    }),
  );
  const own = NETWORKS.map(([, , , , network]) => ip(network) + 1);
  const transit = { outer: ip("10.30.0.1"), inner: ip("10.31.0.1") };
  return {
    format: 1,
    site: "brewery-7",
    policySha256: "0".repeat(64),
    timezone: "Europe/Vienna",
    limits: {
      sessionsPerZone: 4,
      timeoutsSeconds: { tcpOpening: 2, tcpOpen: 60, tcpClosing: 1, udp: 3, icmp: 1 },
    },
    zones: [
      ...NETWORKS.map(([name, kind, point, device, network]) =>
        zone(name, kind, point, device, hosts(network)),
      ),
      ...links,
    ],
    attachments: NETWORKS.map(([name, , point, nic, network]) => ({
      zone: name,
      point,
      nic,
      interface: nic,
      mode: "routed" as const,
      addresses: [{ address: ip(network) + 1, length: 24 }],
      routes: [],
    })),
    rooms: ROOMS,
    transit,
    own: [...own, transit.outer, transit.inner],
    assets: [],
    broadcast: NETWORKS.flatMap(([, , , , network]) => [ip(network), ip(network) + 255]),
    thresholds: [],
    conduits: [...conduits].sort((a, b) => (a.name < b.name ? -1 : 1)),
  };
}

/** The demo plant's legs with one conduit changed. */
export function withConduit(name: string, change: Partial<Conduit>): Legs {
  const legs = demoLegs();
  return {
    ...legs,
    conduits: legs.conduits.map((conduit) =>
      conduit.name === name ? { ...conduit, ...change } : conduit,
    ),
  };
}

export function without(name: string): Legs {
  return demoLegs(demoLegs().conduits.filter((conduit) => conduit.name !== name));
}

export const GRANT: Grant = {
  id: "g-1",
  conduit: "vendor-services-press",
  person: "vendor-tech",
  reason: "Bearing",
  source: HOST.vendorPc,
  asset: "press-plc",
  target: HOST.pressPlc,
  protocol: "tcp",
  port: 502,
  slot: 1,
  notBefore: NOW - HOUR,
  notAfter: NOW + HOUR,
};
