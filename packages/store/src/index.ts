/**
 * The other packages' store interfaces on SQLite and on PostgreSQL; backups. Touches files: databases and what
 * SQLite keeps beside them, backups; and the network when PostgreSQL is asked for.
 * @module
 */
export { type BackupSource, copyRunningDatabase, createBackup } from "./backup/create-backup.ts";
export {
  type BackupEntry,
  type Manifest,
  MANIFEST_NAME,
  parseManifest,
} from "./backup/manifest.ts";
export { type Restored, type RestoreOptions, restoreBackup } from "./backup/restore-backup.ts";
export { backupDamaged, verifyBackup } from "./backup/verify-backup.ts";
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
export { openFlowStoreOn } from "./postgres-flow-store.ts";
export type { PostgresConnection } from "./postgres.ts";
export { type OpenedFlowStore, openFlowStore } from "./sqlite-flow-store.ts";
export { openStateStore } from "./state/open-state-store.ts";
export { type SupportBundle, supportBundle, type SupportText } from "./support/support-bundle.ts";
export type { RedactOptions } from "./support/redact.ts";
export { identityStore, type StatePlace, type StateStore } from "./state/state-store.ts";
