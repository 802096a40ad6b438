/** Every link of the plant watched at once, and held against what the policy lets arrive there. */
import { contains, formatIpv4, type Interval, parseIpv4 } from "@sallyport/core";
import type { Leg, Legs } from "@sallyport/policy/legs";
import type { Capture } from "../../lab/capture.ts";
import { describePacket, type Packet } from "../../lab/pcap.ts";
import { HOSTS, type HostName, hostNamed, segmentOf } from "../../lab/plant.ts";
import { sleep } from "../../lab/shell.ts";
import type { Plant } from "../../lab/topology.ts";

/** Far longer than a packet takes from one end of the plant to a capture at the other. */
const SETTLE_MS = 400;
const SHOWN_MAX = 6;
const [TCP, UDP] = [6, 17];
const IPV4 = 0x0800;
/** 224.0.0.0/4 and above. */
const MULTICAST = 224;

/** One direction of one allowed conversation, as a link at its end sees it. */
interface Arrival {
  readonly protocol: number;
  readonly from: readonly Interval[];
  readonly fromPorts: readonly Interval[];
  readonly to: readonly Interval[];
  readonly toPorts: readonly Interval[];
}

const ANY_PORT: readonly Interval[] = [{ first: 0, last: 65_535 }];

export class Wires {
  readonly #links: ReadonlyMap<HostName, Capture>;
  readonly #allowed: readonly Arrival[];

  private constructor(links: ReadonlyMap<HostName, Capture>, legs: Legs) {
    this.#links = links;
    this.#allowed = arrivals(legs);
  }

  static async watch(plant: Plant, legs: Legs): Promise<Wires> {
    const links = await Promise.all(
      HOSTS.map(async ({ name }) => [name, await plant.capture(name, ["not", "arp"])] as const),
    );
    return new Wires(new Map(links), legs);
  }

  /** Packets that came to the host from outside its own segment. */
  arrived(host: HostName, since: number): readonly Packet[] {
    const own = segmentPrefix(host);
    return this.#at(host, since).filter(({ source, destination }) => {
      return !source.startsWith(own) && destination === hostNamed(host).address;
    });
  }

  /** Packets that the host sent to that address: an attack that sent nothing proves nothing. */
  sent(host: HostName, to: string, since: number): number {
    return this.#at(host, since).filter(({ destination }) => destination === to).length;
  }

  /** Everything that arrived anywhere and that no conduit of the policy brings there. */
  async passed(since: number): Promise<string[]> {
    await sleep(SETTLE_MS);
    const strangers = HOSTS.flatMap(({ name }) =>
      this.#foreign(name, since)
        .filter((packet) => !this.#allowed.some((arrival) => covers(arrival, packet)))
        .map((packet) => `${name}: ${describePacket(packet)}`),
    );
    return [...new Set(strangers)].slice(0, SHOWN_MAX);
  }

  /**
   * What somebody from outside the segment sent to it; the gateway's own address is a stranger as well. A
   * switch also shows what hosts send out of the segment: that is not an arrival.
   */
  #foreign(host: HostName, since: number): readonly Packet[] {
    const own = segmentPrefix(host);
    const { gateway } = segmentOf(host);
    return this.#at(host, since).filter(({ ethertype, source, destination }) => {
      if (ethertype !== IPV4) return true;
      const isHere = destination.startsWith(own) || Number(destination.split(".")[0]) >= MULTICAST;
      return isHere && (source === gateway || !source.startsWith(own));
    });
  }

  #at(host: HostName, since: number): readonly Packet[] {
    const link = this.#links.get(host);
    if (link === undefined) throw new RangeError(`the link of ${host} is not watched`);
    return link.since(since);
  }
}

function segmentPrefix(host: HostName): string {
  const { gateway } = segmentOf(host);
  return gateway.slice(0, gateway.lastIndexOf(".") + 1);
}

/** Session conduits bring nothing anywhere without a grant, and these tests give none. */
function arrivals(legs: Legs): Arrival[] {
  const open = legs.conduits.filter((conduit) => conduit.session === undefined);
  return open.flatMap((conduit) => [
    ...conduit.legs.flatMap(bothWays),
    ...conduit.listeners.map(({ egressAddress, targetAddress, targetPort }) => ({
      protocol: TCP,
      from: [{ first: egressAddress, last: egressAddress }],
      fromPorts: ANY_PORT,
      to: [{ first: targetAddress, last: targetAddress }],
      toPorts: [{ first: targetPort, last: targetPort }],
    })),
  ]);
}

function bothWays(leg: Leg): Arrival[] {
  const protocol = leg.protocol === "udp" ? UDP : TCP;
  const there = {
    protocol,
    from: leg.from,
    fromPorts: ANY_PORT,
    to: leg.to,
    toPorts: leg.ports,
  };
  const back = {
    protocol,
    from: leg.to,
    fromPorts: leg.ports,
    to: leg.from,
    toPorts: ANY_PORT,
  };
  // A gate answers in the name of the asset; what goes there comes from the gate, as a listener says.
  return [...(leg.redirects.length === 0 ? [there] : []), ...(leg.replies ? [back] : [])];
}

function covers(arrival: Arrival, packet: Packet): boolean {
  return (
    packet.protocol === arrival.protocol &&
    holds(arrival.from, packet.source) &&
    holds(arrival.to, packet.destination) &&
    contains(arrival.fromPorts, packet.sourcePort) &&
    contains(arrival.toPorts, packet.port)
  );
}

function holds(set: readonly Interval[], address: string): boolean {
  const number = parseIpv4(address);
  return number !== undefined && contains(set, number);
}

/** The addresses that processes of a component's room have, on either side. */
export function addressesOf(legs: Legs, room: string): string[] {
  const found = legs.rooms.find(({ name }) => name === room);
  return [...(found?.outer?.addresses ?? []), ...(found?.inner?.addresses ?? [])].map(formatIpv4);
}
