/**
 * The rooms of one instance: namespaces, their settings, guard routes, links. A change adds first and
 * removes only after confirmation, so that rolling back is removing what was added.
 */
import { SallyportError } from "@sallyport/core";
import type { Legs, Point } from "@sallyport/policy/legs";
import type { Engine } from "../apply/engine-port.ts";
import { run } from "../apply/run.ts";
import { guardLines, ruleLine, shownRule } from "./guard.ts";
import { checkNics, returnNics, takeNics } from "./host.ts";
import { type Instance, ipBatch, netnsOf, standingRooms } from "./instance.ts";
import { configLines, planSite, type RoomPlan, routeText, type SitePlan } from "./plan.ts";
import { checkSysctls, setSysctls, type Sysctls, sysctlsOf } from "./sysctls.ts";

export type Engines = Readonly<Record<Point, Engine>>;

/** Attempts to cross a component's room, counted by its kernel. */
export interface Tripwire {
  readonly room: string;
  /** Packets for somebody else that arrived while forwarding was off. */
  readonly inAddrErrors: number;
  /** Packets for somebody else that the guard refused although forwarding was on. */
  readonly inNoRoutes: number;
  /** Packets forwarded: anything above 0 is a breach of P1. */
  readonly forwDatagrams: number;
}

const NOTHING: SitePlan = { rooms: [], nics: [] };

export class RoomSet {
  readonly instance: Instance;
  /** Where plant NICs come from and go back to. */
  readonly hostNetns: string;
  readonly engines: Engines;

  constructor(instance: Instance, engines: Engines, hostNetns = `/proc/${process.pid}/ns/net`) {
    this.instance = instance;
    this.engines = engines;
    this.hostNetns = hostNetns;
  }

  /** From nothing. Whatever fails, the caller ends with `down`. */
  async up(legs: Legs): Promise<void> {
    await this.extend(NOTHING, this.plan(legs), legs);
  }

  /** Adds what `to` has and `from` lacks; nothing of `from` is removed yet. */
  async change(from: Legs, to: Legs): Promise<void> {
    await this.extend(this.plan(from), this.plan(to), to);
  }

  /**
   * Removes what `from` has and `to` lacks: after a confirmation the old rooms, or with the arguments
   * the other way round a change that is taken back. Goes on past what is gone already.
   */
  async settle(from: Legs, to: Legs): Promise<void> {
    const [old, next] = [this.plan(from), this.plan(to)];
    const keptNics = new Set(next.nics.map(({ nic, room }) => `${room} ${nic}`));
    const leaving = old.nics.filter(({ nic, room }) => !keptNics.has(`${room} ${nic}`));
    const standing = new Set(await standingRooms(this.instance));
    await Promise.all(
      old.rooms.map(async (room) => {
        const kept = next.rooms.find((other) => other.room === room.room);
        if (kept === undefined || !standing.has(room.room)) return;
        const netns = netnsOf(this.instance, room.room);
        // First what stays is said again: a replaced route of `to` may have been taken by `from`.
        await ipBatch(netns, removals(room, kept), true);
        await ipBatch(netns, configLines(kept), true);
      }),
    );
    for (const point of ["outer", "inner"] as const) {
      const nics = leaving.filter(({ room }) => room === point).map(({ nic }) => nic);
      if (standing.has(point))
        await returnNics(netnsOf(this.instance, point), this.hostNetns, nics);
    }
    const gone = old.rooms.filter(({ room }) => !next.rooms.some((other) => other.room === room));
    await this.remove(gone.map(({ room }) => room).filter((room) => standing.has(room)));
  }

  /** NICs back to the host, all rooms of the instance gone, also those that a killed process left. */
  async down(): Promise<{ readonly rooms: readonly string[] }> {
    const rooms = await standingRooms(this.instance);
    for (const point of ["outer", "inner"] as const) {
      if (!rooms.includes(point)) continue;
      const netns = netnsOf(this.instance, point);
      await returnNics(netns, this.hostNetns);
      // A process that is still inside keeps the namespace; its links must go all the same.
      const links = (await linkNames(netns)).filter((name) => name !== "lo");
      await ipBatch(
        netns,
        links.map((name) => `link del ${name}`),
        true,
      );
    }
    await Promise.all(Object.values(this.engines).map((engine) => engine.remove()));
    await this.remove(rooms);
    return { rooms };
  }

