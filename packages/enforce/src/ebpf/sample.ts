/**
 * Samples of refused packets, as `inner.bpf.c` sends them to the room `tap`: they come over a link, so what
 * cannot be read is a value and no error.
 */
import type { Decoded } from "@sallyport/core";
import { type PacketReason, type Point, REASONS } from "@sallyport/policy/legs";

/** One refused packet, or one that audit mode let pass, with the whole frame as it arrived. */
export interface DenialSample {
  readonly point: Point;
  readonly reason: PacketReason;
  readonly allowed: boolean;
  /** The frame is only the head of what arrived. */
  readonly cut: boolean;
  readonly generation: number;
  readonly id: number;
  readonly sourceZone: number;
  readonly destinationZone: number;
  readonly ifindex: number;
  /** What arrived, without a VLAN tag that the NIC had taken off. */
  readonly originalBytes: number;
  /** Tag control information of that tag, 0 if there was none. */
  readonly vlan: number;
  readonly frame: Uint8Array;
}

// A sample, in network order:
//   0   6   12       14      15     16    17    18         22 26       30       34      38     42   44
//   dst src ethertype version reason point flags generation id src zone dst zone ifindex length vlan 0
const SAMPLE_BYTES = 46;
const SAMPLE_ETHERTYPE = 0x88b5;
const SAMPLE_VERSION = 1;
const SAMPLE_ALLOWED = 1;
const SAMPLE_CUT = 2;
const POINTS: readonly (Point | undefined)[] = [undefined, "inner", "outer"];

/** A frame of the tap's sample link. */
export function readSample(bytes: Uint8Array): Decoded<DenialSample> {
  if (bytes.length < SAMPLE_BYTES) {
    return { kind: "incomplete", missingBytes: SAMPLE_BYTES - bytes.length };
  }
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  if (view.getUint16(12) !== SAMPLE_ETHERTYPE) return malformed(12, "not a sample's ethertype");
  if (view.getUint8(14) !== SAMPLE_VERSION) return malformed(14, `version ${view.getUint8(14)}`);
  const reason = REASONS[view.getUint8(15)];
  if (reason === undefined) return malformed(15, `reason ${view.getUint8(15)} is not known`);
  const point = POINTS[view.getUint8(16)];
  if (point === undefined) return malformed(16, `point ${view.getUint8(16)} is not known`);
  const flags = view.getUint8(17);
  const message: DenialSample = {
    point,
    reason,
    allowed: (flags & SAMPLE_ALLOWED) !== 0,
    cut: (flags & SAMPLE_CUT) !== 0,
    generation: view.getUint32(18),
    id: view.getUint32(22),
    sourceZone: view.getUint32(26),
    destinationZone: view.getUint32(30),
    ifindex: view.getUint32(34),
    originalBytes: view.getUint32(38),
    vlan: view.getUint16(42),
    frame: bytes.subarray(SAMPLE_BYTES),
  };
  return { kind: "message", message, sizeBytes: bytes.length };
}

function malformed(offsetBytes: number, why: string): Decoded<DenialSample> {
  return { kind: "malformed", offsetBytes, why };
}
