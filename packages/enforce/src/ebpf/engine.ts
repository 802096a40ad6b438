/**
 * The second engine as rooms and apply see it: `inner.bpf.o` on tc ingress of a room's interfaces,
 * its maps pinned in a bpffs of the instance's own, everything done by `bpftool` and `tc`.
 *
 * The room's namespace is entered with `nsenter --net` only: `ip netns exec` and `tc -n` would
 * remount /sys, and with a mount namespace of their own the pins would be out of sight.
 */
import { createHash } from "node:crypto";
import fs from "node:fs";
import path from "node:path";
import type { Legs, Point } from "@sallyport/policy/legs";
import type {
  Engine,
  EngineCounters,
  EngineState,
  Entries,
  GrantRow,
  Selection,
} from "../apply/engine-port.ts";
import { run, tryRun } from "../apply/run.ts";
import { mustBeWritten } from "../apply/written.ts";
import type { LiveEntry, Lowering } from "../engine.ts";
import {
  addGrant,
  batchText,
  type ClockPair,
  fillSlot,
  type MapName,
  type MapWrite,
  pageKey,
  removeGrant,
  type Sampling,
  select,
  setLive,
  setSampling,
  zoneNames,
} from "./lower.ts";
import {
  clearSlot,
  contentDigest,
  contentOf,
  placeOf,
  readBootNs,
  readDenied,
  readEntries,
  readHits,
  readPeers,
  readSelection,
  readSettings,
  TABLED_MAPS,
} from "./read.ts";

export interface EbpfOptions {
  readonly point: Point;
  /** The room's network namespace: a name that `ip netns` knows, or a path. */
  readonly netns: string;
  /** A folder for the bpffs; made and mounted if need be. No blanks. */
  readonly directory: string;
  /** Denial samples go into this interface of the room, whose far end is in `tap`. */
  readonly samples?: Omit<Sampling, "tapIfindex"> & { readonly interface: string };
}

/** IANA numbers of what conduits can name. */
const PROTOCOL_NAMES: ReadonlyMap<number, string> = new Map([
  [1, "icmp"],
  [6, "tcp"],
  [17, "udp"],
]);
const OBJECT = path.join(import.meta.dirname, "inner.bpf.o");
/** statfs(2) of a bpffs. */
const BPF_FS_MAGIC = 0xcafe4a11;
/** What grants change. */
const GRANTED_MAPS: readonly MapName[] = ["grants", "live"];
/** One filter, always the same, first of all. */
const FILTER = "pref 1 handle 1 protocol all";

export class EbpfEngine implements Engine {
  readonly kind = "ebpf";
  readonly point: Point;
  readonly #options: EbpfOptions;
  /** Of this very object: another version of the program gets maps of its own. */
  readonly #home: string;
  #names: ReadonlyMap<number, string> = new Map();

  constructor(options: EbpfOptions) {
    this.point = options.point;
    this.#options = options;
    const digest = createHash("sha256").update(fs.readFileSync(OBJECT)).digest("hex");
    this.#home = path.join(options.directory, digest.slice(0, 16));
  }

