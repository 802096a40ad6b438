/**
 * The door of `policy` that root processes load: what a compiled policy is, when its parts are open,
 * and what must hold for it. No npm package is reachable from here.
 * @module
 */
export { checkInvariants, type InvariantsAnswer } from "./invariants.ts";
export { type PacketReason, REASONS, REASONS_VERSION, type Reason } from "./reasons.ts";
export { grantLiveness, isTimezone, livenessOf, nextChange } from "./schedule.ts";
export type {
  Attachment,
  ComponentKind,
  ComponentRoom,
  Conduit,
  ConnectionLimits,
  DialledFrom,
  EngineLimits,
  EngineZone,
  Grant,
  L7,
  Leg,
  Legs,
  Link,
  Listener,
  Liveness,
  ModbusLimits,
  Point,
  Protocol,
  Redirect,
  SessionTerms,
  Via,
  Window,
  ZoneKind,
} from "./types.ts";
