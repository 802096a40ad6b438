import { randomBytes } from "node:crypto";
import { type Json, parseIpv4, SallyportError } from "@sallyport/core";
import type { Counters, Enforcement, Named } from "@sallyport/enforce";
import type { GateListener } from "@sallyport/gate";
import type { Legs } from "@sallyport/policy/legs";
import { ClockWatch } from "./clock-watch.ts";
import { type CompilerHome, compileInChild } from "./compile-child.ts";
import type { EventLog } from "./event-log.ts";
import { FlowMinutes } from "./flow-minutes.ts";
import type { Instance } from "./instance.ts";
import type { Approval, EnforcerRequest, GrantRequest, PolicyFile } from "./messages.ts";
import { checkKeys, type Plan, planSha256 } from "./plan.ts";
import type { Status } from "./status.ts";
import { statusOf } from "./status-of.ts";
import type { RoomsStand } from "./supervisor-messages.ts";

/** Drift is sought this often; what could open is reloaded at once. */
const DRIFT_EVERY_MS = 5000;
/** The group that nftables logs refusals to, and where the eBPF program sends samples of its own. */
const NFLOG = "nflog:5";
const SAMPLES = "tap0";
/** Ends that the kernel cannot hold so far ahead are told again once a day; this looks whether it is time. */
const RESCHEDULE_EVERY_MS = 3600 * 1000;
/** Above this the oldest names are forgotten: twice the most conduits a policy can have. */
const NAMES_MAX = 40_000;

export interface ServiceOptions {
  readonly instance: Instance;
  readonly enforcement: Enforcement;
  readonly events: EventLog;
  readonly compiler: CompilerHome;
  tellSupervisor(message: RoomsStand): void;
}

/** One request, one act, one record. */
export class EnforcerService {
  readonly #options: ServiceOptions;
  readonly #clock = new ClockWatch(Date.now(), performance.now());
  readonly #minutes: FlowMinutes;
  #appliedOver: number | undefined;
  #driftAt = 0;
  #nextChange: number | null = null;
  #rescheduledMs = performance.now();
  #told = "";
  readonly #names = new Map<number, Named>();

  constructor(options: ServiceOptions) {
    this.#options = options;
    this.#minutes = new FlowMinutes(options.events);
  }

  async boot(): Promise<void> {
    const { generation, rolledBack } = await this.#options.enforcement.boot();
    if (rolledBack !== undefined) {
      this.#record("rolled-back", { generation: rolledBack, by: "nobody confirmed" });
    }
    this.#record("booted", { generation });
    this.#nextChange = await this.#options.enforcement.reschedule();
    this.#tell();
  }

