/**
 * The one owner of both engines and all rooms of an instance: boot, apply, confirm, roll back, islands,
 * grants, drift. Everything runs one after the other; the caller holds the instance's lock.
 */
import { existsSync } from "node:fs";
import { mkdir, rm } from "node:fs/promises";
import path from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { type Json, SallyportError } from "@sallyport/core";
import { checkInvariants, type Grant, type Legs, nextChange } from "@sallyport/policy/legs";
import type { Slot } from "../engine.ts";
import { standingRooms } from "../rooms/instance.ts";
import type { RoomSet } from "../rooms/room-set.ts";
import { type Counters, countersOf, type Named, numbersOf } from "./counters.ts";
import { type Difference, Drift, type Finding } from "./drift.ts";
import { GrantBook, type GrantRequest, type HeldGrant, type Terms } from "./grants.ts";
import {
  type Armed,
  arm,
  armedChange,
  bootMs,
  claim,
  disarm,
  startGuard,
  takeBack,
} from "./guard.ts";
import { type Loaded, Slots } from "./slots.ts";
import { type Generation, State, writeWhole } from "./state.ts";

export interface EnforcementOptions {
  readonly rooms: RoomSet;
  /** Milliseconds since 1970. */
  readonly clock: () => number;
  /** Program and arguments of the guard's main; it must print a line once it stands. */
  readonly guardCommand: readonly string[];
}

export interface Booted {
  readonly generation: number | null;
  /** The change that was waiting when its process died; the guard may have taken it back before. */
  readonly rolledBack?: number;
}

export interface ApplyRequest {
  readonly legs: Legs;
  readonly policy: Uint8Array;
  readonly approvals: readonly Json[];
  /** Ids of the approvals that carry one: each opens once. */
  readonly approvalIds: readonly string[];
}

/** A confirmation that starts later than this before the deadline could lose the race. */
const CONFIRM_MARGIN_MS = 500;
/** The guard gets this long after its deadline before the enforcer does its work. */
const GUARD_LATE_MS = 2000;
const NEVER = Number.POSITIVE_INFINITY;

export class Enforcement {
  private readonly options: EnforcementOptions;
  private readonly stateDir: string;
  private readonly grants: GrantBook;
  private state: State;
  private confirmed: Loaded | undefined;
  private pending: Loaded | undefined;
  private timeTrusted: boolean;
  /** Outlives this process and no reboot: who ends the enforcer has vouched for no clock. */
  private readonly untrusted: string;
  private confirmBy: number | undefined;
  private readonly drifts: Drift;
  private readonly slots: Slots;
  private queue: Promise<unknown> = Promise.resolve();

  private constructor(options: EnforcementOptions, state: State, grants: GrantBook) {
    this.options = options;
    this.stateDir = options.rooms.instance.stateDir;
    this.untrusted = path.join(options.rooms.instance.runDir, "time-untrusted");
    this.timeTrusted = !existsSync(this.untrusted);
    this.state = state;
    this.grants = grants;
    this.drifts = new Drift(options.rooms);
    const { rooms, clock } = options;
    const terms = (): Terms => ({
      islands: new Set(this.state.islands),
      timeTrusted: this.timeTrusted,
    });
    const idOf = (key: string): number => this.state.idOf(key);
    const { drifts } = this;
    const wrote = drifts.wrote.bind(drifts);
    this.slots = new Slots({ rooms, grants, clock, terms, idOf, wrote });
  }

  static async open(options: EnforcementOptions): Promise<Enforcement> {
    const { runDir, stateDir } = options.rooms.instance;
    await mkdir(runDir, { recursive: true });
    return new Enforcement(options, await State.load(stateDir), await GrantBook.load(runDir));
  }

  /**
   * The last confirmed generation and nothing else. Rooms that stand (the enforcer was restarted) are
   * kept with their sessions; whatever was unconfirmed is taken back.
   */
  boot(): Promise<Booted> {
    return this.inTurn(async () => {
      const { rooms } = this.options;
      const { pending, undecided } = this.state;
      const begun = pending === undefined ? undefined : this.armedFor(pending, 0);
      const armed = (await armedChange(this.stateDir)) ?? begun;
      const isConfirmed = armed !== undefined && armed.generation === this.state.confirmed?.number;
      if (isConfirmed) await this.finish(armed);
      else if (armed !== undefined) await takeBack(this.stateDir, armed, rooms);
      this.state = await State.load(this.stateDir);
      if (undecided !== undefined) await this.state.change(undecided, { state: "rolled-back" });
      const told = undecided === undefined ? {} : { rolledBack: undecided };
      const { confirmed } = this.state;
      if (confirmed === undefined) {
        await rooms.down();
        return { generation: null, ...told };
      }
      const legs = await this.state.legsOf(confirmed);
      if (await this.standsWhole(legs, confirmed.slot)) {
        await this.reload(confirmed, legs);
      } else {
        await rooms.down();
        await this.grants.forget();
        await rooms.up(legs);
        this.confirmed = await this.slots.load(confirmed, legs);
        await this.slots.confirm(confirmed.slot);
      }
      await this.drifts.remember(this.loaded());
      return { generation: confirmed.number, ...told };
    });
  }

