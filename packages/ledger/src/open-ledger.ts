/** The ledger in a directory: a database, the signer's state, and the last checkpoints. */
import fs from "node:fs";
import path from "node:path";
import { canonicalJson, SallyportError } from "@sallyport/core";
import { AppendQueue } from "./append-queue.ts";
import { formatHead, type Head } from "./checkpoint.ts";
import { CheckpointFiles, type KeptCheckpoint } from "./checkpoint-files.ts";
import { copyLedger } from "./copy-ledger.ts";
import { diskFull, isDiskFull, type Synchronous } from "./database.ts";
import type { Sync } from "./durable-file.ts";
import { eraseValues } from "./erase.ts";
import { exportLedger } from "./export-ledger.ts";
import type {
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
import { keepReserve } from "./reserve.ts";
import { RecordReader } from "./list-records.ts";
import { LogStore } from "./log-store.ts";
import { EMPTY_ROOT } from "./merkle.ts";
import { encodeRecord, type NewRecord, pooled, type Randomness } from "./new-record.ts";
import {
  COSIGNATURE,
  cosignedAtSeconds,
  ED25519,
  formatNote,
  formatSignature,
  isFrom,
  isKeyName,
  isSignedBy,
  type VerifierKey,
  verifierKey,
} from "./note.ts";
import { consistencyProof, inclusionProof, rootAt } from "./proofs.ts";
import { SignerState } from "./signer-state.ts";
import { formatProof } from "./tlog-proof.ts";
import { formatAddCheckpoint } from "./witness.ts";
import { cosignaturesOf, readWitnessReply, validLines } from "./witness-client.ts";

/** What makes things durable; the product has all of it, tests take one away to show what it is for. */
export interface Durability {
  readonly synchronous: Synchronous;
  /** For the signer's state and the checkpoints. */
  readonly sync?: Sync;
}

/** Sign after so many records, or so long after the last time: what a rewriter has time for is small. */
const CHECKPOINT_RECORDS = 256;
const CHECKPOINT_MS = 10_000;
/** Each answer of a witness leaves one more question: its size, then the consistency from there. */
const WITNESS_ATTEMPTS = 3;

export function openLedger(options: LedgerOptions): Ledger {
  return openDurably(options, { synchronous: "full" });
}

export function openDurably(options: LedgerOptions, durability: Durability): Ledger {
  const { signer, witnesses = [], threshold = witnesses.length } = options;
  if (!isKeyName(signer.name)) {
    const message = `"${signer.name}" is no origin: it has no spaces and no plus signs`;
    throw new SallyportError("ledger-options", message);
  }
  if (witnesses.some(({ type }) => type !== COSIGNATURE) || threshold > witnesses.length) {
    const message = "witnesses have keys of type 4, and at least as many as the threshold asks for";
    throw new SallyportError("ledger-options", message);
  }
  fs.mkdirSync(options.directory, { recursive: true, mode: 0o700 });
  return new DirectoryLedger(options, threshold, durability);
}

class DirectoryLedger implements Ledger {
  readonly #options: LedgerOptions;
  readonly #threshold: number;
  readonly #key: VerifierKey;
  readonly #randomness: Randomness;
  readonly #store: LogStore;
  readonly #queue: AppendQueue;
  readonly #reader: RecordReader;
  readonly #files: CheckpointFiles;
  /** Undefined where it is missing although the ledger was signed: then nothing is. */
  readonly #state: SignerState | undefined;
  #signedAtMs: number;
  #isClosed = false;

  constructor(options: LedgerOptions, threshold: number, { synchronous, sync }: Durability) {
    const { directory, signer } = options;
    this.#options = options;
    this.#threshold = threshold;
    this.#randomness = pooled(options.randomness);
    this.#key = verifierKey(signer.name, ED25519, signer.publicKey);
    this.#signedAtMs = options.nowMs();
    this.#store = new LogStore(path.join(directory, "ledger.sqlite"), synchronous);
    try {
      this.#files = new CheckpointFiles(directory, sync);
      const file = path.join(directory, "signer.state");
      const isUnsigned = this.#files.signed === undefined;
      const isNew =
        isUnsigned && (this.#store.frontier.size === 0 || options.continuesCopy === true);
      this.#state =
        SignerState.read(file, signer.name, sync) ??
        (isNew ? SignerState.create(file, signer.name, sync) : undefined);
    } catch (error) {
      this.#store.database.close();
      throw error;
    }
    this.#queue = new AppendQueue(this.#store);
    this.#reader = new RecordReader(this.#store.database);
  }

  async append(records: readonly NewRecord[], place?: FollowedPlace): Promise<Appended> {
    this.#refuseClosed();
    const encoded = records.map((record) => encodeRecord(record, this.#randomness));
    return this.#queue.add(encoded, place);
  }

  placeOf(source: string): string | undefined {
    return this.#store.placeOf(source);
  }

  head(): Head {
    const { frontier } = this.#store;
    return { origin: this.#key.name, size: frontier.size, root: frontier.root() };
  }

  async checkpoint(): Promise<string> {
    this.#refuseClosed();
    if (this.#state === undefined) {
      const message = "the signer's state is missing, so what was signed before is not known";
      const hint = "Restore signer.state, or keep this ledger as evidence and begin a new one.";
      throw new SallyportError("signer-state-missing", message, { hint });
    }
    const head = this.head();
    const witnesses = new Set(this.#witnessKeys().map(({ name }) => name));
    const { signer } = this.#options;
    const state = this.#state;
    const text = formatHead(head);
    writing(() => state.allow(head.size, head.root, (size) => this.#rootAt(size), witnesses));
    this.#signedAtMs = this.#options.nowMs();
    const { signed } = this.#files;
    if (signed?.note.text === text) return signed.text;
    const line = formatSignature(signer.name, this.#key.id, signer.sign(Buffer.from(text)));
    const checkpoint = formatNote(text, [line]);
    writing(() => this.#files.keepSigned(checkpoint));
    return checkpoint;
  }

  #rootAt(size: number): Uint8Array {
    const { frontier, readTile } = this.#store;
    if (size === frontier.size) return frontier.root();
    return size === 0 ? EMPTY_ROOT : rootAt(readTile, size);
  }

  #witnessKeys(): readonly VerifierKey[] {
    return this.#options.witnesses ?? [];
  }

  signed(): string | undefined {
    return this.#files.signed?.text;
  }

  cosigned(): string | undefined {
    return this.#files.cosigned?.text;
  }

  isCheckpointDue(): boolean {
    const unsigned = this.#store.frontier.size - (this.#files.signed?.head.size ?? 0);
    if (unsigned <= 0) return false;
    const sinceMs = this.#options.nowMs() - this.#signedAtMs;
    // A clock that was set back must not stop the signing.
    return unsigned >= CHECKPOINT_RECORDS || sinceMs >= CHECKPOINT_MS || sinceMs < 0;
  }

  record(index: number): StoredRecord | undefined {
    return this.#reader.record(index);
  }

  list(question: RecordQuestion): RecordPage {
    return this.#reader.list(question, this.#store.frontier.size);
  }

  prove(index: number): string {
    const checkpoint = this.#checkpointWith(index + 1);
    const leaf = this.#reader.record(index)?.leaf;
    if (checkpoint === undefined || leaf === undefined || !(index >= 0)) {
      const message = `record ${index} is in no signed checkpoint yet`;
      throw new SallyportError("record-not-signed", message);
    }
    const hashes = inclusionProof(this.#store.readTile, index, checkpoint.head.size);
    return formatProof({ index, hashes, checkpoint: checkpoint.text, extra: Buffer.from(leaf) });
  }

  /** Cosigned if it is that long, else the one signed last. */
  #checkpointWith(size: number): KeptCheckpoint | undefined {
    const { cosigned, signed } = this.#files;
    return [cosigned, signed].find((one) => one !== undefined && one.head.size >= size);
  }

  consistency(from: number, to: number): readonly Uint8Array[] {
    const { frontier, readTile } = this.#store;
    const isRange = Number.isSafeInteger(from) && from >= 0 && from <= to && to <= frontier.size;
    if (!isRange) {
      const message = `there is no proof from ${from} to ${to}: the ledger has ${frontier.size} records`;
      throw new SallyportError("record-question", message);
    }
    return consistencyProof(readTile, from, to);
  }

  inclusion(index: number, size: number): Inclusion {
    const { frontier, readTile } = this.#store;
    const isIn = Number.isSafeInteger(index) && index >= 0 && index < size;
    if (!isIn || !Number.isSafeInteger(size) || size > frontier.size) {
      const message = `there is no proof of record ${index} in ${size}: the ledger has ${frontier.size} records`;
      throw new SallyportError("record-question", message);
    }
    return { hashes: inclusionProof(readTile, index, size), root: this.#rootAt(size) };
  }

  witnesses(): readonly WitnessSeen[] {
    const { signed, cosigned } = this.#files;
    return this.#witnessKeys().map((key) => {
      const size = this.#state?.heldBy(key.name) ?? 0;
      const signature = [signed, cosigned]
        .filter((kept) => kept !== undefined && kept.head.size === size)
        .flatMap((kept) => kept?.note.signatures ?? [])
        .find((one) => isFrom(key, one));
      const at = signature === undefined ? {} : { atSeconds: cosignedAtSeconds(signature) };
      return { key, size, ...at };
    });
  }

  addCosignatures(checkpoint: string, lines: string): number {
    const kept = this.#files.recent(textOf(checkpoint));
    if (kept === undefined) {
      throw new SallyportError(
        "cosignature-refused",
        "the checkpoint is none of the last ones of this ledger",
      );
    }
    return this.#addLines(kept, lines);
  }

  #addLines(asked: KeptCheckpoint, lines: string): number {
    // Another witness may have cosigned it since it was sent out.
    const kept = this.#files.recent(asked.note.text) ?? asked;
    const keys = this.#witnessKeys();
    const before = cosignaturesOf(kept.note, keys);
    const fresh = validLines(kept.note.text, lines, keys).filter(
      ({ key }) => !before.some((one) => one.key === key),
    );
    const { size, root } = kept.head;
    for (const { key } of fresh) this.#state?.witnessed(key.name, size, root);
    const all = [...before, ...fresh];
    if (fresh.length > 0) {
      const own = kept.note.signatures.filter(
        (one) => isFrom(this.#key, one) && isSignedBy(this.#key, kept.note.text, one),
      );
      const merged = [...own, ...all].map(({ line }) => line);
      const text = formatNote(kept.note.text, merged);
      const { signed, cosigned } = this.#files;
      this.#files.keepInMemory(text);
      if (signed?.note.text === kept.note.text) this.#files.keepSigned(text);
      const isEnough = all.length >= Math.max(1, this.#threshold);
      if (isEnough && size >= (cosigned?.head.size ?? 0)) this.#files.keepCosigned(text);
    }
    return all.length;
  }

  async cosign(witness: WitnessLink): Promise<number> {
    this.#refuseClosed();
    const kept = this.#files.signed;
    const key = this.#witnessKeys().find(({ name }) => name === witness.name);
    if (kept === undefined || key === undefined) {
      const message = `${witness.name} is none of the witnesses, or nothing was signed yet`;
      throw new SallyportError("cosignature-refused", message);
    }
    const { size } = kept.head;
    let oldSize = 0;
    for (let attempt = 0; attempt < WITNESS_ATTEMPTS; attempt++) {
      const proof = this.consistency(oldSize, size);
      const body = formatAddCheckpoint({ oldSize, proof, checkpoint: kept.text });
      const answer = await witness.addCheckpoint(body);
      const reply = readWitnessReply(answer, kept.note.text, key);
      if (reply.kind === "cosigned") return this.#addLines(kept, reply.lines.join("\n"));
      if (reply.kind === "refused" || reply.size === oldSize) {
        const why = reply.kind === "refused" ? reply.why : `it holds another head of ${oldSize}`;
        throw new SallyportError("cosignature-refused", `${key.name} did not cosign: ${why}`);
      }
      if (reply.size > size) this.#aheadOfUs(key, reply.size);
      oldSize = reply.size;
    }
    throw new SallyportError("cosignature-refused", `${key.name} answers differently each time`);
  }

  /** From here on nothing is signed while the witness is one of ours. */
  #aheadOfUs({ name }: VerifierKey, size: number): never {
    const own = this.#files.signed?.head.size ?? 0;
    if (size <= own) {
      const message = `${name} cosigned a newer head of this ledger while this one was on its way`;
      throw new SallyportError("cosignature-refused", message);
    }
    this.#state?.witnessed(name, size);
    const message = `the witness ${name} holds a head of ${size} records, this ledger signed ${own}`;
    const hint = "It was restored from a copy. Keep it as evidence and begin a new one.";
    throw new SallyportError("ledger-rolled-back", message, { hint });
  }

  async erase(erasure: Erasure, record: NewRecord): Promise<number> {
    this.#refuseClosed();
    const encode = (fields: NewRecord): ReturnType<typeof encodeRecord> =>
      encodeRecord(fields, this.#randomness);
    const { database } = this.#store;
    const what = "value" in erasure ? { value: canonicalJson(erasure.value) } : erasure;
    return eraseValues(database, what, async (erased, also) => {
      await this.#queue.add([encode({ ...record, erased })], undefined, also);
    });
  }

  export(directory: string, options: ExportOptions = {}): Promise<Exported> {
    this.#refuseClosed();
    const checkpoint = this.#checkpointWith(options.range?.to ?? 0);
    if (checkpoint === undefined) {
      throw new SallyportError(
        "record-not-signed",
        "no signed checkpoint has all of these records",
      );
    }
    const source = {
      checkpoint: checkpoint.text,
      readTile: this.#store.readTile,
      reader: this.#reader,
      prove: (index: number) => this.prove(index),
    };
    return exportLedger(source, directory, options);
  }

  keepReserve(): boolean {
    return keepReserve(this.#store.database);
  }

  copyTo(file: string): Promise<void> {
    this.#refuseClosed();
    return copyLedger(this.#store.database, file);
  }

  async close(): Promise<void> {
    if (this.#isClosed) return;
    this.#isClosed = true;
    this.#queue.drain();
    this.#store.database.close();
  }

  #refuseClosed(): void {
    if (this.#isClosed) throw new SallyportError("ledger-failed", "the ledger is closed");
  }
}

/** A full disk stops the signing until there is room, and is told as what it is. */
function writing(work: () => void): void {
  try {
    work();
  } catch (error) {
    throw isDiskFull(error) ? diskFull("no checkpoint was signed", error) : error;
  }
}

/** A checkpoint with other signatures than ours is still the same one. */
function textOf(checkpoint: string): string {
  return checkpoint.slice(0, checkpoint.lastIndexOf("\n\n") + 1);
}
