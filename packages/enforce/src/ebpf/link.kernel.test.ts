import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import fs from "node:fs";
import os from "node:os";
import path from "node:path";
import process from "node:process";
import { test } from "node:test";
import { setTimeout as passes } from "node:timers/promises";
import { run, tryRun } from "../apply/run.ts";
import { EbpfEngine } from "./engine.ts";
import { conduit, FLAG, frame, leg, lowering, plant, port, span, udp } from "./plant.test-kit.ts";
import { type DenialSample, readSample } from "./sample.ts";
import { zoneNumber } from "./lower.ts";

const HMI = "10.40.0.10";
const PLC = "10.41.0.10";
const PYTHON = "/usr/bin/python3";
const skip =
  process.getuid?.() !== 0
    ? "needs root: network namespaces and raw sockets"
    : [PYTHON, "/usr/bin/tcpdump"].every((tool) => fs.existsSync(tool))
      ? false
      : "needs python3 (raw frames) and tcpdump";

/** inner between sup0 and cella0, with guard rules and a tap: each host is a namespace. */
class Lab {
  readonly engine: EbpfEngine;
  readonly directory = fs.mkdtempSync(path.join(os.tmpdir(), "sallyport-link-"));
  readonly #prefix = `spe${process.pid}`;

  constructor(samples: { perSecond: number; burst: number }) {
    const directory = path.join(this.directory, "bpf");
    const tap = { interface: "mirror0", ...samples };
    this.engine = new EbpfEngine({
      point: "inner",
      netns: this.name("in"),
      directory,
      samples: tap,
    });
  }

  name(room: string): string {
    return `${this.#prefix}-${room}`;
  }

  async make(): Promise<void> {
    const room = this.name("in");
    await this.#ip(["in", "sup", "cell", "tap"].map((name) => `netns add ${this.name(name)}`));
    // Hosts that announce themselves by IPv6 would be among the refused.
    for (const host of ["sup", "cell", "tap"]) {
      await run("sysctl", ["-qw", "net.ipv6.conf.default.disable_ipv6=1"], {
        netns: this.name(host),
      });
    }
    await this.#ip([
      `link add sup0 address 02:00:00:00:00:01 netns ${room} type veth peer name eth0 netns ${this.name("sup")}`,
      `link add cella0 address 02:00:00:00:00:01 netns ${room} type veth peer name eth0 netns ${this.name("cell")}`,
      `link add mirror0 netns ${room} mtu 9000 type veth peer name tap0 mtu 9000 netns ${this.name("tap")}`,
    ]);
    const guard = [
      "rule add pref 10 fwmark 0x5a000002 lookup local",
      "rule add pref 11 fwmark 0x5a000002 iif lo lookup main",
      "rule add pref 20 fwmark 0x5a000001 lookup main",
      "rule add pref 90 iif lo lookup main",
      "rule add pref 100 unreachable",
      "rule del pref 0",
      "rule del pref 32766",
    ];
    await this.#ip(
      [
        ...guard,
        "addr add 10.40.0.1/24 dev sup0",
        "addr add 10.41.0.1/24 dev cella0",
        "link set mirror0 up",
      ],
      "in",
    );
    for (const [host, address] of [
      ["sup", HMI],
      ["cell", PLC],
    ] as const) {
      const network = address.replace(/\.10$/, "");
      await this.#ip(
        [
          `addr add ${address}/24 dev eth0`,
          "link set lo up",
          "link set eth0 up",
          `route add default via ${network}.1`,
        ],
        host,
      );
    }
    await this.#ip(["link set tap0 up"], "tap");
    await run("sysctl", ["-qw", "net.ipv4.ip_forward=1"], { netns: this.name("in") });
  }

  async up(): Promise<void> {
    await this.#ip(["link set sup0 up", "link set cella0 up"], "in");
  }

  /** Sends frames out of a host's link as they are, each after the other. */
  async send(host: string, frames: readonly Uint8Array[]): Promise<void> {
    const script =
      "import socket,sys\ns=socket.socket(socket.AF_PACKET,socket.SOCK_RAW)\ns.bind(('eth0',0))\n" +
      "for line in sys.stdin: s.send(bytes.fromhex(line))\n";
    const input = frames.map((bytes) => Buffer.from(bytes).toString("hex")).join("\n");
    await run(PYTHON, ["-c", script], { netns: this.name(host), input });
  }

  /** Frames that arrive at an interface while `during` runs, as tcpdump sees them. */
  async captured(
    room: string,
    device: string,
    filter: string,
    during: () => Promise<void>,
  ): Promise<Uint8Array[]> {
    const args = [
      `--net=/run/netns/${this.name(room)}`,
      "tcpdump",
      "--immediate-mode",
      "-U",
      "-n",
      "-Q",
      "in",
    ];
    const dump = spawn("nsenter", [...args, "-i", device, "-w", "-", filter], {
      stdio: ["ignore", "pipe", "pipe"],
    });
    const chunks: Buffer[] = [];
    dump.stdout.on("data", (chunk: Buffer) => chunks.push(chunk));
    const ended = new Promise((resolve) => dump.on("close", resolve));
    await new Promise((resolve) => dump.stderr.once("data", resolve));
    await during();
    await passes(300);
    dump.kill("SIGINT");
    await ended;
    return packetsOf(Buffer.concat(chunks));
  }

  async close(): Promise<void> {
    await this.engine.remove();
    for (const room of ["in", "sup", "cell", "tap"]) {
      await tryRun("ip", ["netns", "del", this.name(room)]);
    }
    fs.rmSync(this.directory, { recursive: true });
  }

  async #ip(lines: readonly string[], room?: string): Promise<void> {
    const where = room === undefined ? {} : { netns: this.name(room) };
    await run("ip", ["-batch", "-"], { input: `${lines.join("\n")}\n`, ...where });
  }
}

