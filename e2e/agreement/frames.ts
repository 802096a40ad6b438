/**
 * Frames for the agreement check: every equivalence class that a policy makes at one point, every way
 * to break a frame, and seeded random ones. Each carries an IP identification of its own, so that a
 * verdict can be told from the others'.
 */
import type { Interval } from "@sallyport/core";
import type { Legs, Point } from "@sallyport/policy/legs";
import {
  type FrameSpec,
  ICMP_TYPE,
  TCP_FLAG,
  writeArp,
  writeFrame,
  writeIpv6,
} from "@sallyport/wire";

export interface TestFrame {
  readonly interface: string;
  readonly bytes: Uint8Array;
  /** For a person who reads a disagreement. */
  readonly what: string;
}

const { syn, ack, fin, rst, psh, urg } = TCP_FLAG;
export const FLAG_CLASSES: readonly number[] = [
  ...[syn, syn | ack, ack, fin | ack, rst, rst | ack],
  ...[0, syn | fin, syn | rst, fin, psh | urg, 63, syn | urg, ack | psh | urg],
];

/** Mulberry32: small, seeded, good enough to choose test cases. */
export function randomOf(seed: number): (below: number) => number {
  let state = seed >>> 0;
  return (below) => {
    state = (state + 0x6d2b79f5) >>> 0;
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state);
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
    return Math.floor((((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32) * below);
  };
}

interface Pools {
  readonly sources: readonly number[];
  readonly destinations: readonly number[];
  readonly ports: readonly number[];
  readonly interfaces: readonly string[];
  interfaceOf(address: number): string | undefined;
}

const SPECIAL = [0, 0x7f000001, 0xe0000001, 0xefffffff, 0xffffffff, 0x08080808];
/** A plant of any size gives at most this many of each; which ones, the seed decides. */
const ADDRESSES_MAX = 30;
const PORTS_MAX = 10;

function edges(intervals: readonly Interval[], top: number): number[] {
  return intervals
    .flatMap(({ first, last }) => [first - 1, first, last, last + 1])
    .filter((value) => value >= 0 && value <= top);
}

function pools(legs: Legs, point: Point, random: (below: number) => number): Pools {
  const own = legs.conduits.flatMap(({ legs: all }) => all.filter((leg) => leg.point === point));
  const zones = edges(
    legs.zones.flatMap(({ addresses }) => addresses),
    0xffffffff,
  );
  const redirects = own.flatMap((leg) => leg.redirects.map(({ listenAddress }) => listenAddress));
  const common = [...zones, ...SPECIAL, ...legs.own, ...legs.broadcast, ...redirects];
  const ports = edges(
    own.flatMap((leg) => leg.ports),
    0xffff,
  );
  const listens = own.flatMap((leg) => leg.redirects.map(({ listenPort }) => listenPort));
  const here = legs.zones.filter((zone) => zone.point === point);
  return {
    sources: pick(
      own.flatMap((leg) => within(leg.from)),
      common,
      ADDRESSES_MAX,
      random,
    ),
    destinations: pick(
      own.flatMap((leg) => within(leg.to)),
      common,
      ADDRESSES_MAX,
      random,
    ),
    ports: pick(
      own.flatMap((leg) => within(leg.ports)),
      [0, 65535, ...ports, ...listens],
      PORTS_MAX,
      random,
    ),
    interfaces: [...new Set(here.map((zone) => zone.interface))],
    interfaceOf: (address) =>
      here.find((zone) =>
        zone.addresses.some((held) => held.first <= address && address <= held.last),
      )?.interface,
  };
}

function within(intervals: readonly Interval[]): number[] {
  return intervals.flatMap(({ first, last }) => [first, last]);
}

/** Distinct values: half of the room for the policy's own, the rest for those around them. */
function pick(
  own: readonly number[],
  around: readonly number[],
  max: number,
  random: (below: number) => number,
): number[] {
  const chosen = [...new Set(own)];
  while (chosen.length > max / 2) chosen.splice(random(chosen.length), 1);
  const others = [...new Set(around)].filter((value) => !chosen.includes(value));
  while (chosen.length + others.length > max) others.splice(random(others.length), 1);
  return [...chosen, ...others];
}

/** Source x destination x (port, flag and protocol classes) on the right and on a wrong interface. */
export function classFrames(legs: Legs, point: Point, seed: number): TestFrame[] {
  const random = randomOf(seed);
  const pool = pools(legs, point, random);
  const frames: TestFrame[] = [];
  const numbered = new Numbering();
  for (const source of pool.sources) {
    const right = pool.interfaceOf(source) ?? pool.interfaces[0] ?? "";
    const wrong = pool.interfaces.find((name) => name !== right) ?? right;
    for (const destination of pool.destinations) {
      const ends = { source, destination };
      const port = pool.ports[random(pool.ports.length)] ?? 0;
      for (const destinationPort of pool.ports) {
        frames.push(numbered.frame(right, { ...ends, protocol: "tcp", destinationPort }));
      }
      const flags = FLAG_CLASSES[random(FLAG_CLASSES.length)] ?? syn;
      frames.push(
        numbered.frame(right, { ...ends, protocol: "tcp", destinationPort: port, flags }),
        numbered.frame(right, { ...ends, protocol: "udp", destinationPort: port }),
        numbered.frame(right, { ...ends, protocol: "icmp" }),
        numbered.frame(wrong, { ...ends, protocol: "tcp", destinationPort: port }),
        numbered.frame(right, { ...ends, protocol: 47, payload: new Uint8Array(16) }),
      );
    }
  }
  return [
    ...frames,
    ...legEdges(legs, point, pool, random, numbered),
    ...brokenFrames(legs, point, numbered),
  ];
}

/** Policies of any size give at most this many legs whose every edge is tried; the seed decides which. */
const EDGED_LEGS_MAX = 24;

/** Each side of each end of a leg's sources, targets and ports, with the other two inside. */
function legEdges(
  legs: Legs,
  point: Point,
  pool: Pools,
  random: (below: number) => number,
  numbered: Numbering,
): TestFrame[] {
  const here = legs.conduits
    .flatMap((conduit) => conduit.legs)
    .filter((leg) => leg.point === point);
  while (here.length > EDGED_LEGS_MAX) here.splice(random(here.length), 1);
  return here.flatMap(({ from, to, ports, protocol }) => {
    const inside = [from[0]?.first ?? 0, to[0]?.first ?? 0, ports[0]?.first ?? 0] as const;
    const tries = [
      ...edges(from, 0xffffffff).map((source) => [source, inside[1], inside[2]] as const),
      ...edges(to, 0xffffffff).map((target) => [inside[0], target, inside[2]] as const),
      ...edges(ports, 0xffff).map((port) => [inside[0], inside[1], port] as const),
    ];
    return tries.map(([source, destination, destinationPort]) => {
      const on = pool.interfaceOf(source) ?? pool.interfaces[0] ?? "";
      return numbered.frame(on, { source, destination, protocol, destinationPort });
    });
  });
}

/** Gives each frame a source port of its own (no two share a session) and an identification. */
class Numbering {
  #count = 0;

  frame(name: string, spec: FrameSpec): TestFrame {
    this.#count++;
    const sourcePort = spec.sourcePort ?? 1024 + (this.#count % 64_000);
    // 65,535 marks the end of a run.
    const identification = this.#count % 65_535;
    const identifier = this.#count % 65_536;
    const icmp = spec.icmp ?? { type: ICMP_TYPE.echoRequest, identifier };
    const full = { ...spec, sourcePort, identification, icmp };
    return { interface: name, bytes: writeFrame(full), what: describe(name, full) };
  }
}

function describe(name: string, spec: FrameSpec): string {
  const { payload: _, icmp, ...rest } = spec;
  const shown = { ...rest, source: hex(spec.source), destination: hex(spec.destination) };
  return `${name} ${JSON.stringify(spec.protocol === "icmp" ? { ...shown, icmp } : shown)}`;
}

function hex(address: number): string {
  return [24, 16, 8, 0].map((shift) => (address >>> shift) & 255).join(".");
}

/** Frames that the kernel's own IP input stops, so that nftables has no say. */
export function kernelFrames(legs: Legs, point: Point): TestFrame[] {
  const numbered = new Numbering();
  return openings(legs, point).flatMap(({ on, base }) =>
    KERNEL_BREAKS.map((broken) => numbered.frame(on, { ...base, ...broken })),
  );
}

/** An opening packet of each of the first few legs here, on its right interface. */
function openings(legs: Legs, point: Point): { on: string; base: FrameSpec }[] {
  const zones = legs.zones.filter((zone) => zone.point === point);
  const here = legs.conduits
    .flatMap((conduit) => conduit.legs)
    .filter((leg) => leg.point === point);
  return here.slice(0, 6).flatMap((leg) => {
    const source = leg.from[0]?.first ?? 0;
    const on = zones.find((zone) =>
      zone.addresses.some((held) => held.first <= source && source <= held.last),
    )?.interface;
    const [destination, destinationPort] = [leg.to[0]?.first ?? 0, leg.ports[0]?.first ?? 0];
    return on === undefined
      ? []
      : [{ on, base: { source, destination, protocol: leg.protocol, destinationPort } }];
  });
}

/** Every way to break a frame, on tuples that a conduit allows and on one that none does. */
function brokenFrames(legs: Legs, point: Point, numbered: Numbering): TestFrame[] {
  const frames: TestFrame[] = [];
  for (const { on, base: opening } of openings(legs, point)) {
    const { destinationPort = 0, source, destination } = opening;
    for (const port of [destinationPort, destinationPort ^ 1]) {
      const base = { ...opening, destinationPort: port };
      for (const broken of BREAKS) frames.push(numbered.frame(on, { ...base, ...broken }));
      for (const flags of FLAG_CLASSES) {
        frames.push(numbered.frame(on, { ...base, protocol: "tcp", flags }));
      }
      for (let type = 0; type < 20; type++) {
        frames.push(numbered.frame(on, { ...base, protocol: "icmp", icmp: { type } }));
      }
      frames.push(numbered.frame(on, { ...base, protocol: "icmp", icmp: { type: 8, code: 1 } }));
    }
    frames.push(
      { interface: on, bytes: writeIpv6(), what: `${on} IPv6` },
      { interface: on, bytes: writeArp(source, destination), what: `${on} ARP` },
    );
  }
  return frames;
}

const BREAKS: readonly Partial<FrameSpec>[] = [
  { moreFragments: true },
  { fragmentOffset: 1 },
  { dontFragment: true },
  { options: Uint8Array.of(1, 1, 1, 0) },
  { options: Uint8Array.of(1, 1, 1, 0), moreFragments: true },
  { transportBytes: 7 },
  { transportBytes: 8 },
  { transportBytes: 19 },
  { transportBytes: 20 },
  { dataOffset: 4 },
  { dataOffset: 6 },
  { dataOffset: 15 },
  { udpLength: 7 },
  { udpLength: 8 },
  { udpLength: 9 },
  { udpLength: 0 },
  { badTransportChecksum: true },
  { padding: 18 },
  { vlan: 7 },
  { ethertype: 0x88b8 },
];

/** Frames that the kernel's own IP input stops: the engines agree on the verdict, not on a reason. */
const KERNEL_BREAKS: readonly Partial<FrameSpec>[] = [
  { badChecksum: true },
  { version: 6 },
  { ihl: 4 },
  { ihl: 6 },
  { totalLength: 19 },
  { totalLength: 1500 },
  { truncateTo: 30 },
];

/** Seeded random frames: fields from the policy's own edges, sometimes anything. */
export function randomFrames(legs: Legs, point: Point, seed: number, count: number): TestFrame[] {
  const random = randomOf(seed);
  const pool = pools(legs, point, random);
  const numbered = new Numbering();
  const from = (values: readonly number[]): number => values[random(values.length)] ?? 0;
  const address = (values: readonly number[]): number =>
    random(10) === 0 ? from(SPECIAL) + random(4) : from(values);
  return Array.from({ length: count }, () => {
    const source = address(pool.sources);
    const right = pool.interfaceOf(source);
    const name =
      (random(12) > 0 ? right : undefined) ?? pool.interfaces[random(pool.interfaces.length)] ?? "";
    const protocol = (["tcp", "tcp", "tcp", "udp", "icmp", 47] as const)[random(6)] ?? "tcp";
    const broken = random(5) === 0 ? (BREAKS[random(BREAKS.length)] ?? {}) : {};
    return numbered.frame(name, {
      source: Math.min(source, 0xffffffff),
      destination: Math.min(address(pool.destinations), 0xffffffff),
      protocol,
      destinationPort: random(8) === 0 ? random(65_536) : from(pool.ports),
      ...(random(3) === 0 ? { flags: random(64) } : {}),
      ...(random(4) === 0
        ? { icmp: { type: random(20), code: random(2), identifier: random(65_536) } }
        : {}),
      ...(protocol === 47 ? { payload: new Uint8Array(random(24)) } : {}),
      ...broken,
    });
  });
}
