/** What a ledger does, in the words of those who use one. */
import type { Json } from "@sallyport/core";
import type { Head } from "./checkpoint.ts";
import type { NewRecord, Randomness } from "./new-record.ts";
import type { VerifierKey } from "./note.ts";
import type { Signer } from "./signer.ts";

export interface LedgerOptions {
  /** A directory of its own, only for the process that has the signing key. */
  readonly directory: string;
  /** Signs checkpoints; its name is the ledger's origin, such as `sallyport.example/brewery/audit`. */
  readonly signer: Signer;
  readonly nowMs: () => number;
  readonly randomness: Randomness;
  /** Keys of witnesses, type 0x04; what others cosign is not kept. */
  readonly witnesses?: readonly VerifierKey[];
  /** How many must cosign before a checkpoint counts as cosigned; all of them unless given. */
  readonly threshold?: number;
  /**
   * The records are those of a restored copy, and the signer is a new one, whose name no checkpoint has had: what the
   * former one signed is in no file here. Without this, a ledger of records without its signer's state is never signed.
   */
  readonly continuesCopy?: boolean;
}

/** How far a follower of some source has come, kept in the transaction that records what it read. */
export interface FollowedPlace {
  readonly source: string;
  /** Opaque to the ledger. */
  readonly place: string;
  /** The place on record from which the records were read; another one refuses them (`place-moved`). */
  readonly after?: string;
}

/** Records that are on disk: `count` of them from `first` on, one after another. */
export interface Appended {
  readonly first: number;
  readonly count: number;
}

export interface StoredRecord {
  readonly index: number;
  readonly type: string;
  readonly at: number;
  /** The canonical text whose hash is in the tree. */
  readonly leaf: string;
  /** Personal values that were not erased, by name. */
  readonly personal: Readonly<Record<string, Json>>;
}

export interface RecordQuestion {
  readonly type?: string;
  /** Times of the records: from this one on, and before that one. */
  readonly fromMs?: number;
  readonly toMs?: number;
  /** Index to begin at, as `next` of the page before told. */
  readonly from?: number;
  /** Newest first, from the record before this one; `next` is then the `before` of the next page. */
  readonly before?: number;
  /** Records with this value, not erased, under `person`, `by` or `author`; newest first only. */
  readonly person?: string;
  /** 1 to 1,000. */
  readonly limit?: number;
}

/** The way from a record's leaf to the root of the tree of so many records. */
export interface Inclusion {
  readonly hashes: readonly Uint8Array[];
  readonly root: Uint8Array;
}

export interface WitnessSeen {
  readonly key: VerifierKey;
  /** Records that the last head covers that it is known to hold; 0 before the first. */
  readonly size: number;
  /** When it cosigned, where that head is one of the last. */
  readonly atSeconds?: number;
}

export interface RecordPage {
  readonly records: readonly StoredRecord[];
  /** Where the next page begins; absent at the end. */
  readonly next?: number;
}

export interface ExportOptions {
  /** The first record and the one after the last; all that the checkpoint holds unless given. */
  readonly range?: { readonly from: number; readonly to: number };
  /** Whether personal values go along with their salts. */
  readonly personal?: boolean;
  /** Records that get a proof of their own. */
  readonly proofs?: readonly number[];
}

export interface Exported {
  readonly size: number;
  readonly from: number;
  readonly to: number;
  readonly files: number;
}

/** Which personal values to erase: one of a record, or a value wherever it stands. */
export type Erasure = { readonly index: number; readonly name: string } | { readonly value: Json };

/** How a witness is reached; what carries the request is up to the process. */
export interface WitnessLink {
  /** One of the ledger's witnesses. */
  readonly name: string;
  /** POST to its `add-checkpoint`. */
  readonly addCheckpoint: (body: string) => Promise<{ status: number; body: string }>;
}

export interface Ledger {
  /** Resolves when all are on disk; none of them is there when it rejects. Appends of one turn share a commit. */
  append(records: readonly NewRecord[], place?: FollowedPlace): Promise<Appended>;
  placeOf(source: string): string | undefined;
  /** Size and root of what is on disk now, signed or not. */
  head(): Head;
  /** Signs the present head; refuses (`ledger-rolled-back`, `ledger-forked`) what would be a second history. */
  checkpoint(): Promise<string>;
  /** The last checkpoint that was signed, with its cosignatures so far. */
  signed(): string | undefined;
  /** The last one with as many cosignatures as the threshold asks. */
  cosigned(): string | undefined;
  /** Whether it is time to sign: 256 records or ten seconds after the last one. */
  isCheckpointDue(): boolean;
  record(index: number): StoredRecord | undefined;
  list(question: RecordQuestion): RecordPage;
  /** A `.tlog-proof` of one record, from the last cosigned checkpoint that has it, else the last signed one. */
  prove(index: number): string;
  consistency(from: number, to: number): readonly Uint8Array[];
  /** In the tree of the first `size` records. */
  inclusion(index: number, size: number): Inclusion;
  witnesses(): readonly WitnessSeen[];
  /** Takes cosignature lines for a checkpoint of ours; resolves with how many of our witnesses have signed it. */
  addCosignatures(checkpoint: string, lines: string): number;
  /** Has a witness cosign the last signed checkpoint, catching up from the size that it holds. */
  cosign(witness: WitnessLink): Promise<number>;
  /** Erases values and salts; records that it did. Resolves with the number erased. */
  erase(erasure: Erasure, record: NewRecord): Promise<number>;
  /** Writes tlog-tiles with a verifier to an empty or new directory. */
  export(directory: string, options?: ExportOptions): Promise<Exported>;
  /** Sees that the file has room of its own for records on a full disk; answers whether it has. */
  keepReserve(): boolean;
  /** Copies all records that are on disk now into a new file, while others are added. */
  copyTo(file: string): Promise<void>;
  /** Waits for appends under way. */
  close(): Promise<void>;
}