/** Records of a little-endian pcap. */
function packetsOf(pcap: Buffer): Uint8Array[] {
  const packets: Uint8Array[] = [];
  for (let at = 24; at + 16 <= pcap.length; ) {
    const size = pcap.readUInt32LE(at + 8);
    packets.push(new Uint8Array(pcap.subarray(at + 16, at + 16 + size)));
    at += 16 + size;
  }
  return packets;
}

function samplesOf(frames: readonly Uint8Array[]): DenialSample[] {
  return frames.map((bytes) => {
    const read = readSample(bytes);
    assert.equal(read.kind, "message");
    assert.ok(read.kind === "message");
    return read.message;
  });
}

const legs = plant([
  conduit("audited", [leg(span(HMI), span(PLC), { protocol: "udp", ports: [port(2000)] })], {
    audit: true,
  }),
  conduit("status", [leg(span(HMI), span(PLC), { protocol: "udp", ports: [port(161)] })]),
]);

async function inLab(
  samples: { perSecond: number; burst: number },
  use: (lab: Lab) => Promise<void>,
): Promise<void> {
  const lab = new Lab(samples);
  try {
    await lab.make();
    await lab.engine.install(legs);
    await lab.engine.attach(["sup0", "cella0"]);
    await lab.engine.load(lowering(legs));
    await lab.engine.select({ confirmed: 0 });
    await lab.up();
    await use(lab);
  } finally {
    await lab.close();
  }
}

const ARRIVES = "udp or tcp or icmp";

