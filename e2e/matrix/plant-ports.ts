/** What the scans ask for: the policy's ports with their neighbors, and those nmap likes best. */
import { formatIpv4, normalize } from "@sallyport/core";
import type { Legs } from "@sallyport/policy";
import { topPorts } from "../../lab/attacks.ts";
import { HOSTS, type HostName, hostNamed } from "../../lab/plant.ts";
import { program, PYTHON } from "../../lab/device.ts";
import { within } from "../../lab/shell.ts";
import type { Site } from "../../lab/site.ts";
import { CONTROL_PORT } from "./rounds.ts";

const TOP = 1000;
const PORT_MAX = 65_535;
const LISTENING_LIMIT_MS = 10_000;

export interface PortLists {
  /** Every port that a leg names, or a gate listens on, with its neighbors. */
  readonly policy: string;
  readonly tcp: string;
  readonly udp: string;
}

export async function portLists(legs: Legs): Promise<PortLists> {
  const named = legs.conduits.flatMap(({ legs: parts, listeners }) => [
    ...parts.flatMap(({ ports }) => ports),
    ...listeners.map(({ listenPort }) => ({ first: listenPort, last: listenPort })),
  ]);
  const wider = named.map(({ first, last }) => ({
    first: Math.max(1, first - 1),
    last: Math.min(PORT_MAX, last + 1),
  }));
  const policy = normalize(wider)
    .map(({ first, last }) => `${first}-${last}`)
    .join(",");
  const lists = [await topPorts("tcp", TOP), await topPorts("udp", TOP)];
  const [tcp = "", udp = ""] = lists.map((top) => `${policy},${top}`);
  return { policy, tcp, udp };
}

/** Every address of the box itself, and of the rooms of its DMZ. */
export function boxAddresses(legs: Legs): string[] {
  const rooms = legs.rooms.flatMap(({ outer, inner }) => [
    ...(outer?.addresses ?? []),
    ...(inner?.addresses ?? []),
  ]);
  return [...new Set([...legs.own, ...rooms])].map(formatIpv4);
}

/** A listener on every host, and what each conduit promises to find on its target. */
export async function listenEverywhere(site: Site, extra: Extra = {}): Promise<void> {
  const started = HOSTS.map(async ({ name }) => {
    const argv = [...PYTHON, program("devices/listener.py"), "--answer"];
    for (const port of [CONTROL_PORT, ...(extra[name] ?? [])]) argv.push("--tcp", String(port));
    argv.push("--udp", String(CONTROL_PORT));
    let isUp = false;
    const listener = site.plant.spawn(name, argv, () => {
      isUp = true;
    });
    await within(LISTENING_LIMIT_MS, () => isUp || !listener.isRunning || undefined);
    if (!isUp) throw new Error(`no listener on ${name}: ${listener.stderr}`);
  });
  await Promise.all(started);
}
export type Extra = Readonly<Partial<Record<HostName, readonly number[]>>>;

/** Addresses of all hosts outside the source's own segment. */
export function othersOf(from: HostName): string[] {
  const { segment } = hostNamed(from);
  return HOSTS.filter((host) => host.segment !== segment).map(({ address }) => address);
}
