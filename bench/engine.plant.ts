/** Generated plants for the engines' benchmarks: legs, what both compilers are given, packets. */
import { formatIpv4 } from "@sallyport/core";
import { compilePolicy, type Legs, type Point } from "@sallyport/policy";
import { generatePolicy } from "../lab/generate-policy.ts";
import type { Lowering } from "./engine.words.ts";

const SEED = 1;
const ZONES = 20;
const ASSETS_PER_ZONE = 50;
export const NOW: number = Date.UTC(2026, 10, 22, 12, 0);

/** `direct`: between two OT assets on one port. `proxy`: from IT through a gate. */
export function plantLegs(conduits: number, mix: "direct" | "proxy", more = ""): Legs {
  const options = { conduits, zones: ZONES, assetsPerZone: ASSETS_PER_ZONE, mix };
  const texts = generatePolicy(SEED, options);
  const files = [...texts, ...(more === "" ? [] : [{ name: "90-more.yaml", text: more }])];
  const compiled = compilePolicy(
    files.map(({ name, text }) => ({ name, bytes: new TextEncoder().encode(text) })),
    { now: NOW },
  );
  if (compiled.legs !== undefined) return compiled.legs;
  const some = compiled.diagnostics.filter(({ severity }) => severity === "error").slice(0, 3);
  throw new Error(`the generated policy was refused: ${JSON.stringify(some)}`);
}

/**
 * The same legs with nothing but what is routed at `inner`, and sessions as a benchmark needs. Nothing is dialled
 * from the gateway's address: where the kernel translates anything, each new session pays for it, with one rule or many.
 */
export function innerOnly(legs: Legs, udpSeconds: number, sessionsPerZone: number): Legs {
  return {
    ...legs,
    limits: {
      sessionsPerZone,
      timeoutsSeconds: { ...legs.limits.timeoutsSeconds, udp: udpSeconds },
    },
    zones: legs.zones
      .filter((zone) => zone.point === "inner" && zone.kind !== "dmz")
      .map(({ dialledFrom: _dialled, ...zone }) => zone),
    attachments: legs.attachments.filter(({ point }) => point === "inner"),
    rooms: [],
  };
}

/** Every conduit is open until it expires: windows would make the result depend on the hour. */
export function loweringOf(
  legs: Legs,
  point: Point,
  generation = 1,
  grants: Lowering["grants"] = [],
): Lowering {
  const conduits: Lowering["conduits"] = new Map(
    legs.conduits.map(({ key, expires, session, legs: shares, audit }, index) => {
      const open = session === undefined;
      const closedReason = open ? ("expired" as const) : ("no-grant" as const);
      const liveness = { open, until: open ? expires : null, closedReason };
      const diode = shares.some(({ replies }) => !replies);
      return [key, { id: index + 1, liveness, audit, diode }];
    }),
  );
  const slot = generation % 2 === 0 ? 0 : 1;
  return { legs, point, slot, generation, now: NOW, conduits, grants };
}

export interface Burst {
  readonly interface: string;
  readonly first: number;
  readonly end: number;
}

export const FRAME_SLOT_BYTES = 64;
const FRAME_BYTES = 60;
const ETHERNET = 14;
const UDP = 17;
const FIRST_SOURCE_PORT = 10_000;

/**
 * UDP, one frame a session, session k under conduit k modulo their number; by interface. Another
 * `round` makes other sessions of the same conduits.
 */
export function sessionFrames(
  legs: Legs,
  sessions: number,
  round: number,
  macOf: (device: string) => Uint8Array,
): { readonly bytes: Uint8Array; readonly bursts: readonly Burst[] } {
  const byInterface = new Map<string, Uint8Array[]>();
  const perConduit = Math.ceil(sessions / legs.conduits.length);
  for (let number = 0; number < sessions; number++) {
    const conduit = legs.conduits[number % legs.conduits.length];
    const leg = conduit?.legs.find(({ protocol }) => protocol === "udp");
    const [source, target, port] = [leg?.from[0]?.first, leg?.to[0]?.first, leg?.ports[0]?.first];
    if (source === undefined || target === undefined || port === undefined) {
      throw new Error(`${conduit?.name ?? "?"} has no UDP leg`);
    }
    const device = deviceOf(legs, source);
    const own = Math.floor(number / legs.conduits.length) + round * perConduit;
    const frame = udpFrame(macOf(device), source, target, FIRST_SOURCE_PORT + own, port);
    const frames = byInterface.get(device) ?? [];
    frames.push(frame);
    byInterface.set(device, frames);
  }
  const bytes = new Uint8Array(sessions * FRAME_SLOT_BYTES);
  const bursts: Burst[] = [];
  let at = 0;
  for (const [device, frames] of byInterface) {
    bursts.push({ interface: device, first: at, end: at + frames.length });
    for (const frame of frames) bytes.set(frame, at++ * FRAME_SLOT_BYTES);
  }
  return { bytes, bursts };
}

function deviceOf(legs: Legs, address: number): string {
  const zone = legs.zones.find(({ addresses }) =>
    addresses.some(({ first, last }) => first <= address && address <= last),
  );
  if (zone === undefined) throw new Error(`${formatIpv4(address)} is in no zone`);
  return zone.interface;
}

function udpFrame(
  mac: Uint8Array,
  source: number,
  target: number,
  sourcePort: number,
  port: number,
): Uint8Array {
  const bytes = new Uint8Array(FRAME_BYTES);
  const view = new DataView(bytes.buffer);
  bytes.set(mac);
  bytes.set([2, 0, 0, 0, 0, 2, 0x08, 0x00, 0x45], 6);
  view.setUint16(ETHERNET + 2, FRAME_BYTES - ETHERNET);
  bytes.set([64, UDP], ETHERNET + 8);
  view.setUint32(ETHERNET + 12, source);
  view.setUint32(ETHERNET + 16, target);
  view.setUint16(ETHERNET + 20, sourcePort);
  view.setUint16(ETHERNET + 22, port);
  view.setUint16(ETHERNET + 24, FRAME_BYTES - ETHERNET - 20);
  let sum = 0;
  for (let at = ETHERNET; at < ETHERNET + 20; at += 2) sum += view.getUint16(at);
  while (sum > 0xffff) sum = (sum & 0xffff) + (sum >>> 16);
  view.setUint16(ETHERNET + 10, ~sum & 0xffff);
  return bytes;
}