test("a refused frame is in the tap as it came, with reason, zones and numbers", { skip }, () =>
  inLab({ perSecond: 1000, burst: 1000 }, async (lab) => {
    const plain = udp(HMI, PLC, 9, 161);
    const tag = [0x81, 0, 0, 5];
    const tagged = Uint8Array.from([...plain.subarray(0, 12), ...tag, ...plain.subarray(12)]);
    const sent = [
      udp(HMI, PLC, 9, 162),
      frame({ from: "10.41.0.10", to: HMI, flags: FLAG.syn, ports: [1, 2] }),
      frame({ from: HMI, to: PLC }).subarray(0, 30),
      frame({ from: HMI, to: PLC, payload: new Uint8Array(1460) }),
      tagged,
    ];
    const frames = await lab.captured("tap", "tap0", "ether proto 0x88b5", () =>
      lab.send("sup", sent),
    );
    const samples = samplesOf(frames);
    assert.deepEqual(
      samples.map(({ reason }) => reason),
      ["no-conduit", "wrong-interface", "short", "no-conduit", "not-ipv4"],
    );
    sent.slice(0, 4).forEach((bytes, index) => assert.deepEqual(samples[index]?.frame, bytes));
    assert.deepEqual([samples[4]?.vlan, samples[4]?.frame], [5, plain]);
    const [supervisory, cell] = legs.zones;
    assert.ok(supervisory && cell);
    const { frame: _frame, ifindex, ...head } = samples[0] ?? {};
    assert.ok(ifindex);
    assert.deepEqual(head, {
      point: "inner",
      reason: "no-conduit",
      allowed: false,
      cut: false,
      generation: 1,
      id: 0,
      sourceZone: zoneNumber(supervisory),
      destinationZone: zoneNumber(cell),
      originalBytes: 42,
      vlan: 0,
    });
  }),
);

test("audit mode lets the packet through whole and shows a copy once per session", { skip }, () =>
  inLab({ perSecond: 1000, burst: 1000 }, async (lab) => {
    const payload = new TextEncoder().encode("fill level 42");
    const asked = frame({ from: HMI, to: PLC, protocol: 17, ports: [9, 2000], payload });
    let shown: Uint8Array[] = [];
    const arrived = await lab.captured("cell", "eth0", "udp port 2000", async () => {
      shown = await lab.captured("tap", "tap0", "ether proto 0x88b5", () =>
        lab.send("sup", [asked, asked]),
      );
    });
    assert.deepEqual(
      arrived.map((bytes) => bytes.subarray(42)),
      [payload, payload],
    );
    const [sample, ...more] = samplesOf(shown);
    assert.equal(more.length, 0);
    assert.deepEqual([sample?.reason, sample?.allowed, sample?.id], ["would-deny", true, 1]);
    assert.deepEqual(sample?.frame, asked);
  }),
);

test(
  "samples past the burst are left out and counted; the refusals' counter stays exact",
  { skip },
  () =>
    inLab({ perSecond: 0.001, burst: 3 }, async (lab) => {
      const refused = Array.from({ length: 20 }, () => udp(HMI, PLC, 9, 162));
      const other = udp(HMI, "10.41.0.1", 9, 162);
      const shown = await lab.captured("tap", "tap0", "ether proto 0x88b5", () =>
        lab.send("sup", [...refused, other]),
      );
      assert.equal(shown.length, 4);
      const { denials } = await lab.engine.counters();
      const wanted = { point: "inner", sourceZone: "supervisory", id: 0 };
      assert.deepEqual(
        denials
          .filter(({ sourceZone }) => sourceZone === "supervisory")
          .toSorted((a, b) => a.packets - b.packets),
        [
          { ...wanted, destinationZone: "", reason: "to-gateway", packets: 1, suppressed: 0 },
          {
            ...wanted,
            destinationZone: "cell-a",
            reason: "no-conduit",
            packets: 20,
            suppressed: 17,
          },
        ],
      );
    }),
);

test("a flow passes both ways, ends at its end with nothing alive, and not before", { skip }, () =>
  inLab({ perSecond: 0, burst: 0 }, async (lab) => {
    // Two captures must be over before it, on a busy machine too.
    const endsInMs = 5000;
    const until = lowering(legs).now + endsInMs;
    const ends = { open: true, until, closedReason: "expired" } as const;
    const asks = Array.from({ length: 1 }, () => udp(HMI, PLC, 9, 161));
    const answers = [udp(PLC, HMI, 161, 9)];
    await lab.engine.setLive(lowering(legs), [
      { id: 2, liveness: ends, audit: false, diode: false },
    ]);
    const from = performance.now();
    const before = await lab.captured("cell", "eth0", "udp port 161", () => lab.send("sup", asks));
    assert.equal(before.length, 1);
    const back = await lab.captured("sup", "eth0", "udp port 161", () => lab.send("cell", answers));
    await passes(Math.max(0, endsInMs + 200 - (performance.now() - from)));
    const after = await lab.captured("cell", "eth0", "udp port 161", () => lab.send("sup", asks));
    assert.deepEqual([back.length, after.length], [1, 0]);
    const { denials } = await lab.engine.counters();
    assert.equal(denials.find(({ id }) => id === 2)?.reason, "expired");
  }),
);

