/**
 * The plant in the kernel: every host a network namespace, every segment a switch in one of its
 * own, and `<prefix>-box`, which stands for the gateway PC's host namespace and holds the NICs that
 * `plant/site.yaml` names. Nothing of it is in the namespace that the lab itself runs in.
 */
import fs from "node:fs";
import process from "node:process";
import { SallyportError } from "@sallyport/core";
import { Capture } from "./capture.ts";
import { Device } from "./device.ts";
import { forget, remember } from "./leftovers.ts";
import { HOSTS, type Host, type HostName, hostNamed, SEGMENTS, type Segment } from "./plant.ts";
import { must, NETNS_DIR, type RunOptions, type RunResult, run, Running } from "./shell.ts";

/** What the story and the tests need of a plant, in namespaces or on loopback. */
export interface Plant {
  readonly kind: "namespaces" | "loopback";
  /** All names on the machine begin with it. */
  readonly prefix: string;
  /** The namespace with the gateway's NICs; empty on loopback. */
  readonly box: string;
  address(host: HostName): string;
  /** The namespace a host lives in; undefined on loopback. */
  netns(host: HostName): string | undefined;
  /** A host with a program: its process values and what happened to it, not over the network. */
  device(host: HostName): Device;
  /** Runs a tool on a host to its end. */
  run(host: HostName, argv: readonly string[], options?: RunOptions): Promise<RunResult>;
  /** Starts one there; it is stopped with the plant at the latest. */
  spawn(host: HostName, argv: readonly string[], onLine: (line: string) => void): Running;
  /** Watches the host's link. */
  capture(host: HostName, filter?: readonly string[]): Promise<Capture>;
  destroy(): Promise<void>;
}

export interface PlantOptions {
  /** Default `sp<pid>`. Letters and digits: it begins the names of all namespaces. */
  readonly prefix?: string;
  /** Of the processes in the devices; the same seed gives the same values step by step. */
  readonly seed?: number;
  /** Default true. Without, hosts are bare and start in a fraction of the time. */
  readonly devices?: boolean;
}

const PREFIX = /^[a-z][a-z0-9]{1,15}$/;
/** No IPv6 addresses: the links then carry what the hosts were told to send, and nothing else. */
const QUIET = ["addrgenmode", "none"];

export async function buildPlant(options: PlantOptions = {}): Promise<Plant> {
  const prefix = options.prefix ?? `sp${process.pid}`;
  if (!PREFIX.test(prefix)) throw new SallyportError("lab-bad-prefix", `"${prefix}" is no prefix`);
  const plant = new NamespacePlant(prefix);
  try {
    await plant.build();
    if (options.devices !== false) await plant.startDevices(options.seed ?? 7);
    return plant;
  } catch (error) {
    await plant.destroy();
    throw error;
  }
}

class NamespacePlant implements Plant {
  readonly kind = "namespaces";
  readonly prefix: string;
  readonly box: string;
  readonly #devices = new Map<HostName, Device>();
  readonly #processes = new Set<Running>();
  readonly #captures = new Set<Capture>();

  constructor(prefix: string) {
    this.prefix = prefix;
    this.box = `${prefix}-box`;
  }

