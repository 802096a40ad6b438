/**
 * One connection: the client's socket, the device's, and the inspector between them. It moves bytes,
 * slows the faster side, and ends both.
 */
import { formatIpv4 } from "@sallyport/core";
import type { modbus } from "@sallyport/wire";
import { dialer, type GateSocket, type Owner, own } from "./adopt.ts";
import type { Refusal } from "./authorize.ts";
import type { CloseReason, Inspector, Outlet } from "./inspector.ts";
import type { Clock, Reporter, Tally } from "./reporter.ts";
import { writeNow, writeSoon } from "./write-batch.ts";

/** After both sides were told that it is over, this long for what was sent to be delivered. */
export const LINGER_MS = 5_000;

/** What a connection needs to know of its listener. */
export interface PairHome {
  readonly reporter: Reporter;
  readonly clock: Clock;
  /** Present numbers: they change while connections live. */
  readonly idleMs: number;
  readonly connectMs: number;
  gone(pair: Pair): void;
}

export interface Route {
  readonly targetAddress: number;
  readonly targetPort: number;
  readonly egressAddress: number;
}

/** `dialing` until the device answers; `alone` when it never will; `finishing` while data drains. */
type State = "dialing" | "open" | "alone" | "finishing" | "closed";

export class Pair implements Owner, Outlet {
  readonly tally: Tally;
  readonly inspector: Inspector;
  readonly #home: PairHome;
  readonly #client: GateSocket;
  readonly #device: GateSocket;
  readonly #peer: string;
  readonly #port: number;
  readonly #openedAtMs: number;
  #state: State = "dialing";
  /** A write to that side waits for it to read. */
  #isClientBlocked = false;
  #isDeviceBlocked = false;
  #isClientRead = false;
  #isDeviceRead = true;
  #isActive = false;
  #quietSinceMs: number;
  #bytesFromClient = 0;
  #bytesFromDevice = 0;
  #allowed = 0;
  #refused = 0;

  constructor(
    home: PairHome,
    client: GateSocket,
    route: Route,
    inspectorFor: (outlet: Outlet) => Inspector,
  ) {
    this.#home = home;
    this.#client = client;
    this.#peer = client.remoteAddress ?? "gone";
    this.#port = client.remotePort ?? 0;
    this.tally = home.reporter.tallyOf(this.#peer);
    this.#openedAtMs = home.clock.nowMs();
    this.#quietSinceMs = this.#openedAtMs;
    this.inspector = inspectorFor(this);
    this.#device = dialer();
    own(client, this);
    own(this.#device, this);
    // Nagle would hold a pipelined request back until the one before is acknowledged.
    client.setNoDelay(true);
    this.#device.setNoDelay(true);
    home.reporter.connection({
      type: "connection-opened",
      atMs: home.clock.wallMs(),
      peer: this.#peer,
      port: this.#port,
    });
    this.#device.connect({
      host: formatIpv4(route.targetAddress),
      port: route.targetPort,
      localAddress: formatIpv4(route.egressAddress),
    });
  }

  // What the sockets tell.

