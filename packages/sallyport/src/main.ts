/** The command line. */
import process from "node:process";
import { commands } from "./cli/commands.ts";
import { dispatch } from "./cli/dispatch.ts";

// A reader that goes away (`| head`) ends the output, not with a trace.
process.stdout.on("error", () => process.exit(0));
process.exitCode = await dispatch(commands, process.argv.slice(2), {
  out: (text) => process.stdout.write(text),
  err: (text) => process.stderr.write(text),
  isTerminal: process.stdout.isTTY,
});