  /** Loads a policy beside the one in force and makes it active until confirmed or taken back. */
  apply(
    { legs, policy, approvals, approvalIds }: ApplyRequest,
    { confirmWithinSeconds }: { readonly confirmWithinSeconds: number },
  ): Promise<{ readonly generation: number }> {
    return this.changing(async () => {
      const checked = checkInvariants(legs);
      if (!checked.ok) {
        const some = checked.violations.slice(0, 5).map((violation) => JSON.stringify(violation));
        throw new SallyportError("invariant-violated", `the legs break: ${some.join("; ")}`);
      }
      if (this.pending !== undefined) {
        const message = `generation ${this.pending.generation.number} is not confirmed yet`;
        const hint = "confirm it or roll it back first";
        throw new SallyportError("change-pending", message, { hint });
      }
      await this.state.useApprovals(approvalIds);
      const slot = other(this.confirmed?.generation.slot ?? 1);
      const appliedAt = this.options.clock();
      const generation = await this.state.begin(legs, policy, { approvals, slot, appliedAt });
      try {
        await this.activate(generation, legs, confirmWithinSeconds * 1000);
      } catch (cause) {
        await this.undo(this.armedFor(generation, 0));
        throw cause;
      }
      return { generation: generation.number };
    });
  }

  /** The pending generation is the one that boots from now on; what it no longer has is removed. */
  confirm(number: number): Promise<void> {
    return this.changing(async () => {
      const armed = await this.armedAs(number);
      const { pending } = this;
      const late = armed.deadlineMs - bootMs() < CONFIRM_MARGIN_MS;
      if (late || pending === undefined || !(await claim(this.stateDir, "confirming"))) {
        throw notPending(number);
      }
      await this.slots.confirm(pending.generation.slot);
      await this.state.change(number, { state: "confirmed" });
      this.confirmed = pending;
      this.pending = undefined;
      await this.finish(armed);
    });
  }

  /** Takes the pending generation back now. */
  rollback(number: number): Promise<void> {
    return this.inTurn(async () => {
      const armed = await this.armedAs(number);
      if (!(await claim(this.stateDir, "taking-back"))) throw notPending(number);
      await this.undo(armed);
    });
  }

  /**
   * Opens what begins, closes what ended, as the clock says now. Answers the next moment at which
   * that may change: the kernels close by themselves, but only this opens.
   */
  reschedule(): Promise<number | null> {
    return this.changing(async () => {
      const now = this.options.clock();
      const moments: (number | null)[] = [];
      for (const loaded of this.loaded()) {
        await this.slots.refresh(loaded);
        moments.push(...loaded.legs.conduits.map((conduit) => nextChange(conduit, now)));
      }
      const next = moments.reduce((a, b) => Math.min(a ?? NEVER, b ?? NEVER), NEVER) ?? NEVER;
      return next === NEVER ? null : next;
    });
  }

  /** While the clock can't be trusted, no window and no grant is opened, and those open are shut. */
  async trustTime(trusted: boolean): Promise<void> {
    await this.closed(async () => {
      this.timeTrusted = trusted;
      await (trusted ? rm(this.untrusted, { force: true }) : writeWhole(this.untrusted, ""));
    });
  }

  /** Cuts a zone off but for what is marked `island: keep`; switching it off is an opening act. */
  async setIsland(zone: string, on: boolean): Promise<void> {
    await this.closed(async () => {
      const { conduits = [], attachments = [] } = this.legs() ?? {};
      const ends = conduits.flatMap(({ fromZones, toZones }) => [...fromZones, ...toZones]);
      if (![...attachments.map((attached) => attached.zone), ...ends].includes(zone)) {
        throw new SallyportError("unknown-zone", `the running policy has no zone ${zone}`);
      }
      const others = this.state.islands.filter((name) => name !== zone);
      await this.state.setIslands(on ? [...others, zone] : others);
    });
  }

  /** What closes is in the kernel even where a full disk keeps none of it, which is then said. */
  private async closed(work: () => Promise<void>): Promise<void> {
    const [kept] = await Promise.allSettled([this.inTurn(work)]);
    await this.reschedule();
    if (kept.status === "rejected") throw kept.reason;
  }