  readFrom(socket: GateSocket, bytes: Uint8Array, sizeBytes: number): void {
    this.#isActive = true;
    if (socket === this.#client) {
      if (this.#state !== "open" && this.#state !== "alone") return;
      this.#bytesFromClient += sizeBytes;
      this.inspector.fromClient(bytes, 0, sizeBytes);
    } else {
      if (this.#state !== "open") return;
      this.#bytesFromDevice += sizeBytes;
      this.inspector.fromDevice(bytes, 0, sizeBytes);
    }
    this.#regulate();
  }

  connected(): void {
    if (this.#state !== "dialing") return;
    this.#state = "open";
    this.#regulate();
  }

  ended(socket: GateSocket): void {
    if (this.#state !== "open" && this.#state !== "alone") return;
    if (socket === this.#client) this.inspector.clientEnded();
    else this.inspector.deviceEnded();
    this.#regulate();
  }

  drained(socket: GateSocket): void {
    if (socket === this.#client) this.#isClientBlocked = false;
    else this.#isDeviceBlocked = false;
    this.#regulate();
  }

  blocked(socket: GateSocket): void {
    if (socket === this.#client) this.#isClientBlocked = true;
    else this.#isDeviceBlocked = true;
    this.#regulate();
  }

  failed(socket: GateSocket, error: NodeJS.ErrnoException): void {
    const code = error.code ?? "error";
    if (socket === this.#client) this.close("client-error", code);
    else if (this.#state === "dialing") {
      this.#unreachable(code === "ECONNREFUSED" ? "device-refused" : "device-unreachable");
    } else if (this.#state !== "alone") this.close("device-error", code);
  }

  closed(socket: GateSocket): void {
    if (socket !== this.#client) return;
    if (this.#state === "finishing") this.#gone();
    else this.close("closed-by-client", "");
  }

  #unreachable(reason: CloseReason): void {
    this.#state = "alone";
    this.#device.destroy();
    this.inspector.deviceUnavailable(reason);
    this.#regulate();
  }

  /** Reads a side only while everything that its bytes can lead to has room. */
  #regulate(): void {
    if (this.#state !== "open" && this.#state !== "alone") return;
    const isClientRead = !this.#isClientBlocked && !this.#isDeviceBlocked && !this.inspector.isFull;
    if (isClientRead !== this.#isClientRead) {
      this.#isClientRead = isClientRead;
      if (isClientRead) this.#client.resume();
      else this.#client.pause();
    }
    const isDeviceRead = !this.#isClientBlocked;
    if (isDeviceRead !== this.#isDeviceRead) {
      this.#isDeviceRead = isDeviceRead;
      if (isDeviceRead) this.#device.resume();
      else this.#device.pause();
    }
  }

  // What the inspector decides.

  toDevice(bytes: Uint8Array, start: number, end: number): void {
    writeSoon(this.#device, bytes, start, end);
  }

  toClient(bytes: Uint8Array, start: number, end: number): void {
    writeSoon(this.#client, bytes, start, end);
  }

  endDevice(): void {
    writeNow();
    this.#device.end();
  }

  endClient(): void {
    writeNow();
    this.#client.end();
  }

  close(reason: CloseReason, why: string): void {
    if (this.#state === "closed") return;
    const wasFinishing = this.#state === "finishing";
    this.#state = "closed";
    writeNow();
    this.#client.destroy();
    this.#device.destroy();
    if (!wasFinishing) this.#report(reason, why);
    this.#home.gone(this);
  }

  finish(reason: CloseReason): void {
    if (this.#state === "closed" || this.#state === "finishing") return;
    this.#state = "finishing";
    this.#quietSinceMs = this.#home.clock.nowMs();
    this.#report(reason, "");
    writeNow();
    this.#client.destroySoon();
    this.#device.destroySoon();
  }

  #gone(): void {
    this.#state = "closed";
    this.#device.destroy();
    this.#home.gone(this);
  }

  allowed(index: modbus.FunctionIndex): void {
    this.#allowed++;
    this.tally[index] = (this.tally[index] ?? 0) + 1;
  }

  refused(refusal: Refusal, request: modbus.ModbusRequest, bytes: Uint8Array, start: number): void {
    this.#refused++;
    this.#home.reporter.refused(this.#peer, refusal, request, bytes, start);
  }

  nowMs(): number {
    return this.#home.clock.nowMs();
  }

  #report(reason: CloseReason, why: string): void {
    const { clock, reporter } = this.#home;
    reporter.connection({
      type: "connection-closed",
      atMs: clock.wallMs(),
      peer: this.#peer,
      port: this.#port,
      reason,
      why,
      durationMs: Math.round(clock.nowMs() - this.#openedAtMs),
      bytesFromClient: this.#bytesFromClient,
      bytesFromDevice: this.#bytesFromDevice,
      allowed: this.#allowed,
      refused: this.#refused,
    });
  }

  // What time does.

  sweep(nowMs: number): void {
    if (this.#state === "finishing") {
      if (nowMs - this.#quietSinceMs >= LINGER_MS) this.close("idle", "");
      return;
    }
    if (this.#state === "dialing") {
      if (nowMs - this.#openedAtMs >= this.#home.connectMs) this.#unreachable("device-timeout");
      return;
    }
    if (this.#isActive) {
      this.#isActive = false;
      this.#quietSinceMs = nowMs;
    } else if (nowMs - this.#quietSinceMs >= this.#home.idleMs) {
      this.close("idle", "");
      return;
    }
    this.inspector.sweep(nowMs);
    this.#regulate();
  }
}
