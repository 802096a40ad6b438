import { execFile } from "node:child_process";
import { promisify } from "node:util";
import type { Json } from "@sallyport/core";
import type { CompilerHome } from "./compile-child.ts";

/** A ledger of years is copied in minutes; after this the child is ended and the answer is an error. */
const WITHIN_MS = 30 * 60_000;
let making: Promise<{ readonly stdout: string }> | undefined;

/**
 * `control` may ask for a backup and names nothing: what is in it, and where it goes, is the command line's, which ends
 * when it is made. Root reads every part, so that no process that is asked over a network can put words in one.
 */
export async function backupInChild({ node, codeDir }: CompilerHome, name: string): Promise<Json> {
  const main = `${codeDir}/packages/sallyport/src/main.ts`;
  const args = [main, "backup", "create", "--json", "--instance", name];
  // Whoever asks while one is made gets that one: who asks often starts no second root process.
  making ??= promisify(execFile)(node, args, { timeout: WITHIN_MS, killSignal: "SIGKILL" });
  const { stdout } = await making.finally(() => (making = undefined));
  return JSON.parse(stdout) as Json;
}
