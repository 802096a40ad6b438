/**
 * The links of every host and gate, watched at once: what came over the gateway, said as facts that
 * can be compared as sets. `hmi: 10.43.0.10 opens 10.40.0.10 udp/514`.
 */
import { describePacket, type Packet } from "../../lab/pcap.ts";
import { Capture } from "../../lab/capture.ts";
import { HOSTS, type HostName, SEGMENTS } from "../../lab/plant.ts";
import { must } from "../../lab/shell.ts";
import type { Site } from "../../lab/site.ts";

export type Fact = string;

export interface Sighting {
  readonly at: number;
  readonly fact: Fact;
}

type Transport = "tcp" | "udp";

export function opens(
  link: string,
  from: string,
  to: string,
  port: number,
  protocol: Transport,
): Fact {
  return `${link}: ${from} opens ${to} ${protocol}/${port}`;
}

export function answers(link: string, from: string, port: number, to: string): Fact {
  return `${link}: ${from} tcp/${port} answers ${to}`;
}

/** A gate's end of its cables: in its room they are always called so. */
const ROOM_LINKS = ["outer0", "inner0"] as const;

export class Links {
  readonly #captures: ReadonlyMap<string, Capture>;

  private constructor(captures: ReadonlyMap<string, Capture>) {
    this.#captures = captures;
  }

  /** Every frame that no neighbor sent, ARP aside, on each host's and each gate's link. */
  static async watch(site: Site, rooms: readonly string[]): Promise<Links> {
    const captures = new Map<string, Capture>();
    const start = async (label: string, netns: string, device: string, not: readonly string[]) => {
      const filter = ["not", "arp", ...not.flatMap((mac) => ["and", "not", "ether", "src", mac])];
      captures.set(label, await Capture.start(netns, device, filter));
    };
    try {
      for (const segment of SEGMENTS) {
        const hosts = HOSTS.filter((host) => host.segment === segment.name);
        const inside = (host: HostName): string => `${site.plant.prefix}-${host}`;
        const macs = await Promise.all(hosts.map(({ name }) => macOf(inside(name), "eth0")));
        for (const { name } of hosts) await start(name, inside(name), "eth0", macs);
      }
      for (const room of rooms) {
        const netns = `${site.instance.netnsPrefix}-${room}`;
        for (const device of ROOM_LINKS) {
          const mac = await macOf(netns, device).catch(() => undefined);
          if (mac !== undefined) await start(`${room}/${device}`, netns, device, [mac]);
        }
      }
      return new Links(captures);
    } catch (error) {
      await Promise.allSettled([...captures.values()].map((capture) => capture.stop()));
      throw error;
    }
  }

  get names(): readonly string[] {
    return [...this.#captures.keys()];
  }

  /** All that was seen, in the order of time on each link. */
  async stop(): Promise<readonly Sighting[]> {
    const stopped = [...this.#captures].map(async ([link, capture]) =>
      sightings(link, await capture.stop()),
    );
    const settled = await Promise.allSettled(stopped);
    const failed = settled.find((result) => result.status === "rejected");
    if (failed !== undefined) throw failed.reason;
    return settled.flatMap((result) => (result.status === "fulfilled" ? result.value : []));
  }
}

async function macOf(netns: string, device: string): Promise<string> {
  const [link] = JSON.parse(await must(["ip", "-j", "link", "show", "dev", device], { netns })) as [
    { readonly address: string },
  ];
  return link.address;
}

/** Packets of a conversation whose beginning was seen here are part of that fact. */
export function sightings(link: string, packets: readonly Packet[]): Sighting[] {
  const begun = new Set<Fact>();
  const out: Sighting[] = [];
  for (const packet of packets) {
    const { at, source, destination, sourcePort, port, flags } = packet;
    const see = (fact: Fact): void => {
      begun.add(fact);
      out.push({ at, fact });
    };
    const odd = oddity(packet);
    if (odd !== undefined) {
      see(`${link}: ${odd}: ${describePacket(packet)}`);
      continue;
    }
    if (packet.protocol === 17) {
      see(opens(link, source, destination, port, "udp"));
      continue;
    }
    const opening = opens(link, source, destination, port, "tcp");
    const answer = answers(link, source, sourcePort, destination);
    if (flags === "S") see(opening);
    else if (flags === "SA") see(answer);
    else if (!begun.has(opening) && !begun.has(answer)) {
      see(`${link}: out of nowhere: ${describePacket(packet)}`);
    }
  }
  return out;
}

function oddity(packet: Packet): string | undefined {
  if (packet.source === "") return "not IPv4";
  if (packet.isFragment) return "fragment";
  if (packet.hasIpOptions) return "IP options";
  return packet.protocol === 6 || packet.protocol === 17 ? undefined : "neither TCP nor UDP";
}
