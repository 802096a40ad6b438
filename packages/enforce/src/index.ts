/**
 * Legs to kernel rules: rooms, guard routes, both engines, apply and roll back. Runs kernel tools as root.
 * @module
 */
export type {
  Engine,
  EngineCounters,
  EngineState,
  GrantRow,
  Selection,
} from "./apply/engine-port.ts";
export type { Counters, Named } from "./apply/counters.ts";
export type { Difference, Finding } from "./apply/drift.ts";
export { type ApplyRequest, Enforcement, type EnforcementOptions } from "./apply/enforcement.ts";
export type { GrantRequest } from "./apply/grants.ts";
export { type Output, type RunOptions, run, tryRun } from "./apply/run.ts";
export { type Generation, keepReserve, readIfThere, writeWhole } from "./apply/state.ts";
export {
  type DenialCounter,
  type HitCounter,
  type LiveEntry,
  type Lowering,
  MARKS,
  type Slot,
} from "./engine.ts";
export { openEnforcement, openGuard, type Place } from "./open.ts";
export { type Instance, netnsOf, standingRooms } from "./rooms/instance.ts";
export { type Engines, RoomSet, type Tripwire } from "./rooms/room-set.ts";
