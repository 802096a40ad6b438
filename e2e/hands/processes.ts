/** Every process of a gateway as /proc shows it, and an end to them that none can refuse. */
import fs from "node:fs";
import process from "node:process";
import { eventsDir, EventReader } from "sallyport";
import { within } from "../../lab/shell.ts";
import type { Site } from "../../lab/site.ts";
import { netnsOf, roomsThere } from "./rooms.ts";

/** SIGKILL takes a moment; a process that waits for a kernel tool's socket to close a few more. */
const GONE_LIMIT_MS = 10_000;

export interface Process {
  readonly pid: number;
  readonly parent: number;
  readonly command: readonly string[];
}

/** All that the gateway started: by what they run, or by the room they are in. */
export function processesOf(site: Site): Process[] {
  const { name, runDir } = site.instance;
  const rooms = new Set(roomsThere(site).map((room) => fs.statSync(`/run/netns/${room}`).ino));
  return all().filter(({ pid, parent, command }) => {
    const isNamed = command.includes(name);
    const runs = (main: string): boolean => command.some((word) => word.endsWith(`/${main}`));
    if (isNamed && (runs("supervisor.main.ts") || runs("guard.main.ts"))) return true;
    // A test's own captures are in the rooms too.
    if (pid === process.pid || parent === process.pid) return false;
    return command.some((word) => word.startsWith(`${runDir}/`)) || rooms.has(netnsInode(pid));
  });
}

/** The processes of the gateway that run this main, e.g. `gate` in the room `gate-erp`. */
export function running(site: Site, main: string, room?: string): Process[] {
  const inode =
    room === undefined ? undefined : fs.statSync(`/run/netns/${netnsOf(site, room)}`).ino;
  return processesOf(site).filter(
    ({ pid, command }) =>
      isNode(command) &&
      command.some((word) => word.endsWith(`/${main}.main.ts`)) &&
      (inode === undefined || netnsInode(pid) === inode),
  );
}

/** In one line each, for whoever reads a failed test. */
export function describe(site: Site): string {
  return processesOf(site)
    .map(({ pid, command }) => `${pid} ${command.join(" ")}`)
    .join("\n");
}

/** By the program's own name, in one of the rooms. */
export function tools(site: Site, program: string): Process[] {
  return processesOf(site).filter(({ command: [file = ""] }) => file.endsWith(program));
}

export function kill(processes: readonly Process[]): void {
  for (const one of processes) signal(one, "SIGKILL");
}

/**
 * Ends all at once, with whatever tool of theirs is at work, and answers how many: none of them gets to see
 * that another has gone, to start it anew or to take back what it did.
 */
export async function killAll(site: Site): Promise<number> {
  const frozen = new Map<number, Process>();
  for (;;) {
    const awake = withChildren(processesOf(site)).filter(({ pid }) => !frozen.has(pid));
    if (awake.length === 0) break;
    for (const one of awake) {
      signal(one, "SIGSTOP");
      frozen.set(one.pid, one);
    }
  }
  kill([...frozen.values()]);
  const isOver = await within(GONE_LIMIT_MS, () => {
    const late = withChildren(processesOf(site));
    kill(late);
    const there = new Set(all().map(({ pid }) => pid));
    return late.length === 0 && ![...frozen.keys()].some((pid) => there.has(pid))
      ? true
      : undefined;
  });
  if (isOver === undefined) throw new Error(`not ended by SIGKILL: ${describe(site)}`);
  return frozen.size;
}

/** What the supervisor wrote of this worker since then: each start and each end. */
export function lifeOf(
  site: Site,
  worker: string,
  since: number,
): readonly { readonly type: string; readonly signal: unknown; readonly status: unknown }[] {
  return new EventReader(eventsDir(site.instance))
    .poll()
    .filter(
      (event) =>
        event.type.startsWith("process-") &&
        event["worker"] === worker &&
        Date.parse(event.at) >= since,
    )
    .map((event) => ({ type: event.type, signal: event["signal"], status: event["status"] }));
}

function signal({ pid }: Process, name: NodeJS.Signals): void {
  try {
    process.kill(pid, name);
  } catch {
    // It went with another one, or by itself.
  }
}

/** A kernel tool that the enforcer runs names no file of the gateway, and may be in no room. */
function withChildren(processes: readonly Process[]): Process[] {
  const found = new Map(processes.map((one) => [one.pid, one]));
  const others = all().filter(({ pid }) => pid !== process.pid);
  for (let before = -1; before !== found.size; ) {
    before = found.size;
    for (const one of others) if (found.has(one.parent)) found.set(one.pid, one);
  }
  return [...found.values()];
}

function all(): Process[] {
  const out: Process[] = [];
  for (const entry of fs.readdirSync("/proc")) {
    if (!/^[0-9]+$/.test(entry)) continue;
    try {
      const stat = fs.readFileSync(`/proc/${entry}/stat`, "utf8");
      const [state = "", parent = ""] = stat.slice(stat.lastIndexOf(")") + 2).split(" ");
      // A zombie runs no more: it only waits for its parent to look.
      if (state === "Z" || state === "X") continue;
      const command = fs.readFileSync(`/proc/${entry}/cmdline`, "utf8").split("\0").slice(0, -1);
      out.push({ pid: Number(entry), parent: Number(parent), command });
    } catch {
      // It has ended meanwhile.
    }
  }
  return out;
}

/** The wrapper of a cage names the same main as the process inside. */
function isNode([file = ""]: readonly string[]): boolean {
  return file.endsWith("/node");
}

function netnsInode(pid: number): number {
  try {
    return fs.statSync(`/proc/${pid}/ns/net`).ino;
  } catch {
    return -1;
  }
}
