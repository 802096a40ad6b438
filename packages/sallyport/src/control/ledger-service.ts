/** The ledger through the API: the archivist answers, and what it wrote as an export is handed out. */
import { createHash, randomBytes } from "node:crypto";
import fs from "node:fs";
import path from "node:path";
import type { Caller, Ledger, LedgerRecord, Page, PageRequest, Permissions } from "@sallyport/api";
import type { Json } from "@sallyport/core";
import { SallyportError } from "@sallyport/core";
import type { Records, Stored } from "@sallyport/identity";
import { fields, listOf, word } from "../cli/enforcer-client.ts";
import type { Recorder } from "../recorder.ts";
import type { AskArchivist } from "./ask.ts";
import { personOf } from "./desk.ts";
import { archiveOf } from "./export-archive.ts";
import { known } from "./pages.ts";

type Export = Awaited<ReturnType<Ledger["export"]>>;
type Order = Parameters<Ledger["startExport"]>[1];

export interface KeptExport extends Stored {
  readonly createdAtMs: number;
  readonly state: Export["state"];
  readonly records: number;
  readonly bytes?: number;
  readonly sha256?: string;
  readonly why?: string;
}

export interface LedgerMeans {
  readonly archivist: AskArchivist;
  readonly permissions: Permissions;
  readonly record: Recorder["record"];
  readonly exports: Records<KeptExport>;
  /** Where the archivist writes exports, readable here. */
  readonly exportsDirectory: string;
  readonly nowMs: () => number;
}

const ID_BYTES = 8;
/** Notes of exports whose files gave way long ago. */
const EXPORT_KEPT_MS = 30 * 24 * 3600 * 1000;

export class LedgerService implements Ledger {
  readonly #means: LedgerMeans;
  /** Being made by this process: one that is not and still says so was broken off. */
  readonly #making = new Set<string>();

  constructor(means: LedgerMeans) {
    this.#means = means;
  }

