/** A gate as a process: messages in (`protocol.ts`), events out, one JSON object a line each. */
import type { Readable, Writable } from "node:stream";
import { SallyportError } from "@sallyport/core";
import type { GateEvent } from "./events.ts";
import { type Gate, type Reloaded, startGate } from "./gate.ts";
import { type GateMessage, MESSAGE_MAX_CHARS, parseGateMessage } from "./protocol.ts";
import type { Clock } from "./reporter.ts";

/** Events that wait for a reader that is slow; more are counted and dropped, never kept. */
const OUTPUT_MAX_BYTES = 4 * 1024 * 1024;
/** What a connection has to end by itself after `drain`. */
const DRAIN_MS = 10_000;

/** What the process itself tells, beside the events of its listeners. */
export type GateStatus =
  | ({ readonly type: "loaded" } & Reloaded)
  /** A message that was not taken: the set before stays. */
  | { readonly type: "message-refused"; readonly code: string; readonly why: string }
  | { readonly type: "events-dropped"; readonly count: number }
  | { readonly type: "ended" };

/** Resolves when the input has ended, or after a drain, and every connection is over. */
export async function runGate(input: Readable, output: Writable, clock: Clock): Promise<void> {
  let dropped = 0;
  const print = (line: GateEvent | GateStatus): void => {
    if (output.writableLength > OUTPUT_MAX_BYTES) {
      dropped++;
      return;
    }
    if (dropped > 0) {
      const count = dropped;
      dropped = 0;
      print({ type: "events-dropped", count });
    }
    output.write(`${JSON.stringify(line)}\n`);
  };
  // Without a reader there is nobody to tell; the gate itself goes on until its input ends.
  output.on("error", () => undefined);
  const gate = await startGate({ listeners: [], onEvent: print, clock });
  try {
    for await (const line of lines(input)) {
      const message = parsed(line, print);
      if (message?.type === "drain") {
        await gate.drain(DRAIN_MS);
        break;
      }
      if (message !== undefined) await load(gate, message.listeners, print);
    }
  } finally {
    await gate.close();
    print({ type: "ended" });
  }
}

async function load(
  gate: Gate,
  listeners: Extract<GateMessage, { type: "listeners" }>["listeners"],
  print: (status: GateStatus) => void,
): Promise<void> {
  print({ type: "loaded", ...(await gate.reload(listeners)) });
}

function parsed(line: string, print: (status: GateStatus) => void): GateMessage | undefined {
  try {
    return parseGateMessage(line);
  } catch (error) {
    if (!(error instanceof SallyportError)) throw error;
    print({ type: "message-refused", code: error.code, why: error.message });
    return undefined;
  }
}

/** Lines of bounded length; of one that is too long, as much as shows that it is. */
async function* lines(input: Readable): AsyncGenerator<string> {
  input.setEncoding("utf8");
  let kept = "";
  for await (const chunk of input as AsyncIterable<string>) {
    const parts = chunk.split("\n");
    for (const part of parts.slice(0, -1)) {
      const line = kept + part;
      kept = "";
      if (line !== "") yield line;
    }
    kept = (kept + (parts.at(-1) ?? "")).slice(0, MESSAGE_MAX_CHARS + 1);
  }
}
