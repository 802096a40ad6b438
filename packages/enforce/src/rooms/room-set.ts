/**
 * The rooms of one instance: namespaces, their settings, guard routes, links. A change adds first and
 * removes only after confirmation, so that rolling back is removing what was added.
 */
import { SallyportError } from "@sallyport/core";
import type { Legs, Point } from "@sallyport/policy/legs";
import type { Engine } from "../apply/engine-port.ts";
import { addRule, guardLines } from "./guard.ts";
import { checkNics, returnNics, takeNics } from "./host.ts";
import { type Instance, ipBatch, netnsOf, standingRooms } from "./instance.ts";
import { configLines, planSite, POINTS, type RoomPlan, type SitePlan } from "./plan.ts";
import { checkLinks, checkRules, linkNames, tripwire, type Tripwire } from "./read-back.ts";
import { checkSysctls, setSysctls, type Sysctls, sysctlsOf } from "./sysctls.ts";

export type { Tripwire } from "./read-back.ts";
export type Engines = Readonly<Record<Point, Engine>>;

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
  up(legs: Legs): Promise<void> {
    return this.extend(NOTHING, this.plan(legs), legs);
  }

  /** Adds what `to` has and `from` lacks; nothing of `from` is removed yet. */
  change(from: Legs, to: Legs): Promise<void> {
    return this.extend(this.plan(from), this.plan(to), to);
  }

  /**
   * Removes what `from` has and `to` lacks: after a confirmation the old rooms, or with the arguments
   * the other way round a change that is taken back. Goes on past what is gone already.
   */
  async settle(from: Legs, to: Legs): Promise<void> {
    const [old, next] = [this.plan(from), this.plan(to)];
    const standing = new Set(await standingRooms(this.instance));
    const there = old.rooms.filter(({ room }) => standing.has(room));
    await Promise.all(
      there.map(async (room) => {
        const kept = next.rooms.find((other) => other.room === room.room);
        if (kept === undefined) return;
        const netns = this.netns(room);
        await ipBatch(netns, removals(room, kept), true);
        // What stays is said again: the other plan's line may have stood in its place.
        await ipBatch(netns, configLines(kept), true);
        const nics = nicsOf(old, room).filter((nic) => !nicsOf(next, room).includes(nic));
        await returnNics(netns, this.hostNetns, nics);
      }),
    );
    const gone = there.filter(({ room }) => !next.rooms.some((other) => other.room === room));
    await this.remove(gone.map(({ room }) => room));
  }

  /** NICs back to the host, all rooms of the instance gone, also those that a killed process left. */
  async down(): Promise<{ readonly rooms: readonly string[] }> {
    const rooms = await standingRooms(this.instance);
    for (const point of POINTS.filter((name) => rooms.includes(name))) {
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
    await Promise.all(POINTS.map((point) => this.engines[point].remove()));
    await this.remove(rooms);
    return { rooms };
  }

  /** How each room differs from what it shall be; empty when nothing does. */
  async check(legs: Legs): Promise<string[]> {
    const standing = new Set(await standingRooms(this.instance));
    const found = await Promise.all(
      this.plan(legs).rooms.map(async (room) => {
        if (!standing.has(room.room)) return [`${room.room}: lacks link and all: the room is gone`];
        const netns = this.netns(room);
        const lines = await Promise.all([
          checkRules(netns, room.guard),
          checkLinks(netns, room),
          checkSysctls(netns, sysctlsOf(room)),
        ]);
        return lines.flat().map((line) => `${room.room}: ${line}`);
      }),
    );
    return found.flat();
  }

  /** Settings, guard, routes and engines said again: what differs is undone, a strange NIC stays. */
  async repair(legs: Legs): Promise<void> {
    await Promise.all(
      this.plan(legs).rooms.map(async (room) => {
        const netns = this.netns(room);
        const settings = sysctlsOf(room);
        // Written for nothing they would stop all forwarding for a moment.
        if ((await checkSysctls(netns, settings)).length > 0) await setSysctls(netns, settings);
        const wrong = await checkRules(netns, room.guard);
        const change = wrong.map((line) =>
          line.replace("guard: lacks ", "+").replace("guard: has ", "-"),
        );
        await ipBatch(netns, [
          ...change.filter((line) => line.startsWith("+")).map((line) => addRule(line.slice(1))),
          ...change
            .filter((line) => line.startsWith("-"))
            .map((line) => addRule(line.slice(1)).replace(" add ", " del ")),
        ]);
        const strange = (await checkLinks(netns, room)).flatMap((line) => {
          const del = line.replace(/^has (addr|route) replace /, "$1 del ");
          return del === line ? [] : [del];
        });
        await ipBatch(netns, [...strange, ...configLines(room)], true);
        if (room.point === undefined) return;
        await this.engines[room.point].install(legs);
        await this.engines[room.point].attach([...room.interfaces]);
      }),
    );
  }

  tripwire(legs: Legs): Promise<Tripwire[]> {
    const components = legs.rooms.map(({ name }) =>
      tripwire(name, netnsOf(this.instance, name), false),
    );
    const engines = POINTS.map((point) => tripwire(point, netnsOf(this.instance, point), true));
    return Promise.all([...components, ...engines]);
  }

  /** Interfaces that the engine of this room must stand on. */
  interfaces(legs: Legs, point: Point): readonly string[] {
    return [...(this.plan(legs).rooms.find(({ room }) => room === point)?.interfaces ?? [])];
  }

  private plan(legs: Legs): SitePlan {
    const site = planSite(legs, (room) => netnsOf(this.instance, room));
    const rooms = site.rooms.map((room) => {
      const engineNeeds = room.point === undefined ? {} : this.engines[room.point].sysctls(legs);
      return { ...room, engineNeeds };
    });
    return { ...site, rooms };
  }

  private netns({ room }: RoomPlan): string {
    return netnsOf(this.instance, room);
  }

  /**
   * Settings, guard and engine of an engine's room are read back before it gets a link, links are fitted
   * with the engine while down, and set up last of all.
   */
  private async extend(from: SitePlan, to: SitePlan, legs: Legs): Promise<void> {
    const rooms = to.rooms.map((room) => {
      const had = from.rooms.find((other) => other.room === room.room);
      const nics = nicsOf(to, room).filter((nic) => !nicsOf(from, room).includes(nic));
      return { room, had, nics, netns: this.netns(room) };
    });
    const fresh = rooms.filter(({ had }) => had === undefined);
    await checkNics(
      this.hostNetns,
      rooms.flatMap(({ nics }) => nics),
    );
    await ipBatch(
      undefined,
      fresh.map(({ netns }) => `netns add ${netns}`),
    );
    const settled = Promise.all(
      fresh.map(({ room, netns }) => setSysctls(netns, sysctlsOf(room, false))),
    );
    const engineRooms = rooms.filter(({ room }) => room.point !== undefined);
    await Promise.all([
      settled,
      ...engineRooms.map(async ({ room, had, nics, netns }) => {
        const engine = this.engines[room.point ?? "outer"];
        const install = had === undefined ? engine.install(legs) : undefined;
        await Promise.all([settled, install, ipBatch(netns, guardChange(room, had))]);
        mustHold(room, await checkRules(netns, room.guard, had?.guard));
        if (had === undefined) mustHold(room, await checkSysctls(netns, sysctlsOf(room, false)));
        const makes = newLinks(room, had);
        const vlans = makes.filter((line) => line.includes(" type vlan "));
        const veths = makes.filter((line) => !vlans.includes(line));
        await Promise.all([takeNics(this.hostNetns, netns, nics), ipBatch(netns, veths)]);
        await ipBatch(netns, vlans);
        await engine.attach([...room.interfaces]);
        await setSysctls(netns, notInherited(room, had));
      }),
    ]);
    await Promise.all(
      rooms.map(async ({ room, had, netns }) => {
        mustHold(room, await checkSysctls(netns, sysctlsOf(room)));
        const guard = room.point === undefined ? guardChange(room, had) : [];
        await ipBatch(netns, [...guard, ...without(configLines(room), had && configLines(had))]);
        if (guard.length > 0) mustHold(room, await checkRules(netns, room.guard, had?.guard));
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

function nicsOf(plan: SitePlan, { room }: RoomPlan): string[] {
  return plan.nics.filter((one) => one.room === room).map(({ nic }) => nic);
}

/** A new interface takes its settings from `default`; what is left to set for this one. */
function notInherited(room: RoomPlan, had: RoomPlan | undefined): Sysctls {
  const set = had === undefined ? sysctlsOf(room, false) : sysctlsOf(had);
  const present = (key: string): string | undefined =>
    set.get(key) ?? set.get(key.replace(/\/conf\/[^/]+\//, "/conf/default/"));
  return new Map([...sysctlsOf(room)].filter(([key, value]) => present(key) !== value));
}

/** From the kernel's three default rules, or from those of the room's last plan. */
function guardChange(room: RoomPlan, had: RoomPlan | undefined): string[] {
  if (had === undefined) return guardLines(room.guard);
  return without(room.guard, had.guard).map(addRule);
}

function newLinks(room: RoomPlan, had: RoomPlan | undefined): string[] {
  return without([...room.makes.values()], had && [...had.makes.values()]);
}

/** What `kept` no longer has, the links last: with a link go its addresses and routes. */
function removals(room: RoomPlan, kept: RoomPlan): string[] {
  const gone = [
    ...without(room.guard, kept.guard).map(addRule),
    ...without(room.lines, kept.lines),
  ];
  const links = [...room.makes].filter(([name, text]) => kept.makes.get(name) !== text);
  return [
    ...gone.map((line) => line.replace(/ (replace|add) /, " del ")),
    ...links.map(([name]) => `link del ${name}`),
  ];
}

function without(lines: readonly string[], these: readonly string[] = []): string[] {
  const set = new Set(these);
  return lines.filter((line) => !set.has(line));
}

function mustHold({ room }: RoomPlan, differences: readonly string[]): void {
  if (differences.length === 0) return;
  const message = `the room ${room} is not as it was set: ${differences.join("; ")}`;
  throw new SallyportError("room-not-as-set", message);
}