  async answer(request: EnforcerRequest, connection: number): Promise<Json> {
    const { enforcement } = this.#options;
    switch (request.type) {
      case "status":
        return json(await this.#status());
      case "counters":
        return json(await enforcement.counters());
      case "running":
        return json({
          legs: enforcement.legs(),
          grants: enforcement.heldGrants(),
          ...enforcement.status(),
        });
      case "plan":
        return json(await this.#plan(request.files));
      case "apply":
        return await this.#apply(request, connection);
      case "confirm":
        return await this.#confirm(request.generation, connection);
      case "rollback":
        await enforcement.rollback(request.generation);
        this.#record("rolled-back", { generation: request.generation, by: "request" });
        this.#tell();
        return { generation: request.generation };
      case "grant-add":
        return await this.#addGrant(request.grant, request.approvals);
      case "grant-list":
        return json((await this.#status()).grants);
      case "grant-revoke":
        await enforcement.revokeGrant(request.grant);
        this.#record("grant-revoked", { grant: request.grant });
        this.#tell();
        return { id: request.grant };
      case "island":
        // Switching it on only closes, and closing acts need no approval.
        if (!request.on) needsApproval(request.approvals);
        await enforcement.setIsland(request.zone, request.on);
        this.#record("island", {
          zone: request.zone,
          on: request.on,
          approvals: request.approvals,
        });
        return { zone: request.zone, on: request.on };
      case "trust-time":
        needsApproval(request.approvals);
        this.#clock.trust();
        await enforcement.trustTime(true);
        this.#record("time-trusted", { approvals: request.approvals, breakGlass: true });
        await this.#reschedule();
        return { timeTrusted: true };
      case "drift":
        return { differences: (await this.#seekDrift()).map(String) };
      case "down":
        await enforcement.down();
        this.#record("down", {});
        return {};
    }
  }

  /** Windows, grants, drift and the clock; called every second. */
  async tick(wallMs: number, steadyMs: number): Promise<void> {
    const { enforcement } = this.#options;
    const stepMs = this.#clock.tick(wallMs, steadyMs);
    if (stepMs !== undefined) {
      this.#record("clock-stepped", { stepMs: Math.round(stepMs) });
      await enforcement.trustTime(false);
    }
    const pending = enforcement.status().pending?.number;
    const isDue = this.#nextChange !== null && wallMs >= this.#nextChange;
    if (isDue || steadyMs - this.#rescheduledMs >= RESCHEDULE_EVERY_MS) {
      this.#rescheduledMs = steadyMs;
      this.#nextChange = await enforcement.reschedule();
    }
    if (wallMs - this.#driftAt >= DRIFT_EVERY_MS) {
      await this.#seekDrift();
      await this.#count(wallMs);
    }
    const after = enforcement.status();
    if (
      pending !== undefined &&
      after.pending === undefined &&
      after.confirmed?.number !== pending
    ) {
      this.#record("rolled-back", { generation: pending, by: "nobody confirmed" });
    }
    this.#tell();
  }

  async #plan(files: readonly PolicyFile[]): Promise<object> {
    const { diagnostics, legs } = await compileInChild(this.#options.compiler, files, Date.now());
    if (legs === undefined) return { diagnostics };
    const plan = this.#planOf(legs);
    const { baseGeneration, nextGeneration } = plan;
    return { diagnostics, legs, planSha256: planSha256(plan), baseGeneration, nextGeneration };
  }

  #planOf(legs: Legs): Plan {
    const { confirmed, nextNumber } = this.#options.enforcement.status();
    return {
      site: legs.site,
      nodeEpoch: 0,
      baseGeneration: confirmed?.number ?? 0,
      nextGeneration: nextNumber,
      policySha256: legs.policySha256,
      legs,
    };
  }

  async #apply(
    request: EnforcerRequest & { readonly type: "apply" },
    connection: number,
  ): Promise<Json> {
    needsApproval(request.approvals);
    const { diagnostics, legs } = await compileInChild(
      this.#options.compiler,
      request.files,
      Date.now(),
    );
    if (legs === undefined) {
      throw new SallyportError("policy-refused", `the policy has ${diagnostics.length} mistakes`);
    }
    checkKeys(legs);
    if (planSha256(this.#planOf(legs)) !== request.planSha256) {
      throw new SallyportError("plan-changed", "this is not the plan that was approved", {
        hint: "plan again and look at what changed",
      });
    }
    const policy = new TextEncoder().encode(JSON.stringify(request.files));
    const approvals = json(request.approvals) as readonly Json[];
    const { generation } = await this.#options.enforcement.apply(
      { legs, policy, approvals, approvalIds: [] },
      { confirmWithinSeconds: request.confirmWithinSeconds },
    );
    this.#appliedOver = connection;
    const { planSha256: plan, confirmWithinSeconds } = request;
    this.#record("applied", {
      generation,
      plan,
      confirmWithinSeconds,
      approvals,
      breakGlass: true,
    });
    await this.#reschedule();
    return { generation, confirmWithinSeconds };
  }

