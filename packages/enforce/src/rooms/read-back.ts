/** What the kernel says of a room, put beside what was asked of it. */
import { run } from "../apply/run.ts";
import type { RoomPlan } from "./plan.ts";

/**
 * Packets that only a room's routing had to say something about, counted by its kernel: in a component's
 * room attempts to cross it, in an engine's room what came past an engine that is not there any more.
 */
export interface Tripwire {
  readonly room: string;
  /** Packets for somebody else that arrived where forwarding is off. */
  readonly inAddrErrors: number;
  /** Packets for somebody else that the guard refused although forwarding is on. */
  readonly inNoRoutes: number;
  /** Packets that a component's room forwarded: anything above 0 is a breach of P1. */
  readonly forwDatagrams: number;
}

export async function tripwire(room: string, netns: string, routes: boolean): Promise<Tripwire> {
  const text = await run("cat", ["/proc/net/snmp", "/proc/net/netstat"], { netns });
  // Two lines a group: names, then values.
  const count = (group: string, name: string): number => {
    const lines = text.split("\n").filter((line) => line.startsWith(`${group}: `));
    const [names = [], values = []] = lines.map((line) => line.split(" "));
    return Number(values[names.indexOf(name)]);
  };
  return {
    room,
    inAddrErrors: count("Ip", "InAddrErrors"),
    inNoRoutes: count("IpExt", "InNoRoutes"),
    forwDatagrams: routes ? 0 : count("Ip", "ForwDatagrams"),
  };
}

/** While a change waits, the rules of the plan before it stand too. */
export async function checkRules(
  netns: string,
  wanted: readonly string[],
  also: readonly string[] = [],
): Promise<string[]> {
  const text = await run("ip", ["rule", "show"], { netns });
  const shown = text
    .trim()
    .split("\n")
    .map((line) => line.trim().replace(/:\s+/, ": "));
  return compare("guard: ", wanted, shown, also);
}

export async function linkNames(netns: string): Promise<string[]> {
  const links = await list<{ ifname: string }>(netns, "link", "show");
  return links.map(({ ifname }) => ifname);
}

interface ShownLink {
  readonly ifname: string;
  readonly addr_info: readonly {
    readonly family: string;
    readonly local: string;
    readonly prefixlen: number;
  }[];
}

interface ShownRoute {
  readonly dst: string;
  readonly gateway?: string;
  readonly dev?: string;
  readonly prefsrc?: string;
  readonly table?: string;
  readonly flags: readonly string[];
}

/** Links, addresses and routes: those that are missing, and those that nobody declared. */
export async function checkLinks(netns: string, room: RoomPlan): Promise<string[]> {
  const [links, routes] = await Promise.all([
    list<ShownLink>(netns, "addr", "show"),
    list<ShownRoute>(netns, "-4", "route", "show", "table", "all"),
  ]);
  const shown = [
    ...links.map(({ ifname }) => `link ${ifname}`),
    ...links.flatMap(({ ifname, addr_info }) =>
      addr_info.map(({ local, prefixlen }) => `addr replace ${local}/${prefixlen} dev ${ifname}`),
    ),
    // The local table is the kernel's own: it follows from the addresses.
    ...routes.filter(({ table }) => table !== "local").map(routeLine),
  ];
  // The loopback's own address comes with setting it up.
  const lines = room.lines.filter((line) => !line.startsWith("neigh "));
  const names = ["lo", ...room.interfaces].map((name) => `link ${name}`);
  const loopback = "addr replace 127.0.0.1/8 dev lo";
  return compare("", [...names, loopback, ...lines], shown);
}

function routeLine({ dst, gateway, dev, prefsrc, table = "main", flags }: ShownRoute): string {
  const via = gateway === undefined ? "" : ` via ${gateway}`;
  const from = prefsrc === undefined ? "" : ` src ${prefsrc}`;
  const onlink = flags.includes("onlink") ? " onlink" : "";
  const at = dev === undefined ? "" : ` dev ${dev}`;
  return `route replace ${dst}${via}${at}${from} table ${table}${onlink}`;
}

function compare(
  what: string,
  wanted: readonly string[],
  shown: readonly string[],
  also: readonly string[] = [],
): string[] {
  const [known, there] = [new Set([...wanted, ...also]), new Set(shown)];
  return [
    ...wanted.filter((line) => !there.has(line)).map((line) => `${what}lacks ${line}`),
    ...shown.filter((line) => !known.has(line)).map((line) => `${what}has ${line}`),
  ];
}

async function list<Item>(netns: string, ...what: readonly string[]): Promise<Item[]> {
  return JSON.parse(await run("ip", ["-j", ...what], { netns })) as Item[];
}