  get maps(): string {
    return path.join(this.#home, "maps");
  }

  get #program(): string {
    return path.join(this.#home, "inner");
  }

  /** The program reads packets itself; what translation to gates needs is for who does that. */
  sysctls(): Readonly<Record<string, string>> {
    return {};
  }

  async install(legs: Legs): Promise<void> {
    this.#remember(legs);
    fs.mkdirSync(this.#options.directory, { recursive: true, mode: 0o700 });
    if (!isBpffs(this.#options.directory)) {
      await run("mount", ["-t", "bpf", "-o", "mode=0700", "bpf", this.#options.directory]);
    }
    if (fs.existsSync(this.#program)) return;
    // What an interrupted installation left: maps without their program.
    fs.rmSync(this.#home, { recursive: true, force: true });
    fs.mkdirSync(this.maps, { recursive: true });
    // Maps are pinned before the program, so a program that is there has all of them.
    await run("bpftool", ["prog", "load", OBJECT, this.#program, "pinmaps", this.maps]);
  }

  async attach(interfaces: readonly string[]): Promise<void> {
    const qdiscs = await this.#tc(["-j", "qdisc", "show"]);
    const hooked = (JSON.parse(qdiscs) as readonly { kind?: string; dev?: string }[])
      .filter(({ kind }) => kind === "clsact")
      .map(({ dev }) => dev);
    const program = `bpf direct-action object-pinned ${this.#program}`;
    const lines = interfaces.flatMap((name) => [
      ...(hooked.includes(name) ? [] : [`qdisc add dev ${name} clsact`]),
      `filter replace dev ${name} ingress ${FILTER} ${program}`,
    ]);
    // One process for all: sixteen of them would be a third of the time that the rooms take.
    await this.#tc(["-batch", "-"], `${lines.join("\n")}\n`);
  }

  async load(lowering: Lowering): Promise<void> {
    const clock = clockOf(lowering);
    this.#remember(lowering.legs);
    const ifindexes = await this.#ifindexes();
    const writes = fillSlot(lowering, (name) => ifindexes.get(name), clock);
    const kept = readSettings(await this.#dump("settings"))
      .filter(({ slot }) => slot !== lowering.slot)
      .map(({ table }) => table);
    const stale: MapWrite[] = [];
    for (const map of TABLED_MAPS) stale.push(...clearSlot(map, await this.#dump(map), kept));
    const { samples } = this.#options;
    const tapIfindex = samples === undefined ? 0 : (ifindexes.get(samples.interface) ?? 0);
    const sampling = setSampling(this.point, { perSecond: 0, burst: 0, ...samples, tapIfindex });
    await this.#write([...stale, ...writes, sampling]);
  }

  async select({ confirmed, pending }: Selection): Promise<void> {
    const until =
      pending === undefined
        ? undefined
        : {
            slot: pending.slot,
            untilBootNs: readBootNs() + BigInt(Math.round(pending.forMs * 1e6)),
          };
    await this.#write([select(confirmed, until)]);
  }

  async setLive(lowering: Lowering, entries: readonly LiveEntry[]): Promise<Entries> {
    const writes = setLive(lowering, entries, clockOf(lowering));
    await this.#write(writes);
    return contentOf(writes);
  }

  addGrant(lowering: Lowering, { grant }: GrantRow): Promise<Entries> {
    return this.#writeAndRead(addGrant(lowering, grant, clockOf(lowering)));
  }

  removeGrant(lowering: Lowering, { grant, entry }: GrantRow): Promise<Entries> {
    return this.#writeAndRead(removeGrant(lowering, grant, entry.id));
  }

  async readBack(): Promise<EngineState> {
    const settings = await this.#dump("settings");
    const selection = readSelection(await this.#dump("slots"), readBootNs());
    const entries = readEntries("settings", settings);
    for (const map of TABLED_MAPS) entries.push(...readEntries(map, await this.#dump(map)));
    for (const { slot, pages } of readSettings(settings)) {
      const keys = Array.from({ length: pages }, (_, index) => pageKey(slot, index));
      if (keys.length > 0) entries.push(...readEntries("pages", await this.#lookup("pages", keys)));
    }
    const show = await run("bpftool", ["-j", "prog", "show", "pinned", this.#program]);
    const { tag, id } = JSON.parse(show) as { readonly tag: string; readonly id: number };
    const filters = await this.#filters();
    const attached = filters.filter(({ program }) => program === id).map(({ name }) => name);
    const hooks = filters.map(({ name, program }) => `${name} ${program === id ? tag : program}`);
    const moved = entries.filter(({ map }) => GRANTED_MAPS.includes(map));
    const rest = entries.filter(({ map }) => !GRANTED_MAPS.includes(map));
    return {
      digest: contentDigest([tag, ...hooks.sort()].join(" "), rest),
      entries: new Map(moved.map((entry) => [placeOf(entry), entry.value ?? ""])),
      slot: selection,
      interfaces: attached,
    };
  }

  async counters(): Promise<EngineCounters> {
    return {
      hits: readHits(await this.#dump("hits")),
      denials: readDenied(await this.#dump("denied"), this.point, this.#names),
      // The time of the boot clock stays behind: JSON has no word for it.
      peers: readPeers(await this.#dump("peers")).map((peer) => {
        const { id, source, target, port, sessions } = peer;
        const protocol = PROTOCOL_NAMES.get(peer.protocol) ?? String(peer.protocol);
        return { id, source, target, protocol, port, sessions };
      }),
    };
  }

  async remove(): Promise<void> {
    const { directory } = this.#options;
    if (!fs.existsSync(directory)) return;
    if (isBpffs(directory)) await run("umount", [directory]);
    fs.rmSync(directory, { recursive: true });
  }

  #remember(legs: Legs): void {
    this.#names = new Map([...this.#names, ...zoneNames(legs.zones)]);
  }

  async #write(writes: readonly MapWrite[]): Promise<void> {
    if (writes.length === 0) return;
    await run("bpftool", ["batch", "file", "-"], { input: batchText(this.maps, writes) });
  }

  async #writeAndRead(writes: readonly MapWrite[]): Promise<Entries> {
    await this.#write(writes);
    const wanted = contentOf(writes);
    const places = new Map(writes.map((write) => [placeOf(write), write]));
    const found = await Promise.all(
      [...places].map(
        async ([place, { map, key }]) => [place, await this.#find(map, key)] as const,
      ),
    );
    mustBeWritten(this.point, wanted, new Map(found));
    return wanted;
  }

  /** Alone, as a batch ends at a key that is missing. */
  async #find(map: MapName, key: string): Promise<string | undefined> {
    const words = ["map", "lookup", "pinned", path.join(this.maps, map), "key", "hex"];
    const { stdout } = await tryRun("bpftool", ["-j", ...words, ...key.split(" ")]);
    return stdout.trim() === "null" ? undefined : readEntries(map, `[${stdout}]`)[0]?.value;
  }

  #dump(map: MapName): Promise<string> {
    return run("bpftool", ["-j", "map", "dump", "pinned", path.join(this.maps, map)]);
  }

  /** As a dump of these keys alone. */
  async #lookup(map: MapName, keys: readonly string[]): Promise<string> {
    const lines = keys.map((key) => `map lookup pinned ${this.maps}/${map} key hex ${key}\n`);
    const answer = await run("bpftool", ["-j", "batch", "file", "-"], { input: lines.join("") });
    const parsed = JSON.parse(answer) as readonly { readonly output: unknown }[];
    return JSON.stringify(parsed.map(({ output }) => output));
  }

  /** Every eBPF program on tc in the room, ours or not. */
  async #filters(): Promise<{ readonly name: string; readonly program: number }[]> {
    const show = await run("bpftool", ["-j", "net", "show"], { netns: this.#options.netns });
    const [found] = JSON.parse(show) as readonly {
      readonly tc: readonly {
        readonly devname: string;
        readonly kind: string;
        readonly id: number;
      }[];
    }[];
    return (found?.tc ?? []).map(({ devname, id }) => ({ name: devname, program: id }));
  }

  async #ifindexes(): Promise<Map<string, number>> {
    const links = await run("ip", ["-j", "link", "show"], { netns: this.#options.netns });
    const parsed = JSON.parse(links) as readonly {
      readonly ifname: string;
      readonly ifindex: number;
    }[];
    return new Map(parsed.map(({ ifname, ifindex }) => [ifname, ifindex]));
  }

  #tc(args: readonly string[], input = ""): Promise<string> {
    return run("tc", args, { netns: this.#options.netns, input });
  }
}

function isBpffs(directory: string): boolean {
  return fs.statfsSync(directory).type === BPF_FS_MAGIC;
}

/** `lowering.now` was a moment ago, so ends come that much late at most, and never earlier. */
function clockOf(lowering: Lowering): ClockPair {
  return { nowMs: lowering.now, bootNs: readBootNs() };
}
