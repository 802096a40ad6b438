/** Small plants for the tests of rooms and apply, in namespaces that carry the test's process id. */
import { mkdtemp, rm } from "node:fs/promises";
import os from "node:os";
import path from "node:path";
import { type Interval, type Ipv4, parseIpv4 } from "@sallyport/core";
import type { Conduit, Leg, Legs, Point } from "@sallyport/policy/legs";
import { run, tryRun } from "../apply/run.ts";
import { type Instance, ipBatch } from "./instance.ts";

export function ip(text: string): Ipv4 {
  const address = parseIpv4(text);
  if (address === undefined) throw new Error(`${text} is no address`);
  return address;
}

export function only(text: string): Interval[] {
  return [{ first: ip(text), last: ip(text) }];
}

/** Why kernel tests can't run here; undefined where they can. */
export function kernelTestsNeed(): string | undefined {
  return process.getuid?.() === 0
    ? undefined
    : "needs root: network namespaces, nftables, raw sockets";
}

let made = 0;

/** The plant's hosts, each in a namespace with a veth whose other end lies in the "host" namespace. */
export class TestSite implements AsyncDisposable {
  readonly instance: Instance;
  readonly host: string;
  private readonly directory: string;
  private readonly hosts: string[] = [];

  private constructor(name: string, directory: string) {
    this.instance = {
      name,
      runDir: path.join(directory, "run"),
      stateDir: path.join(directory, "state"),
      netnsPrefix: `sp-${name}`,
    };
    this.host = `${name}-host`;
    this.directory = directory;
  }

  static async make(): Promise<TestSite> {
    const directory = await mkdtemp(path.join(os.tmpdir(), "sallyport-rooms-"));
    const site = new TestSite(`t${process.pid}x${made++}`, directory);
    await ipBatch(undefined, [`netns add ${site.host}`]);
    return site;
  }

  get hostNetns(): string {
    return `/run/netns/${this.host}`;
  }

  namespace(host: string): string {
    return `${this.instance.name}-h-${host}`;
  }

  /** A host on a NIC: `addHost("it", "it0", "10.10.0.10/24", "10.10.0.1")`. */
  async addHost(host: string, nic: string, address: string, gateway?: string): Promise<void> {
    const netns = this.namespace(host);
    this.hosts.push(netns);
    await ipBatch(undefined, [`netns add ${netns}`]);
    await ipBatch(this.host, [
      `link add ${nic} type veth peer name eth0 netns ${netns}`,
      `link set ${nic} up`,
    ]);
    await ipBatch(netns, [
      `addr add ${address} dev eth0`,
      "link set lo up",
      "link set eth0 up",
      ...(gateway === undefined ? [] : [`route add default via ${gateway}`]),
    ]);
  }

  /** Runs a tool on a host of the plant; its exit code is the answer. */
  async on(
    host: string,
    file: string,
    ...args: string[]
  ): Promise<{ exitCode: number; stdout: string; stderr: string }> {
    return tryRun(file, args, { netns: this.namespace(host), timeoutMs: 10_000 });
  }

  room(room: string): string {
    return `${this.instance.netnsPrefix}-${room}`;
  }

  async pings(host: string, address: string): Promise<boolean> {
    const { exitCode } = await this.on(host, "ping", "-c", "1", "-W", "1", "-q", address);
    return exitCode === 0;
  }

  async namespaces(): Promise<string[]> {
    const text = await run("ip", ["netns", "list"]);
    return text.split("\n").filter((line) => line.startsWith(`${this.instance.netnsPrefix}-`));
  }

  async [Symbol.asyncDispose](): Promise<void> {
    const rooms = (await this.namespaces()).map((line) => line.split(" ")[0] ?? "");
    const names = [...rooms, ...this.hosts, this.host];
    await ipBatch(
      undefined,
      names.map((name) => `netns del ${name}`),
      true,
    );
    await rm(this.directory, { recursive: true, force: true });
  }
}

export function conduit(name: string, legs: readonly Leg[], more: Partial<Conduit> = {}): Conduit {
  return {
    name,
    key: `${name}#${JSON.stringify(legs).length.toString(16).padStart(12, "0")}`,
    via: "direct",
    source: "site.yaml:1",
    owner: "test",
    why: "test",
    expires: 4e12,
    windows: [],
    island: "drop",
    system: false,
    audit: false,
    fromZones: [],
    toZones: [],
    legs,
    listeners: [],
    ...more,
  };
}

export function leg(
  point: Point,
  from: string,
  to: string,
  protocol: Leg["protocol"],
  port = 0,
): Leg {
  return {
    point,
    from: only(from),
    to: only(to),
    protocol,
    ports: protocol === "icmp" ? [] : [{ first: port, last: port }],
    replies: true,
    redirects: [],
  };
}

/** IT and two cells on `it0`, `cella0`, `cellb0`; a gate with a link on both sides. */
export function smallPlant(conduits: readonly Conduit[]): Legs {
  const zone = (
    name: string,
    kind: "business" | "control",
    point: Point,
    nic: string,
    network: string,
  ): Legs["zones"][number] => ({
    name,
    kind,
    point,
    interface: nic,
    addresses: [{ first: ip(`${network}.2`), last: ip(`${network}.254`) }],
  });
  const attachment = (
    zoneName: string,
    point: Point,
    nic: string,
    network: string,
  ): Legs["attachments"][number] => ({
    zone: zoneName,
    point,
    nic,
    interface: nic,
    mode: "routed",
    addresses: [{ address: ip(`${network}.1`), length: 24 }],
    routes: [],
  });
  return {
    format: 1,
    site: "test",
    policySha256: "0".repeat(64),
    timezone: "UTC",
    limits: {
      sessionsPerZone: 1000,
      timeoutsSeconds: { tcpOpening: 10, tcpOpen: 3600, tcpClosing: 10, udp: 30, icmp: 10 },
    },
    zones: [
      zone("enterprise", "business", "outer", "it0", "10.10.0"),
      zone("cell-a", "control", "inner", "cella0", "10.41.0"),
      zone("cell-b", "control", "inner", "cellb0", "10.42.0"),
      {
        name: "dmz/gate",
        kind: "dmz",
        point: "outer",
        interface: "o-gate",
        addresses: only("10.30.0.10"),
      },
      {
        name: "dmz/gate",
        kind: "dmz",
        point: "inner",
        interface: "i-gate",
        addresses: [{ first: ip("10.31.0.10"), last: ip("10.31.0.12") }],
      },
    ],
    attachments: [
      attachment("enterprise", "outer", "it0", "10.10.0"),
      attachment("cell-a", "inner", "cella0", "10.41.0"),
      attachment("cell-b", "inner", "cellb0", "10.42.0"),
    ],
    rooms: [
      {
        name: "gate",
        kind: "gate",
        outer: { interface: "o-gate", addresses: [ip("10.30.0.10")] },
        inner: {
          interface: "i-gate",
          addresses: [ip("10.31.0.10"), ip("10.31.0.11"), ip("10.31.0.12")],
        },
      },
    ],
    transit: { outer: ip("10.30.0.1"), inner: ip("10.31.0.1") },
    own: [ip("10.10.0.1"), ip("10.41.0.1"), ip("10.42.0.1"), ip("10.30.0.1"), ip("10.31.0.1")],
    assets: [],
    broadcast: [],
    thresholds: [],
    conduits: [...conduits].sort((a, b) => (a.name < b.name ? -1 : 1)),
  };
}
