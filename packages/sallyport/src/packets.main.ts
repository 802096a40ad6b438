/**
 * Reads the two captures of refused packets (descriptors 3: the outer engine's log, 4: the inner engine's
 * samples), keeps each packet in a ring of pcap files and tells each refusal as an event. It has a uid of its own, no network and no
 * capability: it reads what attackers wrote.
 */
import net from "node:net";
import { createInterface } from "node:readline";
import { readSample } from "@sallyport/enforce/samples";
import type { Point, Reason } from "@sallyport/policy/legs";
import { IP_PROTOCOL, type Packet, PcapReader, readFrame, readNflog } from "@sallyport/wire";
import { formatIpv4 } from "@sallyport/core";
import { type DiskState, diskOf } from "./disk.ts";
import { eventOutput } from "./event-output.ts";
import type { PacketDenied } from "./events.ts";
import { PacketNames } from "./packet-names.ts";
import { PacketRing } from "./packet-ring.ts";
import type { Names } from "./supervisor-messages.ts";

/** Refusals that come before the first names are held back no longer than this many. */
const EARLY_MAX = 1000;
const DISK_EVERY_MS = 2000;
/** `v1:<generation>:<conduit>:<reason>`; `@` says that the conduit's number is in the mark. */
const PREFIX = /^v1:(\d+):([^:]*):([a-z0-9.-]+)$/;
/** Where the source's MAC begins, after the target's; what carries no header of its own is IPv4. */
const SOURCE_MAC = 6;
const ETHERTYPE = 12;
const ETHERNET_HEADER = Uint8Array.of(...new Array<number>(12).fill(0), 0x08, 0x00);

interface Refused {
  readonly atMs: number;
  readonly point: Point;
  readonly reason: Reason;
  readonly generation: number;
  readonly id: number;
  readonly frame: Uint8Array;
  readonly originalBytes: number;
}

const directory = process.argv[2] ?? "";
const output = eventOutput(Date.now);
let disk: DiskState = diskOf(directory).state;
const ring = new PacketRing(directory, () => disk !== "good" && disk !== "warn");
/** Bulk goes first (DESIGN §9): no packet is kept above 90 %, and the kept ones go above 95 %, each counted. */
setInterval(() => {
  disk = diskOf(directory).state;
  const files = disk === "drop" || disk === "full" ? ring.dropOldest() : 0;
  const packets = ring.takeShed();
  if (files > 0) write({ type: "packets-dropped", files });
  if (packets > 0) write({ type: "packets-not-kept", packets });
}, DISK_EVERY_MS);

function write(event: object): void {
  output.write(`${JSON.stringify({ at: new Date().toISOString(), ...event })}\n`);
}

let names: PacketNames | undefined;
let early: Refused[] = [];

createInterface({ input: process.stdin }).on("line", (line) => {
  names = new PacketNames(JSON.parse(line) as Names);
  const waiting = early;
  early = [];
  for (const refused of waiting) tell(refused);
});
process.stdin.on("end", () => process.exit(0));
const isSampled = !(process.argv[3] ?? "").startsWith("nflog:");
follow(3, (atMs, bytes) => fromNflog("outer", atMs, bytes));
follow(4, isSampled ? fromSample : (atMs, bytes) => fromNflog("inner", atMs, bytes));

function follow(
  descriptor: number,
  decode: (atMs: number, bytes: Uint8Array) => Refused | undefined,
): void {
  const reader = new PcapReader();
  // A pipe to a child is a socket pair.
  const stream = new net.Socket({ fd: descriptor });
  stream.on("data", (chunk: Buffer) => {
    for (const record of reader.push(chunk)) {
      const refused = decode(record.atMs, record.bytes);
      if (refused === undefined) continue;
      if (names !== undefined) tell(refused);
      // The view into the chunk does not outlive it.
      else if (early.length < EARLY_MAX) early.push({ ...refused, frame: refused.frame.slice() });
    }
    // A stream that is no capture any more: the supervisor starts all of it anew.
    if (reader.malformed !== undefined) process.exit(1);
  });
  stream.on("close", () => process.exit(1));
}

