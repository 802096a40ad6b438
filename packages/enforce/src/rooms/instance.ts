import { NETNS_DIR, run } from "../apply/run.ts";
import { readdir } from "node:fs/promises";

/** One gateway on a machine: all that it makes carries `netnsPrefix` or lies in its directories. */
export interface Instance {
  readonly name: string;
  /** Gone after a reboot. */
  readonly runDir: string;
  /** Must outlive a reboot. */
  readonly stateDir: string;
  /** Namespaces are `<prefix>-outer`, `<prefix>-gate-erp`, … */
  readonly netnsPrefix: string;
}

/** The namespace of a room: `outer`, `inner`, `tap` or a component's name. */
export function netnsOf(instance: Instance, room: string): string {
  return `${instance.netnsPrefix}-${room}`;
}

/** Names of the instance's rooms that stand now, from this process or one that was killed. */
export async function standingRooms(instance: Instance): Promise<string[]> {
  const names = await readdir(NETNS_DIR).catch(() => []);
  const prefix = `${instance.netnsPrefix}-`;
  return names.filter((name) => name.startsWith(prefix)).map((name) => name.slice(prefix.length));
}

/** `ip -batch`: all lines in one process; `force` goes on past a line that is refused. */
export async function ipBatch(
  netns: string | undefined,
  lines: readonly string[],
  force = false,
): Promise<void> {
  if (lines.length === 0) return;
  const args = [...(force ? ["-force"] : []), "-batch", "-"];
  const input = `${lines.join("\n")}\n`;
  const where = netns === undefined ? {} : { netns };
  const done = run("ip", args, { input, ...where });
  await (force ? done.catch(() => "") : done);
}
