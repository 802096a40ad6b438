/** One component's gate: listeners come in on standard input, events go out on standard output. */
import process from "node:process";
import { runGate } from "@sallyport/gate";
import { eventOutput } from "./event-output.ts";

await runGate(process.stdin, eventOutput(Date.now), {
  wallMs: () => Date.now(),
  nowMs: () => performance.now(),
});