  /** Three rounds: all names, all cables, then every namespace by itself and at once. */
  async build(): Promise<void> {
    remember(this.prefix);
    const names = this.#names();
    await ip(
      [],
      names.map((name) => `netns add ${name}`),
    );
    await ip([], [...SEGMENTS.map((s) => this.#uplink(s)), ...HOSTS.map((h) => this.#cable(h))]);
    await Promise.all([
      ip(["-n", this.box], ["link set lo up"]),
      ...SEGMENTS.map((segment) => ip(["-n", this.#switch(segment.name)], switchLines(segment))),
      ...HOSTS.map((host) => ip(["-n", this.netns(host.name)], hostLines(host))),
    ]);
  }

  async startDevices(seed: number): Promise<void> {
    const started = HOSTS.filter((host) => host.program !== undefined).map(async (host) => {
      const seeds = /tank|press/.test(host.name) ? ["--seed", String(seed)] : [];
      const device = await Device.start(host, this.netns(host.name), seeds);
      this.#devices.set(host.name, device);
    });
    const results = await Promise.allSettled(started);
    const failed = results.find((result) => result.status === "rejected");
    if (failed !== undefined) throw failed.reason;
  }

  address(host: HostName): string {
    return hostNamed(host).address;
  }

  netns(host: HostName): string {
    return `${this.prefix}-${host}`;
  }

  device(host: HostName): Device {
    const device = this.#devices.get(host);
    if (device === undefined) throw new RangeError(`${host} runs no program`);
    return device;
  }

  run(host: HostName, argv: readonly string[], options: RunOptions = {}): Promise<RunResult> {
    return run(argv, { ...options, netns: this.netns(host) });
  }

  spawn(host: HostName, argv: readonly string[], onLine: (line: string) => void): Running {
    const running = new Running(argv, { netns: this.netns(host), onLine });
    this.#processes.add(running);
    void running.exited.then(() => this.#processes.delete(running));
    return running;
  }

  async capture(host: HostName, filter: readonly string[] = []): Promise<Capture> {
    const capture = await Capture.start(this.netns(host), "eth0", filter);
    this.#captures.add(capture);
    return capture;
  }

  /** Leaves nothing, whatever state building was left in. */
  async destroy(): Promise<void> {
    await Promise.allSettled([
      ...[...this.#processes].map((running) => running.stop()),
      ...[...this.#captures].map((capture) => capture.stop()),
      ...[...this.#devices.values()].map((device) => device.stop()),
    ]);
    this.#devices.clear();
    this.#captures.clear();
    const present = this.#names().filter((name) => fs.existsSync(`${NETNS_DIR}/${name}`));
    if (present.length > 0)
      await ip(
        [],
        present.map((name) => `netns del ${name}`),
      );
    forget(this.prefix);
  }

  #names(): string[] {
    return [
      this.box,
      ...SEGMENTS.map((segment) => this.#switch(segment.name)),
      ...HOSTS.map((host) => this.netns(host.name)),
    ];
  }

  #switch(segment: string): string {
    return `${this.prefix}-sw-${segment}`;
  }

  #uplink(segment: Segment): string {
    const { nic, name } = segment;
    return `link add name ${nic} netns ${this.box} type veth peer name uplink netns ${this.#switch(name)}`;
  }

  #cable(host: Host): string {
    const { name, segment } = host;
    return `link add name eth0 netns ${this.netns(name)} type veth peer name ${name} netns ${this.#switch(segment)}`;
  }
}

function switchLines(segment: Segment): string[] {
  const members = HOSTS.filter((host) => host.segment === segment.name).map((host) => host.name);
  const ports = ["uplink", ...members];
  return [
    "link add name br0 type bridge stp_state 0 forward_delay 0 mcast_snooping 0",
    ...["br0", ...ports].map((port) => `link set ${port} ${QUIET.join(" ")}`),
    ...ports.map((port) => `link set ${port} master br0`),
    ...["br0", ...ports].map((port) => `link set ${port} up`),
  ];
}

function hostLines(host: Host): string[] {
  const segment = SEGMENTS.find((candidate) => candidate.name === host.segment);
  if (segment === undefined) throw new RangeError(`no segment ${host.segment}`);
  return [
    "link set lo up",
    `link set eth0 ${QUIET.join(" ")}`,
    `address add ${host.address}/${segment.prefixLength} dev eth0`,
    "link set eth0 up",
    `route add default via ${segment.gateway}`,
  ];
}

/** One `ip` for many lines: starting it costs more than what it does. */
async function ip(where: readonly string[], lines: readonly string[]): Promise<void> {
  await must(["ip", ...where, "-batch", "-"], { input: `${lines.join("\n")}\n` });
}
