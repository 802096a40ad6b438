/**
 * Paths and bundles of c2sp.org/tlog-tiles. Part of the one-file scripts, so it runs on Node 18 and imports
 * built-ins only.
 */
import { LEAF_MAX_BYTES } from "./merkle.ts";
import { malformed, type Parsed } from "./note.ts";

/** Hashes of a full tile, entries of a full bundle. */
export const TILE_WIDTH = 256;
const LENGTH_BYTES = 2;

/** Hashes at a level of a tree: each stands for 256^level records. */
export function hashesAtLevel(size: number, level: number): number {
  return Math.floor(size / TILE_WIDTH ** level);
}

/** How many levels of tiles a tree has; none when it is empty. */
export function levelsOf(size: number): number {
  let levels = 0;
  while (hashesAtLevel(size, levels) > 0) levels++;
  return levels;
}

/** Width of tile `n` when its level holds `count` hashes. */
export function widthOf(count: number, n: number): number {
  return Math.max(0, Math.min(TILE_WIDTH, count - n * TILE_WIDTH));
}

/** `tile/0/x001/234.p/17`: index 1234, 17 wide; full tiles have no `.p`. */
export function tilePath(level: number | "entries", n: number, width: number = TILE_WIDTH): string {
  const groups = [String(n % 1000).padStart(3, "0")];
  for (let rest = Math.floor(n / 1000); rest > 0; rest = Math.floor(rest / 1000)) {
    groups.unshift(`x${String(rest % 1000).padStart(3, "0")}`);
  }
  const partial = width === TILE_WIDTH ? "" : `.p/${width}`;
  return `tile/${level}/${groups.join("/")}${partial}`;
}

/** Each entry after its length as a big-endian uint16. Entries are at most 65,535 bytes. */
export function formatBundle(entries: readonly Uint8Array[]): Uint8Array {
  const parts = entries.flatMap((entry) => {
    const length = Buffer.alloc(LENGTH_BYTES);
    length.writeUInt16BE(entry.length);
    return [length, entry];
  });
  return Buffer.concat(parts);
}

/** A bundle of `width` entries is at most so long. */
export function bundleMaxBytes(width: number): number {
  return width * (LENGTH_BYTES + LEAF_MAX_BYTES);
}

/** Exactly `width` entries and nothing after them; on failure `at` is the entry's number in the bundle. */
export function parseBundle(
  bytes: Uint8Array,
  width: number,
): Parsed<readonly Uint8Array[]> & { readonly at?: number } {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
  const entries: Uint8Array[] = [];
  let offset = 0;
  while (entries.length < width) {
    const start = offset + LENGTH_BYTES;
    const end = start > bytes.length ? undefined : start + view.getUint16(offset);
    if (end === undefined || end > bytes.length) {
      return { ...malformed("ends within an entry"), at: entries.length };
    }
    entries.push(bytes.subarray(start, end));
    offset = end;
  }
  if (offset < bytes.length) return { ...malformed("goes on after its last entry"), at: width };
  return { kind: "parsed", value: entries };
}