  async head(_caller: Caller): ReturnType<Ledger["head"]> {
    const { size, root, signed } = fields(await this.#means.archivist({ type: "head" }));
    const checkpoint = word(signed);
    return {
      origin: checkpoint.split("\n")[0] ?? "",
      size: Number(size),
      root: hex(word(root)),
      at: new Date(this.#means.nowMs()).toISOString(),
      checkpoint,
    };
  }

  /** Newest first. */
  async records(
    caller: Caller,
    { type, person, since, until }: Parameters<Ledger["records"]>[1],
    { limit, after }: PageRequest,
  ): Promise<Page<LedgerRecord>> {
    // Who may not see names must not find out by asking for them.
    if (person !== undefined) await this.#means.permissions.authorize(caller, "person.read", false);
    const question = {
      before: after === undefined ? Number.MAX_SAFE_INTEGER : Number(after),
      ...(type === undefined ? {} : { type }),
      ...(person === undefined ? {} : { person }),
      ...(since === undefined ? {} : { fromMs: Date.parse(since) }),
      ...(until === undefined ? {} : { toMs: Date.parse(until) }),
      limit,
    };
    const page = fields(await this.#means.archivist({ type: "list", question }));
    const items = listOf(page["records"]).map((record) => this.#told(caller, record));
    return { items, ...(page["next"] === undefined ? {} : { next: word(page["next"]) }) };
  }

  async record(caller: Caller, index: number): Promise<LedgerRecord> {
    return this.#told(caller, await this.#find(index));
  }

  async proof(_caller: Caller, index: number, size?: number): ReturnType<Ledger["proof"]> {
    const { archivist } = this.#means;
    const leaf = leafHash(word(fields(await this.#find(index))["leaf"]));
    if (size !== undefined) return await this.#inclusion(index, size, leaf);
    // Signs the present head first, so that every record that is there is in it.
    const { proof } = fields(await archivist({ type: "prove", index }));
    const file = word(proof);
    const [, signedSize = ""] = file.slice(file.indexOf("\n\n") + 2).split("\n");
    return { ...(await this.#inclusion(index, Number(signedSize), leaf)), file };
  }

  async #inclusion(index: number, size: number, leaf: string): ReturnType<Ledger["proof"]> {
    const told = fields(await this.#means.archivist({ type: "inclusion", index, size }));
    const hashes = listOf(told["hashes"]).map((hash) => hex(word(hash)));
    return { index, size, leaf, root: hex(word(told["root"])), hashes };
  }

  async consistency(_caller: Caller, from: number, to: number): ReturnType<Ledger["consistency"]> {
    const { hashes } = fields(await this.#means.archivist({ type: "consistency", from, to }));
    return { from, to, hashes: listOf(hashes).map((hash) => hex(word(hash))) };
  }

  async witnesses(_caller: Caller): ReturnType<Ledger["witnesses"]> {
    const witnesses = listOf(await this.#means.archivist({ type: "witnesses" }));
    return witnesses.map(fields).map(({ name, key, seenSize, seenAt }) => ({
      ...{ name: word(name), key: word(key), seenSize: Number(seenSize) },
      ...(seenAt === undefined ? {} : { seenAt: word(seenAt) }),
    }));
  }

  async startExport(caller: Caller, order: Order): Promise<Export> {
    const { permissions, record, exports, nowMs } = this.#means;
    const { people, reason } = order;
    if (people) await permissions.authorize(caller, "person.read", false);
    const id = `api-${randomBytes(ID_BYTES).toString("hex")}`;
    const range = await this.#rangeOf(order);
    await record("export-asked", { id, by: personOf(caller), reason, people, ...range });
    const kept: KeptExport = {
      ...{ id, revision: 1, createdAtMs: nowMs(), state: "running", records: 0 },
      expiresAtMs: nowMs() + EXPORT_KEPT_MS,
    };
    await exports.removeExpired(nowMs());
    await exports.add(kept);
    this.#making.add(id);
    void this.#make(kept, range, people).finally(() => this.#making.delete(id));
    return shown(kept);
  }

  async export(_caller: Caller, id: string): Promise<Export> {
    const kept = known(await this.#means.exports.get(id), "export");
    if (kept.state !== "running" || this.#making.has(id)) return shown(kept);
    return shown({ ...kept, state: "failed", why: "the process ended while it was made" });
  }

  async readExport(caller: Caller, id: string): Promise<AsyncIterable<Uint8Array>> {
    const { state } = await this.export(caller, id);
    const directory = this.#directoryOf(id);
    if (state === "ready" && fs.existsSync(directory)) return archiveOf(directory);
    const why = state === "ready" ? "it gave way to newer ones" : `it is ${state}`;
    throw new SallyportError("export-refused", `there is nothing to fetch: ${why}`, {
      hint: "ask for a new one: POST /v1/ledger/exports",
    });
  }

  async #make(kept: KeptExport, range: Range, personal: boolean): Promise<void> {
    const { archivist, exports } = this.#means;
    let done: Partial<KeptExport>;
    try {
      const order = { type: "export", name: kept.id, ...range, personal, proofs: [] } as const;
      const { from, to } = fields(await archivist(order));
      const hash = createHash("sha256");
      let bytes = 0;
      for await (const piece of archiveOf(this.#directoryOf(kept.id))) {
        hash.update(piece);
        bytes += piece.length;
      }
      const records = Number(to) - Number(from);
      done = { state: "ready", records, bytes, sha256: hash.digest("hex") };
    } catch (error) {
      done = { state: "failed", why: error instanceof Error ? error.message : String(error) };
    }
    // Where the state cannot be written either, it says that it was broken off.
    await exports.replace(kept, { ...kept, ...done, revision: 2 }).catch(() => false);
  }

  #directoryOf(id: string): string {
    // Ids are ours, made above: no part of a path comes from outside.
    return path.join(this.#means.exportsDirectory, id);
  }

  /** From the first record at or after `since` up to the first at or after `until`; with neither, all that is signed then. */
  async #rangeOf({ since, until }: Order): Promise<Range> {
    if (since === undefined && until === undefined) return {};
    const size = Number(fields(await this.#means.archivist({ type: "head" }))["size"]);
    const first = async (time: string | undefined, otherwise: number): Promise<number> => {
      if (time === undefined) return otherwise;
      let from = 0;
      for (;;) {
        const question = { fromMs: Date.parse(time), from, limit: 1 };
        const page = fields(await this.#means.archivist({ type: "list", question }));
        const [found] = listOf(page["records"]);
        if (found !== undefined) return Number(fields(found)["index"]);
        if (typeof page["next"] !== "number") return size;
        from = page["next"];
      }
    };
    const from = await first(since, 0);
    return { from, to: Math.max(from, await first(until, size)) };
  }

  async #find(index: number): Promise<Json> {
    try {
      return await this.#means.archivist({ type: "record", index });
    } catch (error) {
      if (!(error instanceof SallyportError && error.code === "no-such-record")) throw error;
      return known<Json>(undefined, "record");
    }
  }

  /** Names are for whoever may see people; the commitments are for everybody. */
  #told({ principal }: Caller, value: Json): LedgerRecord {
    const { index, type, at, leaf, personal } = fields(value);
    const text = word(leaf);
    const { type: _type, at: _at, commit, ...plain } = fields(JSON.parse(text) as Json);
    const { permissions } = this.#means;
    const isNamed = principal !== undefined && permissions.may(principal, "person.read");
    const names = isNamed ? fields(personal ?? null) : {};
    const { person } = names;
    return {
      ...{ index: Number(index), type: word(type), at: word(at) },
      ...(person === undefined ? {} : { person: word(person) }),
      fields: { ...plain, ...names },
      commitments: Object.fromEntries(
        Object.entries(fields(commit ?? null)).map(([name, hash]) => [name, word(hash)]),
      ),
      leaf: leafHash(text),
    };
  }
}

interface Range {
  readonly from?: number;
  readonly to?: number;
}

function shown({ id, state, createdAtMs, records, bytes, sha256, why }: KeptExport): Export {
  return {
    ...{ id, state, createdAt: new Date(createdAtMs).toISOString(), records },
    ...(bytes === undefined ? {} : { bytes }),
    ...(sha256 === undefined ? {} : { sha256 }),
    ...(why === undefined ? {} : { why }),
  };
}

/** RFC 6962 §2.1. */
function leafHash(leaf: string): string {
  return createHash("sha256").update(Uint8Array.of(0)).update(leaf, "utf8").digest("hex");
}

function hex(base64: string): string {
  return Buffer.from(base64, "base64").toString("hex");
}
