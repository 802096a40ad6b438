import { execFile } from "node:child_process";
import { promisify } from "node:util";
import type { Json } from "@sallyport/core";
import type { CompilerHome } from "./compile-child.ts";

/**
 * `control` may ask for a backup and names nothing: what is in it, and where it goes, is the command line's, which ends
 * when it is made. Root reads every part, so that no process that is asked over a network can put words in one.
 */
export async function backupInChild({ node, codeDir }: CompilerHome, name: string): Promise<Json> {
  const main = `${codeDir}/packages/sallyport/src/main.ts`;
  const args = [main, "backup", "create", "--json", "--instance", name];
  return JSON.parse((await promisify(execFile)(node, args)).stdout) as Json;
}
