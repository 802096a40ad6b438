/**
 * Modbus/TCP between a client and a device. A request passes if the decoder accepts it and the conduit's
 * limits allow it; otherwise the client gets an exception in its turn and the device sees nothing. A
 * response passes if it answers an outstanding request. What cannot be decoded, and what answers
 * nothing, closes both sides.
 */
import type { L7 } from "@sallyport/policy/legs";
import { modbus } from "@sallyport/wire";
import { type CompiledLimits, compileLimits, exceptionOf, judge } from "./authorize.ts";
import type { CloseReason, Inspector, Outlet } from "./inspector.ts";
import { type Outstanding, OutstandingQueue, releaseRequest, takeRequest } from "./outstanding.ts";

/**
 * Requests without an answer on one connection. Messaging on TCP/IP §4.3.1.3 expects 1 to 16
 * transactions of a server. With this many the client is not read until one is answered.
 */
export const OUTSTANDING_MAX = 16;
/** One socket read and one message that was incomplete before it; more is a fault of the caller. */
export const READ_MAX_BYTES: number = 16 * 1024;
const KEPT_MAX_BYTES = READ_MAX_BYTES + modbus.ADU_MAX_BYTES;
/** A message is at most 260 bytes: who needs longer to send one is not sending it. */
export const MESSAGE_TIMEOUT_MS = 10_000;
/** Serial lines behind a device take seconds; what takes longer than this is not coming. */
export const RESPONSE_TIMEOUT_MS = 30_000;
/** Not since when, because nothing is waiting. */
const NEVER = -1;

const response = new modbus.ModbusResponse();

export class ModbusInspector implements Inspector {
  readonly #outlet: Outlet;
  #limits: CompiledLimits;
  /** Bytes from the client that are not decided on: part of a message, or more if `isFull`. */
  #clientRest: Uint8Array | undefined = undefined;
  #deviceRest: Uint8Array | undefined = undefined;
  readonly #queue = new OutstandingQueue();
  #isClosed = false;
  #isClientOver = false;
  #unavailable: CloseReason | undefined = undefined;
  /** A request was answered since the device is unavailable. */
  #isToldSo = false;
  #tokens: number;
  #tokensAtMs = NEVER;
  // Stamped by the sweep after the fact, so that no message costs a look at the clock.
  #clientRestSinceMs = NEVER;
  #deviceRestSinceMs = NEVER;
  #oldestSinceMs = NEVER;
  #oldestTurn = NEVER;

  constructor(outlet: Outlet, limits: CompiledLimits) {
    this.#outlet = outlet;
    this.#limits = limits;
    this.#tokens = limits.requestsPerSecond;
  }

  get isFull(): boolean {
    return this.#queue.count >= OUTSTANDING_MAX;
  }

  fromClient(bytes: Uint8Array, start: number, end: number): void {
    if (this.#isClosed) return;
    const rest = this.#clientRest;
    if (rest === undefined) {
      this.#scanRequests(bytes, start, end);
      return;
    }
    if (rest.length + end - start > KEPT_MAX_BYTES) {
      this.#close("l7.overflow", "more came from the client than may be kept");
      return;
    }
    this.#clientRest = undefined;
    const joined = join(rest, bytes, start, end);
    this.#scanRequests(joined, 0, joined.length);
  }

  /** Everything up to `passed` is refused, or allowed and forwarded in runs as long as possible. */
  #scanRequests(bytes: Uint8Array, start: number, end: number): void {
    const outlet = this.#outlet;
    let at = start;
    let passed = start;
    while (at < end && this.#queue.count < OUTSTANDING_MAX) {
      const size = modbus.frameLength(bytes, at, end);
      if (size === modbus.INCOMPLETE || at + size > end) break;
      const request = takeRequest();
      if (size < 0 || !modbus.parseRequest(bytes, at, at + size, request)) {
        // What was allowed before it passes, however the client's messages were cut into segments.
        if (at > passed) outlet.toDevice(bytes, passed, at);
        this.#closeMalformed("request", size < 0 ? frameProblem(size) : request.problem);
        releaseRequest(request);
        return;
      }
      const next = at + size;
      if (!this.#mayPass(request, bytes, at)) {
        if (at > passed) outlet.toDevice(bytes, passed, at);
        passed = next;
        this.#refuse(request);
      } else if (request.functionCode === 8 && request.subFunction === modbus.FORCE_LISTEN_ONLY) {
        // Application Protocol §6.8.1: no response is returned.
        releaseRequest(request);
      } else {
        if (modbus.needsCopy(request.functionCode)) request.copy = copied(bytes, at, next);
        this.#queue.append(request);
      }
      at = next;
    }
    if (at > passed) outlet.toDevice(bytes, passed, at);
    if (at > start) this.#clientRestSinceMs = NEVER;
    if (at < end) this.#clientRest = copied(bytes, at, end);
    this.#settle();
  }

