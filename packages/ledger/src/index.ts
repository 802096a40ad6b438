/**
 * The audit ledger: a Merkle log in the formats of C2SP, with checkpoints that witnesses cosign and proofs
 * that anybody checks offline. Touches files: one directory, and the directories that it exports to. It opens
 * no socket; what it asks of witnesses is carried by whoever uses it.
 * @module
 */
export {
  type Checked,
  type Checkpoint,
  checkCheckpoint,
  type Cosigned,
  type Fault,
  type Head,
  parseCheckpoint,
  type Trust,
} from "./checkpoint.ts";
export { checkpointLine, parseCheckpointLine, syslogLine } from "./checkpoint-line.ts";
export type {
  Appended,
  Erasure,
  Exported,
  ExportOptions,
  FollowedPlace,
  Inclusion,
  Ledger,
  LedgerOptions,
  RecordPage,
  RecordQuestion,
  StoredRecord,
  WitnessLink,
  WitnessSeen,
} from "./ledger.ts";
export { problemOfLedgerCopy } from "./copy-ledger.ts";
export { VERIFIER } from "./export-ledger.ts";
export type { NewRecord, Randomness } from "./new-record.ts";
export { isConsistent, isIncluded, leafHash } from "./merkle.ts";
export {
  COSIGNATURE,
  ED25519,
  formatVerifierKey,
  parseVerifierKey,
  type VerifierKey,
  verifierKey,
} from "./note.ts";
export { openLedger } from "./open-ledger.ts";
export { type Signer, signerFromPem, signerFromSeed } from "./signer.ts";
export { checkProof, type Proved } from "./tlog-proof.ts";
export { type ExportAnswer, type ExportQuestion, verifyExport } from "./verify-export.ts";
export { addCheckpoint, type Witness, type WitnessAnswer, type WitnessMemory } from "./witness.ts";
export { openWitnessMemory } from "./witness-memory.ts";
