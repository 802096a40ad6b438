/**
 * The one owner of both engines and all rooms of an instance: boot, apply, confirm, roll back, islands,
 * grants, drift. Everything runs one after the other; the caller holds the instance's lock.
 */
import { spawn } from "node:child_process";
import path from "node:path";
import { mkdir } from "node:fs/promises";
import { type Json, SallyportError } from "@sallyport/core";
import {
  checkInvariants,
  type Grant,
  type Legs,
  livenessOf,
  nextChange,
} from "@sallyport/policy/legs";
import type { DenialCounter, HitCounter, LiveEntry, Slot } from "../engine.ts";
import { POINTS } from "../rooms/plan.ts";
import type { Engines, RoomSet, Tripwire } from "../rooms/room-set.ts";
import { standingRooms } from "../rooms/instance.ts";
import { GrantBook, type GrantRequest } from "./grants.ts";
import { arm, armedChange, type Armed, claim, disarm, monotonicMs, takeBack } from "./guard.ts";
import { type Generation, State } from "./state.ts";

export interface EnforcementOptions {
  readonly rooms: RoomSet;
  readonly engines: Engines;
  /** Milliseconds since 1970. */
  readonly clock: () => number;
  /** Program and arguments of the guard's main; it must print a line once it stands. */
  readonly guardCommand: readonly string[];
}

export interface ApplyRequest {
  readonly legs: Legs;
  readonly policy: Uint8Array;
  readonly approvals: readonly Json[];
  /** Ids of the approvals that carry one: each opens once. */
  readonly approvalIds: readonly string[];
}

export interface Difference {
  readonly what: string;
  /** Whether it could let more pass than the policy says; such are reloaded at once. */
  readonly opens: boolean;
}

export interface Counters {
  readonly generation: number | null;
  readonly hits: readonly (HitCounter & { readonly point: string; readonly name: string })[];
  readonly denials: readonly (DenialCounter & { readonly name: string })[];
  readonly tripwires: readonly Tripwire[];
}

/** A policy that is in a slot of both engines. */
interface Loaded {
  readonly generation: Generation;
  readonly legs: Legs;
  /** What the kernels were told last, by conduit key. */
  readonly live: Map<string, LiveEntry>;
}

/** A confirmation that starts later than this before the deadline could lose the race. */
const CONFIRM_MARGIN_MS = 500;
/** Starting a process and its modules takes well under a second; a guard that can't start is no guard. */
const GUARD_START_MS = 15_000;
/** The guard gets this long after its deadline before the enforcer does its work. */
const GUARD_LATE_MS = 2000;

export class Enforcement {
  private readonly options: EnforcementOptions;
  private readonly stateDir: string;
  private state: State;
  private confirmed: Loaded | undefined;
  private pending: Loaded | undefined;
  private readonly grants: GrantBook;
  private timeTrusted = true;
  private readonly expected = new Map<string, string>();
  private queue: Promise<unknown> = Promise.resolve();

  private constructor(options: EnforcementOptions, state: State, grants: GrantBook) {
    this.options = options;
    this.stateDir = options.rooms.instance.stateDir;
    this.state = state;
    this.grants = grants;
  }

  static async open(options: EnforcementOptions): Promise<Enforcement> {
    const { instance } = options.rooms;
    await mkdir(instance.runDir, { recursive: true });
    const [state, grants] = [
      await State.load(instance.stateDir),
      await GrantBook.load(instance.runDir),
    ];
    return new Enforcement(options, state, grants);
  }

  /**
   * The last confirmed generation and nothing else. Rooms that stand (the enforcer was restarted) are
   * kept with their sessions; whatever was unconfirmed is taken back.
   */
  boot(): Promise<{ readonly generation: number | null }> {
    return this.inTurn(async () => {
      const { rooms, engines } = this.options;
      const armed = await armedChange(this.stateDir);
      if (armed !== undefined) await takeBack(this.stateDir, armed, engines, rooms);
      this.state = await State.load(this.stateDir);
      const { pending, confirmed } = this.state;
      if (pending !== undefined) await this.state.setState(pending.number, "rolled-back");
      const standing = await standingRooms(rooms.instance);
      if (confirmed === undefined) {
        if (standing.length > 0) await rooms.down();
        return { generation: null };
      }
      const legs = await this.state.legsOf(confirmed);
      let slot: Slot = confirmed.slot;
      if (await this.standsWhole(legs, standing)) {
        await rooms.repair(legs);
        // The slot in force is never written: the fresh copy goes into the other one.
        slot = slot === 0 ? 1 : 0;
      } else {
        await rooms.down();
        await this.grants.forget();
        await rooms.up(legs);
      }
      await this.state.setSlot(confirmed.number, slot);
      this.confirmed = await this.loadSlot({ ...confirmed, slot }, legs);
      await this.selectConfirmed(slot);
      return { generation: confirmed.number };
    });
  }