  /** How each room differs from what it shall be; empty when nothing does. */
  async check(legs: Legs): Promise<string[]> {
    const standing = new Set(await standingRooms(this.instance));
    const found = await Promise.all(
      this.plan(legs).rooms.map(async (room) => {
        if (!standing.has(room.room)) return [`${room.room}: lacks link and all: the room is gone`];
        const netns = netnsOf(this.instance, room.room);
        const [rules, links, sysctls] = await Promise.all([
          checkGuard(netns, room),
          checkLinks(netns, room),
          checkSysctls(netns, sysctlsOf(room)),
        ]);
        return [...rules, ...links, ...sysctls].map((line) => `${room.room}: ${line}`);
      }),
    );
    return found.flat();
  }

  /** Settings, guard and engines said again: what differs there is undone, a strange NIC stays. */
  async repair(legs: Legs): Promise<void> {
    await Promise.all(
      this.plan(legs).rooms.map(async (room) => {
        const netns = netnsOf(this.instance, room.room);
        await setSysctls(netns, sysctlsOf(room));
        const shown = await shownRules(netns);
        const wanted = new Map(room.guard.map((rule) => [shownRule(rule), rule]));
        const missing = [...wanted].filter(([text]) => !shown.includes(text));
        const strange = shown.filter((text) => !wanted.has(text));
        await ipBatch(netns, [
          ...missing.map(([, rule]) => ruleLine(rule)),
          ...strange.map((text) => `rule del pref ${text.replace(": ", " ")}`),
        ]);
        await ipBatch(netns, [...tableLines(room), ...configLines(room)], true);
        if (room.point === undefined) return;
        await this.engines[room.point].install(legs);
        await this.engines[room.point].attach(room.interfaces);
      }),
    );
  }

  async tripwire(legs: Legs): Promise<Tripwire[]> {
    return Promise.all(
      legs.rooms.map(async ({ name: room }) => {
        const netns = netnsOf(this.instance, room);
        const text = await run("cat", ["/proc/net/snmp"], { netns });
        const [names = [], values = []] = text
          .split("\n")
          .filter((line) => line.startsWith("Ip: "))
          .map((line) => line.split(" "));
        const value = (name: string): number => Number(values[names.indexOf(name)]);
        return {
          room,
          inAddrErrors: value("InAddrErrors"),
          inNoRoutes: Number(await noRoutes(netns)),
          forwDatagrams: value("ForwDatagrams"),
        };
      }),
    );
  }

  /** Interfaces that the engine of this room must stand on. */
  interfaces(legs: Legs, point: Point): readonly string[] {
    return this.plan(legs).rooms.find(({ room }) => room === point)?.interfaces ?? [];
  }

  private plan(legs: Legs): SitePlan {
    const site = planSite(legs, (room) => netnsOf(this.instance, room));
    const rooms = site.rooms.map((room) =>
      room.point === undefined
        ? room
        : { ...room, engineNeeds: this.engines[room.point].sysctls(legs) },
    );
    return { ...site, rooms };
  }

