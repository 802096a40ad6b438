/** Root's hands on a running gateway: in its rooms, on its processes, past its own doors. */
import fs from "node:fs";
import process from "node:process";
import { formatIpv4 } from "@sallyport/core";
import type { Legs, Point } from "@sallyport/policy/legs";
import { ask, EventReader, eventsDir, fields, type StoredEvent } from "sallyport";
import { HOSTS, segmentOf } from "../../lab/plant.ts";
import { must, within } from "../../lab/shell.ts";
import type { Site } from "../../lab/site.ts";

/** The enforcer seeks drift every five seconds; what it reloads takes a few more on a busy machine. */
const REPAIR_LIMIT_MS = 40_000;

export const POINTS: readonly Point[] = ["outer", "inner"];

export function netnsOf(site: Site, room: string): string {
  return `${site.instance.netnsPrefix}-${room}`;
}

export function inRoom(site: Site, room: string, ...argv: string[]): Promise<string> {
  return must(argv, { netns: netnsOf(site, room) });
}

export async function setInRoom(site: Site, room: string, ...settings: string[]): Promise<void> {
  await inRoom(site, room, "sysctl", "-q", "-w", ...settings);
}

export async function linksOf(site: Site, room: string): Promise<readonly Link[]> {
  const text = await inRoom(site, room, "ip", "-j", "link", "show");
  return (JSON.parse(text) as Link[]).filter(({ ifname }) => ifname !== "lo");
}

interface Link {
  readonly ifname: string;
  readonly address: string;
}

/** Takes the eBPF program, and the hook that it hangs on, off every interface of `inner`. */
export async function detachPrograms(site: Site): Promise<void> {
  for (const { ifname } of await linksOf(site, "inner")) {
    await inRoom(site, "inner", "tc", "qdisc", "del", "dev", ifname, "clsact");
  }
}

/** What the guard is there for: a route for whoever has no mark. */
export function withoutGuard(site: Site, room: Point): Promise<string> {
  return inRoom(site, room, "ip", "rule", "add", "pref", "1", "lookup", "main");
}

export async function legsOf(site: Site): Promise<Legs> {
  return fields(await ask(site.instance.name, { type: "running" }))["legs"] as unknown as Legs;
}

export function addressOf(legs: Legs, room: string, point: Point): string {
  const [own] = legs.rooms.find(({ name }) => name === room)?.[point]?.addresses ?? [];
  if (own === undefined) throw new RangeError(`${room} has no link to ${point}`);
  return formatIpv4(own);
}

/** The interface in the engine's room that leads to the component. */
export function linkTo(legs: Legs, room: string, point: Point): string {
  const link = legs.rooms.find(({ name }) => name === room)?.[point];
  if (link === undefined) throw new RangeError(`${room} has no link to ${point}`);
  return link.interface;
}

/** Packets that the status says were left to a room's routes. */
export async function tripwires(site: Site): Promise<ReadonlyMap<string, number>> {
  const { tripwire } = fields(await ask(site.instance.name, { type: "status" }));
  const rows = Array.isArray(tripwire) ? tripwire.map(fields) : [];
  return new Map(
    rows.flatMap(({ room, packets }) =>
      typeof room === "string" ? [[room, Number(packets)] as const] : [],
    ),
  );
}

/** Packets that the room's routes had no way for, as its kernel counts them. */
export async function unrouted(site: Site, room: Point): Promise<number> {
  const text = await inRoom(site, room, "cat", "/proc/net/netstat");
  const [names = [], values = []] = text
    .split("\n")
    .filter((line) => line.startsWith("IpExt: "))
    .map((line) => line.split(" "));
  const count = Number(values[names.indexOf("InNoRoutes")]);
  if (!Number.isInteger(count)) throw new RangeError(`${room} counts nothing`);
  return count;
}

/** Refusals that the status counts, by reason and the zones at either end. */
export async function denials(
  site: Site,
  reason: string,
  sourceZone: string,
  destinationZone?: string,
): Promise<number> {
  const { denials: counted } = fields(await ask(site.instance.name, { type: "status" }));
  const rows = Array.isArray(counted) ? counted.map(fields) : [];
  const found = rows.filter(
    (row) =>
      row["reason"] === reason &&
      row["sourceZone"] === sourceZone &&
      (destinationZone === undefined || row["destinationZone"] === destinationZone),
  );
  return found.reduce((sum, row) => sum + Number(row["packets"]), 0);
}

