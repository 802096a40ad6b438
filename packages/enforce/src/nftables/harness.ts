/**
 * The engine in a room of its own, fed with frames in order: for tests and the agreement check. No
 * root process loads this. Needs root, python3 (it sends raw frames; Node cannot) and tcpdump.
 */
import { type ChildProcessByStdio, execFileSync, spawn } from "node:child_process";
import fs from "node:fs";
import path from "node:path";
import type { Readable, Writable } from "node:stream";
import { type PacketReason, REASONS } from "@sallyport/policy/legs";
import { type Lowering, MARKS } from "../engine.ts";
import { conntrackSysctls } from "./conntrack.ts";
import * as nft from "./json.ts";
import { fillSlot, select } from "./lower.ts";
import { attach, LOG_GROUP, skeleton } from "./skeleton.ts";

export interface Frame {
  readonly interface: string;
  readonly bytes: Uint8Array;
}

/** The same words as the other engine's harness. */
export interface EngineVerdict {
  readonly verdict: "allow" | "deny";
  /** Undefined with a deny: the kernel's own IP input stopped it (semantics, step 3). */
  readonly reason: PacketReason | undefined;
  /** Conduit or grant number, 0 if none was involved. */
  readonly id: number;
  readonly mark: number;
}

/** Frames between two end markers: what the log's socket buffer holds for sure. */
const BATCH_FRAMES = 1000;
const BATCH_MS = 20_000;
const ETHERNET = 14;
const SCRATCH = "/dev/shm/sallyport-nft-";
/** Above the number of any frame in a batch. */
const MARKER_ID = 0xffff;

const ROOM_MAC = "02:00:5a:00:00:01";

const SENDER = `
import os, socket, struct, sys
os.sched_setaffinity(0, {sorted(os.sched_getaffinity(0))[0]})
s = socket.socket(socket.AF_PACKET, socket.SOCK_RAW)
s.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 1 << 24)
stdin = sys.stdin.buffer
while True:
    head = stdin.read(4)
    if len(head) < 4: break
    index, size = struct.unpack("<HH", head)
    s.sendto(stdin.read(size), ("p%d" % index, 0))
`;

interface LogEvent {
  readonly prefix: string;
  readonly mark: number;
  readonly payload: Uint8Array;
}

export class Harness {
  readonly netns: string;
  readonly #peer: string;
  readonly #interfaces: readonly string[];
  readonly #sender: ChildProcessByStdio<Writable, null, null>;
  readonly #log: ChildProcessByStdio<null, Readable, Readable>;
  readonly #events: LogEvent[] = [];
  #bytes = Buffer.alloc(0);
  #wake: () => void = () => {};
  #markers = 0;

  private constructor(netns: string, peer: string, interfaces: readonly string[]) {
    this.netns = netns;
    this.#peer = peer;
    this.#interfaces = interfaces;
    const sender = ["nsenter", `--net=/run/netns/${peer}`, "--", "python3", "-c", SENDER] as const;
    this.#sender = spawn(sender[0], sender.slice(1), { stdio: ["pipe", "ignore", "inherit"] });
    const capture = ["-i", `nflog:${LOG_GROUP}`, "-w", "-", "-U", "--immediate-mode", "-Z", "root"];
    const log = [
      `--net=/run/netns/${netns}`,
      "--",
      "tcpdump",
      "-B",
      "65536",
      "-s",
      "256",
      ...capture,
    ];
    this.#log = spawn("nsenter", log, { stdio: ["ignore", "pipe", "pipe"] });
    this.#log.stdout.on("data", (chunk: Buffer) => this.#read(chunk));
  }

  /** A room with a veth for each interface and no rules yet. */
  static async open(interfaces: readonly string[]): Promise<Harness> {
    // The folder only takes the name, so that no other test has it.
    const scratch = fs.mkdtempSync(SCRATCH);
    const room = path.basename(scratch);
    const peer = `${room}p`;
    for (const netns of [room, peer]) execFileSync("ip", ["netns", "add", netns]);
    try {
      setUp(room, peer, interfaces);
      const harness = new Harness(room, peer, interfaces);
      await harness.#listening();
      return harness;
    } catch (error) {
      for (const netns of [room, peer]) execFileSync("ip", ["netns", "del", netns]);
      fs.rmdirSync(scratch);
      throw error;
    }
  }

