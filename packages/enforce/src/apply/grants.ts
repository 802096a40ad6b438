/** Grants in force: kept in the run directory, so that none survives a reboot. */
import path from "node:path";
import { appendFile, rm } from "node:fs/promises";
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

/** As many numbers as the kernels count; then the older half is forgotten, and with it what it counted. */
const NAMED_MAX = 65_536;

interface PastGrant {
  readonly conduit: string;
  readonly grant: string;
}

export class GrantBook {
  private readonly file: string;
  /** A line a grant, written once: whose a number was, as long as the rooms stand and count it. */
  private readonly namesFile: string;
  private readonly held: Map<string, HeldGrant>;
  private names: Map<number, PastGrant>;

  private constructor(runDir: string, held: readonly HeldGrant[], names: Map<number, PastGrant>) {
    this.file = path.join(runDir, "grants.json");
    this.namesFile = path.join(runDir, "granted.ndjson");
    this.held = new Map(held.map((one) => [one.grant.id, one]));
    this.names = names;
  }

  static async load(runDir: string): Promise<GrantBook> {
    const text = (await readIfThere(path.join(runDir, "grants.json"))) ?? "[]";
    const lines = (await readIfThere(path.join(runDir, "granted.ndjson"))) ?? "";
    // A line that a kill cut off does not end as others do.
    const names = lines.split("\n").filter((line) => line.endsWith("]"));
    return new GrantBook(
      runDir,
      JSON.parse(text) as HeldGrant[],
      new Map(names.map((line) => JSON.parse(line) as [number, PastGrant])),
    );
  }

  /** Whose each number was, also of grants that are gone: the kernels go on saying what they counted. */
  named(): ReadonlyMap<number, PastGrant> {
    return this.names;
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
    const { conduit, id: grant } = held.grant;
    this.names.set(held.id, { conduit, grant });
    if (this.names.size > NAMED_MAX) {
      this.names = new Map([...this.names].slice(-NAMED_MAX / 2));
      await writeWhole(this.namesFile, [...this.names].map(lineOf).join(""));
    } else {
      await appendFile(this.namesFile, lineOf([held.id, { conduit, grant }]), { mode: 0o600 });
    }
    this.held.set(held.grant.id, held);
    await this.save();
  }

  async remove(id: string): Promise<void> {
    this.held.delete(id);
    await this.save();
  }

  async forget(): Promise<void> {
    this.held.clear();
    this.names.clear();
    for (const file of [this.file, this.namesFile]) await rm(file, { force: true });
  }

  private async save(): Promise<void> {
    await writeWhole(this.file, JSON.stringify(this.all()));
  }
}

function lineOf(named: readonly [number, PastGrant]): string {
  return `\n${JSON.stringify(named)}`;
}

const NONE: ReadonlySet<string> = new Set();
