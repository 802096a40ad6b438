/** Stops every process of a gateway but one gate, as a debugger or a hung disk would, and lets them go on. */
import fs from "node:fs";
import process from "node:process";
import { EventReader, eventsDir, type Instance, supervisorPid } from "sallyport";
import { within } from "../../lab/shell.ts";

const STOP_LIMIT_MS = 5_000;

export class Frozen {
  readonly #supervisor: number;
  readonly #gate: number;

  private constructor(supervisor: number, gate: number) {
    this.#supervisor = supervisor;
    this.#gate = gate;
  }

  /** All of the instance's processes but that gate. */
  static async allBut(instance: Instance, gate: string): Promise<Frozen> {
    const supervisor = supervisorPid(instance);
    if (supervisor === undefined) throw new RangeError(`${instance.name} has no supervisor`);
    const frozen = new Frozen(supervisor, startedAs(instance, gate));
    const stopped = await within(STOP_LIMIT_MS, () => {
      // Again, because one that was not stopped yet may have started another.
      for (const pid of frozen.#awake()) signal(pid, "SIGSTOP");
      return frozen.isWhole() || undefined;
    });
    if (stopped === true) return frozen;
    frozen.thaw();
    throw new RangeError("not every process of the gateway stopped");
  }

  get size(): number {
    return this.#pids().length;
  }

  /** Whether none but the gate can run. */
  isWhole(): boolean {
    return this.#awake().length === 0;
  }

  thaw(): void {
    for (const pid of this.#pids()) signal(pid, "SIGCONT");
  }

  #pids(): number[] {
    const spared = new Set(below(this.#gate));
    return below(this.#supervisor).filter((pid) => !spared.has(pid));
  }

  /** Neither stopped nor dead and waiting for its parent to notice. */
  #awake(): number[] {
    return this.#pids().filter((pid) => !/[TZ]/.test(statusOf(pid)?.state ?? "Z"));
  }
}

function signal(pid: number, name: "SIGSTOP" | "SIGCONT"): void {
  try {
    process.kill(pid, name);
  } catch {
    // It ended meanwhile.
  }
}

function startedAs(instance: Instance, name: string): number {
  const started = new EventReader(eventsDir(instance))
    .poll()
    .filter((event) => event.type === "process-started" && event["worker"] === name);
  const pid = Number(started.at(-1)?.["pid"]);
  if (!Number.isInteger(pid)) throw new RangeError(`${name} was never started`);
  return pid;
}

/** A process and all that it started, itself first. */
function below(root: number): number[] {
  const parents = fs
    .readdirSync("/proc")
    .filter((name) => /^[0-9]+$/.test(name))
    .map((name): [number, number | undefined] => [Number(name), statusOf(Number(name))?.parent]);
  const found = [root];
  for (const pid of found) {
    for (const [child, parent] of parents) if (parent === pid) found.push(child);
  }
  return found;
}

/** proc(5): the name in parentheses may hold anything, so what follows is found from its end. */
function statusOf(pid: number): { readonly state: string; readonly parent: number } | undefined {
  try {
    const text = fs.readFileSync(`/proc/${pid}/stat`, "utf8");
    const [state = "", parent = ""] = text.slice(text.lastIndexOf(")") + 2).split(" ");
    return { state, parent: Number(parent) };
  } catch {
    return undefined;
  }
}
