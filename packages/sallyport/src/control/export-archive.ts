/** A directory as one .tar.gz, file by file: the same bytes each time, so that its hash can be told before it is fetched. */
import fs from "node:fs";
import path from "node:path";
import { pipeline } from "node:stream/promises";
import { PassThrough, Readable } from "node:stream";
import { createGzip } from "node:zlib";

/** POSIX.1-1988 §10.1.1: blocks of 512 bytes, and two empty ones at the end. */
const BLOCK = 512;
const NAME_MAX = 100;
const PREFIX_MAX = 155;
/** The only flush of gzip that depends on nothing but its input. */
const LEVEL = 6;

export function archiveOf(directory: string): AsyncIterable<Uint8Array> {
  const out = new PassThrough();
  pipeline(Readable.from(tarOf(directory)), createGzip({ level: LEVEL }), out).catch(
    // Whoever reads hears of it; one who went away does not want to.
    (error: unknown) => out.destroy(error instanceof Error ? error : new Error(String(error))),
  );
  return out;
}

async function* tarOf(directory: string): AsyncGenerator<Uint8Array> {
  for (const name of filesIn(directory)) {
    const bytes = await fs.promises.readFile(path.join(directory, name));
    yield headerOf(name, bytes.length);
    yield bytes;
    yield Buffer.alloc((BLOCK - (bytes.length % BLOCK)) % BLOCK);
  }
  yield Buffer.alloc(2 * BLOCK);
}

function filesIn(directory: string): readonly string[] {
  return fs
    .readdirSync(directory, { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile())
    .map((entry) => path.relative(directory, path.join(entry.parentPath, entry.name)))
    .sort();
}

function headerOf(name: string, sizeBytes: number): Buffer {
  const header = Buffer.alloc(BLOCK);
  const [prefix, base] = parted(`sallyport-ledger/${name}`);
  header.write(base, 0);
  header.write("0000644\0", 100);
  header.write("0000000\0", 108);
  header.write("0000000\0", 116);
  header.write(`${sizeBytes.toString(8).padStart(11, "0")}\0`, 124);
  // No time: when it was fetched is not what is in it.
  header.write("00000000000\0", 136);
  header.write("        ", 148);
  header.write("0", 156);
  header.write("ustar\0", 257);
  header.write("00", 263);
  header.write(prefix, 345);
  const sum = header.reduce((total, byte) => total + byte, 0);
  header.write(`${sum.toString(8).padStart(6, "0")}\0 `, 148);
  return header;
}

/** A long name is parted at a slash. Ours are numbers and short words: one that does not fit is a defect. */
function parted(name: string): readonly [prefix: string, base: string] {
  if (name.length <= NAME_MAX) return ["", name];
  const slash = name.indexOf("/", name.length - NAME_MAX - 1);
  if (slash > 0 && slash <= PREFIX_MAX) return [name.slice(0, slash), name.slice(slash + 1)];
  throw new RangeError(`${name} does not fit a tar header`);
}
