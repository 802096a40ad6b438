import { formatIpv4 } from "@sallyport/core";
import type { Counters } from "@sallyport/enforce";
import type { Legs } from "@sallyport/policy/legs";
import type { EventLog } from "./event-log.ts";
import type { FlowMinute } from "./events.ts";

const MINUTE_MS = 60_000;

/**
 * Turns the kernels' counters, which only grow, into what happened in each minute: sessions opened by peer,
 * packets refused by zone pair and reason.
 */
export class FlowMinutes {
  readonly #events: EventLog;
  readonly #seen = new Map<string, number>();
  #minute = 0;

  constructor(events: EventLog) {
    this.#events = events;
  }

  add(nowMs: number, counters: Counters, legs: Legs | undefined): void {
    const minute = Math.floor(nowMs / MINUTE_MS);
    if (minute === this.#minute || legs === undefined) return;
    // The kernel's counters outlive this process: the first look only says where they stand.
    const isFirst = this.#minute === 0;
    this.#minute = minute;
    const zoneOf = (address: number): string =>
      legs.zones.find(({ addresses }) =>
        addresses.some(({ first, last }) => first <= address && address <= last),
      )?.name ?? "";
    for (const peer of counters.peers) {
      const { point, name: conduit, source, target: destination, protocol, port } = peer;
      const accepted = this.#since(
        `${point} ${peer.id} ${source} ${destination} ${protocol} ${port}`,
        peer.sessions,
      );
      const ends = { source: formatIpv4(source), destination: formatIpv4(destination) };
      const zones = { sourceZone: zoneOf(source), destinationZone: zoneOf(destination) };
      const what = { point, conduit, protocol, port, accepted, refused: 0, reason: "" };
      if (!isFirst) this.#tell(nowMs, { ...what, ...ends, ...zones });
    }
    for (const denial of counters.denials) {
      const { point, name: conduit, reason, sourceZone, destinationZone, id, packets } = denial;
      const refused = this.#since(
        `${point} ${id} ${reason} ${sourceZone} ${destinationZone}`,
        packets,
      );
      const none = { source: "", destination: "", protocol: "", port: 0, accepted: 0 };
      const what = { point, conduit, sourceZone, destinationZone, refused, reason };
      if (!isFirst) this.#tell(nowMs, { ...none, ...what });
    }
  }

  #since(key: string, total: number): number {
    const before = this.#seen.get(key) ?? 0;
    this.#seen.set(key, total);
    // A counter below what was seen started anew with its room.
    return total >= before ? total - before : total;
  }

  #tell(nowMs: number, flow: Omit<FlowMinute, "at" | "type">): void {
    if (flow.accepted + flow.refused > 0) this.#events.append(nowMs, "flow-minute", { ...flow });
  }
}
