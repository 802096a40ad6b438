/** Records, tiles and places in SQLite: what is written in one transaction, and how tiles are read back. */
import type { DatabaseSync, StatementSync } from "node:sqlite";
import { SallyportError } from "@sallyport/core";
import { openDatabase, type Synchronous, tileId } from "./database.ts";
import { Frontier } from "./frontier.ts";
import type { FollowedPlace } from "./ledger.ts";
import { HASH_BYTES, hashesOf, isSameHash, splitOf, treeHash } from "./merkle.ts";
import type { EncodedRecord } from "./new-record.ts";
import type { ReadTile } from "./proofs.ts";
import { hashesAtLevel, TILE_WIDTH, widthOf } from "./tiles.ts";

/** The tile at the right edge: its leaf hashes, and what the span of its records will say. */
interface Edge {
  readonly hashes: Uint8Array[];
  readonly types: Set<string>;
  firstAt: number;
  lastAt: number;
}

interface Statements {
  readonly record: StatementSync;
  readonly personal: StatementSync;
  readonly readTile: StatementSync;
  readonly tile: StatementSync;
  readonly span: StatementSync;
  readonly spanType: StatementSync;
  readonly head: StatementSync;
  readonly place: StatementSync;
  readonly readPlace: StatementSync;
  readonly hashes: StatementSync;
}

function prepare(database: DatabaseSync): Statements {
  return {
    record: database.prepare("insert into record values (?, ?, ?, ?, ?)"),
    personal: database.prepare("insert into personal values (?, ?, ?, ?)"),
    readTile: database.prepare("select hashes from tile where id = ?"),
    tile: database.prepare("insert or replace into tile values (?, ?)"),
    span: database.prepare("insert into span values (?, ?, ?)"),
    spanType: database.prepare("insert into span_type values (?, ?)"),
    head: database.prepare("update head set size = ?, frontier = ? where id = 1"),
    place: database.prepare("insert or replace into place values (?, ?)"),
    readPlace: database.prepare("select place from place where source = ?"),
    hashes: database.prepare(
      "select type, at, hash from record where idx >= ? order by idx limit ?",
    ),
  };
}

export function damaged(why: string): SallyportError {
  return new SallyportError("ledger-damaged", `the ledger is damaged: ${why}`, {
    hint: "Keep it as it is for evidence; nothing is added to it or signed.",
  });
}

export class LogStore {
  readonly database: DatabaseSync;
  readonly #statements: Statements;
  #frontier: Frontier;
  /** Read when the first record is added, so that opening reads the same few rows at any size. */
  #edge: Edge | undefined;

  constructor(file: string, synchronous: Synchronous) {
    this.database = openDatabase(file, synchronous);
    try {
      this.#statements = prepare(this.database);
      this.#frontier = this.#readFrontier();
    } catch (error) {
      this.database.close();
      throw error;
    }
  }

  get frontier(): Frontier {
    return this.#frontier;
  }

  #readFrontier(): Frontier {
    const head = this.database.prepare("select size, frontier from head where id = 1").get();
    const last = this.database.prepare("select max(idx) as idx from record").get();
    const [size, frontier] = [head?.["size"], head?.["frontier"]];
    if (typeof size !== "number" || !(frontier instanceof Uint8Array))
      throw damaged("it has no head");
    const records = typeof last?.["idx"] === "number" ? last["idx"] + 1 : 0;
    if (records !== size)
      throw damaged(`its head tells ${size} records, its last one is ${records - 1}`);
    return Frontier.fromBytes(size, frontier);
  }

  /** Runs `work` in one transaction; what it staged counts once the commit is on disk. */
  write<Result>(work: (write: Staged) => Result): Result {
    const { database } = this;
    const edge = this.#edge ?? this.#readEdge();
    // If anything fails below, the edge is read again from what is on disk.
    this.#edge = undefined;
    database.exec("begin immediate");
    let staged: Staged;
    let result: Result;
    try {
      staged = new Staged(this.#statements, this.#frontier.copy(), edge);
      result = work(staged);
      this.#statements.head.run(staged.frontier.size, staged.frontier.toBytes());
      database.exec("commit");
    } catch (error) {
      // A full disk may have rolled it back already.
      if (database.isTransaction) database.exec("rollback");
      throw error;
    }
    this.#frontier = staged.frontier;
    this.#edge = edge;
    return result;
  }

  placeOf(source: string): string | undefined {
    const place = this.#statements.readPlace.get(source)?.["place"];
    return typeof place === "string" ? place : undefined;
  }

  #readEdge(): Edge {
    const edge = newEdge();
    const width = this.#frontier.size % TILE_WIDTH;
    for (const row of this.#statements.hashes.all(this.#frontier.size - width, width)) {
      const { type, at, hash } = row;
      if (typeof type !== "string" || typeof at !== "number" || !(hash instanceof Uint8Array)) {
        throw damaged("a record cannot be read");
      }
      extend(edge, type, at, hash);
    }
    const roots = this.#frontier.tileRoots;
    const isWhole = edge.hashes.length === width && isSameEdge(edge.hashes, roots);
    if (!isWhole) throw damaged("the hashes of its last records are not the ones in its tree");
    return edge;
  }

  /** Hashes of a tile, as many as there are; throws where one that must be there is not. */
  readonly readTile: ReadTile = (level, n) => {
    const width = widthOf(hashesAtLevel(this.#frontier.size, level), n);
    const hashes =
      level === 0 && width < TILE_WIDTH
        ? this.#edgeHashes(n * TILE_WIDTH, width)
        : hashesOf(this.#tileBytes(level, n));
    if (hashes.length < width) throw damaged(`tile ${n} of level ${level} is missing`);
    return hashes;
  };

  #edgeHashes(from: number, width: number): Uint8Array[] {
    return this.#statements.hashes.all(from, width).map(({ hash }) => {
      if (!(hash instanceof Uint8Array) || hash.length !== HASH_BYTES)
        throw damaged("a hash is gone");
      return hash;
    });
  }

  #tileBytes(level: number, n: number): Uint8Array {
    const hashes = this.#statements.readTile.get(tileId(level, n))?.["hashes"];
    return hashes instanceof Uint8Array ? hashes : new Uint8Array(0);
  }
}

