/**
 * Checks an export against a signed checkpoint: each record against its tile, each tile against the level
 * above, all of them against the root, and the root against heads that somebody held before. Part of the
 * one-file scripts, so it runs on Node 18 and imports built-ins only.
 */
import * as fs from "node:fs";
import * as path from "node:path";
import {
  bad,
  type Checked,
  type Checkpoint,
  checkCheckpoint,
  type Head,
  type Trust,
} from "./checkpoint.ts";
import { parseCheckpointLine } from "./checkpoint-line.ts";
import { type Disclosure, isDisclosed, isDisclosure, type Leaf, parseLeaf } from "./leaf.ts";
import { EMPTY_ROOT, HASH_BYTES, hashesOf, isSameHash, leafHash, treeHash } from "./merkle.ts";
import { decodeText, NOTE_MAX_BYTES } from "./note.ts";
import {
  bundleMaxBytes,
  hashesAtLevel,
  levelsOf,
  parseBundle,
  TILE_WIDTH,
  tilePath,
  widthOf,
} from "./tiles.ts";

/** 256 records with all their personal values, many times over. */
const DISCLOSURES_MAX_BYTES = 64 * 1024 * 1024;

export interface ExportQuestion {
  readonly directory: string;
  readonly trust: Trust;
  /** Heads held from before: checkpoints, or the lines that are printed and sent to syslog. */
  readonly heads: readonly string[];
  /** An export held from before, which can tell the first record that differs. */
  readonly olderDirectory?: string;
  /** Records that must be there, the first and the one after the last; all of them when left out. */
  readonly range?: { readonly from: number; readonly to: number };
}

export interface ExportAnswer {
  readonly checkpoint: Checkpoint;
  readonly records: number;
  /** Personal values that were disclosed and match. */
  readonly disclosed: number;
  /** Heads from before that the checkpoint extends. */
  readonly extended: number;
}

/** Path of the personal values that go with an entry bundle. */
export function disclosuresPath(n: number): string {
  return `${tilePath("entries", n).replace(/^tile\/entries/, "personal")}.jsonl`;
}

function readFile(file: string, maxBytes: number): Buffer | undefined {
  try {
    return fs.statSync(file).size > maxBytes ? undefined : fs.readFileSync(file);
  } catch {
    return undefined;
  }
}

/** Tiles of one tree, read from files; the one last read of each level is kept. */
class Tiles {
  readonly directory: string;
  readonly size: number;
  readonly #last = new Map<number, { n: number; hashes: readonly Uint8Array[] }>();

  constructor(directory: string, size: number) {
    this.directory = directory;
    this.size = size;
  }

  /** The first record that a hash of the tile stands for. */
  firstRecord(level: number, n: number): number {
    return n * TILE_WIDTH ** (level + 1);
  }

  read(level: number, n: number): Checked<readonly Uint8Array[]> {
    const last = this.#last.get(level);
    if (last?.n === n) return { kind: "good", value: last.hashes };
    const width = widthOf(hashesAtLevel(this.size, level), n);
    const name = tilePath(level, n, width);
    const bytes = readFile(path.join(this.directory, name), TILE_WIDTH * HASH_BYTES);
    const record = this.firstRecord(level, n);
    if (bytes === undefined) return bad("tile-missing", `${name} is not there`, record);
    if (bytes.length !== width * HASH_BYTES) {
      return bad(
        "tile-truncated",
        `${name} has ${bytes.length} bytes, not ${width * HASH_BYTES}`,
        record,
      );
    }
    const hashes = hashesOf(bytes);
    this.#last.set(level, { n, hashes });
    return { kind: "good", value: hashes };
  }

  /** MTH of the first `size` records, from the tiles at their right edge. */
  rootAt(size: number): Checked<Uint8Array> {
    let root: Uint8Array | undefined;
    for (let level = 0; level < levelsOf(size); level++) {
      const count = hashesAtLevel(size, level);
      const width = count % TILE_WIDTH;
      if (width === 0) continue;
      const tile = this.read(level, Math.floor(count / TILE_WIDTH));
      if (tile.kind === "bad") return tile;
      const hashes = tile.value.slice(0, width);
      root = treeHash(root === undefined ? hashes : [...hashes, root]);
    }
    return { kind: "good", value: root ?? EMPTY_ROOT };
  }
}

