import { type Json, parseIpv4, SallyportError } from "@sallyport/core";
import { type Counters, type Enforcement, keepReserve, type Named } from "@sallyport/enforce";
import type { GateListener } from "@sallyport/gate";
import type { Legs } from "@sallyport/policy/legs";
import { type Act, digestOf, type GrantTerms } from "./approvals/act.ts";
import { type Approved, ApprovalDesk } from "./approvals/approval-desk.ts";
import { ApproverActs } from "./approvals/approver-acts.ts";
import type { ApproverBook } from "./approvals/approver-book.ts";
import { backupInChild } from "./backup-child.ts";
import { ClockWatch } from "./clock-watch.ts";
import { type CompilerHome, compileInChild } from "./compile-child.ts";
import { DriftNews } from "./drift-news.ts";
import type { EventLog } from "./event-log.ts";
import { FlowMinutes } from "./flow-minutes.ts";
import type { Instance } from "./instance.ts";
import { LOCAL_ROOT } from "./message-fields.ts";
import type {
  Approval,
  Asked,
  Caller,
  EnforcerRequest,
  PolicyFile,
  WantedKey,
} from "./messages.ts";
import { checkKeys } from "./plan.ts";
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

/** What only somebody on the box may ask for. */
const ROOT_ONLY: ReadonlySet<EnforcerRequest["type"]> = new Set(["down", "first-secret"]);

/** The keyholder looks up which addresses are the gateway's own before it signs them, and asks nothing else. */
function mayAsk(caller: Caller, type: EnforcerRequest["type"]): boolean {
  return caller === "root" || (caller === "control" ? !ROOT_ONLY.has(type) : type === "running");
}

interface From {
  readonly caller: Caller;
  readonly connection: number;
}

type First = "first-secret" | "first-check" | "first-enrol";
type Approver = "approver-list" | "approver-revoke" | First;
type ApproverRequest = Extract<EnforcerRequest, { readonly type: Approver }>;

export interface ServiceOptions {
  readonly instance: Instance;
  readonly enforcement: Enforcement;
  readonly events: EventLog;
  /** Counts by the minute. */
  readonly traffic: EventLog;
  readonly approvers: ApproverBook;
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
  readonly #driftNews = new DriftNews();
  #nextChange: number | null = null;
  /** The change that waited at the last look: any request may find it over, and its end is told once. */
  #waiting: number | undefined;
  #rescheduledMs = performance.now();
  #told = "";
  readonly #desk: ApprovalDesk;
  readonly #approvers: ApproverActs;
  readonly #names = new Map<number, Named>();

