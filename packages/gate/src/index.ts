/**
 * Inspecting proxies, one listener a conduit. Touches only the network.
 * @module
 */
export {
  type Authorization,
  authorizeModbus,
  type ModbusQuestion,
  type Refusal,
} from "./authorize.ts";
export type {
  ConnectionClosed,
  GateEvent,
  GateNews,
  PduRefused,
  PdusAllowed,
  Suppressed,
  Where,
} from "./events.ts";
export { type Gate, type GateOptions, type Reloaded, startGate } from "./gate.ts";
export type { CloseReason, Inspector, Outlet } from "./inspector.ts";
export { type GateListener, type GateMessage, parseGateMessage } from "./protocol.ts";
export type { Clock } from "./reporter.ts";
export { type GateStatus, runGate } from "./run.ts";