export function verifyExport(question: ExportQuestion): Checked<ExportAnswer> {
  const checkpoint = readCheckpoint(question.directory, question.trust);
  if (checkpoint.kind === "bad") return checkpoint;
  const { head } = checkpoint.value;
  const { from, to } = question.range ?? { from: 0, to: head.size };
  if (from > to || to > head.size) {
    return bad(
      "range-outside",
      `records ${from} to ${to} are asked for; there are ${head.size}`,
      to,
    );
  }
  const tiles = new Tiles(question.directory, head.size);
  const heads = checkHeads(question, tiles, head);
  // What an older copy tells apart is said first: it names records that are gone or replaced.
  if (heads.kind === "bad") return heads;
  const entries = checkEntries(tiles, from, to);
  if (entries.kind === "bad") return entries;
  const levels = checkLevels(tiles, from, to);
  if (levels.kind === "bad") return levels;
  const root = tiles.rootAt(head.size);
  if (root.kind === "bad") return root;
  if (!isSameHash(root.value, head.root)) {
    const why = `the tiles do not lead to the root of the checkpoint: records were replaced together with their hashes, or the checkpoint is of another history`;
    return bad("root-wrong", why, 0);
  }
  const value = {
    checkpoint: checkpoint.value,
    records: to - from,
    disclosed: entries.value,
    extended: heads.value,
  };
  return { kind: "good", value };
}

function readCheckpoint(directory: string, trust: Trust): Checked<Checkpoint> {
  const bytes = readFile(path.join(directory, "checkpoint"), NOTE_MAX_BYTES);
  const text = bytes === undefined ? undefined : decodeText(bytes, NOTE_MAX_BYTES);
  if (text === undefined) return bad("checkpoint-missing", "there is no readable checkpoint file");
  return checkCheckpoint(text, trust);
}

/** A head held before: by whom it was cosigned does not matter, only that the log signed it. */
function olderHead(text: string, trust: Trust): Checked<Head> {
  const line = parseCheckpointLine(text);
  const checkpoint = line.kind === "parsed" ? line.value : text;
  const checked = checkCheckpoint(checkpoint, { ...trust, threshold: 0 });
  if (checked.kind === "good") return { kind: "good", value: checked.value.head };
  const why =
    line.kind === "malformed" && text.startsWith("sallyport-") ? line.why : checked.fault.why;
  return bad("older-head-refused", `the head from before is not believed: ${why}`);
}

function checkHeads(question: ExportQuestion, tiles: Tiles, head: Head): Checked<number> {
  const { heads, olderDirectory, trust } = question;
  if (olderDirectory !== undefined) {
    const older = readCheckpoint(olderDirectory, { ...trust, threshold: 0 });
    if (older.kind === "bad") return older;
    const checked = compareTiles(tiles, new Tiles(olderDirectory, older.value.head.size));
    if (checked.kind === "bad") return checked;
  }
  for (const text of heads) {
    const older = olderHead(text, trust);
    if (older.kind === "bad") return older;
    const { size, root } = older.value;
    if (size > head.size) return rolledBack(size, head.size);
    const now = tiles.rootAt(size);
    if (now.kind === "bad") return now;
    if (isSameHash(now.value, root)) continue;
    const why = `of the ${size} records of the head from before, at least one was replaced or taken out: the log signed two histories`;
    return bad("forked", why, 0);
  }
  return { kind: "good", value: heads.length + (olderDirectory === undefined ? 0 : 1) };
}

function rolledBack(older: number, size: number): Checked<never> {
  const why = `records ${size} to ${older - 1} are gone: a head of ${older} records was signed before, this one is of ${size}`;
  return bad("rolled-back", why, size);
}

/** Leaf hash by leaf hash, to name the first record that differs. */
function compareTiles(tiles: Tiles, older: Tiles): Checked<true> {
  if (older.size > tiles.size) return rolledBack(older.size, tiles.size);
  for (let n = 0; n * TILE_WIDTH < older.size; n++) {
    const before = older.read(0, n);
    if (before.kind === "bad") return before;
    const now = tiles.read(0, n);
    if (now.kind === "bad") return now;
    const differs = before.value.findIndex((hash, at) => {
      const other = now.value[at];
      return other === undefined || !isSameHash(hash, other);
    });
    if (differs >= 0) {
      return bad(
        "forked",
        "the record is another one than in the older copy",
        n * TILE_WIDTH + differs,
      );
    }
  }
  return { kind: "good", value: true };
}

