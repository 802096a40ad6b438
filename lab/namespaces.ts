/** Whether this process may make the plant's namespaces here, found by making one. */
import process from "node:process";
import { NETNS_DIR, run } from "./shell.ts";

/** Undefined when it can; otherwise why not, in words for whoever reads the list of skipped tests. */
export async function whyNoNamespaces(): Promise<string | undefined> {
  const name = `sptry${process.pid}`;
  try {
    const made = await run(["ip", "netns", "add", name]);
    if (made.code !== 0) return `needs root or a user namespace: ${made.stderr.trim()}`;
    const entered = await run(["ip", "link", "add", "name", "try0", "type", "veth"], {
      netns: name,
    });
    await run(["ip", "netns", "del", name]);
    return entered.code === 0 ? undefined : `cannot use ${NETNS_DIR}: ${entered.stderr.trim()}`;
  } catch (error) {
    return error instanceof Error ? error.message : String(error);
  }
}