test(
  "a detached program leaves nothing open, and the read-back says where it is missing",
  { skip },
  () =>
    inLab({ perSecond: 0, burst: 0 }, async (lab) => {
      const asks = [udp(HMI, PLC, 9, 161)];
      const before = await lab.engine.readBack();
      assert.deepEqual([before.slot, before.interfaces?.toSorted()], [0, ["cella0", "sup0"]]);
      await lab.engine.attach(["sup0", "cella0"]);
      await lab.engine.install(legs);
      assert.deepEqual(await lab.engine.readBack(), before);
      await run("tc", ["filter", "del", "dev", "sup0", "ingress"], { netns: lab.name("in") });
      const arrived = await lab.captured("cell", "eth0", ARRIVES, () => lab.send("sup", asks));
      assert.deepEqual(arrived, []);
      const after = await lab.engine.readBack();
      assert.deepEqual(after.interfaces, ["cella0"]);
      assert.notEqual(after.digest, before.digest);
      await lab.engine.attach(["sup0"]);
      assert.deepEqual(await lab.engine.readBack(), before);
      const again = await lab.captured("cell", "eth0", "udp port 161", () => lab.send("sup", asks));
      assert.equal(again.length, 1);
    }),
);

test("of a trunk only tagged frames pass, judged by the VLAN's own interface", { skip }, (t) => {
  const [supervisory, ...others] = legs.zones;
  assert.ok(supervisory);
  const vlan = { ...supervisory, interface: "sup0.5" };
  const attachment = {
    zone: "supervisory",
    point: "inner",
    nic: "sup0",
    vlan: 5,
    interface: "sup0.5",
    mode: "routed",
    addresses: [],
    routes: [],
  } as const;
  const trunk = { ...legs, zones: [vlan, ...others], attachments: [attachment] };
  return inLab({ perSecond: 0, burst: 0 }, async (lab) => {
    const netns = lab.name("in");
    const vlans = "link add link sup0 name sup0.5 type vlan id 5".split(" ");
    if ((await tryRun("ip", vlans, { netns })).exitCode !== 0) {
      t.skip("needs VLAN devices (8021q) in the kernel");
      return;
    }
    for (const line of [
      "addr del 10.40.0.1/24 dev sup0",
      "addr add 10.40.0.1/24 dev sup0.5",
      "link set sup0.5 up",
    ]) {
      await run("ip", line.split(" "), { netns });
    }
    await lab.engine.attach(["sup0.5"]);
    await lab.engine.load(lowering(trunk, 1, { generation: 2 }));
    await lab.engine.select({ confirmed: 1 });
    const plain = udp(HMI, PLC, 9, 161);
    const tagged = (vid: number): Uint8Array =>
      Uint8Array.from([...plain.subarray(0, 12), 0x81, 0, 0, vid, ...plain.subarray(12)]);
    const arrived = await lab.captured("cell", "eth0", "udp port 161", () =>
      lab.send("sup", [plain, tagged(6), tagged(5)]),
    );
    assert.equal(arrived.length, 1);
    const { denials, hits } = await lab.engine.counters();
    const untagged = denials.find(({ sourceZone }) => sourceZone === "supervisory");
    assert.deepEqual([untagged?.reason, untagged?.packets], ["wrong-interface", 1]);
    assert.deepEqual(
      hits.map(({ packets }) => packets),
      [1],
    );
  });
});