/** Records of the range against their tiles; gives the number of disclosed values that match. */
function checkEntries(tiles: Tiles, from: number, to: number): Checked<number> {
  let disclosed = 0;
  for (let n = Math.floor(from / TILE_WIDTH); n * TILE_WIDTH < to; n++) {
    const tile = tiles.read(0, n);
    if (tile.kind === "bad") return tile;
    const checked = checkBundle(tiles, n, tile.value);
    if (checked.kind === "bad") return checked;
    const shown = checkDisclosures(tiles, n, checked.value);
    if (shown.kind === "bad") return shown;
    disclosed += shown.value;
  }
  return { kind: "good", value: disclosed };
}

function checkBundle(
  tiles: Tiles,
  n: number,
  hashes: readonly Uint8Array[],
): Checked<readonly Leaf[]> {
  const first = n * TILE_WIDTH;
  const name = tilePath("entries", n, hashes.length);
  const bytes = readFile(path.join(tiles.directory, name), bundleMaxBytes(hashes.length));
  if (bytes === undefined) return bad("entries-missing", `${name} is not there`, first);
  const entries = parseBundle(bytes, hashes.length);
  if (entries.kind === "malformed") {
    return bad("entries-truncated", `${name} ${entries.why}`, first + (entries.at ?? 0));
  }
  const leaves: Leaf[] = [];
  for (const [at, entry] of entries.value.entries()) {
    const hash = hashes[at];
    if (hash === undefined || !isSameHash(leafHash(entry), hash)) {
      return bad("record-altered", "the record is not the one that was hashed", first + at);
    }
    const leaf = parseLeaf(entry);
    if (leaf.kind === "malformed") return bad("record-malformed", `it ${leaf.why}`, first + at);
    leaves.push(leaf.value);
  }
  return { kind: "good", value: leaves };
}

function checkDisclosures(tiles: Tiles, n: number, leaves: readonly Leaf[]): Checked<number> {
  const first = n * TILE_WIDTH;
  const name = disclosuresPath(n);
  if (!fs.existsSync(path.join(tiles.directory, name))) return { kind: "good", value: 0 };
  const bytes = readFile(path.join(tiles.directory, name), DISCLOSURES_MAX_BYTES);
  const text = bytes === undefined ? undefined : decodeText(bytes, DISCLOSURES_MAX_BYTES);
  if (text === undefined) return bad("personal-malformed", `${name} cannot be read`, first);
  const lines = text.split("\n").filter((line) => line !== "");
  for (const line of lines) {
    const shown = parseDisclosure(line);
    const leaf = shown === undefined ? undefined : leaves[shown.index - first];
    if (shown === undefined || leaf === undefined) {
      return bad(
        "personal-malformed",
        `${name} has a line that belongs to none of its records`,
        first,
      );
    }
    if (!isDisclosed(leaf, shown)) {
      const why = `the value shown for "${shown.name}" is not the one that the record was made with`;
      return bad("personal-altered", why, shown.index);
    }
  }
  return { kind: "good", value: lines.length };
}

function parseDisclosure(line: string): Disclosure | undefined {
  try {
    const value: unknown = JSON.parse(line);
    return isDisclosure(value) ? value : undefined;
  } catch {
    return undefined;
  }
}

/** Each full tile against its hash in the level above; level 0 only where it is in the range. */
function checkLevels(tiles: Tiles, from: number, to: number): Checked<true> {
  for (let level = 0; level < levelsOf(tiles.size) - 1; level++) {
    const above = hashesAtLevel(tiles.size, level + 1);
    const begin = level === 0 ? Math.floor(from / TILE_WIDTH) : 0;
    const end = level === 0 ? Math.min(above, Math.ceil(to / TILE_WIDTH)) : above;
    for (let n = begin; n < end; n++) {
      const tile = tiles.read(level, n);
      if (tile.kind === "bad") return tile;
      const parent = tiles.read(level + 1, Math.floor(n / TILE_WIDTH));
      if (parent.kind === "bad") return parent;
      const hash = parent.value[n % TILE_WIDTH];
      if (hash !== undefined && isSameHash(treeHash(tile.value), hash)) continue;
      const first = tiles.firstRecord(level, n);
      const last = tiles.firstRecord(level, n + 1) - 1;
      const why = `a hash of records ${first} to ${last} was replaced: the tile does not lead to the one above`;
      return bad("tile-wrong", why, first);
    }
  }
  return { kind: "good", value: true };
}
