/** One component's gate: listeners come in on standard input, events go out on standard output. */
import process from "node:process";
import { runGate } from "@sallyport/gate";

await runGate(process.stdin, process.stdout, {
  wallMs: () => Date.now(),
  nowMs: () => performance.now(),
});