  /** Fills the lowering's slot and puts it in force; sessions and counters live on. */
  async load(lowering: Lowering): Promise<void> {
    const { legs, point, slot } = lowering;
    setSysctls(this.netns, conntrackSysctls(legs.limits));
    const here = [...legs.zones, ...legs.attachments].filter((place) => place.point === point);
    const known = new Set(here.map((place) => place.interface));
    if (!this.#installed) this.apply(skeleton({ sampled: false }));
    this.apply(attach(this.#interfaces.filter((name) => known.has(name))));
    if (!this.#installed) this.apply(probe(this.#interfaces));
    this.#installed = true;
    this.apply(fillSlot(lowering, { sampled: false }));
    this.apply(select({ confirmed: slot }));
  }
  #installed = false;

  /** One document, as an enforcer would load it. */
  apply(document: nft.Document): void {
    // nft opens /dev/stdin by name, which a socket (Node's kind of pipe) refuses: hence a file.
    const directory = fs.mkdtempSync(SCRATCH);
    try {
      const file = path.join(directory, "document.json");
      fs.writeFileSync(file, JSON.stringify(document));
      execFileSync("nsenter", [`--net=/run/netns/${this.netns}`, "--", "nft", "-j", "-f", file], {
        stdio: ["ignore", "ignore", "pipe"],
      });
    } finally {
      fs.rmSync(directory, { recursive: true });
    }
  }

  /** `nft -j <args>` in the room, parsed. */
  list(...args: string[]): unknown {
    const command = [`--net=/run/netns/${this.netns}`, "--", "nft", "-j", ...args];
    return JSON.parse(execFileSync("nsenter", command, { encoding: "utf8", maxBuffer: 2 ** 28 }));
  }

  /** One verdict per frame, in order. The harness numbers them in the IP identification. */
  async run(frames: readonly Frame[]): Promise<EngineVerdict[]> {
    const verdicts: EngineVerdict[] = [];
    for (let start = 0; start < frames.length; start += BATCH_FRAMES) {
      verdicts.push(...(await this.#batch(frames.slice(start, start + BATCH_FRAMES))));
    }
    return verdicts;
  }

  async close(): Promise<void> {
    this.#sender.kill("SIGKILL");
    this.#log.kill("SIGKILL");
    for (const netns of [this.netns, this.#peer]) {
      execFileSync("ip", ["netns", "del", netns], { stdio: "ignore" });
    }
    fs.rmdirSync(path.join(path.dirname(SCRATCH), this.netns));
  }

  async #batch(frames: readonly Frame[]): Promise<EngineVerdict[]> {
    const marker = ++this.#markers;
    this.#events.length = 0;
    const chunks = frames.map((frame, number) => this.#record(frame, number));
    const end = { interface: this.#interfaces[0] ?? "", bytes: markerFrame(marker) };
    this.#sender.stdin.write(Buffer.concat([...chunks, this.#record(end, MARKER_ID)]));
    await this.#until(() => this.#events.some((event) => isMarker(event, marker)), "end marker");
    return matchEvents(
      frames,
      this.#events.slice(
        0,
        this.#events.findIndex((e) => isMarker(e, marker)),
      ),
    );
  }

  #record(frame: Frame, number: number): Buffer {
    const index = this.#interfaces.indexOf(frame.interface);
    if (index < 0) throw new RangeError(`the room has no interface ${frame.interface}`);
    const size = frame.bytes.length;
    const sent = Buffer.alloc(4 + size);
    sent.writeUInt16LE(index, 0);
    sent.writeUInt16LE(size, 2);
    sent.set(frame.bytes, 4);
    // To the room, whatever the frame says: the kernel would overlook what is for another host.
    Buffer.from(ROOM_MAC.replaceAll(":", ""), "hex").copy(sent, 4, 0, size);
    identify(sent.subarray(4), number);
    return sent;
  }

  async #listening(): Promise<void> {
    let said = "";
    this.#log.stderr.on("data", (chunk: Buffer) => {
      said += chunk.toString("utf8");
      this.#wake();
    });
    await this.#until(() => said.includes("listening on"), "tcpdump");
  }

  async #until(done: () => boolean, what: string): Promise<void> {
    let late = false;
    const deadline = setTimeout(() => {
      late = true;
      this.#wake();
    }, BATCH_MS);
    try {
      while (!done()) {
        if (late) throw new Error(`no ${what} within ${BATCH_MS} ms`);
        await new Promise<void>((resolve) => {
          this.#wake = resolve;
        });
      }
    } finally {
      clearTimeout(deadline);
    }
  }

  /** pcap of link type 239 (NFLOG): a 24-byte header, then 16 bytes before each record. */
  #read(chunk: Buffer): void {
    this.#bytes = Buffer.concat([this.#bytes, chunk]);
    let at = this.#events.length === 0 && !this.#headed ? 24 : 0;
    if (this.#bytes.length < at) return;
    this.#headed = true;
    while (this.#bytes.length >= at + 16) {
      const size = this.#bytes.readUInt32LE(at + 8);
      if (this.#bytes.length < at + 16 + size) break;
      this.#events.push(readNflog(this.#bytes.subarray(at + 16, at + 16 + size)));
      at += 16 + size;
    }
    this.#bytes = Buffer.from(this.#bytes.subarray(at));
    this.#wake();
  }
  #headed = false;
}

/** Reads what an allowed packet was marked with, and its connection's number; tests only. */
function probe(interfaces: readonly string[]): nft.Document {
  const log = (prefix: string): nft.Command[string] => ({
    log: { prefix, group: LOG_GROUP, "queue-threshold": 1 },
  });
  const mark = nft.meta("mark");
  const table = { family: "ip", table: "probe" };
  const chain = {
    ...table,
    name: "probe",
    type: "filter",
    hook: "prerouting",
    prio: -80,
    policy: "accept",
  };
  const rule = (...expr: nft.Command[string][]): nft.Command => ({
    add: { rule: { ...table, chain: "probe", expr } },
  });
  const pass = nft.match(mark, "==", MARKS.pass);
  const commands: nft.Command[] = [
    { add: { table: { family: "ip", name: "probe" } } },
    { add: { chain } },
    rule(log("allow")),
    rule(pass, nft.set(mark, nft.ct("mark")), log("number"), nft.set(mark, MARKS.pass), nft.ACCEPT),
    rule(nft.set(mark, nft.ct("mark")), log("number"), nft.set(mark, MARKS.inspectBase)),
    { add: { table: { family: "netdev", name: "probe" } } },
  ];
  for (const dev of interfaces) {
    const name = `probe_${dev}`;
    const base = {
      family: "netdev",
      table: "probe",
      name,
      type: "filter",
      hook: "ingress",
      dev,
      prio: 10,
    };
    const arp = [nft.match(mark, "==", MARKS.arp), log("arp"), nft.ACCEPT];
    commands.push({ add: { chain: { ...base, policy: "accept" } } });
    commands.push({ add: { rule: { family: "netdev", table: "probe", chain: name, expr: arp } } });
  }
  return { nftables: commands };
}

const SILENT: EngineVerdict = { verdict: "deny", reason: undefined, id: 0, mark: 0 };

/** A frame without an event was stopped by the kernel itself. */
function matchEvents(frames: readonly Frame[], events: readonly LogEvent[]): EngineVerdict[] {
  const verdicts: EngineVerdict[] = frames.map(() => SILENT);
  let cursor = 0;
  for (const event of events) {
    let found = Buffer.from(event.payload).readUInt16BE(4);
    if (isLinkLevel(event)) {
      found = frames.findIndex((frame, index) => index >= cursor && isAbout(event, frame.bytes));
      cursor = found + 1;
    }
    const before = verdicts[found];
    if (before === undefined)
      throw new Error(`an event "${event.prefix}" is about none of the frames`);
    verdicts[found] = merged(before, event);
  }
  return verdicts;
}

/** These carry no number, but come in the order of their frames. */
function isLinkLevel({ prefix }: LogEvent): boolean {
  return prefix === "arp" || prefix.endsWith(":not-ipv4");
}

function merged(before: EngineVerdict, event: LogEvent): EngineVerdict {
  if (event.prefix === "arp") return { ...before, verdict: "allow", mark: event.mark };
  if (event.prefix === "allow") return { ...before, verdict: "allow", mark: event.mark };
  if (event.prefix === "number") return { ...before, id: event.mark % 2 ** 31 };
  const reason = REASONS.find((name) => event.prefix.endsWith(`:${name}`));
  if (reason === undefined) throw new Error(`no reason in "${event.prefix}"`);
  return { verdict: "deny", reason, id: event.mark, mark: 0 };
}

function isAbout({ prefix }: LogEvent, bytes: Uint8Array): boolean {
  const ethertype = (bytes[12] ?? 0) * 256 + (bytes[13] ?? 0);
  if (prefix === "arp") return ethertype === 0x0806;
  return ethertype !== 0x0806 && ethertype !== 0x0800;
}

/** RFC 1624: the checksum follows, and a wrong one stays as wrong as it was. */
function identify(frame: Buffer, number: number): void {
  if (frame.length < ETHERNET + 20 || frame.readUInt16BE(12) !== 0x0800) return;
  const [at, checksumAt] = [ETHERNET + 4, ETHERNET + 10];
  let sum =
    (~frame.readUInt16BE(checksumAt) & 0xffff) + (~frame.readUInt16BE(at) & 0xffff) + number;
  while (sum > 0xffff) sum = (sum & 0xffff) + (sum >>> 16);
  frame.writeUInt16BE(number, at);
  frame.writeUInt16BE(~sum & 0xffff, checksumAt);
}

/** UDP from 0.0.0.0, which no zone holds: refused with an event that comes after all others. */
function markerFrame(marker: number): Uint8Array {
  const frame = Buffer.alloc(ETHERNET + 32);
  frame.writeUInt16BE(0x0800, 12);
  frame.set([0x45, 0, 0, 32], ETHERNET);
  frame.set([64, 17], ETHERNET + 8);
  frame.writeUInt16BE(12, ETHERNET + 24);
  frame.writeUInt32BE(marker, ETHERNET + 28);
  let sum = 0;
  for (let at = 0; at < 20; at += 2) sum += frame.readUInt16BE(ETHERNET + at);
  sum = (sum & 0xffff) + (sum >>> 16);
  frame.writeUInt16BE(~sum & 0xffff, ETHERNET + 10);
  return frame;
}

function isMarker({ payload }: LogEvent, marker: number): boolean {
  const view = Buffer.from(payload);
  if (view.length < 32 || view.readUInt16BE(4) !== MARKER_ID) return false;
  return view.readUInt32BE(12) === 0 && view.readUInt32BE(28) === marker;
}

/** Family, version, resource id; then attributes: size (with its 4 bytes), type, value, padded to 4. */
function readNflog(record: Buffer): LogEvent {
  let prefix = "";
  let mark = 0;
  let payload = new Uint8Array(0);
  for (let at = 4; at + 4 <= record.length; ) {
    const size = record.readUInt16LE(at);
    const value = record.subarray(at + 4, at + size);
    const type = record.readUInt16LE(at + 2);
    if (type === 10) prefix = value.toString("latin1").replace(/\0.*$/, "");
    if (type === 2) mark = value.readUInt32BE(0);
    if (type === 9) payload = new Uint8Array(value);
    at += Math.max(4, (size + 3) & ~3);
  }
  return { prefix, mark, payload };
}

function ip(netns: string, lines: readonly string[]): void {
  const input = lines.map((line) => `${line}\n`).join("");
  execFileSync("ip", ["-n", netns, "-batch", "-"], { input, stdio: ["pipe", "ignore", "pipe"] });
}

function setUp(room: string, peer: string, interfaces: readonly string[]): void {
  // Else both kernels greet each other over IPv6 in between.
  for (const netns of [room, peer])
    setSysctls(netns, { "net.ipv6.conf.default.disable_ipv6": "1" });
  const lines = interfaces.flatMap((device, index) => [
    `link add name ${device} type veth peer name p${index} netns ${peer}`,
    `link set ${device} address ${ROOM_MAC} up`,
  ]);
  // Where allowed packets leave, so that their connections are confirmed.
  lines.push(`link add name sink type veth peer name sink netns ${peer}`, "link set sink arp off");
  lines.push("link set sink up", "route add default dev sink");
  ip(room, lines);
  ip(peer, ["link set sink up", ...interfaces.map((_, index) => `link set p${index} up`)]);
  const unfiltered = ["all", "default", ...interfaces].map(
    (name) => `net/ipv4/conf/${name}/rp_filter`,
  );
  const off = Object.fromEntries(unfiltered.map((name) => [name, "0"]));
  setSysctls(room, { "net.ipv4.ip_forward": "1", ...off });
}

function setSysctls(netns: string, sysctls: Readonly<Record<string, string>>): void {
  const pairs = Object.entries(sysctls).map(([key, value]) => `${key}=${value}`);
  execFileSync("nsenter", [
    `--net=/run/netns/${netns}`,
    "--",
    "sysctl",
    "-q",
    "-e",
    "-w",
    ...pairs,
  ]);
}