  constructor(options: ServiceOptions) {
    this.#options = options;
    this.#minutes = new FlowMinutes(options.traffic);
    this.#desk = new ApprovalDesk(options.approvers);
    this.#approvers = new ApproverActs(options.approvers, (type, fields) => {
      this.#record(type, fields);
    });
  }

  async boot(): Promise<void> {
    const { generation, rolledBack } = await this.#options.enforcement.boot();
    if (rolledBack !== undefined) {
      this.#record("rolled-back", { generation: rolledBack, by: "nobody confirmed" });
    }
    this.#record("booted", { generation });
    await this.#reschedule();
  }

  async answer(request: EnforcerRequest, { caller, connection }: From): Promise<Json> {
    const { enforcement, instance } = this.#options;
    if (!mayAsk(caller, request.type)) {
      throw new SallyportError("denied", `${request.type} is for local root on the box`);
    }
    switch (request.type) {
      case "status":
        return json(await this.#status());
      case "counters":
        return json(await enforcement.counters());
      case "running":
        return json({
          legs: enforcement.legs(),
          grants: enforcement.heldGrants(),
          nodeEpoch: this.#options.approvers.nodeEpoch,
          ...enforcement.status(),
        });
      case "plan":
        return json(await this.#plan(request.files, request.author ?? LOCAL_ROOT));
      case "apply":
        return await this.#apply(request, { caller, connection });
      case "confirm":
        return await this.#confirm(request.generation, connection);
      case "rollback":
        await enforcement.rollback(request.generation);
        this.#waiting = undefined;
        this.#record("rolled-back", { generation: request.generation, by: "request" });
        this.#tell();
        return { generation: request.generation };
      case "grant-add":
        return await this.#addGrant(request.grant, request, caller);
      case "grant-list":
        return json((await this.#status()).grants);
      case "grant-revoke":
        await enforcement.revokeGrant(request.grant);
        this.#record("grant-revoked", { grant: request.grant });
        this.#tell();
        return { id: request.grant };
      case "island-on":
        // It only closes, and closing acts need no approval.
        return await this.#setIsland(request.zone, true);
      case "island-off":
        await this.#approve({ act: "island-off", zone: request.zone }, request, caller);
        return await this.#setIsland(request.zone, false);
      case "trust-time":
        await this.#approve({ act: "trust-time" }, request, caller);
        await enforcement.trustTime(true);
        this.#record("time-trusted", {});
        await this.#reschedule();
        return { timeTrusted: true };
      case "approver-enrol":
        await this.#approve({ act: "enrol", key: request.key }, request, caller);
        return await this.#approvers.enrol(request.key, Date.now());
      case "backup":
        return await backupInChild(this.#options.compiler, instance.name);
      case "drift":
        return { differences: (await this.#seekDrift()).map(String) };
      case "down":
        await enforcement.down();
        this.#record("down", {});
        return {};
      default:
        return json(await this.#answerOnApprovers(request));
    }
  }

  async #answerOnApprovers(request: ApproverRequest): Promise<unknown> {
    switch (request.type) {
      case "approver-list":
        return this.#approvers.list();
      case "approver-revoke":
        return await this.#approvers.revoke(request.key, Date.now());
      case "first-secret":
        return await this.#approvers.makeFirst(Date.now());
      case "first-check":
        return this.#approvers.checkFirst(request.token, Date.now());
      case "first-enrol":
        return await this.#approvers.enrolFirst(request.key, request.proof, Date.now());
    }
  }

  async #setIsland(zone: string, on: boolean): Promise<Json> {
    await this.#options.enforcement.setIsland(zone, on);
    this.#record("island", { zone, on });
    return { zone, on };
  }

  /** Windows, grants, drift and the clock; called every second. */
  async tick(wallMs: number, steadyMs: number): Promise<void> {
    const { enforcement } = this.#options;
    const stepMs = this.#clock.tick(wallMs, steadyMs);
    if (stepMs !== undefined) {
      this.#record("clock-stepped", { stepMs: Math.round(stepMs) });
      await enforcement.trustTime(false);
    }
    const waited = this.#waiting ?? enforcement.status().pending?.number;
    const isDue = this.#nextChange !== null && wallMs >= this.#nextChange;
    if (isDue || steadyMs - this.#rescheduledMs >= RESCHEDULE_EVERY_MS) {
      this.#rescheduledMs = steadyMs;
      this.#nextChange = await enforcement.reschedule();
    }
    if (wallMs - this.#driftAt >= DRIFT_EVERY_MS) {
      keepReserve(this.#options.instance.stateDir);
      await this.#seekDrift();
      await this.#count(wallMs);
    }
    const { pending, confirmed } = enforcement.status();
    if (![pending?.number, confirmed?.number, undefined].includes(waited)) {
      this.#record("rolled-back", { generation: waited, by: "nobody confirmed" });
    }
    this.#waiting = pending?.number;
    this.#tell();
  }

  async #plan(files: readonly PolicyFile[], author: string): Promise<object> {
    const { diagnostics, legs } = await compileInChild(this.#options.compiler, files, Date.now());
    if (legs === undefined) return { diagnostics };
    const act = this.#applyOf(legs, author);
    const planSha256 = digestOf(act).toString("hex");
    const { baseGeneration, nextGeneration, nodeEpoch } = act;
    return { diagnostics, legs, planSha256, baseGeneration, nextGeneration, nodeEpoch };
  }

  #applyOf(legs: Legs, author: string): Extract<Act, { readonly act: "apply" }> {
    const { confirmed, nextNumber } = this.#options.enforcement.status();
    return {
      act: "apply",
      site: legs.site,
      nodeEpoch: this.#options.approvers.nodeEpoch,
      author,
      baseGeneration: confirmed?.number ?? 0,
      nextGeneration: nextNumber,
      policySha256: legs.policySha256,
      legs,
    };
  }

  async #apply(
    request: EnforcerRequest & { readonly type: "apply" },
    { caller, connection }: From,
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
    const act = this.#applyOf(legs, request.author);
    if (digestOf(act).toString("hex") !== request.planSha256) {
      throw new SallyportError("plan-changed", "this is not the plan that was approved", {
        hint: "plan again and look at what changed",
      });
    }
    const policy = new TextEncoder().encode(JSON.stringify(request.files));
    const running = this.#options.enforcement.legs();
    const about = { caller, running, nowMs: Date.now() };
    const approved = await this.#desk.approve(act, request.approvals, about);
    this.#recordBefore(act, approved);
    const approvals = json(request.approvals) as readonly Json[];
    const { generation } = await this.#options.enforcement.apply(
      { legs, policy, approvals, approvalIds: [] },
      { confirmWithinSeconds: request.confirmWithinSeconds },
    );
    this.#appliedOver = connection;
    const { planSha256: plan, confirmWithinSeconds } = request;
    const { author, people, breakGlass } = approved;
    const who = { author, people, breakGlass };
    this.#record("applied", { generation, plan, confirmWithinSeconds, ...who });
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

  async #addGrant(wanted: GrantTerms, asked: Asked, caller: Caller): Promise<Json> {
    const approved = await this.#approve({ act: "grant", ...wanted }, asked, caller);
    const source = parseIpv4(wanted.source);
    if (source === undefined) {
      const why = `grant.source "${wanted.source}" is not an IPv4 address`;
      throw new SallyportError("bad-message", why);
    }
    const id = `g-${asked.id.replace(/^[a-z]-/, "")}`;
    const grant = await this.#options.enforcement.addGrant({ ...wanted, id, source });
    const until = new Date(grant.notAfter).toISOString();
    const { author, people, breakGlass } = approved;
    this.#record("grant-added", { ...wanted, id, until, author, people, breakGlass });
    this.#tell();
    return { id, until };
  }

  async #reschedule(): Promise<void> {
    this.#nextChange = await this.#options.enforcement.reschedule();
    this.#tell();
  }

  async #seekDrift(): Promise<readonly string[]> {
    this.#driftAt = Date.now();
    const found = await this.#options.enforcement.repair();
    const news = this.#driftNews.of(found);
    if (news !== undefined) this.#record(news.type, news.fields);
    return found.map(({ what }) => what);
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
    if (newest === undefined) {
      // The next rooms may have the names of the last, and must be told of again.
      this.#told = "";
      return;
    }
    const netns = (room: string): string => `/run/netns/${instance.netnsPrefix}-${room}`;
    const control = newest.rooms.find(({ kind }) => kind === "control");
    const message: RoomsStand = {
      type: "rooms",
      generation: enforcement.status().confirmed?.number ?? 0,
      outer: netns("outer"),
      inner:
        enforcement.degraded().length > 0
          ? { netns: netns("inner"), device: NFLOG }
          : { netns: netns("tap"), device: SAMPLES },
      gates: gatesOf(legs, netns),
      ...(control === undefined ? {} : { control: netns(control.name) }),
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

  /** Throws unless it is approved, and on record as such before it begins. */
  async #approve(
    terms: Terms,
    { id, author, startBy, approvals }: Asked,
    caller: Caller,
  ): Promise<Approved> {
    needsApproval(approvals);
    const running = this.#options.enforcement.legs();
    const site = running?.site ?? "";
    const { nodeEpoch } = this.#options.approvers;
    const act = { ...terms, site, nodeEpoch, id, author, startBy };
    const about = { caller, running, nowMs: Date.now() };
    const approved = await this.#desk.approve(act, approvals, about);
    this.#recordBefore(act, approved);
    return approved;
  }

  /** An opening act that cannot be recorded does not happen. */
  #recordBefore({ act }: Act, approved: Approved): void {
    try {
      this.#options.events.appendDurably(Date.now(), "approved", { act, ...approved });
    } catch (cause) {
      throw new SallyportError("not-recorded", "the approval could not be written to disk", {
        cause,
        hint: "make room on the disk of /var/lib/sallyport; nothing was opened",
      });
    }
  }

  #record(type: string, fields: Readonly<Record<string, unknown>>): void {
    this.#options.events.append(Date.now(), type, fields);
  }
}

/** All of a named act but what every one has. */
type Terms =
  | ({ readonly act: "grant" } & GrantTerms)
  | { readonly act: "island-off"; readonly zone: string }
  | { readonly act: "trust-time" }
  | { readonly act: "enrol"; readonly key: WantedKey };

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
