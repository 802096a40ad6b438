/** Legs → what each room shall have: pure data, compared line by line when a policy changes. */
import { formatIpv4, type Ipv4, SallyportError } from "@sallyport/core";
import type { Attachment, Legs, Link, Point } from "@sallyport/policy/legs";
import {
  componentGuard,
  engineGuard,
  hostOrCidr,
  inspectTable,
  prefixes,
  type Rule,
} from "./guard.ts";

/** The mirror: `inner` clones frames into one end, decoders hold the other. */
export const MIRROR = { engineEnd: "mirror0", tapEnd: "tap0" } as const;
export const POINTS: readonly Point[] = ["outer", "inner"];

export interface SitePlan {
  /** Engine rooms first. */
  readonly rooms: readonly RoomPlan[];
  readonly nics: readonly { readonly nic: string; readonly room: Point }[];
}

export interface RoomPlan {
  readonly room: string;
  readonly point?: Point;
  readonly guard: readonly Rule[];
  /** Made in this room: `link add …`, by interface. A veth's other end appears in its room. */
  readonly makes: ReadonlyMap<string, string>;
  /** All interfaces of the room but `lo`. */
  readonly interfaces: readonly string[];
  /** Those that forward. */
  readonly routed: readonly string[];
  /** What the engine asks of the kernel here, `net.…` → value. */
  readonly engineNeeds: Readonly<Record<string, string>>;
  readonly addresses: readonly InterfaceAddress[];
  readonly neighbors: readonly Neighbor[];
  readonly routes: readonly Route[];
}

interface InterfaceAddress {
  readonly cidr: string;
  readonly dev: string;
}

interface Neighbor {
  readonly address: string;
  readonly mac: string;
  readonly dev: string;
}

export interface Route {
  readonly destination: string;
  /** Undefined: unreachable. */
  readonly dev?: string;
  readonly via?: string;
  readonly source?: string;
  readonly table: "main" | number;
}

type Draft = {
  -readonly [Key in
    | "makes"
    | "addresses"
    | "neighbors"
    | "routes"
    | "routed"]: RoomPlan[Key] extends readonly (infer Item)[] ? Item[] : Map<string, string>;
} & { interfaces: Set<string> };

/** A component's tables: one way out per link, chosen by the socket's own address. */
const COMPONENT_TABLE: Readonly<Record<Point, number>> = { outer: 101, inner: 102 };

/** `namespaceOf` names the namespace of a room: a veth is made with its far end in place. */
export function planSite(legs: Legs, namespaceOf: (room: string) => string): SitePlan {
  const engines = { outer: draft(), inner: draft() };
  const nics = new Map<string, Point>();
  for (const attachment of legs.attachments) {
    const { nic, point } = attachment;
    if ((nics.get(nic) ?? point) !== point) {
      const message = `${nic} carries zones of both outer and inner; a NIC is in one room`;
      throw new SallyportError("nic-in-two-rooms", message, { hint: "use one NIC a side" });
    }
    nics.set(nic, point);
    attach(engines[point], attachment);
  }
  const components = legs.rooms.map((room, index) => {
    const inside = draft();
    const links: { addresses: readonly Ipv4[]; table: number }[] = [];
    for (const point of POINTS) {
      const link = room[point];
      if (link === undefined || link.addresses.length === 0) continue;
      const table = COMPONENT_TABLE[point];
      links.push({ addresses: link.addresses, table });
      const far = { netns: namespaceOf(room.name), gateway: legs.transit[point], table };
      join(engines[point], inside, link, point, index, far);
    }
    return finish(room.name, inside, componentGuard(links));
  });
  engines.inner.makes.set(
    MIRROR.engineEnd,
    veth(MIRROR.engineEnd, MIRROR.tapEnd, namespaceOf("tap")),
  );
  engines.inner.interfaces.add(MIRROR.engineEnd);
  const tap = draft();
  tap.interfaces.add(MIRROR.tapEnd);
  return {
    rooms: [
      ...POINTS.map((point) => ({
        ...finish(point, engines[point], engineGuard(legs, point)),
        point,
      })),
      finish("tap", tap, componentGuard([])),
      ...components,
    ],
    nics: [...nics].map(([nic, room]) => ({ nic, room })),
  };
}

function draft(): Draft {
  return {
    makes: new Map(),
    interfaces: new Set(),
    routed: [],
    addresses: [],
    neighbors: [],
    routes: [],
  };
}

