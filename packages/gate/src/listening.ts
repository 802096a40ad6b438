/** One listener of the policy: its server, its connections, its present limits. */
import net from "node:net";
import { formatIpv4 } from "@sallyport/core";
import type { L7 } from "@sallyport/policy/legs";
import { adopt } from "./adopt.ts";
import { type CompiledLimits, compileLimits } from "./authorize.ts";
import type { GateEvent, Where } from "./events.ts";
import type { CloseReason, Inspector, Outlet } from "./inspector.ts";
import { ModbusInspector } from "./modbus-inspector.ts";
import { Pair, type PairHome } from "./pair.ts";
import type { GateListener } from "./protocol.ts";
import { type Clock, Reporter, type Tally } from "./reporter.ts";
import { TcpInspector } from "./tcp-inspector.ts";

/** Connections that the kernel may hold for us before they are accepted: past that a SYN costs a second. */
const BACKLOG = 1024;

/** What makes a listener the same one in a new set: its place and its route. */
export function listenerId(listener: GateListener): string {
  return `${formatIpv4(listener.listenAddress)}:${listener.listenPort}`;
}

function whereOf(listener: GateListener): Where {
  const { conduit, policyLine, asset, slot } = listener;
  return { conduit, policyLine, asset, listener: listenerId(listener), slot };
}

export class Listening implements PairHome {
  readonly reporter: Reporter;
  readonly clock: Clock;
  readonly #pairs = new Set<Pair>();
  readonly #server: net.Server;
  #listener: GateListener;
  #limits: CompiledLimits | undefined;
  #isOpen = false;
  #whenEmpty: (() => void) | undefined;

  constructor(listener: GateListener, clock: Clock, onEvent: (event: GateEvent) => void) {
    this.clock = clock;
    this.reporter = new Reporter(whereOf(listener), clock, onEvent);
    this.#listener = listener;
    this.#limits = compiled(listener.l7);
    const options = { pauseOnConnect: true, allowHalfOpen: true };
    this.#server = net.createServer(options, (socket) => {
      this.#accept(socket);
    });
  }

  get idleMs(): number {
    return this.#listener.connections.idleSeconds * 1000;
  }

  get connectMs(): number {
    return this.#listener.connections.connectSeconds * 1000;
  }

  get size(): number {
    return this.#pairs.size;
  }

  /** False: it could not be opened, and an event says why. */
  open(): Promise<boolean> {
    const host = formatIpv4(this.#listener.listenAddress);
    const port = this.#listener.listenPort;
    return new Promise((resolve) => {
      this.#server.once("error", (error: NodeJS.ErrnoException) => {
        this.reporter.tell({ type: "listener-failed", why: error.code ?? error.message });
        resolve(false);
      });
      this.#server.listen({ host, port, backlog: BACKLOG, exclusive: true }, () => {
        this.#isOpen = true;
        // An accept that fails (no file descriptors left) must not end the process.
        this.#server.on("error", () => undefined);
        this.reporter.tell({ type: "listening" });
        resolve(true);
      });
    });
  }

  #accept(socket: net.Socket): void {
    if (this.#pairs.size >= this.#listener.connections.max) {
      this.reporter.connection({
        type: "connection-refused",
        atMs: this.clock.wallMs(),
        peer: socket.remoteAddress ?? "gone",
        reason: "connection-limit",
      });
      socket.destroy();
      return;
    }
    const client = adopt(socket);
    if (client === undefined) {
      socket.destroy();
      return;
    }
    this.#pairs.add(new Pair(this, client, this.#listener, (outlet) => this.#inspect(outlet)));
  }

  #inspect(outlet: Outlet): Inspector {
    const limits = this.#limits;
    return limits === undefined ? new TcpInspector(outlet) : new ModbusInspector(outlet, limits);
  }

  /** Whether `next` differs only in limits, which can change under living connections. */
  isSameRoute(next: GateListener): boolean {
    const now = this.#listener;
    return (
      next.conduit === now.conduit &&
      next.asset === now.asset &&
      next.slot === now.slot &&
      next.egressAddress === now.egressAddress &&
      next.targetAddress === now.targetAddress &&
      next.targetPort === now.targetPort &&
      next.l7.protocol === now.l7.protocol
    );
  }

  /** From the next request on; connections above a lower limit stay. */
  use(next: GateListener): void {
    this.#listener = next;
    this.#limits = compiled(next.l7);
    // An edit elsewhere in the policy moves its lines.
    this.reporter.where = whereOf(next);
    for (const pair of this.#pairs) {
      const { inspector } = pair;
      if (this.#limits !== undefined && inspector instanceof ModbusInspector) {
        inspector.useLimits(this.#limits);
      } else if (!inspector.setLimits(next.l7)) pair.close("revoked", "its protocol changed");
    }
  }

  gone(pair: Pair): void {
    this.#pairs.delete(pair);
    if (this.#pairs.size === 0) this.#whenEmpty?.();
  }

  sweep(nowMs: number): void {
    for (const pair of this.#pairs) pair.sweep(nowMs);
    this.reporter.turn((tally) => this.#isInUse(tally));
  }

  #isInUse(tally: Tally): boolean {
    for (const pair of this.#pairs) if (pair.tally === tally) return true;
    return false;
  }

  /** No new connection; resolves when the last one has ended. */
  async drain(): Promise<void> {
    const closed = this.#stop("drained");
    if (this.#pairs.size > 0) {
      await new Promise<void>((resolve) => {
        this.#whenEmpty = resolve;
      });
    }
    await closed;
    this.reporter.flush();
  }

  /** Ends every connection, tells the last counts, and frees the address. */
  async close(reason: CloseReason): Promise<void> {
    const closed = this.#stop(reason);
    for (const pair of this.#pairs) pair.close(reason, "");
    await closed;
    this.reporter.flush();
  }

  #stop(why: string): Promise<void> {
    if (!this.#isOpen) return Promise.resolve();
    this.#isOpen = false;
    return new Promise((resolve) => {
      this.#server.close(() => {
        this.reporter.tell({ type: "listener-closed", why });
        resolve();
      });
    });
  }
}

function compiled(l7: L7): CompiledLimits | undefined {
  return l7.protocol === "modbus" ? compileLimits(l7) : undefined;
}
