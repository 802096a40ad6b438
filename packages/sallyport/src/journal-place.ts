import fs from "node:fs";
import path from "node:path";
import process from "node:process";
import { type FlowAnswers, readFlowStore } from "@sallyport/store";
import type { Instance } from "./instance.ts";

/** The journal's own directory: nobody else writes there. */
export function flowsDir(instance: Instance): string {
  return path.join(instance.stateDir, "flows");
}

export function flowsFile(directory: string): string {
  return path.join(directory, "flows.sqlite");
}

/**
 * Asks the flow store of an instance; undefined when there is none yet. The file belongs to an unprivileged
 * process, so root reads it with that owner's rights: what the file makes SQLite do is then the owner's doing.
 */
export function askFlows<Answer>(
  instance: Instance,
  use: (answers: FlowAnswers) => Answer,
): Answer | undefined {
  const directory = flowsDir(instance);
  const owner = fs.statSync(directory, { throwIfNoEntry: false });
  if (owner === undefined) return undefined;
  if (process.geteuid?.() !== 0 || owner.uid === 0) return readFlowStore(flowsFile(directory), use);
  const gid = process.getegid?.() ?? 0;
  process.setegid?.(owner.gid);
  process.seteuid?.(owner.uid);
  try {
    return readFlowStore(flowsFile(directory), use);
  } finally {
    process.seteuid?.(0);
    process.setegid?.(gid);
  }
}