function fromNflog(point: Point, atMs: number, bytes: Uint8Array): Refused | undefined {
  const packet = readNflog(bytes);
  const match = PREFIX.exec(packet?.prefix ?? "");
  if (packet === undefined || match === null) return undefined;
  const frame = new Uint8Array(ETHERNET_HEADER.length + packet.payload.length);
  frame.set(ETHERNET_HEADER);
  // Over the target's MAC, which is our own, the engine wrote the number of a zone.
  if (packet.linkHeader.length === ETHERNET_HEADER.length) {
    frame.set(packet.linkHeader.subarray(SOURCE_MAC), SOURCE_MAC);
  }
  frame.set(packet.payload, ETHERNET_HEADER.length);
  return {
    atMs,
    point,
    reason: match[3] as Reason,
    generation: Number(match[1]),
    id: match[2] === "@" ? packet.mark : 0,
    frame,
    originalBytes: frame.length,
  };
}

function fromSample(atMs: number, bytes: Uint8Array): Refused | undefined {
  const read = readSample(bytes);
  if (read.kind !== "message") return undefined;
  const { point, reason, generation, id, frame, originalBytes } = read.message;
  return { atMs, point, reason, generation, id, frame, originalBytes };
}

function tell(refused: Refused): void {
  const { atMs, point, reason, generation, id, frame, originalBytes } = refused;
  const packet = packetOf(frame);
  const conduit = names?.conduit(id);
  const place = ring.add(atMs, frame, originalBytes);
  const event: PacketDenied = {
    at: new Date(atMs).toISOString(),
    type: "packet-denied",
    point,
    reason,
    generation,
    conduit: conduit?.name ?? "",
    policyLine: conduit?.source ?? "",
    sourceZone: packet === undefined ? "" : (names?.zone(point, packet.source) ?? ""),
    destinationZone: packet === undefined ? "" : (names?.zone(point, packet.destination) ?? ""),
    ...(packet === undefined ? endsOfFrame(frame) : endsOfPacket(packet)),
    ...(place === undefined ? {} : { packet: place }),
  };
  output.write(`${JSON.stringify(event)}\n`);
}

/** What can be told of a frame: of a malformed one at least the addresses, where it has them. */
function packetOf(
  frame: Uint8Array,
):
  | Pick<Packet, "source" | "destination" | "protocol" | "sourcePort" | "destinationPort">
  | undefined {
  const read = readFrame(frame);
  if (read.kind === "packet") return read.packet;
  const view = new DataView(frame.buffer, frame.byteOffset, frame.byteLength);
  const isIpv4 = frame.length >= 34 && view.getUint16(12) === 0x0800;
  if (!isIpv4) return undefined;
  const [protocol, source, destination] = [
    view.getUint8(23),
    view.getUint32(26),
    view.getUint32(30),
  ];
  return { protocol, source, destination, sourcePort: 0, destinationPort: 0 };
}

type Ends = Pick<PacketDenied, "protocol" | "source" | "destination">;

function endsOfPacket(packet: NonNullable<ReturnType<typeof packetOf>>): Ends {
  const { protocol, source, destination, sourcePort, destinationPort } = packet;
  const isPorted = protocol === IP_PROTOCOL.tcp || protocol === IP_PROTOCOL.udp;
  const end = (address: number, port: number): string =>
    isPorted && port > 0 ? `${formatIpv4(address)}:${port}` : formatIpv4(address);
  return {
    protocol: protocolName(protocol),
    source: end(source, sourcePort),
    destination: end(destination, destinationPort),
  };
}

/** Of a frame that is not IPv4: its ethertype, and who sent it on that link. */
function endsOfFrame(frame: Uint8Array): Ends {
  if (frame.length < ETHERNET_HEADER.length) return { protocol: "", source: "", destination: "" };
  const hex = [...frame]
    .slice(0, ETHERNET_HEADER.length)
    .map((b) => b.toString(16).padStart(2, "0"));
  const source = hex.slice(SOURCE_MAC, ETHERTYPE).join(":");
  return { protocol: `ethertype 0x${hex.slice(ETHERTYPE).join("")}`, source, destination: "" };
}

function protocolName(number: number): string {
  return Object.entries(IP_PROTOCOL).find(([, known]) => known === number)?.[0] ?? `ip-${number}`;
}
