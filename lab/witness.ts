/** How rows look at the plant: on the targets' own links and out of the devices' own mouths. */
import type { Endpoint } from "./client.ts";
import { type HostName, segmentOf } from "./plant.ts";
import { describePacket, type Packet } from "./pcap.ts";
import { sleep } from "./shell.ts";
import type { Outcome, Stage, Verdict } from "./story.ts";

export const MODBUS_PORT = 502;
/** The gates' side of the plant: `site.transit.inner` of the policy. */
const GATES = "10.31.0.";
/** Two steps of a device's process, and far longer than a packet takes. */
const SETTLE_MS = 250;
const PACKETS_SHOWN = 3;

/** What the row found; a fault makes it wrong whatever the verdict. */
export function outcome(
  verdict: Verdict | "unknown",
  evidence: readonly string[],
  faults: readonly (string | undefined)[] = [],
): Outcome {
  return { verdict, evidence, faults: faults.filter((fault) => fault !== undefined) };
}

/** Where a client of the conduit dials. */
export function endpointOf(stage: Stage, conduit: string, asset: HostName): Endpoint {
  const through = stage.gateway.dial(conduit, asset);
  if (through !== undefined) return through;
  if (stage.plant.kind === "loopback") throw new RangeError(`no gate for ${conduit}`);
  return { address: stage.plant.address(asset), port: MODBUS_PORT };
}

export function directly(stage: Stage, asset: HostName): Endpoint {
  return { address: stage.plant.address(asset), port: MODBUS_PORT };
}

export function settle(): Promise<void> {
  return sleep(SETTLE_MS);
}

/** Packets that came to the host from outside its own segment since the row began. */
export function cameFromOutside(stage: Stage, host: HostName): readonly Packet[] {
  const { gateway } = segmentOf(host);
  const own = gateway.slice(0, gateway.lastIndexOf(".") + 1);
  const link = stage.links.get(host);
  if (link === undefined) throw new RangeError(`no capture on the link of ${host}`);
  return link
    .since(stage.since)
    .filter(({ source }) => source !== "" && source !== "0.0.0.0" && !source.startsWith(own));
}

/** A fault unless clients reached the asset, and only through a gate. */
export function throughGateFault(stage: Stage, asset: HostName): string | undefined {
  if (stage.plant.kind === "loopback") return undefined;
  const came = cameFromOutside(stage, asset);
  if (came.length === 0) return `nothing was seen on the link of ${asset}`;
  const direct = came.find(({ source }) => !source.startsWith(GATES));
  return direct && `reached ${asset} without a gate: ${describePacket(direct)}`;
}

export function throughGateEvidence(stage: Stage, asset: HostName): string {
  if (stage.plant.kind === "loopback") return "through a gate on a port of this machine";
  const sources = new Set(cameFromOutside(stage, asset).map(({ source }) => source));
  return `on the link of ${asset} the client is ${[...sources].join(", ")}`;
}

/** A fault when anything of this kind arrived on the host's link since the row began. */
export function arrivalFault(
  stage: Stage,
  host: HostName,
  isWrong: (packet: Packet) => boolean,
): string | undefined {
  const wrong = cameFromOutside(stage, host).filter(isWrong);
  if (wrong.length === 0) return undefined;
  const shown = wrong.slice(0, PACKETS_SHOWN).map(describePacket).join(", ");
  return `${wrong.length} packets arrived at ${host}: ${shown}`;
}

/** A fault when the device took a write, or its registers are not what they were. */
export function changeFault(
  stage: Stage,
  host: HostName,
  address: number,
  before: number,
): string | undefined {
  const device = stage.plant.device(host);
  const write = device.eventsSince(stage.since).find(({ event }) => event === "write");
  if (write !== undefined) return `${host} took a write: ${JSON.stringify(write)}`;
  const now = device.register(address);
  if (now === before) return undefined;
  return `register ${address} of ${host} went from ${before} to ${now}`;
}
