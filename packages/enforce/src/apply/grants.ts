/** Grants in force: kept in the run directory, so that none survives a reboot. */
import path from "node:path";
import { rm } from "node:fs/promises";
import { contains, SallyportError } from "@sallyport/core";
import { type Conduit, type Grant, grantLiveness, type Legs } from "@sallyport/policy/legs";
import type { LiveEntry } from "../engine.ts";
import { readIfThere, writeWhole } from "./state.ts";

export interface GrantRequest {
  /** `g-<random>`, never reused. */
  readonly id: string;
  readonly conduit: string;
  readonly person: string;
  readonly reason: string;
  /** Address of the person's device. */
  readonly source: number;
  readonly asset: string;
  /** Needed only where the conduit has more than one port of the asset. */
  readonly port?: number;
  readonly seconds: number;
}

export interface HeldGrant {
  readonly grant: Grant;
  readonly id: number;
}

export interface Terms {
  readonly islands: ReadonlySet<string>;
  readonly timeTrusted: boolean;
}

/** More live grants than this are not watched by anyone. */
const GRANTS_MAX = 1000;

export class GrantBook {
  private readonly file: string;
  private readonly held: Map<string, HeldGrant>;

  private constructor(file: string, held: readonly HeldGrant[]) {
    this.file = file;
    this.held = new Map(held.map((one) => [one.grant.id, one]));
  }

  static async load(runDir: string): Promise<GrantBook> {
    const file = path.join(runDir, "grants.json");
    const text = await readIfThere(file);
    return new GrantBook(file, text === undefined ? [] : (JSON.parse(text) as HeldGrant[]));
  }

  all(): readonly HeldGrant[] {
    return [...this.held.values()];
  }

  list(now: number): readonly HeldGrant[] {
    return this.all().filter(({ grant }) => now < grant.notAfter);
  }

  find(id: string): HeldGrant | undefined {
    return this.held.get(id);
  }

  /** Checks a request against its conduit and gives it a free slot. */
  place(request: GrantRequest, legs: Legs, now: number): Grant {
    const refuse = (message: string, hint?: string): SallyportError =>
      new SallyportError("grant-refused", message, hint === undefined ? {} : { hint });
    const conduit = legs.conduits.find(({ name }) => name === request.conduit);
    const terms = conduit?.session;
    if (conduit === undefined || terms === undefined) {
      throw refuse(`${request.conduit} is not a session conduit of the running policy`);
    }
    if (this.held.has(request.id)) throw refuse(`grant ${request.id} was given before`);
    if (this.list(now).length >= GRANTS_MAX) throw refuse(`${GRANTS_MAX} grants are live already`);
    if (!terms.people.includes(request.person)) {
      throw refuse(
        `${request.person} is not among the people of ${conduit.name}`,
        terms.people.join(", "),
      );
    }
    if (!(request.seconds > 0 && request.seconds <= terms.maxSeconds)) {
      throw refuse(`${conduit.name} allows 1 to ${terms.maxSeconds} seconds`);
    }
    if (!conduit.legs.some(({ from }) => contains(from, request.source))) {
      throw refuse(`${conduit.name} does not start at this address`);
    }
    const listeners = conduit.listeners.filter(({ asset }) => asset === request.asset);
    const ports = [...new Set(listeners.map(({ targetPort }) => targetPort))];
    const port = request.port ?? (ports.length === 1 ? ports[0] : undefined);
    const taken = new Set(
      this.list(now)
        .filter(({ grant }) => grant.conduit === conduit.name && grant.asset === request.asset)
        .map(({ grant }) => grant.slot),
    );
    const mine = listeners.filter(({ targetPort }) => targetPort === port);
    const free = mine.find(({ slot }) => !taken.has(slot));
    if (mine.length === 0 || port === undefined) {
      throw refuse(
        `${conduit.name} does not reach ${request.asset} at this port`,
        `ports: ${ports.join(", ")}`,
      );
    }
    if (free === undefined)
      throw refuse(`all ${terms.slots} sessions of ${conduit.name} are taken`);
    const { id, person, reason, source, asset, seconds } = request;
    const notAfter = now + seconds * 1000;
    return {
      ...{ id, conduit: conduit.name, person, reason, source, asset, target: free.targetAddress },
      ...{ protocol: "tcp", port, slot: free.slot, notBefore: now, notAfter },
    };
  }

  /** Ended grants whose exact row the new one takes over. */
  endedIn(grant: Grant, now: number): readonly HeldGrant[] {
    return this.all().filter(
      ({ grant: old }) =>
        now >= old.notAfter && old.conduit === grant.conduit && old.slot === grant.slot,
    );
  }

  entry(
    { grant, id }: HeldGrant,
    legs: Legs,
    now: number,
    { islands, timeTrusted }: Terms,
  ): LiveEntry {
    const conduit: Conduit | undefined = legs.conduits.find(({ name }) => name === grant.conduit);
    const revoked = this.held.has(grant.id) ? NONE : new Set([grant.id]);
    const liveness = grantLiveness(grant, conduit, now, revoked, islands, timeTrusted);
    return { id, liveness, audit: false, diode: false };
  }

  async add(held: HeldGrant): Promise<void> {
    this.held.set(held.grant.id, held);
    await this.save();
  }

  async remove(id: string): Promise<void> {
    this.held.delete(id);
    await this.save();
  }

  async forget(): Promise<void> {
    this.held.clear();
    await rm(this.file, { force: true });
  }

  private async save(): Promise<void> {
    await writeWhole(this.file, JSON.stringify(this.all()));
  }
}

const NONE: ReadonlySet<string> = new Set();
