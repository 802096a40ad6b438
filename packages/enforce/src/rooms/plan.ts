/** Legs → what each room shall have, as lines for `ip`, compared line by line when a policy changes. */
import { formatCidr, formatIpv4, type Ipv4, prefixInterval, SallyportError } from "@sallyport/core";
import type { Attachment, Legs, Link, Point } from "@sallyport/policy/legs";
import { componentGuard, engineGuard, hostOrCidr, inspectTable, routesTo } from "./guard.ts";

/** The mirror: `inner` clones frames into one end, decoders hold the other. */
/** A sample is a head of 46 bytes and then the whole frame, of 1,514 bytes at most on an ordinary NIC. */
const MIRROR_MTU = 2000;
export const MIRROR = { engineEnd: "mirror0", tapEnd: "tap0" } as const;
export const POINTS: readonly Point[] = ["outer", "inner"];

export interface SitePlan {
  /** Engine rooms first. */
  readonly rooms: readonly RoomPlan[];
  readonly nics: readonly { readonly nic: string; readonly room: Point }[];
}

export interface RoomPlan {
  readonly room: string;
  readonly point: Point | undefined;
  readonly guard: readonly string[];
  /** Made in this room: `link add …`, by interface. A veth's other end appears in its room. */
  readonly makes: ReadonlyMap<string, string>;
  /** All interfaces of the room but `lo`. */
  readonly interfaces: ReadonlySet<string>;
  /** Those that forward. */
  readonly routed: ReadonlySet<string>;
  /** Addresses, neighbors and routes, each `… replace …`; a listing gives the same text. */
  readonly lines: readonly string[];
  /** What the engine asks of the kernel here, `net.…` → value. */
  readonly engineNeeds: Readonly<Record<string, string>>;
}

class Draft {
  readonly makes = new Map<string, string>();
  readonly interfaces = new Set<string>();
  readonly routed = new Set<string>();
  readonly lines: string[] = [];

  plan(room: string, guard: readonly string[], point?: Point): RoomPlan {
    const { makes, interfaces, routed, lines } = this;
    return { room, point, guard, makes, interfaces, routed, lines, engineNeeds: {} };
  }
}

/** A component's tables: one way out per link, chosen by the socket's own address. */
const COMPONENT_TABLE: Readonly<Record<Point, number>> = { outer: 101, inner: 102 };

/** `namespaceOf` names the namespace of a room: a veth is made with its far end in place. */
export function planSite(legs: Legs, namespaceOf: (room: string) => string): SitePlan {
  const engines = { outer: new Draft(), inner: new Draft() };
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
    const inside = new Draft();
    const links = POINTS.flatMap((point) => {
      const link = room[point];
      if (link === undefined || link.addresses.length === 0) return [];
      const table = COMPONENT_TABLE[point];
      const far = { netns: namespaceOf(room.name), dev: `${point}0`, table };
      join(engines[point], inside, link, inspectTable(index), legs.transit[point], far);
      return [{ addresses: link.addresses, table }];
    });
    return inside.plan(room.name, componentGuard(links));
  });
  const tap = new Draft();
  const size = `mtu ${MIRROR_MTU}`;
  const peer = `peer name ${MIRROR.tapEnd} ${size} netns ${namespaceOf("tap")}`;
  const mirror = `link add name ${MIRROR.engineEnd} ${size} type veth ${peer}`;
  engines.inner.makes.set(MIRROR.engineEnd, mirror);
  engines.inner.interfaces.add(MIRROR.engineEnd);
  tap.interfaces.add(MIRROR.tapEnd);
  return {
    rooms: [
      ...POINTS.map((point) => engines[point].plan(point, engineGuard(legs, point), point)),
      tap.plan("tap", componentGuard([])),
      ...components,
    ],
    nics: [...nics].map(([nic, room]) => ({ nic, room })),
  };
}

function attach(room: Draft, { nic, interface: dev, vlan, ...attachment }: Attachment): void {
  if (vlan !== undefined) {
    room.makes.set(dev, `link add link ${nic} name ${dev} type vlan id ${vlan}`);
  }
  room.interfaces.add(nic).add(dev);
  if (attachment.mode === "tap") return;
  room.routed.add(dev);
  for (const address of attachment.addresses) {
    const own = formatIpv4(address.address);
    const network = hostOrCidr({ ...address, address: prefixInterval(address).first });
    room.lines.push(`addr replace ${formatCidr(address)} dev ${dev}`);
    // The kernel makes this route with the address; as a line of ours a stranger's in its place shows.
    room.lines.push(`route replace ${network} dev ${dev} src ${own} table main`);
  }
  for (const { network, length, via } of attachment.routes) {
    const destination = hostOrCidr({ address: network, length });
    room.lines.push(
      `route replace ${destination} via ${formatIpv4(via)} dev ${dev} table main onlink`,
    );
  }
}

/** Both ends of a component's veth: /32 addresses and fixed neighbors, so nobody can claim one. */
function join(
  engine: Draft,
  inside: Draft,
  { interface: near, addresses }: Link,
  inspected: number,
  transit: Ipv4,
  far: { readonly netns: string; readonly dev: string; readonly table: number },
): void {
  const [own = 0] = addresses;
  const [gateway, first] = [formatIpv4(transit), formatIpv4(own)];
  const [nearMac, farMac] = [mac("47", own), mac("53", own)];
  const peer = `peer name ${far.dev} address ${farMac} netns ${far.netns}`;
  engine.makes.set(near, `link add name ${near} address ${nearMac} type veth ${peer}`);
  engine.interfaces.add(near);
  engine.routed.add(near);
  const others = routesTo(addresses).filter((destination) => destination !== first);
  engine.lines.push(
    `addr replace ${gateway}/32 dev ${near}`,
    neighbor(first, farMac, near),
    ...["main", inspected].flatMap((table) => [
      `route replace ${first} dev ${near} table ${table}`,
      ...others.map((to) => `route replace ${to} via ${first} dev ${near} table ${table} onlink`),
    ]),
  );
  inside.interfaces.add(far.dev);
  inside.lines.push(
    ...addresses.map((address) => `addr replace ${formatIpv4(address)}/32 dev ${far.dev}`),
    neighbor(gateway, nearMac, far.dev),
    `route replace default via ${gateway} dev ${far.dev} src ${first} table ${far.table} onlink`,
  );
}

function neighbor(address: string, lladdr: string, dev: string): string {
  return `neigh replace ${address} lladdr ${lladdr} dev ${dev} nud permanent`;
}

/** Locally administered, and told by the link's own address, which no other link has. */
function mac(side: string, address: Ipv4): string {
  return `02${side}${address.toString(16).padStart(8, "0")}`.replace(/..(?!$)/g, "$&:");
}

/** The room's `lines` in an order in which each can be run: a route needs its link up. */
export function configLines(plan: RoomPlan): string[] {
  const up = ["lo", ...plan.interfaces].map((dev) => `link set ${dev} up`);
  const addresses = plan.lines.filter((line) => line.startsWith("addr "));
  return [...addresses, ...up, ...plan.lines.filter((line) => !line.startsWith("addr "))];
}