  addGrant(request: GrantRequest): Promise<Grant> {
    return this.inTurn(async () => {
      const { confirmed } = this;
      if (confirmed === undefined) throw new SallyportError("no-policy", "no policy is in force");
      if (!this.timeTrusted) {
        throw new SallyportError(
          "time-untrusted",
          "no grant is given while the clock is not trusted",
        );
      }
      const now = this.options.clock();
      const grant = this.grants.place(request, confirmed.legs, now);
      for (const ended of this.grants.endedIn(grant, now)) await this.dropGrant(ended);
      const held = { grant, id: await this.state.takeNumber() };
      await this.grants.add(held);
      try {
        for (const loaded of this.loaded()) await this.slots.addGrant(held, loaded);
      } catch (cause) {
        this.drifts.suspect(cause);
        await this.dropGrant(held);
        throw cause;
      }
      return grant;
    });
  }

  revokeGrant(id: string): Promise<void> {
    return this.inTurn(async () => {
      const held = this.grants.find(id);
      if (held !== undefined) return await this.dropGrant(held);
      throw new SallyportError("no-such-grant", `no grant ${id} is in force`);
    });
  }

  listGrants(): readonly Grant[] {
    return this.grants.list(this.options.clock()).map(({ grant }) => grant);
  }

  /** Those that are over too, as long as both engines know them: they say why a packet is refused. */
  heldGrants(): readonly Grant[] {
    return this.grants.all().map(({ grant }) => grant);
  }

  /** How the kernels differ from what they were given. */
  drift(): Promise<Difference[]> {
    return this.inTurn(() => this.drifts.all(this.loaded()));
  }

  /** Reloads what could open, in the other slot so that sessions live on; answers what it found. */
  repair(): Promise<Finding[]> {
    return this.inTurn(async () => {
      const { found, isReloadDue } = await this.drifts.seek(this.loaded());
      if (isReloadDue) {
        await this.restore();
        await this.drifts.reloaded(this.loaded());
      }
      return found;
    });
  }

  counters(): Promise<Counters> {
    return this.inTurn(async () => {
      const active = this.loaded().at(-1);
      if (active === undefined) {
        return { generation: null, hits: [], denials: [], peers: [], tripwires: [] };
      }
      const { legs, generation } = active;
      return await countersOf(this.options.rooms, legs, generation.number, this.numbers());
    });
  }

  status(): {
    readonly confirmed: Generation | undefined;
    readonly pending: Generation | undefined;
    /** When the pending generation falls back, in milliseconds since 1970. */
    readonly confirmBy: number | undefined;
    readonly nextNumber: number;
    readonly islands: readonly string[];
    readonly timeTrusted: boolean;
  } {
    const { islands, nextGeneration: nextNumber } = this.state;
    const [confirmed, pending] = [this.confirmed?.generation, this.pending?.generation];
    const { timeTrusted, confirmBy } = this;
    return { confirmed, pending, confirmBy, nextNumber, islands, timeTrusted };
  }

  /** Sentences about promises that do not hold here; empty where all do. */
  degraded(): readonly string[] {
    const kinds = new Set(Object.values(this.options.rooms.engines).map(({ kind }) => kind));
    return kinds.size > 1
      ? []
      : ["one rule engine judges both doors, and all processes have one uid"];
  }

  /** The confirmed legs, then the pending ones. */
  allLegs(): readonly Legs[] {
    return this.loaded().map(({ legs }) => legs);
  }

  /** Name and source line of every number that the kernels may say, also of what is over. */
  numbers(): readonly Named[] {
    return numbersOf(this.allLegs(), this.state.numbers, this.grants.named());
  }

  /** Of the generation that is active, confirmed or not. */
  legs(): Legs | undefined {
    return (this.pending ?? this.confirmed)?.legs;
  }

  /** Everything of the instance goes but its state on disk. */
  down(): Promise<void> {
    return this.inTurn(async () => {
      await disarm(this.stateDir);
      await this.options.rooms.down();
      await this.grants.forget();
      this.confirmed = undefined;
      this.pending = undefined;
    });
  }

  private async activate(generation: Generation, legs: Legs, withinMs: number): Promise<void> {
    const { rooms, guardCommand } = this.options;
    const { number, slot } = generation;
    if (this.confirmed === undefined) {
      await rooms.down();
      await rooms.up(legs);
    } else {
      await rooms.change(this.confirmed.legs, legs);
    }
    const loaded = await this.slots.load(generation, legs);
    const armed = this.armedFor(generation, bootMs() + withinMs);
    await arm(this.stateDir, armed);
    await startGuard(guardCommand);
    const leftMs = (): number => armed.deadlineMs - bootMs();
    if (!(await this.slots.pend(slot, armed.previousSlot, leftMs))) throw notPending(number);
    this.pending = loaded;
    this.confirmBy = this.options.clock() + leftMs();
  }

