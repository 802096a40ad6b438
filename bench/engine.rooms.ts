/**
 * One engine alone in real rooms: RoomSet's own namespaces, guard routes and settings, its NICs bare
 * veths. Packets come from the kernel (`engine.packets.bpf.c`) and end behind the far ends.
 */
import { type ChildProcessByStdio, spawn } from "node:child_process";
import fs from "node:fs";
import os from "node:os";
import path from "node:path";
import process from "node:process";
import { createInterface } from "node:readline";
import type { Readable, Writable } from "node:stream";
import { formatIpv4 } from "@sallyport/core";
import { RoomSet, run } from "@sallyport/enforce";
import type { Legs } from "@sallyport/policy";
import { type Burst, loweringOf, sessionFrames } from "./engine.plant.ts";
import { SilentEngine } from "./engine.variants.ts";
import type { Engine } from "./engine.words.ts";

const FAR_MAC = "02:00:00:00:00:02";
/** Alone on its core as far as the machine lets it; Node has the others. */
const CPU = os.cpus().length - 1;
const BIN = "bin";

/** The compiled source and sink, pinned in a bpffs of their own; all rooms share them. */
export class PacketSource implements AsyncDisposable {
  readonly directory: string;

  private constructor(directory: string) {
    this.directory = directory;
  }

  static async open(): Promise<PacketSource> {
    const source = new PacketSource(fs.mkdtempSync(`/dev/shm/sallyport-bench-${process.pid}-`));
    try {
      await source.#build();
    } catch (cause) {
      await source[Symbol.asyncDispose]();
      throw cause;
    }
    return source;
  }

  async #build(): Promise<void> {
    const here = import.meta.dirname;
    const arch = process.arch === "arm64" ? "aarch64-linux-gnu" : "x86_64-linux-gnu";
    const object = path.join(this.directory, "packets.o");
    const flags = ["-O2", "-g", "-target", "bpf", "-I", `/usr/include/${arch}`, "-Wall"];
    const program = path.join(here, "engine.packets.bpf.c");
    await run("clang-14", [...flags, "-c", program, "-o", object]);
    const c = path.join(here, "engine.packets.c");
    await run("gcc", ["-O2", "-Wall", "-o", path.join(this.directory, BIN), c]);
    fs.mkdirSync(this.at());
    await run("mount", ["-t", "bpf", "bpf", this.at()]);
    for (const name of ["programs", "maps"]) fs.mkdirSync(this.at(name));
    await run("bpftool", [
      "prog",
      "loadall",
      object,
      this.at("programs"),
      "pinmaps",
      this.at("maps"),
    ]);
  }

  at(...names: readonly string[]): string {
    return path.join(this.directory, "bpf", ...names);
  }

  get program(): string {
    return path.join(this.directory, BIN);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await run("umount", [this.at()]).catch(() => "");
    fs.rmSync(this.directory, { recursive: true, force: true });
  }
}

export interface RoomOptions {
  readonly name: string;
  readonly legs: Legs;
  readonly makeEngine: (netns: string, directory: string) => Engine;
}

export class PacketRoom implements AsyncDisposable {
  readonly netns: string;
  readonly engine: Engine;
  readonly #source: PacketSource;
  readonly #legs: Legs;
  readonly #rooms: RoomSet;
  readonly #box: string;
  readonly #far: string;
  readonly #directory: string;
  readonly #macs = new Map<string, Uint8Array>();
  readonly #ifindexes = new Map<string, number>();
  #sender: ChildProcessByStdio<Writable, Readable, null> | undefined;
  #answers: AsyncIterator<string> | undefined;

