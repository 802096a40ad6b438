import fs from "node:fs";
import path from "node:path";
import { type Json, SallyportError } from "@sallyport/core";
import {
  formatVerifierKey,
  type Ledger,
  type NewRecord,
  type StoredRecord,
} from "@sallyport/ledger";
import { type ArchivistCaller, type ArchivistRequest, MAY } from "./archivist-messages.ts";
import { WitnessExchange } from "./witness-exchange.ts";

/** Exchanges with witnesses under way at once; an abandoned one gives way to the next. */
const EXCHANGES_MAX = 8;
/** Records that are taken on a full disk, into room that was kept for them. */
const LAST_ROOM: ReadonlySet<string> = new Set([
  ...["sign-in", "sign-in-refused", "sign-out", "sign-ins-revoked", "stepped-up"].map(
    (type) => `control.${type}`,
  ),
  ...["step-up-refused", "permission-refused", "recovery-code-used"].map(
    (type) => `control.${type}`,
  ),
  ...["keyholder.totp-accepted", "keyholder.totp-refused", "keyholder.totp-removed"],
]);
/** What the API asked for is kept until so many newer ones were; each may be as large as the ledger. */
const API_EXPORTS_MAX = 4;
const API_EXPORT = "api-";

/** Answers for one ledger. It has no network: what a witness is asked is carried by whoever asks it to be. */
export class ArchivistService {
  readonly #ledger: Ledger;
  readonly #key: string;
  readonly #exports: string;
  readonly #copyDirectory: string;
  readonly #addWitness: (key: string, threshold: number | undefined) => void;
  readonly #nowMs: () => number;
  readonly #isFull: () => boolean;
  readonly #exchanges = new Map<number, WitnessExchange>();
  #exchangeIds = 0;

  constructor(options: {
    readonly ledger: Ledger;
    /** Public, as auditors take it away with them. */
    readonly key: string;
    /** Exports are written to folders of this one. */
    readonly exportsDirectory: string;
    /** A copy for a backup is made here, and taken away at once. */
    readonly copyDirectory: string;
    readonly addWitness: (key: string, threshold: number | undefined) => void;
    readonly nowMs: () => number;
    /** Whether the disk has only its last room left. */
    readonly isFull?: () => boolean;
  }) {
    this.#ledger = options.ledger;
    this.#key = options.key;
    this.#exports = options.exportsDirectory;
    this.#copyDirectory = options.copyDirectory;
    this.#addWitness = options.addWitness;
    this.#nowMs = options.nowMs;
    this.#isFull = options.isFull ?? (() => false);
  }

  async answer(request: ArchivistRequest, caller: ArchivistCaller): Promise<Json> {
    if (!MAY[caller].has(request.type)) {
      throw new SallyportError("denied", `${caller} may not ask the archivist to ${request.type}`);
    }
    const ledger = this.#ledger;
    switch (request.type) {
      case "append":
        return await this.#append(request.records, caller);
      case "head":
        return this.#head();
      case "list": {
        const page = ledger.list(request.question);
        const next = page.next === undefined ? {} : { next: page.next };
        return { records: page.records.map(told), ...next };
      }
      case "record":
        return told(this.#recordAt(request.index));
      case "prove":
        await ledger.checkpoint();
        return { proof: ledger.prove(request.index) };
      case "inclusion": {
        const { hashes, root } = ledger.inclusion(request.index, request.size);
        return { hashes: hashes.map(base64), root: base64(root) };
      }
      case "witnesses":
        return ledger.witnesses().map(({ key, size, atSeconds }) => ({
          ...{ name: key.name, key: formatVerifierKey(key), seenSize: size },
          ...(atSeconds === undefined ? {} : { seenAt: new Date(atSeconds * 1000).toISOString() }),
        }));
      case "consistency":
        return {
          hashes: ledger.consistency(request.from, request.to).map(base64),
        };
      case "export":
        return await this.#export(request);
      case "copy":
        return await this.#copy();
      case "copy-done":
        fs.rmSync(this.#copyDirectory, { recursive: true, force: true });
        return {};
      case "witness-add":
        this.#addWitness(request.key, request.threshold);
        return {};
      case "cosign":
        return await this.#cosign(request.witness);
      case "cosign-answer":
        return await this.#stepOf(request.id, (exchange) => exchange.answer(request));
      case "erase": {
        const { value, reason } = request;
        const record = { type: "archivist.erased", at: this.#nowMs(), why: reason };
        return { erased: await ledger.erase({ value }, record) };
      }
    }
  }

  async #append(
    records: readonly Readonly<Record<string, Json>>[],
    caller: ArchivistCaller,
  ): Promise<Json> {
    // Whoever writes is believed only about itself: its records carry its name.
    const own = records.map((record) => ({
      ...record,
      type: `${caller}.${JSON.stringify(record["type"]).replaceAll('"', "")}`,
    }));
    this.#refuseWhenFull(own);
    const { first, count } = await this.#ledger.append(own as unknown as readonly NewRecord[]);
    return { first, count };
  }

  /** The last room is for whoever comes to look why, and for what ends. */
  #refuseWhenFull(records: readonly { readonly type: string }[]): void {
    if (!this.#isFull() || records.every(({ type }) => LAST_ROOM.has(type))) return;
    throw new SallyportError("ledger-disk-full", "the disk of the ledger is full", {
      hint: "make room on the disk of /var/lib/sallyport; nothing was done",
    });
  }

  #head(): Json {
    const { size, root } = this.#ledger.head();
    return {
      key: this.#key,
      size,
      root: base64(root),
      signed: this.#ledger.signed() ?? null,
      cosigned: this.#ledger.cosigned() ?? null,
    };
  }

  #recordAt(index: number): StoredRecord {
    const record = this.#ledger.record(index);
    if (record !== undefined) return record;
    throw new SallyportError("no-such-record", `the ledger has no record ${index}`, {
      hint: "sallyport ledger status says how many there are",
    });
  }

