/** Standard output as an event file, for a process that goes on when its disk is full. */
import fs from "node:fs";
import { Writable } from "node:stream";

const STDOUT = 1;

/**
 * Writes whole lines. What finds no room is counted, and told as `events-lost` before the first line that finds some;
 * a stream of Node's own would be destroyed by the first failure, and nothing would be told ever after.
 */
export function eventOutput(nowMs: () => number, descriptor: number = STDOUT): Writable {
  let lost = 0;
  return new Writable({
    decodeStrings: true,
    write(chunk: Buffer, _encoding, done) {
      const told = { at: new Date(nowMs()).toISOString(), type: "events-lost", count: lost };
      // The line before may have been cut off.
      const head = lost === 0 ? "" : `\n${JSON.stringify(told)}\n`;
      const bytes = Buffer.concat([Buffer.from(head), chunk]);
      try {
        lost = fs.writeSync(descriptor, bytes) === bytes.length ? 0 : lost + 1;
      } catch (error) {
        if ((error as NodeJS.ErrnoException).code !== "ENOSPC") return done(error as Error);
        lost++;
      }
      done();
    },
  });
}
