/** Events on a disk that is full for real: a tmpfs of a few pages. */
import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import fs from "node:fs";
import os from "node:os";
import path from "node:path";
import process from "node:process";
import { test } from "node:test";
import { EventLog } from "./event-log.ts";
import { eventOutput } from "./event-output.ts";

const skip = process.getuid?.() === 0 ? false : "needs root, to mount a small file system";
const NOON = Date.UTC(2026, 10, 18, 12, 0);

function onSmallDisk(use: (directory: string) => void): void {
  const directory = fs.mkdtempSync(path.join(os.tmpdir(), "sallyport-events-"));
  const mounted = spawnSync("mount", ["-t", "tmpfs", "-o", "size=64k", "t", directory]);
  assert.equal(mounted.status, 0, mounted.stderr.toString());
  try {
    use(directory);
  } finally {
    spawnSync("umount", ["-l", directory]);
    fs.rmdirSync(directory);
  }
}

function fill(directory: string): void {
  const bytes = new Uint8Array(4096);
  const descriptor = fs.openSync(path.join(directory, "filler"), "a");
  try {
    for (;;) if (fs.writeSync(descriptor, bytes) < bytes.length) break;
  } catch (error) {
    assert.equal((error as NodeJS.ErrnoException).code, "ENOSPC");
  }
  fs.closeSync(descriptor);
}

/** Each line that is an event; what a full disk cut off is none. */
function eventsIn(file: string): readonly { type: string; n?: number; count?: number }[] {
  return fs
    .readFileSync(file, "utf8")
    .split("\n")
    .flatMap((line) => {
      try {
        return [JSON.parse(line) as { type: string }];
      } catch {
        return [];
      }
    });
}

test("events that find no room are counted and told, and stop nobody; what must be recorded is refused", {
  skip,
}, () => {
  onSmallDisk((directory) => {
    const log = new EventLog(directory, "enforcer");
    fill(directory);
    for (let n = 0; n < 200; n++) log.append(NOON, "island", { n });
    assert.throws(() => log.appendDurably(NOON, "approved", {}), /the disk is full/);
    fs.rmSync(path.join(directory, "filler"));
    log.append(NOON, "island", { n: 200 });
    const events = eventsIn(path.join(directory, "enforcer.ndjson"));
    const kept = events.filter(({ type }) => type === "island").length;
    const lost = events.filter(({ type }) => type === "events-lost");
    assert.ok(kept < 201, "some found no room");
    assert.deepEqual(
      [lost.length, kept + (lost[0]?.count ?? 0)],
      [1, 201],
      "each is kept or counted",
    );
    assert.equal(events.at(-1)?.n, 200);
  });
});

test("a gate's events go on by themselves when there is room again", { skip }, () => {
  onSmallDisk((directory) => {
    const file = path.join(directory, "gate.ndjson");
    const descriptor = fs.openSync(file, "a");
    const output = eventOutput(() => NOON, descriptor);
    const write = (n: number): boolean =>
      output.write(`${JSON.stringify({ type: "opened", n })}\n`);
    fill(directory);
    for (let n = 0; n < 300; n++) write(n);
    fs.rmSync(path.join(directory, "filler"));
    write(300);
    const events = eventsIn(file);
    const [lost] = events.filter(({ type }) => type === "events-lost");
    const kept = events.filter(({ type }) => type === "opened").length;
    assert.equal(kept + (lost?.count ?? 0), 301);
    assert.equal(events.at(-1)?.n, 300);
    fs.closeSync(descriptor);
  });
});