  /** Loads a policy beside the one in force and makes it active until confirmed or taken back. */
  apply(
    request: ApplyRequest,
    { confirmWithinSeconds }: { readonly confirmWithinSeconds: number },
  ): Promise<{ readonly generation: number }> {
    return this.inTurn(async () => {
      const { legs } = request;
      const checked = checkInvariants(legs);
      if (!checked.ok) {
        const message = `the legs break ${checked.violations.length} invariants: ${JSON.stringify(checked.violations.slice(0, 5))}`;
        throw new SallyportError("invariant-violated", message);
      }
      if (this.pending !== undefined) {
        const message = `generation ${this.pending.generation.number} is not confirmed yet`;
        const hint = "confirm it or roll it back first";
        throw new SallyportError("change-pending", message, { hint });
      }
      await this.state.useApprovals(request.approvalIds);
      const slot: Slot = this.confirmed?.generation.slot === 0 ? 1 : 0;
      const generation = await this.state.begin(legs, request.policy, request.approvals, {
        slot,
        now: this.options.clock(),
      });
      const armed: Armed = {
        format: 1,
        generation: generation.number,
        previous: this.confirmed?.generation.number ?? null,
        previousSlot: slot === 0 ? 1 : 0,
        deadlineMs: monotonicMs() + confirmWithinSeconds * 1000,
      };
      try {
        await this.activate(generation, legs, armed);
      } catch (cause) {
        await this.undo(armed);
        throw cause;
      }
      return { generation: generation.number };
    });
  }

  /** The pending generation is the one that boots from now on; what it no longer has is removed. */
  confirm(number: number): Promise<void> {
    return this.inTurn(async () => {
      const { pending, confirmed } = this;
      const armed = await armedChange(this.stateDir);
      if (pending?.generation.number !== number || armed === undefined) throw notPending(number);
      if (armed.deadlineMs - monotonicMs() < CONFIRM_MARGIN_MS) throw notPending(number);
      if (!(await claim(this.stateDir, "confirming"))) throw notPending(number);
      await this.selectConfirmed(pending.generation.slot);
      await this.state.setState(number, "confirmed");
      await disarm(this.stateDir);
      this.confirmed = pending;
      this.pending = undefined;
      if (confirmed !== undefined) await this.options.rooms.settle(confirmed.legs, pending.legs);
      await this.rememberRules();
    });
  }

  /** Takes the pending generation back now. */
  rollback(number: number): Promise<void> {
    return this.inTurn(async () => {
      const armed = await armedChange(this.stateDir);
      if (this.pending?.generation.number !== number || armed === undefined)
        throw notPending(number);
      if (!(await claim(this.stateDir, "taken"))) throw notPending(number);
      await this.undo(armed);
    });
  }

  /**
   * Opens what begins, closes what ended, as the clock says now. Answers the next moment at which
   * that may change: the kernels close by themselves, but only this opens.
   */
  reschedule(): Promise<number | null> {
    return this.inTurn(async () => {
      const now = this.options.clock();
      const moments: number[] = [];
      for (const loaded of this.loaded()) {
        const entries = this.entries(loaded.legs, now);
        const changed = [...entries].filter(
          ([key, entry]) => !sameLive(loaded.live.get(key), entry),
        );
        for (const [key, entry] of changed) loaded.live.set(key, entry);
        await this.setLive(
          changed.map(([, entry]) => entry),
          [loaded.generation.slot],
          now,
        );
        for (const conduit of loaded.legs.conduits) {
          const next = nextChange(conduit, now);
          if (next !== null) moments.push(next);
        }
      }
      await this.updateGrants(now);
      return moments.length === 0 ? null : Math.min(...moments);
    });
  }

  /** While the clock can't be trusted no window and no grant is open; what is open stays so until its end. */
  trustTime(trusted: boolean): Promise<void> {
    return this.inTurn(() => {
      this.timeTrusted = trusted;
      return Promise.resolve();
    }).then(async () => {
      await this.reschedule();
    });
  }

