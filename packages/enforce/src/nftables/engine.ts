/**
 * The first engine as rooms and apply see it: one `nft -j` a step, each one transaction. It lives in
 * its room alone and vanishes with it.
 */
import fs from "node:fs";
import path from "node:path";
import { type Json, SallyportError } from "@sallyport/core";
import type { Legs, Point } from "@sallyport/policy/legs";
import type {
  Engine,
  EngineCounters,
  EngineState,
  Entries,
  GrantRow,
  Selection,
} from "../apply/engine-port.ts";
import { run } from "../apply/run.ts";
import { mustBeWritten } from "../apply/written.ts";
import type { LiveEntry, Lowering, Slot } from "../engine.ts";
import { conntrackSysctls } from "./conntrack.ts";
import type { Document } from "./json.ts";
import { addGrant, fillSlot, openUntil, removeGrant, select, setLive } from "./lower.ts";
import {
  readDenied,
  readGranted,
  readHits,
  readInterfaces,
  readLive,
  readOpen,
  readPeers,
  readSlot,
  rulesDigest,
  writtenEntries,
} from "./read.ts";
import { grantTables } from "./redirects.ts";
import { attach, isInstalled, skeleton } from "./skeleton.ts";
import { slotTables } from "./tables.ts";

/** Memory, as rules hold no secret but are replaced often. */
const SCRATCH = "/dev/shm/sallyport-nft-";

export class NftablesEngine implements Engine {
  readonly kind = "nftables";
  readonly point: Point;
  readonly #netns: string;
  #legs: Legs | undefined;
  /** Numbers that were ever opened in a slot since it was filled; others in its live set are drift. */
  readonly #opened = new Map<Slot, Set<number>>();

  constructor(options: { readonly point: Point; readonly netns: string }) {
    this.point = options.point;
    this.#netns = options.netns;
  }

  sysctls(legs: Legs): Readonly<Record<string, string>> {
    return conntrackSysctls(legs.limits);
  }

