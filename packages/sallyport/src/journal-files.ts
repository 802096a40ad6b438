/** Event files read in stretches with a place that outlives the reader. */
import fs from "node:fs";
import path from "node:path";
import type { Place } from "@sallyport/store";

/** One stretch holds at most so much, so that what is done with it stays short. */
const STRETCH_MAX_BYTES = 1024 * 1024;
const STRETCH_MAX_LINES = 1000;
/** Enough of what was read to tell a file from one that took its name and inode. */
const TAIL_BYTES = 256;
/** Far more than components of a site; each has a file. */
const FILES_MAX = 1024;

export interface Stretch {
  readonly lines: readonly string[];
  readonly to: Place;
  /** Events before this stretch are gone unread: files were replaced faster than they were read. */
  readonly gap: boolean;
  /** A line without an end filled the stretch; it is passed over. */
  readonly overlong: boolean;
}

/** Names of the files of a directory that hold events, the first `FILES_MAX` in order. */
export function eventFiles(directory: string): string[] {
  const names = fs.existsSync(directory) ? fs.readdirSync(directory) : [];
  return names
    .filter((name) => name.endsWith(".ndjson"))
    .sort()
    .slice(0, FILES_MAX);
}

/**
 * The whole lines after `from`, or undefined when there are none. A file that was renamed to `<name>.1` is read
 * to its end before the one in its place; one that was cut or replaced is read from its start.
 */
export function nextStretch(
  directory: string,
  name: string,
  from: Place | undefined,
): Stretch | undefined {
  const candidates = openedInOrder(path.join(directory, name));
  try {
    const known = candidates.findIndex((file) => from !== undefined && continues(file, from));
    const gap = from !== undefined && known < 0;
    // Without its place the older file may have been read already: only the present one surely was not.
    const first = gap ? candidates.length - 1 : Math.max(known, 0);
    for (const [index, file] of candidates.entries()) {
      if (index < first) continue;
      const start = index === known ? (from?.offsetBytes ?? 0) : 0;
      const stretch = readStretch(file, start, gap);
      if (stretch !== undefined) return stretch;
    }
    return undefined;
  } finally {
    for (const file of candidates) fs.closeSync(file.fd);
  }
}

interface OpenFile {
  readonly fd: number;
  readonly inode: string;
  readonly sizeBytes: number;
}

/**
 * The renamed file and the present one. The present one is opened first: if it is renamed in between it is found
 * again under the other name, and not lost between the two.
 */
function openedInOrder(file: string): OpenFile[] {
  const present = opened(file);
  const renamed = opened(`${file}.1`);
  const isSame = present[0] !== undefined && present[0].inode === renamed[0]?.inode;
  if (!isSame) return [...renamed, ...present];
  for (const { fd } of renamed) fs.closeSync(fd);
  return present;
}

/** Only plain files: a link or a pipe in their place is nobody's events. */
function opened(file: string): OpenFile[] {
  let fd: number;
  try {
    fd = fs.openSync(
      file,
      fs.constants.O_RDONLY | fs.constants.O_NOFOLLOW | fs.constants.O_NONBLOCK,
    );
  } catch {
    return [];
  }
  const stat = fs.fstatSync(fd, { bigint: true });
  if (stat.isFile()) return [{ fd, inode: String(stat.ino), sizeBytes: Number(stat.size) }];
  fs.closeSync(fd);
  return [];
}

function continues(file: OpenFile, { inode, offsetBytes, tail }: Place): boolean {
  if (file.inode !== inode || file.sizeBytes < offsetBytes) return false;
  const expected = Buffer.from(tail, "base64");
  return read(file, offsetBytes - expected.length, expected.length).equals(expected);
}

function readStretch(file: OpenFile, start: number, gap: boolean): Stretch | undefined {
  const bytes = read(file, start, STRETCH_MAX_BYTES);
  const lines: string[] = [];
  let end = 0;
  while (lines.length < STRETCH_MAX_LINES) {
    const next = bytes.indexOf(10, end);
    if (next < 0) break;
    lines.push(bytes.toString("utf8", end, next));
    end = next + 1;
  }
  const overlong = end === 0 && bytes.length === STRETCH_MAX_BYTES;
  if (overlong) end = bytes.length;
  if (end === 0) return undefined;
  const tail = bytes.subarray(Math.max(0, end - TAIL_BYTES), end).toString("base64");
  return { lines, to: { inode: file.inode, offsetBytes: start + end, tail }, gap, overlong };
}

function read(file: OpenFile, start: number, sizeBytes: number): Buffer {
  const buffer = Buffer.alloc(Math.max(0, Math.min(sizeBytes, file.sizeBytes - start)));
  const size = fs.readSync(file.fd, buffer, 0, buffer.length, start);
  return buffer.subarray(0, size);
}
