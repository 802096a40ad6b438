/** An export: tlog-tiles that any C2SP client reads, with the verifier beside them. */
import fs from "node:fs";
import path from "node:path";
import { setImmediate } from "node:timers/promises";
import { SallyportError } from "@sallyport/core";
import { parseCheckpoint } from "./checkpoint.ts";
import type { ExportOptions, Exported } from "./ledger.ts";
import type { RecordReader } from "./list-records.ts";
import { damaged } from "./log-store.ts";
import type { ReadTile } from "./proofs.ts";
import { formatBundle, hashesAtLevel, levelsOf, TILE_WIDTH, tilePath, widthOf } from "./tiles.ts";
import { toBase64 } from "./note.ts";
import { disclosuresPath } from "./verify-export.ts";

/** The one file that every export carries, and that needs nothing else. */
export const VERIFIER: URL = new URL("../one-file/verify.mjs", import.meta.url);
/** Between so many tiles the process answers others. */
const TILES_PER_TURN = 16;

const README = `An export of a Sallyport ledger, in the layout of c2sp.org/tlog-tiles.

Check it with any Node.js from version 18 on:

  node verify.mjs . --key KEY --witness KEY

The public keys of the ledger and its witnesses must come to you by another way. So must verify.mjs itself, if
whoever gave you this is not to be trusted: it is the same file in each release of Sallyport. "node verify.mjs"
alone tells all options. proofs/ holds proofs of single records, personal/ values that were disclosed.
`;

export interface ExportSource {
  readonly checkpoint: string;
  readonly readTile: ReadTile;
  readonly reader: RecordReader;
  readonly prove: (index: number) => string;
}

export async function exportLedger(
  source: ExportSource,
  directory: string,
  options: ExportOptions,
): Promise<Exported> {
  const parsed = parseCheckpoint(source.checkpoint);
  if (parsed.kind === "malformed") throw damaged(`its checkpoint ${parsed.why}`);
  const { size } = parsed.value.head;
  const { from, to } = options.range ?? { from: 0, to: size };
  if (!(Number.isSafeInteger(from) && from >= 0 && from <= to && to <= size)) {
    const message = `records ${from} to ${to} are not all in the checkpoint, which has ${size}`;
    throw new SallyportError("export-refused", message);
  }
  fs.mkdirSync(directory, { recursive: true });
  if (fs.readdirSync(directory).length > 0) {
    throw new SallyportError("export-refused", `${directory} is not empty`);
  }
  const files = new Files(directory);
  files.write("verify.mjs", fs.readFileSync(VERIFIER));
  files.write("README.txt", README);
  await writeHashes(source, files, size, from, to);
  await writeEntries(source, files, { size, from, to }, options.personal === true);
  for (const index of options.proofs ?? []) {
    files.write(`proofs/${index}.tlog-proof`, source.prove(index));
  }
  // Last, so that an export that was broken off has no checkpoint and verifies as nothing.
  files.write("checkpoint", source.checkpoint);
  return { size, from, to, files: files.count };
}

class Files {
  readonly #directory: string;
  count = 0;

  constructor(directory: string) {
    this.#directory = directory;
  }

  write(name: string, content: string | Uint8Array): void {
    const file = path.join(this.#directory, name);
    fs.mkdirSync(path.dirname(file), { recursive: true });
    fs.writeFileSync(file, content);
    this.count++;
  }
}

/** All tiles above the lowest level, and of that one those of the range and the right edge. */
async function writeHashes(
  { readTile }: ExportSource,
  files: Files,
  size: number,
  from: number,
  to: number,
): Promise<void> {
  for (let level = 0; level < levelsOf(size); level++) {
    const count = hashesAtLevel(size, level);
    const edge = Math.floor(count / TILE_WIDTH);
    for (let n = 0; n * TILE_WIDTH < count; n++) {
      const isWanted = n >= Math.floor(from / TILE_WIDTH) && n * TILE_WIDTH < to;
      if (level === 0 && !isWanted && n !== edge) continue;
      const width = widthOf(count, n);
      const hashes = readTile(level, n).slice(0, width);
      files.write(tilePath(level, n, width), Buffer.concat(hashes));
      if (files.count % TILES_PER_TURN === 0) await setImmediate();
    }
  }
}

async function writeEntries(
  { reader }: ExportSource,
  files: Files,
  { size, from, to }: Omit<Exported, "files">,
  withPersonal: boolean,
): Promise<void> {
  for (let n = Math.floor(from / TILE_WIDTH); n * TILE_WIDTH < to; n++) {
    const width = widthOf(size, n);
    const [begin, end] = [n * TILE_WIDTH, n * TILE_WIDTH + width];
    files.write(tilePath("entries", n, width), formatBundle(reader.leaves(begin, end)));
    const shown = withPersonal ? reader.personal(begin, end) : [];
    const lines = shown.map((one) => `${JSON.stringify({ ...one, salt: toBase64(one.salt) })}\n`);
    if (lines.length > 0) files.write(disclosuresPath(n), lines.join(""));
    await setImmediate();
  }
}
