/** What whoever has root in a room, or holds the other end of a link, tries; and who hears of it. */
import type { Legs, Point } from "@sallyport/policy/legs";
import { Capture } from "../../lab/capture.ts";
import { PYTHON } from "../../lab/device.ts";
import { must } from "../../lab/shell.ts";
import type { Site } from "../../lab/site.ts";
import { PORTS } from "./intruders.ts";
import { linksOf, netnsOf, POINTS } from "./rooms.ts";
import { addressesOf } from "./wires.ts";

/** `sweep.py` sends its frames from this port. */
export const SWEEP_PORT = 47_000;

export interface Sweep {
  readonly own: readonly string[];
  readonly targets: readonly string[];
  readonly lies: readonly string[];
  readonly links: readonly string[];
  readonly ports?: readonly number[];
}

export interface Swept {
  readonly uid: number;
  readonly answered: readonly (readonly [source: string, target: string, port: number])[];
  readonly tried: number;
  readonly frames: number;
}

export async function sweep(
  netns: string,
  { own, targets, lies, links, ports = [] }: Sweep,
): Promise<Swept> {
  const all = [...expand(PORTS), ...ports];
  const text = await must(
    [
      ...[...PYTHON, `${import.meta.dirname}/sweep.py`, "--own", own.join(",")],
      ...["--targets", targets.join(","), "--lies", lies.join(","), "--links", links.join(",")],
      ...["--ports", all.join(",")],
    ],
    { netns },
  );
  return JSON.parse(text) as Swept;
}

function expand(ports: string): number[] {
  return ports.split(",").flatMap((part) => {
    const [first = 0, last = first] = part.split("-").map(Number);
    return Array.from({ length: last - first + 1 }, (_, index) => first + index);
  });
}

export interface GateWatch {
  /** What somebody else sent into a room: `gate-erp: 10.10.0.66 > 10.30.0.33:21701`. */
  heard(since: number): string[];
  stop(): Promise<void>;
}

/**
 * What comes in on one of a room's links. What the room itself sends could be far more than a capture
 * holds; tcpdump's own `inbound` loses the first packets, which libpcap filters a second time without
 * knowing their direction.
 */
export async function captureInward(
  site: Site,
  room: string,
  point: Point,
  filter: readonly string[] = ["not", "arp"],
): Promise<Capture> {
  const dev = `${point}0`;
  const own = (await linksOf(site, room)).find(({ ifname }) => ifname === dev)?.address;
  if (own === undefined) throw new RangeError(`${room} has no ${dev}`);
  const inward = ["not", "ether", "src", own, "and", ...filter];
  return Capture.start(netnsOf(site, room), dev, inward);
}

/** Captures inside every gate's room, on each of its links. */
export async function watchGates(site: Site, legs: Legs): Promise<GateWatch> {
  const links = legs.rooms.flatMap((room) =>
    POINTS.filter((point) => room[point] !== undefined).map((point) => ({
      room: room.name,
      point,
    })),
  );
  const captures = await Promise.all(
    links.map(async ({ room, point }) => ({
      room,
      capture: await captureInward(site, room, point),
    })),
  );
  return {
    heard: (since) =>
      captures.flatMap(({ room, capture }) =>
        capture
          .since(since)
          .filter(({ source }) => !addressesOf(legs, room).includes(source))
          .map(({ source, destination, port }) => `${room}: ${source} > ${destination}:${port}`),
      ),
    stop: async () => {
      await Promise.all(captures.map(({ capture }) => capture.stop()));
    },
  };
}