  private constructor(source: PacketSource, { name, legs, makeEngine }: RoomOptions) {
    const prefix = `spb${process.pid}${name}`;
    this.#source = source;
    this.#legs = legs;
    this.#box = `${prefix}box`;
    this.#far = `${prefix}far`;
    this.netns = `${prefix}-inner`;
    this.#directory = path.join(source.directory, name);
    const [runDir, stateDir] = [this.#directory, path.join(this.#directory, "state")];
    const instance = { name: prefix, runDir, stateDir, netnsPrefix: prefix };
    this.engine = makeEngine(this.netns, path.join(this.#directory, "engine"));
    const engines = { outer: new SilentEngine("outer"), inner: this.engine };
    this.#rooms = new RoomSet(instance, engines, `/run/netns/${this.#box}`);
  }

  static async open(source: PacketSource, options: RoomOptions): Promise<PacketRoom> {
    const room = new PacketRoom(source, options);
    try {
      await room.#up();
    } catch (cause) {
      await room[Symbol.asyncDispose]();
      throw cause;
    }
    return room;
  }

  async #up(): Promise<void> {
    fs.mkdirSync(this.#directory, { recursive: true });
    const nics = [...new Set(this.#legs.attachments.map(({ nic }) => nic))];
    await batch("ip", undefined, [`netns add ${this.#box}`, `netns add ${this.#far}`]);
    await batch("ip", this.#box, [
      ...nics.map((nic) => `link add name ${nic} type veth peer name ${nic} netns ${this.#far}`),
      ...nics.map((nic) => `link set ${nic} addrgenmode none`),
    ]);
    const quiet = nics.flatMap((nic) => [`link set ${nic} addrgenmode none`, `link set ${nic} up`]);
    await batch("ip", this.#far, quiet);
    const sink = this.#source.at("programs", "sink");
    await batch(
      "tc",
      this.#far,
      nics.flatMap((nic) => [
        `qdisc add dev ${nic} clsact`,
        `filter add dev ${nic} ingress bpf direct-action object-pinned ${sink}`,
      ]),
    );
    await this.#rooms.up(this.#legs);
    const lowering = loweringOf(this.#legs, "inner");
    await this.engine.load(lowering);
    await this.engine.select({ confirmed: lowering.slot });
    await this.#prepareInput(nics);
  }

  async #prepareInput(nics: readonly string[]): Promise<void> {
    const queue = this.#source.at("programs", "queue");
    const targets = this.#legs.conduits.flatMap(({ legs }) => legs.flatMap(({ to }) => to));
    const addresses = [...new Set(targets.map(({ first }) => first))];
    const zones = this.#legs.zones;
    const deviceOf = (address: number): string =>
      zones.find((zone) => zone.addresses.some((at) => at.first <= address && address <= at.last))
        ?.interface ?? "";
    await batch("ip", this.netns, [
      ...nics.map((nic) => `link set dev ${nic} xdp pinned ${queue}`),
      ...addresses.map(
        (address) =>
          `neigh replace ${formatIpv4(address)} lladdr ${FAR_MAC} dev ${deviceOf(address)} nud permanent`,
      ),
    ]);
    const links = JSON.parse(await run("ip", ["-j", "link"], { netns: this.netns })) as {
      ifname: string;
      ifindex: number;
      address: string;
    }[];
    for (const { ifname, ifindex, address } of links) {
      this.#ifindexes.set(ifname, ifindex);
      this.#macs.set(
        ifname,
        Uint8Array.from(address.split(":"), (part) => Number.parseInt(part, 16)),
      );
    }
    const pins = [
      this.#source.at("programs", "source"),
      this.#source.at("maps", "frames"),
      this.#source.at("maps", "cursor"),
    ];
    const enter = ["nsenter", `--net=/run/netns/${this.netns}`, "--"] as const;
    const [tool, ...rest] = [...enter, this.#source.program, ...pins, `${CPU}`] as const;
    this.#sender = spawn(tool, rest, { stdio: ["pipe", "pipe", "inherit"] });
    this.#answers = createInterface({ input: this.#sender.stdout })[Symbol.asyncIterator]();
  }

  /** Where an eBPF engine has pinned its maps. */
  get pinned(): string {
    const engine: Engine & { readonly maps?: string } = this.engine;
    if (engine.maps === undefined) throw new Error(`${engine.kind} pins no maps`);
    return engine.maps;
  }

  ifindexOf(device: string): number {
    const ifindex = this.#ifindexes.get(device);
    if (ifindex === undefined) throw new Error(`the room has no interface ${device}`);
    return ifindex;
  }

  /** The same policy, under which a UDP session is over as soon as it began. */
  async endSessionsAtOnce(): Promise<void> {
    const { limits } = this.#legs;
    const timeoutsSeconds = { ...limits.timeoutsSeconds, udp: 0 };
    const legs = { ...this.#legs, limits: { ...limits, timeoutsSeconds } };
    const lowering = loweringOf(legs, "inner", 2);
    await this.engine.load(lowering);
    await this.engine.select({ confirmed: lowering.slot });
  }

  /** Frames of as many sessions as told, other ones each round. */
  frames(sessions: number, round: number): ReturnType<typeof sessionFrames> {
    return sessionFrames(this.#legs, sessions, round, (device) => {
      const mac = this.#macs.get(device);
      if (mac === undefined) throw new Error(`the room has no interface ${device}`);
      return mac;
    });
  }

  /** Nanoseconds per packet, each frame `times` times. Fails unless every packet came out. */
  async send(
    frames: { readonly bytes: Uint8Array; readonly bursts: readonly Burst[] },
    times: number,
  ): Promise<number> {
    const file = path.join(this.#directory, "frames");
    fs.writeFileSync(file, frames.bytes);
    await this.#ask(`frames ${file}`);
    const before = await this.#arrived();
    let nanoseconds = 0;
    let packets = 0;
    for (const { interface: device, first, end } of frames.bursts) {
      const count = (end - first) * times;
      const ifindex = this.ifindexOf(device);
      nanoseconds += Number(await this.#ask(`send ${ifindex} ${first} ${end} ${count}`));
      packets += count;
    }
    const arrived = (await this.#arrived()) - before;
    if (arrived !== packets) throw new Error(`${arrived} of ${packets} packets came through`);
    return nanoseconds / packets;
  }

  async #arrived(): Promise<number> {
    const links = JSON.parse(await run("ip", ["-s", "-j", "link"], { netns: this.#far })) as {
      stats64: { rx: { packets: number } };
    }[];
    return links.reduce((sum, { stats64 }) => sum + stats64.rx.packets, 0);
  }

  async #ask(command: string): Promise<string> {
    this.#sender?.stdin.write(`${command}\n`);
    const answer = await this.#answers?.next();
    if (answer === undefined || answer.done === true) throw new Error("the packet source ended");
    return answer.value;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#sender?.kill("SIGKILL");
    await this.#rooms.down().catch(() => {});
    const left = fs.readdirSync("/run/netns");
    for (const netns of [this.#box, this.#far].filter((name) => left.includes(name))) {
      await run("ip", ["netns", "del", netns]);
    }
  }
}

async function batch(
  tool: "ip" | "tc",
  netns: string | undefined,
  lines: readonly string[],
): Promise<void> {
  const where = netns === undefined ? {} : { netns };
  await run(tool, ["-batch", "-"], { input: `${lines.join("\n")}\n`, ...where });
}
