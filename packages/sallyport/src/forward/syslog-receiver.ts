/**
 * Syslog over TLS (RFC 5425), or over TCP with the same framing (RFC 6587 §3.4.1).
 *
 * Syslog has no receipt. What stands in for one: a connection carries a bounded number of lines, then this side ends it
 * and waits until the other does too (RFC 5425 §4.4 asks it to). A receiver that has not read all that was sent cannot end in order:
 * its kernel answers with a reset, which counts as a break, as do silence and an end that nobody asked for.
 */
import net from "node:net";
import tls from "node:tls";
import { framed } from "@sallyport/api";
import type { NewTarget } from "@sallyport/api";
import { SallyportError } from "@sallyport/core";
import { endOf, tlsName } from "./destination.ts";
import type { Receiver } from "./pump.ts";
import type { Bounds } from "./stretch.ts";

export interface SyslogTimes {
  /** Connecting, TLS included. */
  readonly connectMs: number;
  /** Nothing could be written for so long. */
  readonly stallMs: number;
  /** From our end to the receiver's. */
  readonly endMs: number;
}

const TIMES: SyslogTimes = { connectMs: 10_000, stallMs: 30_000, endMs: 15_000 };
/** Small enough to send again, large enough that handshakes don't count. */
const LINES_MAX = 2000;
const BYTES_MAX = 4 * 1024 * 1024;
/** How long a line waits for its word at most, and how often a connection is made at most. */
const LINGER_MS = 10_000;
/** A receiver that died may have read a whole connection and kept it in memory only. */
const OVERLAP = LINES_MAX;

export class SyslogReceiver implements Receiver {
  readonly bounds: Bounds = { linesMax: LINES_MAX, bytesMax: BYTES_MAX, lingerMs: LINGER_MS };
  readonly overlap: number = OVERLAP;
  readonly #target: NewTarget;
  readonly #times: SyslogTimes;
  #line: Connection | undefined;

  constructor(target: NewTarget, times: Partial<SyslogTimes> = {}) {
    this.#target = target;
    this.#times = { ...TIMES, ...times };
  }

  async send(lines: AsyncIterable<string>): Promise<void> {
    const iterator = lines[Symbol.asyncIterator]();
    let next = await iterator.next();
    if (next.done === true) return;
    const line = new Connection(this.#target, this.#times);
    this.#line = line;
    try {
      await line.open();
      while (next.done !== true) {
        await line.write(framed(next.value));
        next = await line.or(iterator.next());
      }
      await line.end();
    } catch (error) {
      throw this.#failed(error);
    } finally {
      line.destroy();
      // What was still being read for the next line is let go without waiting for it.
      void iterator.return?.().then(undefined, () => undefined);
    }
  }

  close(): void {
    this.#line?.destroy();
  }

  #failed(cause: unknown): SallyportError {
    const { name, to } = this.#target;
    const why = cause instanceof Error ? cause.message : String(cause);
    return new SallyportError("forwarding-broken", `${name} at ${to}: ${why}`, { cause });
  }
}

class Connection {
  readonly #socket: net.Socket;
  readonly #times: SyslogTimes;
  readonly #opened: Promise<void>;
  /** Rejects when the connection is lost, whatever is being waited for. */
  readonly #lost: Promise<never>;
  readonly #closed: Promise<void>;
  #isEnding = false;

  constructor(target: NewTarget, times: SyslogTimes) {
    this.#times = times;
    const socket = connectTo(target);
    this.#socket = socket;
    const opened = Promise.withResolvers<void>();
    const lost = Promise.withResolvers<never>();
    const closed = Promise.withResolvers<void>();
    this.#opened = opened.promise;
    this.#lost = lost.promise;
    this.#closed = closed.promise;
    // Each is also awaited where it matters; a rejection that comes while nobody waits is no crash.
    this.#lost.catch(() => undefined);
    socket.once(target.transport === "tls" ? "secureConnect" : "connect", () => opened.resolve());
    socket.once("error", (error) => lost.reject(error));
    socket.once("end", () => {
      if (!this.#isEnding) lost.reject(new Error("the receiver ended the connection"));
    });
    socket.once("close", (hadError) => {
      if (!hadError && this.#isEnding) closed.resolve();
      lost.reject(new Error("the connection was closed"));
    });
    // Nothing is expected, but an end is only seen by who reads.
    socket.resume();
  }

  async open(): Promise<void> {
    await this.#within(this.#opened, this.#times.connectMs, "no connection was made in time");
  }

  /** Resolves when the next line may come: what waits in this process stays below the socket's own mark. */
  async write(bytes: Buffer): Promise<void> {
    if (this.#socket.write(bytes)) return;
    const drained = new Promise<void>((resolve) => this.#socket.once("drain", resolve));
    await this.#within(drained, this.#times.stallMs, "the receiver takes nothing");
  }

  async or<Value>(promise: Promise<Value>): Promise<Value> {
    return await Promise.race([promise, this.#lost]);
  }

  /** Resolves when the receiver ended the connection too, having read all of it. */
  async end(): Promise<void> {
    this.#isEnding = true;
    this.#socket.end();
    const { endMs } = this.#times;
    const failed = new Promise<never>((_, reject) => this.#socket.once("error", reject));
    failed.catch(() => undefined);
    const closed = Promise.race([this.#closed, failed]);
    await within(closed, endMs, "the receiver does not end the connection as RFC 5425 asks");
  }

  destroy(): void {
    this.#socket.destroy();
  }

  async #within<Value>(promise: Promise<Value>, ms: number, why: string): Promise<Value> {
    return await within(Promise.race([promise, this.#lost]), ms, why);
  }
}

async function within<Value>(promise: Promise<Value>, ms: number, why: string): Promise<Value> {
  const late = Promise.withResolvers<never>();
  const timer = setTimeout(() => late.reject(new Error(why)), ms);
  try {
    return await Promise.race([promise, late.promise]);
  } finally {
    clearTimeout(timer);
  }
}

function connectTo({ to, transport, trust, clientCertificate, clientKey }: NewTarget): net.Socket {
  const { host, port } = endOf(to) ?? { host: "", port: 0 };
  if (transport !== "tls") return net.connect({ host, port });
  return tls.connect({
    ...{ host, port, minVersion: "TLSv1.3", ...tlsName(host) },
    ...(trust === undefined ? {} : { ca: trust }),
    ...(clientCertificate === undefined ? {} : { cert: clientCertificate }),
    ...(clientKey === undefined ? {} : { key: clientKey }),
  });
}