function newEdge(): Edge {
  return {
    hashes: [],
    types: new Set(),
    firstAt: Number.MAX_SAFE_INTEGER,
    lastAt: Number.MIN_SAFE_INTEGER,
  };
}

function extend(edge: Edge, type: string, at: number, hash: Uint8Array): void {
  edge.hashes.push(hash);
  edge.types.add(type);
  edge.firstAt = Math.min(edge.firstAt, at);
  edge.lastAt = Math.max(edge.lastAt, at);
}

/** Whether the hashes add up to the roots, the largest subtree first. */
function isSameEdge(hashes: readonly Uint8Array[], roots: readonly Uint8Array[]): boolean {
  let from = 0;
  for (const root of roots) {
    // The largest power of two that is not above what is left.
    const size = splitOf(hashes.length - from + 1);
    if (!isSameHash(treeHash(hashes, from, from + size), root)) return false;
    from += size;
  }
  return from === hashes.length;
}

/** One transaction's additions. */
export class Staged {
  readonly #statements: Statements;
  readonly frontier: Frontier;
  readonly #edge: Edge;

  constructor(statements: Statements, frontier: Frontier, edge: Edge) {
    this.#statements = statements;
    this.frontier = frontier;
    this.#edge = edge;
  }

  /** Index of the record. */
  add({ type, at, leaf, hash, personal }: EncodedRecord): number {
    const { record, personal: insert } = this.#statements;
    const index = this.frontier.size;
    record.run(index, type, at, leaf, hash);
    for (const { name, salt, value } of personal) insert.run(index, name, salt, value);
    extend(this.#edge, type, at, hash);
    const full = this.frontier.add(hash);
    if (full.length === 0) return index;
    this.#finishEdge(Math.floor(index / TILE_WIDTH));
    for (const tile of full) this.#extendTile(tile.level, tile.hash);
    return index;
  }

  #finishEdge(n: number): void {
    const { tile, span, spanType } = this.#statements;
    const edge = this.#edge;
    tile.run(tileId(0, n), Buffer.concat(edge.hashes));
    span.run(n, edge.firstAt, edge.lastAt);
    for (const type of edge.types) spanType.run(type, n);
    Object.assign(edge, { firstAt: Number.MAX_SAFE_INTEGER, lastAt: Number.MIN_SAFE_INTEGER });
    edge.hashes.length = 0;
    edge.types.clear();
  }

  #extendTile(level: number, hash: Uint8Array): void {
    const { readTile, tile } = this.#statements;
    const at = hashesAtLevel(this.frontier.size, level) - 1;
    const id = tileId(level, Math.floor(at / TILE_WIDTH));
    const before = readTile.get(id)?.["hashes"];
    const bytes = before instanceof Uint8Array ? before : new Uint8Array(0);
    if (bytes.length !== (at % TILE_WIDTH) * HASH_BYTES) throw damaged(`a tile of level ${level}`);
    tile.run(id, Buffer.concat([bytes, hash]));
  }

  /** Whether the follower is where the records were read from; if so, it is moved on. */
  move({ source, place, after }: FollowedPlace): boolean {
    const { readPlace, place: write } = this.#statements;
    if (after !== undefined && readPlace.get(source)?.["place"] !== after) return false;
    write.run(source, place);
    return true;
  }
}
