/** What really passed a link: tcpdump in a host's own namespace, read while it runs. */
import { SallyportError } from "@sallyport/core";
import { type Packet, PcapStream } from "./pcap.ts";
import { isRoot, Running, within } from "./shell.ts";

/** The oldest are dropped first, and counted; a story of a minute stays far below. */
const PACKETS_MAX = 200_000;
const START_LIMIT_MS = 5_000;
/**
 * A frame of the plant's links is whole in this; of what the kernel has put together, the beginning.
 * The ring has slots of this size: with tcpdump's own 256 KiB and 2 MiB it would hold eight packets.
 */
const PACKET_BYTES = 2048;
const BUFFER_KIB = 8192;

export class Capture {
  readonly #packets: Packet[] = [];
  readonly #stream = new PcapStream();
  readonly #process: Running;
  #dropped = 0;

  private constructor(netns: string, device: string, filter: readonly string[]) {
    // As root tcpdump would become another user; in a user namespace there is none to become.
    const stay = isRoot() ? ["-Z", "root"] : [];
    const room = ["-s", String(PACKET_BYTES), "-B", String(BUFFER_KIB)];
    const quick = ["--immediate-mode", "-U", "-n", "-w", "-"];
    const argv = ["tcpdump", "-i", device, ...quick, ...room, ...stay];
    this.#process = new Running([...argv, ...filter], {
      netns,
      onBytes: (chunk) => {
        this.#packets.push(...this.#stream.push(chunk));
        if (this.#packets.length <= PACKETS_MAX) return;
        const excess = this.#packets.length - PACKETS_MAX;
        this.#packets.splice(0, excess);
        this.#dropped += excess;
      },
    });
  }

  /** Answers once the socket listens, so that nothing sent afterwards is missed. */
  static async start(
    netns: string,
    device: string,
    filter: readonly string[] = [],
  ): Promise<Capture> {
    const capture = new Capture(netns, device, filter);
    const up = await within(START_LIMIT_MS, () => {
      if (!capture.#process.isRunning) return "ended";
      return capture.#process.stderr.includes("listening on") ? "up" : undefined;
    });
    if (up === "up") return capture;
    await capture.#process.stop("SIGKILL");
    throw new SallyportError("lab-tool-failed", `tcpdump: ${capture.#process.stderr.trim()}`);
  }

  /** Packets seen since then, in milliseconds since 1970. Throws when the capture is not whole. */
  since(at: number): readonly Packet[] {
    if (this.#stream.fault !== undefined || this.#dropped > 0) {
      const why = this.#stream.fault ?? `${this.#dropped} packets did not fit`;
      throw new SallyportError("lab-capture-incomplete", `the capture proves nothing: ${why}`);
    }
    if (!this.#process.isRunning && !this.#stopped) {
      throw new SallyportError("lab-capture-incomplete", `tcpdump ended: ${this.#process.stderr}`);
    }
    return this.#packets.filter((packet) => packet.at >= at);
  }

  #stopped = false;

  /** Everything seen, tcpdump's buffers included. Throws when the kernel had to drop some. */
  async stop(): Promise<readonly Packet[]> {
    this.#stopped = true;
    await this.#process.stop("SIGINT");
    const lost = /^([1-9][0-9]*) packets? dropped by/m.exec(this.#process.stderr)?.[0];
    if (lost !== undefined) {
      throw new SallyportError("lab-capture-incomplete", `the capture proves nothing: ${lost}`);
    }
    return this.since(0);
  }
}
