/** The command line. */
import process from "node:process";
import type { Command } from "./cli/command.ts";
import { apply, confirm, drift, plan, rollback } from "./cli/change-commands.ts";
import { dispatch } from "./cli/dispatch.ts";
import { denials, flows } from "./cli/flow-commands.ts";
import { grantAdd, grantList, grantRevoke, islandOff, islandOn } from "./cli/grant-commands.ts";
import { diff, explain, exported, fmt, matrix, schema, validate } from "./cli/policy-commands.ts";
import {
  completionCommand,
  demo,
  doctor,
  down,
  init,
  status,
  up,
  version,
} from "./cli/run-commands.ts";

const commands: readonly Command[] = [
  ...[demo, init, up, down, status, doctor, plan, apply, confirm, rollback, drift],
  ...[validate, fmt, explain, matrix, diff, exported, schema],
  ...[grantAdd, grantList, grantRevoke, denials, flows, islandOn, islandOff],
  ...[version, completionCommand(() => commands)],
];

// A reader that goes away (`| head`) ends the output, not with a trace.
process.stdout.on("error", () => process.exit(0));
process.exitCode = await dispatch(commands, process.argv.slice(2), {
  out: (text) => process.stdout.write(text),
  err: (text) => process.stderr.write(text),
  isTerminal: process.stdout.isTTY,
});