  /**
   * Settings, guard and engine of an engine's room are read back before it gets a link, links are fitted
   * with the engine while down, and set up last of all.
   */
  private async extend(from: SitePlan, to: SitePlan, legs: Legs): Promise<void> {
    const rooms = to.rooms.map((room) => {
      const had = from.rooms.find((other) => other.room === room.room);
      return { room, had, netns: netnsOf(this.instance, room.room) };
    });
    const fresh = rooms.filter(({ had }) => had === undefined);
    const nics = to.nics.filter(
      ({ nic, room }) => !from.nics.some((old) => old.nic === nic && old.room === room),
    );
    await checkNics(
      this.hostNetns,
      nics.map(({ nic }) => nic),
    );
    await ipBatch(
      undefined,
      fresh.map(({ netns }) => `netns add ${netns}`),
    );
    const settled = Promise.all(
      fresh.map(({ room, netns }) => setSysctls(netns, sysctlsOf(room, false))),
    );
    await Promise.all(
      rooms.map(async ({ room, had, netns }) => {
        const { point } = room;
        if (point === undefined) return;
        const engine = this.engines[point];
        await Promise.all([
          settled,
          ipBatch(netns, guardChange(room, had)),
          had === undefined ? engine.install(legs) : undefined,
        ]);
        mustHold(room.room, await checkGuard(netns, room, had));
        if (had === undefined) {
          mustHold(room.room, await checkSysctls(netns, sysctlsOf(room, false)));
        }
        const mine = nics.filter((one) => one.room === point).map(({ nic }) => nic);
        await Promise.all([
          takeNics(this.hostNetns, netns, mine),
          ipBatch(netns, newLinks(room, had, false)),
        ]);
        await ipBatch(netns, newLinks(room, had, true));
        await engine.attach(room.interfaces);
        await setSysctls(netns, notInherited(room, had));
      }),
    );
    await settled;
    await Promise.all(
      rooms.map(async ({ room, had, netns }) => {
        mustHold(room.room, await checkSysctls(netns, sysctlsOf(room)));
        const old = new Set(had === undefined ? [] : configLines(had));
        const lines = configLines(room).filter((line) => !old.has(line));
        if (room.point !== undefined) return ipBatch(netns, lines);
        await ipBatch(netns, [...guardChange(room, had), ...lines]);
        mustHold(room.room, await checkGuard(netns, room, had));
      }),
    );
  }

  private async remove(rooms: readonly string[]): Promise<void> {
    await ipBatch(
      undefined,
      rooms.map((room) => `netns del ${netnsOf(this.instance, room)}`),
    );
  }
}