  async #export(request: Extract<ArchivistRequest, { readonly type: "export" }>): Promise<Json> {
    const directory = path.join(this.#exports, request.name);
    const { from = 0, to, personal, proofs } = request;
    if (request.name.startsWith(API_EXPORT)) this.#removeOldest();
    await this.#ledger.checkpoint();
    const range = to === undefined ? {} : { range: { from, to } };
    const done = await this.#ledger.export(directory, { ...range, personal, proofs });
    return { ...done, directory };
  }

  /** The signed head first: the copy then has at least what it says. */
  async #copy(): Promise<Json> {
    const checkpoint = await this.#ledger.checkpoint();
    const directory = this.#copyDirectory;
    fs.rmSync(directory, { recursive: true, force: true });
    fs.mkdirSync(directory, { mode: 0o700 });
    const file = path.join(directory, "ledger.sqlite");
    await this.#ledger.copyTo(file);
    return { file, checkpoint, key: this.#key };
  }

  /** `control` reads exports and can remove none, so the oldest give way. */
  #removeOldest(): void {
    const names = fs.existsSync(this.#exports) ? fs.readdirSync(this.#exports) : [];
    const own = names
      .filter((name) => name.startsWith(API_EXPORT))
      .map((name) => ({ name, atMs: fs.statSync(path.join(this.#exports, name)).mtimeMs }))
      .sort((a, b) => b.atMs - a.atMs);
    for (const { name } of own.slice(API_EXPORTS_MAX - 1)) {
      fs.rmSync(path.join(this.#exports, name), { recursive: true });
    }
  }

  async #cosign(witness: string): Promise<Json> {
    await this.#ledger.checkpoint();
    const id = ++this.#exchangeIds;
    this.#exchanges.set(id, new WitnessExchange(this.#ledger, witness));
    this.#exchanges.delete(id - EXCHANGES_MAX);
    return await this.#stepOf(id, (exchange) => exchange.next());
  }

  async #stepOf(id: number, take: (exchange: WitnessExchange) => Promise<Json>): Promise<Json> {
    const exchange = this.#exchanges.get(id);
    if (exchange === undefined) {
      throw new SallyportError("witness-late", "nobody waits for this witness's answer any more", {
        hint: "ask again: sallyport ledger witness ask",
      });
    }
    const step = await take(exchange);
    return { id, ...(step as Readonly<Record<string, Json>>) };
  }
}

function base64(bytes: Uint8Array): string {
  return Buffer.from(bytes).toString("base64");
}

function told({ index, type, at, leaf, personal }: StoredRecord): Json {
  return { index, type, at: new Date(at).toISOString(), leaf, personal };
}