  /** Decides, tells the outlet, and leaves the exception in `request.refusal` if it must not pass. */
  #mayPass(request: Outstanding, bytes: Uint8Array, at: number): boolean {
    const limits = this.#limits;
    if (limits.requestsPerSecond > 0 && !this.#takeToken()) {
      request.refusal = exceptionOf("rate");
      this.#outlet.refused("rate", request, bytes, at);
      return false;
    }
    const judgment = judge(limits, request, bytes, at);
    if (judgment !== "allowed") {
      request.refusal = exceptionOf(judgment);
      this.#outlet.refused(judgment, request, bytes, at);
      return false;
    }
    if (this.#unavailable !== undefined) {
      request.refusal = modbus.EXCEPTIONS.gatewayTargetFailed;
      this.#isToldSo = true;
      return false;
    }
    this.#outlet.allowed(request.function);
    return true;
  }

  /** Every request takes one, allowed or not: refusals cost work too. */
  #takeToken(): boolean {
    const rate = this.#limits.requestsPerSecond;
    const nowMs = this.#outlet.nowMs();
    if (this.#tokensAtMs === NEVER) this.#tokens = rate;
    else {
      const gained = ((nowMs - this.#tokensAtMs) * rate) / 1000;
      this.#tokens = Math.min(rate, this.#tokens + Math.max(0, gained));
    }
    this.#tokensAtMs = nowMs;
    if (this.#tokens < 1) return false;
    this.#tokens -= 1;
    return true;
  }

  /** At once if nothing is outstanding, else in its turn: a client may count on the order. */
  #refuse(request: Outstanding): void {
    if (this.#queue.count === 0) this.#sendRefusal(request);
    else this.#queue.append(request);
  }

  #sendRefusal(request: Outstanding): void {
    const bytes = modbus.encodeException(request, request.functionCode, request.refusal);
    releaseRequest(request);
    this.#outlet.toClient(bytes, 0, bytes.length);
  }

  fromDevice(bytes: Uint8Array, start: number, end: number): void {
    if (this.#isClosed) return;
    const rest = this.#deviceRest;
    if (rest === undefined) {
      this.#scanResponses(bytes, start, end);
      return;
    }
    this.#deviceRest = undefined;
    const joined = join(rest, bytes, start, end);
    this.#scanResponses(joined, 0, joined.length);
  }

  #scanResponses(bytes: Uint8Array, start: number, end: number): void {
    const outlet = this.#outlet;
    const wasFull = this.isFull;
    let at = start;
    let passed = start;
    while (at < end) {
      const size = modbus.frameLength(bytes, at, end);
      if (size === modbus.INCOMPLETE || at + size > end) break;
      if (size < 0 || !modbus.parseResponse(bytes, at, at + size, response)) {
        if (at > passed) outlet.toClient(bytes, passed, at);
        this.#closeMalformed("response", size < 0 ? frameProblem(size) : response.problem);
        return;
      }
      if (!this.#queue.takeAnswered(response, bytes, at)) {
        if (at > passed) outlet.toClient(bytes, passed, at);
        this.#closeUnmatched();
        return;
      }
      at += size;
      const { oldest } = this.#queue;
      if (oldest !== undefined && oldest.refusal !== 0) {
        outlet.toClient(bytes, passed, at);
        passed = at;
        this.#sendDueRefusals();
      }
    }
    if (at > passed) outlet.toClient(bytes, passed, at);
    if (at > start) this.#deviceRestSinceMs = NEVER;
    if (at < end) this.#deviceRest = copied(bytes, at, end);
    if (wasFull && !this.isFull) this.#resume();
    else this.#settle();
  }

  #closeUnmatched(): void {
    if (this.#queue.hasTransaction(response.transaction)) {
      this.#close(
        "l7.response-mismatch",
        "the response does not fit the request of its transaction",
      );
    } else {
      this.#close("l7.response-unsolicited", "the response answers no outstanding request");
    }
  }

  #sendDueRefusals(): void {
    for (;;) {
      const request = this.#queue.takeDueRefusal();
      if (request === undefined) return;
      this.#sendRefusal(request);
    }
  }

  /** There is room again: what was kept is decided on. */
  #resume(): void {
    const rest = this.#clientRest;
    if (rest === undefined) {
      this.#settle();
      return;
    }
    this.#clientRest = undefined;
    this.#scanRequests(rest, 0, rest.length);
  }

  clientEnded(): void {
    if (this.#isClosed) return;
    this.#isClientOver = true;
    this.#settle();
  }

  deviceEnded(): void {
    if (this.#isClosed) return;
    if (this.#deviceRest !== undefined) {
      this.#close("l7.response-truncated", "the device ended inside a message");
      return;
    }
    this.#queue.refuseAll(modbus.EXCEPTIONS.gatewayTargetFailed);
    this.#sendDueRefusals();
    this.#finish("closed-by-device");
  }

  deviceUnavailable(reason: CloseReason): void {
    this.#unavailable = reason;
    this.#settle();
  }

  /** What an ended client, or an unreachable device, leads to once nothing is waiting. */
  #settle(): void {
    if (this.#isClosed || this.#queue.count > 0) return;
    const rest = this.#clientRest;
    if (this.#isClientOver && rest !== undefined) {
      this.#close("l7.request-truncated", "the client ended inside a message");
    } else if (this.#isClientOver) {
      this.#finish(this.#unavailable ?? "closed-by-client");
    } else if (this.#unavailable !== undefined && this.#isToldSo && rest === undefined) {
      // The next connection tries the device anew.
      this.#finish(this.#unavailable);
    }
  }

  sweep(nowMs: number): void {
    if (this.#isClosed) return;
    // A full inspector keeps whole messages: then it is not the client who is slow.
    if (this.#clientRest !== undefined && !this.isFull) {
      if (this.#clientRestSinceMs === NEVER) this.#clientRestSinceMs = nowMs;
      else if (nowMs - this.#clientRestSinceMs >= MESSAGE_TIMEOUT_MS) {
        this.#close("l7.request-slow", "the client did not complete a message in time");
        return;
      }
    }
    if (this.#deviceRest !== undefined) {
      if (this.#deviceRestSinceMs === NEVER) this.#deviceRestSinceMs = nowMs;
      else if (nowMs - this.#deviceRestSinceMs >= MESSAGE_TIMEOUT_MS) {
        this.#close("l7.response-slow", "the device did not complete a message in time");
        return;
      }
    }
    if (this.#queue.count === 0) return;
    if (this.#oldestTurn !== this.#queue.turn) {
      this.#oldestTurn = this.#queue.turn;
      this.#oldestSinceMs = nowMs;
    } else if (nowMs - this.#oldestSinceMs >= RESPONSE_TIMEOUT_MS) {
      this.#close("l7.response-timeout", "the device did not answer a request in time");
    }
  }

  setLimits(l7: L7): boolean {
    if (l7.protocol !== "modbus") return false;
    this.useLimits(compileLimits(l7));
    return true;
  }

  /** As `setLimits`, compiled once for all connections of a listener. */
  useLimits(limits: CompiledLimits): void {
    if (limits.requestsPerSecond !== this.#limits.requestsPerSecond) this.#tokensAtMs = NEVER;
    this.#limits = limits;
  }

  #closeMalformed(which: "request" | "response", problem: modbus.Problem): void {
    this.#close(`l7.${which}-${problem}`, modbus.explainProblem(problem));
  }

  #close(reason: CloseReason, why: string): void {
    this.#forget();
    this.#outlet.close(reason, why);
  }

  #finish(reason: CloseReason): void {
    this.#forget();
    this.#outlet.finish(reason);
  }

  #forget(): void {
    this.#isClosed = true;
    this.#clientRest = undefined;
    this.#deviceRest = undefined;
    this.#queue.clear();
  }
}

function frameProblem(fault: number): modbus.Problem {
  return fault === modbus.BAD_PROTOCOL ? "bad-protocol-id" : "bad-length";
}

/** A copy also of a Buffer, whose own `slice` would be a view into bytes that are read into again. */
function copied(bytes: Uint8Array, start: number, end: number): Uint8Array {
  return Uint8Array.prototype.slice.call(bytes, start, end);
}

function join(rest: Uint8Array, bytes: Uint8Array, start: number, end: number): Uint8Array {
  const joined = new Uint8Array(rest.length + end - start);
  joined.set(rest);
  joined.set(bytes.subarray(start, end), rest.length);
  return joined;
}
