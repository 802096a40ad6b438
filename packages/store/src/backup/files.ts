/** Files as a backup reads and writes them: no link is followed, and what was written is on disk. */
import { createHash } from "node:crypto";
import fs from "node:fs";

const CHUNK_BYTES = 1024 * 1024;
const { O_CREAT, O_EXCL, O_NOFOLLOW, O_NONBLOCK, O_RDONLY, O_WRONLY } = fs.constants;

export interface Digest {
  readonly sizeBytes: number;
  readonly sha256: string;
}

/**
 * The bytes of a file, of at most the size that it had at the start: one that grows ends. A link or a device in
 * its place is refused, because whoever may write there could name a file that only root reads.
 */
export async function digestOf(file: string): Promise<Digest> {
  return await readThrough(file, async () => {});
}

/** Copies into a new file that only its owner reads. */
export async function copyFile(from: string, to: string): Promise<Digest> {
  const target = await fs.promises.open(to, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW, 0o600);
  try {
    const digest = await readThrough(from, async (chunk) => {
      await target.writeFile(chunk);
    });
    await target.sync();
    return digest;
  } finally {
    await target.close();
  }
}

async function readThrough(
  file: string,
  use: (chunk: Uint8Array) => Promise<void>,
): Promise<Digest> {
  // Without O_NONBLOCK a pipe in the file's place would be waited for.
  const source = await fs.promises.open(file, O_RDONLY | O_NOFOLLOW | O_NONBLOCK);
  try {
    const stat = await source.stat();
    if (!stat.isFile()) throw new Error(`${file} is no plain file`);
    const hash = createHash("sha256");
    const buffer = new Uint8Array(CHUNK_BYTES);
    let sizeBytes = 0;
    while (sizeBytes < stat.size) {
      const length = Math.min(buffer.length, stat.size - sizeBytes);
      const { bytesRead } = await source.read(buffer, 0, length, sizeBytes);
      if (bytesRead === 0) break;
      const chunk = buffer.subarray(0, bytesRead);
      hash.update(chunk);
      await use(chunk);
      sizeBytes += bytesRead;
    }
    return { sizeBytes, sha256: hash.digest("hex") };
  } finally {
    await source.close();
  }
}