  /** Cuts a zone off but for what is marked `island: keep`; switching it off is an opening act. */
  async setIsland(zone: string, on: boolean): Promise<void> {
    await this.inTurn(async () => {
      const legs = this.confirmed?.legs;
      const known = legs?.conduits.some(
        (c) => c.fromZones.includes(zone) || c.toZones.includes(zone),
      );
      const declared = legs?.attachments.some((attachment) => attachment.zone === zone);
      if (known !== true && declared !== true) {
        throw new SallyportError("unknown-zone", `the running policy has no zone ${zone}`);
      }
      const others = this.state.islands.filter((other) => other !== zone);
      await this.state.setIslands(on ? [...others, zone] : others);
    });
    await this.reschedule();
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
      const id = await this.state.takeNumber();
      const stale = this.grants.endedIn(grant, now);
      await this.grants.add({ grant, id });
      const row = {
        grant,
        entry: this.grants.entry({ grant, id }, confirmed.legs, now, this.terms()),
      };
      const slots = this.loaded().map(({ generation }) => generation.slot);
      try {
        for (const old of stale) await this.dropGrant(old.grant.id, slots);
        const { engines } = this.options;
        await Promise.all(POINTS.map((p) => engines[p].addGrant(row, slots, confirmed.legs, now)));
      } catch (cause) {
        await this.dropGrant(grant.id, slots);
        throw cause;
      }
      await this.rememberRules();
      return grant;
    });
  }

  revokeGrant(id: string): Promise<void> {
    return this.inTurn(async () => {
      if (this.grants.find(id) === undefined) {
        throw new SallyportError("no-such-grant", `no grant ${id} is in force`);
      }
      await this.dropGrant(
        id,
        this.loaded().map(({ generation }) => generation.slot),
      );
      await this.rememberRules();
    });
  }

  listGrants(): readonly Grant[] {
    return this.grants.list(this.options.clock()).map(({ grant }) => grant);
  }

  /** How the kernels differ from what they were given. */
  drift(): Promise<Difference[]> {
    return this.inTurn(() => this.findDrift());
  }

  /** Reloads what could open; answers what it found. */
  repair(): Promise<Difference[]> {
    return this.inTurn(async () => {
      const found = await this.findDrift();
      const { confirmed, pending } = this;
      if (confirmed === undefined || pending !== undefined || !found.some(({ opens }) => opens))
        return found;
      const { engines, rooms } = this.options;
      await rooms.repair(confirmed.legs);
      for (const point of POINTS) {
        await engines[point].install(confirmed.legs);
        const room = rooms.interfaces(confirmed.legs, point);
        await engines[point].attach(room);
      }
      const slot: Slot = confirmed.generation.slot === 0 ? 1 : 0;
      await this.state.setSlot(confirmed.generation.number, slot);
      this.confirmed = await this.loadSlot({ ...confirmed.generation, slot }, confirmed.legs);
      await this.selectConfirmed(slot);
      return found;
    });
  }

  counters(): Promise<Counters> {
    return this.inTurn(async () => {
      const { engines, rooms } = this.options;
      const names = new Map(this.grants.all().map(({ grant, id }) => [id, grant.id]));
      for (const { legs } of this.loaded()) {
        for (const { key, name } of legs.conduits) names.set(this.state.idOf(key), name);
      }
      const nameOf = (id: number): string => names.get(id) ?? "";
      const found = await Promise.all(
        POINTS.map(async (point) => ({ point, ...(await engines[point].counters()) })),
      );
      return {
        generation: (this.pending ?? this.confirmed)?.generation.number ?? null,
        hits: found.flatMap(({ point, hits }) =>
          hits.map((hit) => ({ ...hit, point, name: nameOf(hit.id) })),
        ),
        denials: found.flatMap(({ denials }) =>
          denials.map((denial) => ({ ...denial, name: nameOf(denial.id) })),
        ),
        tripwires: this.confirmed === undefined ? [] : await rooms.tripwire(this.confirmed.legs),
      };
    });
  }

  status(): {
    readonly confirmed: Generation | undefined;
    readonly pending: Generation | undefined;
    readonly islands: readonly string[];
    readonly timeTrusted: boolean;
  } {
    const { islands } = this.state;
    const [confirmed, pending] = [this.confirmed?.generation, this.pending?.generation];
    return { confirmed, pending, islands, timeTrusted: this.timeTrusted };
  }

  /** Number, name and source line of every conduit and grant that the kernels may name. */
  numbers(): readonly { readonly id: number; readonly name: string; readonly source: string }[] {
    const conduits = this.loaded().flatMap(({ legs }) =>
      legs.conduits.map(({ key, name, source }) => ({ id: this.state.idOf(key), name, source })),
    );
    const grants = this.grants.all().map(({ grant, id }) => ({ id, name: grant.id, source: "" }));
    return [...conduits, ...grants];
  }

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

  private async activate(generation: Generation, legs: Legs, armed: Armed): Promise<void> {
    const { rooms, engines } = this.options;
    await arm(this.stateDir, armed);
    await startGuard(this.options.guardCommand);
    if (this.confirmed === undefined) {
      await rooms.down();
      await rooms.up(legs);
    } else {
      await rooms.change(this.confirmed.legs, legs);
    }
    const loaded = await this.loadSlot(generation, legs);
    const forMs = armed.deadlineMs - monotonicMs();
    if (forMs <= 0) throw notPending(generation.number);
    const selection = { confirmed: armed.previousSlot, pending: { slot: generation.slot, forMs } };
    // Inner first: what a half-made change opens there still has to pass outer.
    await engines.inner.select(selection);
    await engines.outer.select(selection);
    this.pending = loaded;
    await this.rememberRules();
  }

  private async loadSlot(generation: Generation, legs: Legs): Promise<Loaded> {
    const now = this.options.clock();
    const live = this.entries(legs, now);
    const { number, slot } = generation;
    const grants = this.grants.list(now).map((held) => ({
      grant: held.grant,
      entry: this.grants.entry(held, legs, now, this.terms()),
    }));
    await Promise.all(
      POINTS.map((point) =>
        this.options.engines[point].load({
          legs,
          point,
          slot,
          generation: number,
          now,
          conduits: live,
          grants,
        }),
      ),
    );
    return { generation, legs, live };
  }

  private async selectConfirmed(slot: Slot): Promise<void> {
    const { engines } = this.options;
    await engines.inner.select({ confirmed: slot });
    await engines.outer.select({ confirmed: slot });
    for (const point of POINTS) {
      const { slot: inForce } = await engines[point].readBack();
      if (inForce !== slot)
        throw new SallyportError("slot-not-selected", `${point} kept its old slot`);
    }
    await this.rememberRules();
  }

  private async undo(armed: Armed): Promise<void> {
    await takeBack(this.stateDir, armed, this.options.engines, this.options.rooms);
    this.pending = undefined;
    await this.state.setState(armed.generation, "rolled-back");
    await this.rememberRules();
  }

  /** Whether the guard, or its deadline, ended the pending change since the last call. */
  private async noticeRollback(): Promise<void> {
    if (this.pending === undefined) return;
    const { number } = this.pending.generation;
    const armed = await armedChange(this.stateDir);
    if (armed !== undefined && monotonicMs() < armed.deadlineMs + GUARD_LATE_MS) {
      if (monotonicMs() < armed.deadlineMs) return;
      await new Promise((resolve) => setTimeout(resolve, GUARD_LATE_MS));
    }
    await this.state.seeRolledBack();
    const late = await armedChange(this.stateDir);
    if (late !== undefined)
      await takeBack(this.stateDir, late, this.options.engines, this.options.rooms);
    this.pending = undefined;
    await this.state.setState(number, "rolled-back");
    await this.rememberRules();
  }

  private entries(legs: Legs, now: number): Map<string, LiveEntry> {
    const { islands, timeTrusted } = this.terms();
    return new Map(
      legs.conduits.map((conduit) => {
        const diode = conduit.legs.some(({ replies }) => !replies);
        const liveness = livenessOf(conduit, now, islands, timeTrusted);
        return [
          conduit.key,
          { id: this.state.idOf(conduit.key), liveness, audit: conduit.audit, diode },
        ];
      }),
    );
  }

  private terms(): { readonly islands: ReadonlySet<string>; readonly timeTrusted: boolean } {
    return { islands: new Set(this.state.islands), timeTrusted: this.timeTrusted };
  }

  private async setLive(
    entries: readonly LiveEntry[],
    slots: readonly Slot[],
    now: number,
  ): Promise<void> {
    if (entries.length === 0) return;
    const { engines } = this.options;
    await Promise.all(POINTS.map((point) => engines[point].setLive(entries, slots, now)));
  }

  private async updateGrants(now: number): Promise<void> {
    for (const { generation, legs } of this.loaded()) {
      const entries = this.grants
        .list(now)
        .map((held) => this.grants.entry(held, legs, now, this.terms()));
      await this.setLive(entries, [generation.slot], now);
    }
  }

  private async dropGrant(id: string, slots: readonly Slot[]): Promise<void> {
    const held = this.grants.find(id);
    const legs = this.legs();
    if (held === undefined || legs === undefined) return;
    await this.grants.remove(id);
    const entry = this.grants.entry(held, legs, this.options.clock(), this.terms());
    const row = { grant: held.grant, entry };
    const { engines } = this.options;
    await Promise.all(POINTS.map((point) => engines[point].removeGrant(row, slots, legs)));
  }

  private async findDrift(): Promise<Difference[]> {
    const { confirmed, pending } = this;
    if (confirmed === undefined) return [];
    const { engines, rooms } = this.options;
    // While a change waits, links of two generations stand: only the rules are compared.
    const lines = pending === undefined ? await rooms.check(confirmed.legs) : [];
    const out = lines.map((what) => ({ what, opens: !what.includes(": lacks link") }));
    for (const point of POINTS) {
      const found = await engines[point].readBack().catch(() => undefined);
      if (found?.digest !== this.expected.get(point)) {
        out.push({ what: `${point}: the engine's rules are not what was loaded`, opens: true });
      }
      if (
        pending === undefined &&
        found !== undefined &&
        found.slot !== confirmed.generation.slot
      ) {
        out.push({ what: `${point}: slot ${found.slot} is in force`, opens: true });
      }
      const wanted = found?.interfaces === undefined ? [] : rooms.interfaces(confirmed.legs, point);
      for (const dev of wanted.filter((name) => found?.interfaces?.includes(name) === false)) {
        out.push({ what: `${point}: the engine is not on ${dev}`, opens: true });
      }
    }
    return out;
  }

  private async rememberRules(): Promise<void> {
    for (const point of POINTS) {
      if (this.loaded().length === 0) this.expected.delete(point);
      else this.expected.set(point, (await this.options.engines[point].readBack()).digest);
    }
  }

  private loaded(): readonly Loaded[] {
    return [this.confirmed, this.pending].filter((loaded) => loaded !== undefined);
  }

  private async standsWhole(legs: Legs, standing: readonly string[]): Promise<boolean> {
    const rooms = ["outer", "inner", "tap", ...legs.rooms.map(({ name }) => name)];
    if (!rooms.every((room) => standing.includes(room))) return false;
    const differences = await this.options.rooms.check(legs);
    if (differences.some((line) => line.includes(" link "))) return false;
    const states = await Promise.all(
      POINTS.map((point) => this.options.engines[point].readBack().catch(() => undefined)),
    );
    return states.every((state) => state?.slot === this.state.confirmed?.slot);
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

function sameLive(a: LiveEntry | undefined, b: LiveEntry): boolean {
  return a !== undefined && JSON.stringify(a) === JSON.stringify(b);
}

function notPending(number: number): SallyportError {
  const message = `generation ${number} is not waiting for confirmation, or no longer`;
  return new SallyportError("not-pending", message, { hint: "apply it again" });
}

/** Detached, so that it outlives whatever ends this process; armed once it has said so. */
async function startGuard(command: readonly string[]): Promise<void> {
  const [program = "", ...args] = command;
  const child = spawn(program, args, { detached: true, stdio: ["ignore", "pipe", "ignore"] });
  const failed = (why: string): SallyportError =>
    new SallyportError("guard-not-started", `the guard process ${path.basename(program)} ${why}`);
  await new Promise<void>((resolve, reject) => {
    const timer = setTimeout(() => reject(failed("said nothing")), GUARD_START_MS);
    const settle = (error?: Error): void => {
      clearTimeout(timer);
      if (error === undefined) resolve();
      else reject(error);
    };
    child.once("error", (cause) => settle(failed(`could not be started: ${cause.message}`)));
    child.once("exit", (code) => settle(failed(`ended with ${code ?? "a signal"}`)));
    child.stdout.once("data", () => settle());
  }).finally(() => {
    child.removeAllListeners();
    child.stdout.destroy();
    child.unref();
  });
}
