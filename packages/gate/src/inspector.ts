/**
 * What stands between two sockets of one connection, without a socket: bytes in by direction, bytes
 * out that may pass, refusals to send back, and the end with its reason. No input or output happens
 * here, so that an I/O engine of another kind (epoll in a thread of its own) can take it unchanged.
 */
import type { L7, Reason } from "@sallyport/policy/legs";
import type { modbus } from "@sallyport/wire";
import type { Refusal } from "./authorize.ts";

/** Why a connection ended. Everything but the first group closes both sides at once. */
export type CloseReason =
  | "closed-by-client"
  | "closed-by-device"
  | "idle"
  | "client-error"
  | "device-error"
  | "device-refused"
  | "device-unreachable"
  | "device-timeout"
  | "drained"
  | "gate-closed"
  | Reason;

export interface Inspector {
  /** Bytes [start, end) are read during the call and not kept; `bytes` may be reused after it. */
  fromClient(bytes: Uint8Array, start: number, end: number): void;
  fromDevice(bytes: Uint8Array, start: number, end: number): void;
  /** No more bytes will come from this side; the other may go on. */
  clientEnded(): void;
  deviceEnded(): void;
  /** The device could not be reached: every request from now on is answered so, none is forwarded. */
  deviceUnavailable(reason: CloseReason): void;
  /** Called about once a second with a clock that never goes back: slow and unanswered messages end. */
  sweep(nowMs: number): void;
  /** New limits, from the next request on. False: of another protocol, so the connection must end. */
  setLimits(l7: L7): boolean;
  /** It keeps as much as it may: deliver nothing from the client until this is false again. */
  readonly isFull: boolean;
}

/** Where an inspector's decisions go. Bytes must be taken during the call. */
export interface Outlet {
  toDevice(bytes: Uint8Array, start: number, end: number): void;
  toClient(bytes: Uint8Array, start: number, end: number): void;
  endDevice(): void;
  endClient(): void;
  /** Both sides end at once; nothing more is delivered. */
  close(reason: CloseReason, why: string): void;
  /** Both sides end after what was sent to them is delivered. */
  finish(reason: CloseReason): void;
  /** A request passed. */
  allowed(index: modbus.FunctionIndex): void;
  /** A request was refused; it is read during the call. */
  refused(refusal: Refusal, request: modbus.ModbusRequest, bytes: Uint8Array, start: number): void;
  /** Milliseconds that never go back, for the rate limit. */
  nowMs(): number;
}