  /** Removes what a confirmed change no longer has; its file stays until then, so that a boot goes on. */
  private async finish({ generation, previous }: Armed): Promise<void> {
    const [from, to] = [previous, generation].map((number) =>
      this.state.generations.find((one) => one.number === number),
    );
    if (from !== undefined && to !== undefined) {
      await this.options.rooms.settle(await this.state.legsOf(from), await this.state.legsOf(to));
    }
    await disarm(this.stateDir);
  }

  private armedFor({ number, slot }: Generation, deadlineMs: number): Armed {
    const previous = this.state.confirmed;
    const previousSlot = previous?.slot ?? other(slot);
    return {
      format: 1,
      generation: number,
      previous: previous?.number ?? null,
      previousSlot,
      deadlineMs,
    };
  }

  /** The confirmed generation once more, in the slot that is not in force. */
  private async reload(generation: Generation, legs: Legs): Promise<void> {
    await this.options.rooms.repair(legs);
    const moved = { ...generation, slot: other(generation.slot) };
    this.confirmed = await this.slots.load(moved, legs);
    await this.slots.confirm(moved.slot);
    await this.state.change(moved.number, { slot: moved.slot });
  }

  /** Takes back what is pending, and loads the confirmed generation over whatever the kernels hold. */
  private async restore(): Promise<void> {
    const armed = this.pending === undefined ? undefined : await armedChange(this.stateDir);
    if (armed !== undefined) await this.undo(armed);
    const { confirmed } = this;
    if (confirmed !== undefined) await this.reload(confirmed.generation, confirmed.legs);
    await this.drifts.remember(this.loaded());
  }

  private async undo(armed: Armed): Promise<void> {
    await takeBack(this.stateDir, armed, this.options.rooms);
    this.pending = undefined;
    await this.state.change(armed.generation, { state: "rolled-back" });
    await this.drifts.remember(this.loaded());
  }

  /** Whether the guard, or its deadline, ended the pending change since the last call. */
  private async noticeRollback(): Promise<void> {
    if (this.pending === undefined) return;
    const { number } = this.pending.generation;
    let armed = await armedChange(this.stateDir);
    const leftMs = (armed?.deadlineMs ?? 0) - bootMs();
    if (armed !== undefined && leftMs > 0) return;
    if (armed !== undefined && leftMs > -GUARD_LATE_MS) {
      await sleep(GUARD_LATE_MS);
      armed = await armedChange(this.stateDir);
    }
    if (armed !== undefined) return await this.undo(armed);
    this.pending = undefined;
    await this.state.change(number, { state: "rolled-back" });
    await this.drifts.remember(this.loaded());
  }

  private async armedAs(number: number): Promise<Armed> {
    const armed = await armedChange(this.stateDir);
    if (this.pending?.generation.number === number && armed?.generation === number) return armed;
    throw notPending(number);
  }

  /** The book goes first: where the kernels can't be told, they are loaded again from it. */
  private async dropGrant(held: HeldGrant): Promise<void> {
    await this.grants.remove(held.grant.id);
    try {
      for (const loaded of this.loaded()) await this.slots.removeGrant(held, loaded);
    } catch (cause) {
      this.drifts.suspect(cause);
      await this.restore();
    }
  }

  private async standsWhole(legs: Legs, slot: Slot): Promise<boolean> {
    const { rooms } = this.options;
    if ((await standingRooms(rooms.instance)).length === 0) return false;
    const differences = await rooms.check(legs);
    if (differences.some((line) => line.includes(" link "))) return false;
    const states = Object.values(rooms.engines).map((engine) => engine.readBack());
    const slots = (await Promise.allSettled(states)).map((state) =>
      state.status === "fulfilled" ? state.value.slot : undefined,
    );
    return slots.every((found) => found === slot);
  }

  private loaded(): readonly Loaded[] {
    return [this.confirmed, this.pending].filter((loaded) => loaded !== undefined);
  }

  /** A turn that writes rules: never on top of what somebody else wrote, or that would be adopted. */
  private changing<Result>(work: () => Promise<Result>): Promise<Result> {
    return this.inTurn(async () => {
      if ((await this.drifts.engines(this.loaded())).length > 0) await this.restore();
      const result = await work();
      await this.drifts.remember(this.loaded());
      return result;
    });
  }

  private inTurn<Result>(work: () => Promise<Result>): Promise<Result> {
    const done = this.queue.then(async () => {
      await this.noticeRollback();
      return work();
    });
    // The next in the queue does not inherit this one's failure.
    this.queue = done.catch(() => {});
    return done;
  }
}

function other(slot: Slot): Slot {
  return slot === 0 ? 1 : 0;
}

function notPending(number: number): SallyportError {
  const message = `generation ${number} is not waiting for confirmation, or no longer`;
  return new SallyportError("not-pending", message, { hint: "apply it again" });
}