function finish(room: string, from: Draft, guard: readonly Rule[]): RoomPlan {
  return {
    ...from,
    room,
    guard,
    engineNeeds: {},
    interfaces: [...from.interfaces],
    routed: [...new Set(from.routed)],
  };
}

function attach(room: Draft, attachment: Attachment): void {
  const dev = attachment.interface;
  if (attachment.vlan !== undefined) {
    const text = `link add link ${attachment.nic} name ${dev} type vlan id ${attachment.vlan}`;
    room.makes.set(dev, text);
  }
  room.interfaces.add(attachment.nic).add(dev);
  if (attachment.mode === "tap") return;
  room.routed.push(dev);
  for (const { address, length } of attachment.addresses) {
    room.addresses.push({ cidr: `${formatIpv4(address)}/${length}`, dev });
  }
  for (const { network, length, via } of attachment.routes) {
    const destination = hostOrCidr({ address: network, length });
    room.routes.push({ destination, via: formatIpv4(via), dev, table: "main" });
  }
}

/** Both ends of a component's veth: /32 addresses and fixed neighbors, so nobody can claim one. */
function join(
  engine: Draft,
  inside: Draft,
  link: Link,
  point: Point,
  index: number,
  far: { readonly netns: string; readonly gateway: Ipv4; readonly table: number },
): void {
  const [own = 0] = link.addresses;
  const dev = `${point}0`;
  const [gateway, first] = [formatIpv4(far.gateway), formatIpv4(own)];
  const [engineMac, insideMac] = [mac("47", own), mac("53", own)];
  engine.makes.set(link.interface, veth(link.interface, dev, far.netns, engineMac, insideMac));
  engine.interfaces.add(link.interface);
  engine.routed.push(link.interface);
  engine.addresses.push({ cidr: `${gateway}/32`, dev: link.interface });
  engine.neighbors.push({ address: first, mac: insideMac, dev: link.interface });
  for (const table of ["main", inspectTable(index)] as const) {
    for (const prefix of [{ address: own, length: 32 }, ...prefixes(link.addresses)]) {
      const destination = hostOrCidr(prefix);
      const via = destination === first ? {} : { via: first };
      const route = { destination, dev: link.interface, table, ...via };
      if (!engine.routes.some((other) => routeKey(other) === routeKey(route)))
        engine.routes.push(route);
    }
  }
  engine.routes.push({ destination: "default", table: inspectTable(index) });

  inside.interfaces.add(dev);
  for (const address of link.addresses)
    inside.addresses.push({ cidr: `${formatIpv4(address)}/32`, dev });
  inside.neighbors.push({ address: gateway, mac: engineMac, dev });
  inside.routes.push({
    destination: "default",
    via: gateway,
    dev,
    source: first,
    table: far.table,
  });
}

function veth(
  name: string,
  peer: string,
  netns: string,
  nameMac?: string,
  peerMac?: string,
): string {
  const at = (address: string | undefined): string =>
    address === undefined ? "" : ` address ${address}`;
  return `link add name ${name}${at(nameMac)} type veth peer name ${peer}${at(peerMac)} netns ${netns}`;
}

/** Locally administered, and told by the link's own address, which no other link has. */
function mac(side: string, address: Ipv4): string {
  const octets = address.toString(16).padStart(8, "0").match(/../g) ?? [];
  return ["02", side, ...octets].join(":");
}

/** All but the interfaces themselves, in an order in which each line can be run. */
export function configLines(plan: RoomPlan): string[] {
  return [
    ...plan.addresses.map(({ cidr, dev }) => `addr replace ${cidr} dev ${dev}`),
    ...["lo", ...plan.interfaces].map((dev) => `link set ${dev} up`),
    ...plan.neighbors.map(
      ({ address, mac: lladdr, dev }) =>
        `neigh replace ${address} lladdr ${lladdr} dev ${dev} nud permanent`,
    ),
    ...plan.routes
      .filter(({ dev }) => dev !== undefined)
      .map((route) => `route replace ${routeText(route)}`),
  ];
}

export function routeText({ destination, dev, via, source, table }: Route): string {
  if (dev === undefined) return `unreachable ${destination} table ${table}`;
  const next = via === undefined ? "" : ` via ${via}`;
  const onlink = via === undefined ? "" : " onlink";
  const from = source === undefined ? "" : ` src ${source}`;
  return `${destination}${next} dev ${dev}${from} table ${table}${onlink}`;
}

/** What tells a route from another in a listing. */
export function routeKey({ destination, dev, via, table }: Route): string {
  return `${destination} via ${via ?? "-"} dev ${dev ?? "-"} table ${table}`;
}
