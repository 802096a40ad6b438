/**
 * The other packages' store interfaces on SQLite. Touches files: one database and what SQLite keeps beside it.
 * @module
 */
export { readFlowStore } from "./flow-reader.ts";
export {
  FLOW_LIMITS,
  type Flow,
  type FlowAnswers,
  type FlowBatch,
  type FlowCounts,
  type FlowEntry,
  type FlowLimits,
  type FlowQuestion,
  type FlowRow,
  type FlowStore,
  type Peer,
  type PeersQuestion,
  type Place,
} from "./flow-store.ts";
export { type OpenedFlowStore, openFlowStore } from "./sqlite-flow-store.ts";
