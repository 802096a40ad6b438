/** What the gateway said it refused, and the packet it kept of each. */
import fs from "node:fs";
import path from "node:path";
import { EventReader, eventsDir, type Instance, type StoredEvent } from "sallyport";
import { type Packet, PcapStream } from "../../lab/pcap.ts";
import { within } from "../../lab/shell.ts";

/** An event goes through a capture, a reader and a file before it is seen here. */
const EVENT_LIMIT_MS = 10_000;
const FILE_HEADER_BYTES = 24;
const RECORD_HEADER_BYTES = 16;

export interface Refusal {
  readonly reason: string;
  readonly conduit: string;
  readonly policyLine: string;
  /** `outer`, `inner` or the gate's room. */
  readonly place: string;
  readonly event: StoredEvent;
}

export class Seen {
  readonly #instance: Instance;
  readonly #reader: EventReader;
  readonly #all: StoredEvent[] = [];

  constructor(instance: Instance) {
    this.#instance = instance;
    this.#reader = new EventReader(eventsDir(instance));
  }

  get all(): readonly StoredEvent[] {
    this.#all.push(...this.#reader.poll());
    return this.#all;
  }

  /** The first refusal since then that is the wanted one. */
  async refusal(
    since: number,
    isIt: (event: StoredEvent) => boolean,
  ): Promise<Refusal | undefined> {
    const found = await within(EVENT_LIMIT_MS, () =>
      this.all.find((event) => "reason" in event && Date.parse(event.at) >= since && isIt(event)),
    );
    if (found === undefined) return undefined;
    const field = (name: string): string => {
      const value = found[name];
      return typeof value === "string" ? value : "";
    };
    return {
      reason: field("reason"),
      conduit: field("conduit"),
      policyLine: field("policyLine"),
      place: field("point") || found.process,
      event: found,
    };
  }

  /** The packet that the event points at, out of the ring: its bytes, and as the lab reads them. */
  kept(event: StoredEvent): { readonly bytes: Buffer; readonly packet: Packet } {
    const { file, offsetBytes } = event["packet"] as { file: string; offsetBytes: number };
    const whole = fs.readFileSync(path.join(this.ring, file));
    const size = whole.readUInt32LE(offsetBytes + 8);
    const end = offsetBytes + RECORD_HEADER_BYTES + size;
    const stream = new PcapStream();
    const header = whole.subarray(0, FILE_HEADER_BYTES);
    const [packet] = stream.push(Buffer.concat([header, whole.subarray(offsetBytes, end)]));
    if (packet === undefined)
      throw new RangeError(`${file} at ${offsetBytes}: ${stream.fault ?? "no packet"}`);
    return { bytes: whole.subarray(offsetBytes + RECORD_HEADER_BYTES, end), packet };
  }

  get ring(): string {
    return path.join(this.#instance.stateDir, "packets");
  }
}