  async install(legs: Legs): Promise<void> {
    this.#legs = legs;
    const installed = isInstalled(await this.#list("sets"));
    await this.#load(skeleton({ installed }));
    // An empty slot refuses everything; from now on there is always one in force.
    if (!installed) await this.#load(select({ confirmed: 0 }));
    if (!isInstalled(await this.#list("sets"))) {
      throw new SallyportError(
        "engine-not-installed",
        `nft said yes, but ${this.#netns} has no engine`,
      );
    }
  }

  async attach(interfaces: readonly string[]): Promise<void> {
    const declared = this.#legs?.attachments.map((attachment) => attachment.interface) ?? [];
    await this.#load(attach(interfaces, [...new Set([...declared, ...interfaces])]));
  }

  async load(lowering: Lowering): Promise<void> {
    this.#legs = lowering.legs;
    await this.#load(fillSlot(lowering));
    const grants = lowering.grants.map(({ entry }) => entry);
    this.#opened.set(lowering.slot, new Set());
    this.#remember(lowering.slot, [...lowering.conduits.values(), ...grants]);
  }

  async select({ confirmed, pending }: Selection): Promise<void> {
    if (pending === undefined) return await this.#load(select({ confirmed }));
    // Whole seconds are all that nft's JSON has; falling back early is the safe side.
    const seconds = Math.max(1, Math.floor(pending.forMs / 1000));
    await this.#load(select({ confirmed, pending: { slot: pending.slot, seconds } }));
  }

  async setLive(lowering: Lowering, entries: readonly LiveEntry[]): Promise<Entries> {
    await this.#load(setLive(lowering, entries));
    this.#remember(lowering.slot, entries);
    return writtenEntries(grantTables(lowering));
  }

  async addGrant(lowering: Lowering, row: GrantRow): Promise<Entries> {
    await this.#load(addGrant(lowering, row));
    this.#remember(lowering.slot, [row.entry]);
    return await this.#writtenGrants(lowering, row);
  }

  async removeGrant(lowering: Lowering, row: GrantRow): Promise<Entries> {
    await this.#load(removeGrant(lowering));
    this.#opened.get(lowering.slot)?.delete(row.entry.id);
    return await this.#writtenGrants(lowering, row);
  }

  async readBack(): Promise<EngineState> {
    const listing = await this.#list("ruleset");
    const slot = readSlot(listing);
    if (slot === undefined) {
      throw new SallyportError("engine-not-installed", `no slot of ${this.#netns} is in force`);
    }
    const digest = [rulesDigest(listing), ...this.#strangers(listing)].join(" ");
    return { digest, entries: readGranted(listing), slot, interfaces: readInterfaces(listing) };
  }

  /**
   * Reads the grants' tables of one slot and nothing else. By `list`, as `nft get element` would read
   * everything in the room first.
   */
  async #writtenGrants(lowering: Lowering, { entry: { id } }: GrantRow): Promise<Entries> {
    const { slot, grants, now } = lowering;
    const wanted = writtenEntries(grantTables(lowering));
    const live = `granted_live_${slot}`;
    const tables = slotTables(slot).filter(({ name }) => wanted.has(name) || name === live);
    const listings = await Promise.all(
      tables.map(({ name, isMap }) => this.#list(isMap ? "map" : "set", "ip", "sallyport", name)),
    );
    const items = { nftables: listings.flatMap(itemsOf) };
    mustBeWritten(this.point, wanted, readGranted(items));
    const [told] = openUntil(
      grants.flatMap(({ entry }) => (entry.id === id ? [entry] : [])),
      now,
    );
    mustBeWritten(
      this.point,
      new Map([[live, told]]),
      new Map([[live, readOpen(items, live, id)]]),
    );
    return wanted;
  }

  async counters(): Promise<EngineCounters> {
    const sets = await this.#list("set", "ip", "sallyport", "hits");
    const denied = await this.#list("set", "ip", "sallyport", "denied");
    const screened = await this.#list("counters");
    const both = { nftables: [...itemsOf(denied), ...itemsOf(screened)] };
    const denials = this.#legs === undefined ? [] : readDenied(both, this.#legs, this.point);
    const peers = readPeers(await this.#list("set", "ip", "sallyport", "peers"));
    return { hits: readHits(sets), denials, peers };
  }

  remove(): Promise<void> {
    return Promise.resolve();
  }

  #remember(slot: Slot, entries: readonly LiveEntry[]): void {
    for (const { id, liveness } of entries) if (liveness.open) this.#opened.get(slot)?.add(id);
  }

  /** Open numbers that this process did not open; none after a restart, until the slot is filled. */
  #strangers(listing: Json): string[] {
    return [...this.#opened].flatMap(([slot, opened]) => {
      const strange = readLive(listing, slot).filter((id) => !opened.has(id));
      return strange.map((id) => `${id} is open in slot ${slot}`);
    });
  }

  async #list(...what: readonly string[]): Promise<Json> {
    return JSON.parse(await run("nft", ["-j", "list", ...what], { netns: this.#netns })) as Json;
  }

  /** By a file: `nft -j -f -` opens /dev/stdin by name, which fails on the socket that Node gives it. */
  async #load(document: Document): Promise<void> {
    if (document.nftables.length === 0) return;
    const directory = fs.mkdtempSync(SCRATCH);
    try {
      const file = path.join(directory, "document.json");
      fs.writeFileSync(file, JSON.stringify(document), { mode: 0o600 });
      await run("nft", ["-j", "-f", file], { netns: this.#netns });
    } finally {
      fs.rmSync(directory, { recursive: true });
    }
  }
}

function itemsOf(listing: Json): readonly Json[] {
  const { nftables } = listing as { readonly nftables?: readonly Json[] };
  return nftables ?? [];
}