/** A new interface takes its settings from `default`; what is left to set for this one. */
function notInherited(room: RoomPlan, had: RoomPlan | undefined): Sysctls {
  const wanted = sysctlsOf(room);
  const set = had === undefined ? sysctlsOf(room, false) : sysctlsOf(had);
  const present = (key: string): string | undefined =>
    set.get(key) ?? set.get(key.replace(/\/conf\/[^/]+\//, "/conf/default/"));
  return new Map([...wanted].filter(([key, value]) => present(key) !== value));
}

/** From the kernel's three default rules, or from those of the room's last plan. */
function guardChange(room: RoomPlan, had: RoomPlan | undefined): string[] {
  if (had === undefined) return [...guardLines(room.guard), ...tableLines(room)];
  const shown = new Set(had.guard.map(shownRule));
  const tables = tableLines(room).filter((line) => !tableLines(had).includes(line));
  return [...tables, ...room.guard.filter((rule) => !shown.has(shownRule(rule))).map(ruleLine)];
}

/** Routes that only block; they stand before any link. */
function tableLines(room: RoomPlan): string[] {
  const blocking = room.routes.filter(({ dev }) => dev === undefined);
  return blocking.map((route) => `route replace ${routeText(route)}`);
}

/** A VLAN link needs its NIC in the room, a veth nothing. */
function newLinks(room: RoomPlan, before: RoomPlan | undefined, vlans: boolean): string[] {
  return [...room.makes]
    .filter(
      ([name, text]) => before?.makes.get(name) !== text && text.includes(" type vlan ") === vlans,
    )
    .map(([, text]) => text);
}

/** What `kept` no longer has, the links last: with a link go its addresses and routes. */
function removals(room: RoomPlan, kept: RoomPlan): string[] {
  const keptText = new Set([
    ...configLines(kept),
    ...kept.guard.map(ruleLine),
    ...tableLines(kept),
  ]);
  const gone = [...room.guard.map(ruleLine), ...tableLines(room), ...configLines(room)].filter(
    (line) => !keptText.has(line) && !line.startsWith("link "),
  );
  const links = [...room.makes].filter(([name, text]) => kept.makes.get(name) !== text);
  return [
    ...gone.map((line) => line.replace(/ (replace|add) /, " del ")),
    ...links.map(([name]) => `link del ${name}`),
  ];
}

async function shownRules(netns: string): Promise<string[]> {
  const text = await run("ip", ["rule", "show"], { netns });
  const lines = text.split("\n").filter((line) => line !== "");
  return lines.map((line) => line.trim().replace(/:\s+/, ": "));
}

/** While a change waits, the rules of the plan before it stand too. */
async function checkGuard(netns: string, room: RoomPlan, had?: RoomPlan): Promise<string[]> {
  const shown = await shownRules(netns);
  const wanted = room.guard.map(shownRule);
  const known = new Set([...wanted, ...(had?.guard.map(shownRule) ?? [])]);
  return [
    ...wanted.filter((rule) => !shown.includes(rule)).map((rule) => `guard: lacks ${rule}`),
    ...shown.filter((rule) => !known.has(rule)).map((rule) => `guard: has ${rule}`),
  ];
}

async function linkNames(netns: string): Promise<string[]> {
  const links = JSON.parse(await run("ip", ["-j", "link", "show"], { netns })) as {
    ifname: string;
  }[];
  return links.map(({ ifname }) => ifname);
}

async function checkLinks(netns: string, room: RoomPlan): Promise<string[]> {
  const [addressText, routeText_] = await Promise.all([
    run("ip", ["-j", "-4", "addr", "show"], { netns }),
    run("ip", ["-j", "-4", "route", "show", "table", "all"], { netns }),
  ]);
  const links = JSON.parse(addressText) as {
    ifname: string;
    addr_info?: { local: string; prefixlen: number }[];
  }[];
  const routes = JSON.parse(routeText_) as {
    type?: string;
    dst: string;
    gateway?: string;
    dev?: string;
    table?: string;
    protocol?: string;
  }[];
  const shown = [
    ...(await linkNames(netns)).map((name) => `link ${name}`),
    ...links.flatMap(({ ifname, addr_info = [] }) =>
      addr_info.map(({ local, prefixlen }) => `address ${local}/${prefixlen} dev ${ifname}`),
    ),
    ...routes
      // The kernel's own: local table, and connected routes, which follow from the addresses.
      .filter(({ table, protocol }) => table !== "local" && protocol !== "kernel")
      .map(
        ({ dst, gateway = "-", dev = "-", table = "main", type }) =>
          `route ${dst} via ${gateway} dev ${type === "unreachable" ? "-" : dev} table ${table}`,
      ),
  ];
  const wanted = [
    ...["lo", ...room.interfaces].map((name) => `link ${name}`),
    ...room.addresses.map(({ cidr, dev }) => `address ${cidr} dev ${dev}`),
    // The loopback's own address comes with setting it up.
    "address 127.0.0.1/8 dev lo",
    ...room.routes.map(
      ({ destination, via = "-", dev = "-", table }) =>
        `route ${destination} via ${via} dev ${dev} table ${table}`,
    ),
  ];
  return [
    ...wanted.filter((line) => !shown.includes(line)).map((line) => `lacks ${line}`),
    ...shown
      .filter((line) => !wanted.includes(line))
      .map((line) => `has ${line}, which no policy declares`),
  ];
}

/** Not in the classic counters: only the extended ones tell packets that had no route. */
async function noRoutes(netns: string): Promise<string> {
  const lines = (await run("cat", ["/proc/net/netstat"], { netns })).split("\n");
  const [names = [], values = []] = lines
    .filter((line) => line.startsWith("IpExt: "))
    .map((line) => line.split(" "));
  return values[names.indexOf("InNoRoutes")] ?? "0";
}

function mustHold(room: string, differences: readonly string[]): void {
  if (differences.length === 0) return;
  const message = `the room ${room} is not as it was set: ${differences.join("; ")}`;
  throw new SallyportError("room-not-as-set", message);
}
