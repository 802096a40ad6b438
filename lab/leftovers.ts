/**
 * What a lab that was killed left behind. A plant notes who made it; a plant whose maker no longer
 * lives is found by its names and removed.
 */
import fs from "node:fs";
import path from "node:path";
import process from "node:process";
import { must, NETNS_DIR, run } from "./shell.ts";

/** In /run like the names themselves: both are gone after a reboot. */
const OWNERS_DIR = "/run/sallyport-lab";
/** Default prefixes name the process that made the plant. */
const DEFAULT_PATTERN = /^sp[0-9]+$/;

/** Notes that this process makes a plant of this name. */
export function remember(prefix: string): void {
  fs.mkdirSync(OWNERS_DIR, { recursive: true, mode: 0o755 });
  const owner = `${process.pid} ${startTicks(process.pid) ?? ""}\n`;
  fs.writeFileSync(path.join(OWNERS_DIR, prefix), owner);
}

export function forget(prefix: string): void {
  fs.rmSync(path.join(OWNERS_DIR, prefix), { force: true });
}

/**
 * Removes the plants whose prefix matches and whose maker is dead, with the processes in them.
 * Answers their prefixes. Of a plant without a note the number in its prefix is taken as its maker.
 */
export async function leftovers(pattern: RegExp = DEFAULT_PATTERN): Promise<string[]> {
  const names = fs.existsSync(NETNS_DIR) ? fs.readdirSync(NETNS_DIR) : [];
  const noted = fs.existsSync(OWNERS_DIR) ? fs.readdirSync(OWNERS_DIR) : [];
  const prefixes = new Set([...names.map((name) => name.split("-")[0] ?? ""), ...noted]);
  const dead = [...prefixes].filter((prefix) => pattern.test(prefix) && !isOwned(prefix));
  for (const prefix of dead) {
    for (const name of names.filter((candidate) => candidate.startsWith(`${prefix}-`))) {
      const pids = (await run(["ip", "netns", "pids", name])).stdout.split("\n");
      for (const pid of pids) if (/^[0-9]+$/.test(pid)) kill(Number(pid));
      await must(["ip", "netns", "del", name]);
    }
    forget(prefix);
  }
  return dead;
}

function isOwned(prefix: string): boolean {
  let note = "";
  try {
    note = fs.readFileSync(path.join(OWNERS_DIR, prefix), "utf8").trim();
  } catch {
    const pid = Number(/[0-9]+$/.exec(prefix)?.[0]);
    return Number.isInteger(pid) && startTicks(pid) !== undefined;
  }
  const [pid = "", ticks] = note.split(" ");
  // Numbers of processes come round again; with the time of their start they do not.
  return ticks !== undefined && startTicks(Number(pid)) === ticks;
}

/** proc(5), /proc/<pid>/stat field 22; the name before it may hold spaces and brackets. */
function startTicks(pid: number): string | undefined {
  try {
    const stat = fs.readFileSync(`/proc/${pid}/stat`, "utf8");
    return stat.slice(stat.lastIndexOf(")") + 2).split(" ")[19];
  } catch {
    return undefined;
  }
}

function kill(pid: number): void {
  try {
    process.kill(pid, "SIGKILL");
  } catch {
    // It has ended meanwhile.
  }
}