  async #confirm(generation: number, connection: number): Promise<Json> {
    if (connection === this.#appliedOver) {
      throw new SallyportError("same-connection", "a change is confirmed over another connection", {
        hint: "sallyport confirm",
      });
    }
    await this.#options.enforcement.confirm(generation);
    this.#record("confirmed", { generation });
    await this.#reschedule();
    return { generation };
  }

  async #addGrant(wanted: GrantRequest, approvals: readonly Approval[]): Promise<Json> {
    needsApproval(approvals);
    const source = parseIpv4(wanted.source);
    if (source === undefined) {
      throw new SallyportError(
        "bad-message",
        `grant.source "${wanted.source}" is not an IPv4 address`,
      );
    }
    const id = `g-${randomBytes(8).toString("hex")}`;
    const grant = await this.#options.enforcement.addGrant({ ...wanted, id, source });
    const until = new Date(grant.notAfter).toISOString();
    this.#record("grant-added", { ...wanted, id, until, approvals, breakGlass: true });
    this.#tell();
    return { id, until };
  }

  async #reschedule(): Promise<void> {
    this.#nextChange = await this.#options.enforcement.reschedule();
    this.#tell();
  }

  async #seekDrift(): Promise<readonly string[]> {
    this.#driftAt = Date.now();
    const found = (await this.#options.enforcement.repair()).map(({ what }) => what);
    if (found.length > 0) this.#record("drift", { differences: found.slice(0, 50) });
    return found;
  }

  async #count(nowMs: number): Promise<void> {
    const counters: Counters = await this.#options.enforcement.counters();
    this.#minutes.add(nowMs, counters, this.#options.enforcement.legs());
  }

  async #status(): Promise<Status> {
    const { enforcement, instance } = this.#options;
    const counters = await enforcement.counters();
    return statusOf(instance.name, enforcement, counters, Date.now());
  }

  /** The supervisor hears only of changes. */
  #tell(): void {
    const { enforcement, instance } = this.#options;
    const legs = enforcement.allLegs();
    const newest = legs.at(-1);
    if (newest === undefined) return;
    const netns = (room: string): string => `/run/netns/${instance.netnsPrefix}-${room}`;
    const message: RoomsStand = {
      type: "rooms",
      generation: enforcement.status().confirmed?.number ?? 0,
      outer: netns("outer"),
      inner:
        enforcement.degraded().length > 0
          ? { netns: netns("inner"), device: NFLOG }
          : { netns: netns("tap"), device: SAMPLES },
      gates: gatesOf(legs, netns),
      names: {
        generation: enforcement.status().confirmed?.number ?? 0,
        conduits: this.#namesSoFar(),
        zones: newest.zones,
      },
    };
    const text = JSON.stringify(message);
    if (text === this.#told) return;
    this.#told = text;
    this.#options.tellSupervisor(message);
  }

  /** Also of conduits and grants that are gone: their last packets are refused after them. */
  #namesSoFar(): readonly Named[] {
    for (const named of this.#options.enforcement.numbers()) this.#names.set(named.id, named);
    for (const id of this.#names.keys()) {
      if (this.#names.size <= NAMES_MAX) break;
      this.#names.delete(id);
    }
    return [...this.#names.values()];
  }

  #record(type: string, fields: Readonly<Record<string, unknown>>): void {
    this.#options.events.append(Date.now(), type, fields);
  }
}

/** Listeners of the confirmed and of a pending generation; where both name one, the newer counts. */
function gatesOf(legs: readonly Legs[], netns: (room: string) => string): RoomsStand["gates"] {
  const rooms = new Map<string, Map<string, GateListener>>();
  for (const one of legs) {
    for (const { name, kind } of one.rooms)
      if (kind === "gate" && !rooms.has(name)) rooms.set(name, new Map());
    for (const { name: conduit, source: policyLine, listeners } of one.conduits) {
      for (const listener of listeners) {
        const place = `${listener.listenAddress}:${listener.listenPort}`;
        rooms.get(listener.room)?.set(place, { ...listener, conduit, policyLine });
      }
    }
  }
  return [...rooms].map(([room, listeners]) => ({
    room,
    netns: netns(room),
    listeners: [...listeners.values()],
  }));
}

function needsApproval(approvals: readonly Approval[]): void {
  if (approvals.length > 0) return;
  throw new SallyportError("approval-missing", "an act that lets more pass needs an approval", {
    hint: "as root: sallyport records it as break-glass",
  });
}

/** What the enforcer answers is plain data by construction; this drops what JSON has no word for. */
function json(value: unknown): Json {
  return JSON.parse(JSON.stringify(value)) as Json;
}