export function eventsSince(site: Site, at: number): readonly StoredEvent[] {
  const events = new EventReader(eventsDir(site.instance)).poll();
  return events.filter((event) => Date.parse(event.at) >= at);
}

/** The process that the supervisor started last under this name; its own child may do the work. */
export function startedPid(site: Site, name: string): number {
  const started = eventsSince(site, 0).filter(
    (event) => event.type === "process-started" && event["worker"] === name,
  );
  const pid = started.at(-1)?.["pid"];
  if (typeof pid !== "number") throw new RangeError(`${name} was never started`);
  return pid;
}

type Stays = (line: string) => boolean;

/** What the enforcer finds wrong now; it repairs what could open as it answers. */
async function drift(site: Site): Promise<readonly string[]> {
  const { differences } = fields(await ask(site.instance.name, { type: "drift" }));
  return Array.isArray(differences) ? differences.map(String) : ["no answer"];
}

/** Stops the enforcer's clock, so that what is done to the rooms stays done; the kernel goes on. */
export class Hold implements AsyncDisposable {
  readonly #site: Site;
  readonly #pid: number;
  readonly since = Date.now();
  #held = true;

  private constructor(site: Site) {
    this.#site = site;
    this.#pid = startedPid(site, "enforcer");
    process.kill(this.#pid, "SIGSTOP");
  }

  /** Once nothing is wrong that an act before this one left, but what is expected to stay. */
  static async take(site: Site, stays: Stays = () => false): Promise<Hold> {
    const left = await within(REPAIR_LIMIT_MS, async () =>
      (await drift(site)).every(stays) ? true : undefined,
    );
    if (left === undefined) throw new Error("the gateway is not as it was set up");
    return new Hold(site);
  }

  release(): void {
    if (this.#held) process.kill(this.#pid, "SIGCONT");
    this.#held = false;
  }

  /**
   * Lets the enforcer go on, and waits until it finds nothing wrong but what is expected to stay.
   * Answers all that it found since it was held.
   */
  async repaired(stays: Stays = () => false): Promise<readonly string[]> {
    this.release();
    let left: readonly string[] = [];
    const done = await within(REPAIR_LIMIT_MS, async () => {
      left = await drift(this.#site);
      return left.every(stays) ? true : undefined;
    });
    if (done === undefined) throw new Error(`not repaired: ${left.join("; ")}`);
    const found = eventsSince(this.#site, this.since).filter(({ type }) => type === "drift");
    return found.flatMap(({ differences }) =>
      Array.isArray(differences) ? differences.map(String) : [],
    );
  }

  [Symbol.asyncDispose](): Promise<void> {
    this.release();
    return Promise.resolve();
  }
}

/**
 * Neighbors that need no ARP, on the hosts and in the rooms: what then fails to arrive was stopped, and
 * not merely never sent for want of an address.
 */
export async function fixNeighbors(site: Site): Promise<void> {
  const { plant } = site;
  const nics = new Map<string, { readonly room: Point; readonly mac: string }>();
  for (const room of POINTS) {
    for (const { ifname, address } of await linksOf(site, room)) {
      nics.set(ifname, { room, mac: address });
    }
  }
  await Promise.all(
    HOSTS.map(async ({ name, address }) => {
      const { nic, gateway } = segmentOf(name);
      const near = nics.get(nic);
      if (near === undefined) throw new RangeError(`no ${nic} in the rooms`);
      const netns = plant.netns(name);
      // By netlink: /sys shows the links of whoever mounted it.
      const [own] = JSON.parse(
        await must(["ip", "-j", "link", "show", "eth0"], { netns }),
      ) as Link[];
      const mac = own?.address ?? "";
      const fixed = (to: string, lladdr: string, dev: string): string[] => [
        "ip",
        "neigh",
        "replace",
        to,
        "lladdr",
        lladdr,
        "dev",
        dev,
        "nud",
        "permanent",
      ];
      await must(fixed(gateway, near.mac, "eth0"), { netns });
      await must(fixed(address, mac, nic), { netns: netnsOf(site, near.room) });
    }),
  );
}

/** Namespaces of the instance's rooms that are there now. */
export function roomsThere(site: Site): string[] {
  const prefix = `${site.instance.netnsPrefix}-`;
  return fs.readdirSync("/run/netns").filter((name) => name.startsWith(prefix));
}
