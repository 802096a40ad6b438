import { type ChildProcess, spawn } from "node:child_process";
import fs from "node:fs";
import type { EventLog } from "./event-log.ts";

const RESTART_FIRST_MS = 200;
const RESTART_MAX_MS = 10_000;
/** A process that ran this long had started well: its next restart is quick again. */
const HEALTHY_MS = 30_000;

/** All that a worker gets to know of where it was started. */
const ENVIRONMENT = {
  PATH: "/usr/sbin:/usr/bin:/sbin:/bin",
  NODE_NO_WARNINGS: "1",
  SALLYPORT_ROOT: process.env["SALLYPORT_ROOT"] ?? "",
};

export interface WorkerSpec {
  readonly name: string;
  readonly command: readonly string[];
  /** Standard output goes to this file, appended; the worker holds nothing else it could write to. */
  readonly outputFile?: string;
  /** Further inherited descriptors, from 3 on. */
  readonly descriptors?: readonly ("ipc" | number)[];
}

/**
 * One child, started again with growing delay whenever it ends, until told to stop. Its death is an
 * event. `onStart` gets each new child, to hand it what it needs on standard input.
 */
export class Worker {
  readonly spec: WorkerSpec;
  readonly #events: EventLog;
  readonly #onStart: (child: ChildProcess) => void;
  #child: ChildProcess | undefined;
  #delayMs = RESTART_FIRST_MS;
  #timer: NodeJS.Timeout | undefined;
  #stopped = false;

  constructor(spec: WorkerSpec, events: EventLog, onStart: (child: ChildProcess) => void) {
    this.spec = spec;
    this.#events = events;
    this.#onStart = onStart;
    this.#start();
  }

  get pid(): number | undefined {
    return this.#child?.pid;
  }

  /** One line to the worker's standard input; lost if it is down, and sent anew by `onStart`. */
  send(message: object): void {
    if (this.#child?.stdin?.writable) this.#child.stdin.write(`${JSON.stringify(message)}\n`);
  }

  stop(): void {
    this.#stopped = true;
    clearTimeout(this.#timer);
    this.#child?.kill("SIGKILL");
  }

  #start(): void {
    const [file = "", ...args] = this.spec.command;
    const output =
      this.spec.outputFile === undefined
        ? undefined
        : fs.openSync(this.spec.outputFile, "a", 0o644);
    const startedAt = Date.now();
    const child = spawn(file, args, {
      cwd: "/",
      env: ENVIRONMENT,
      stdio: ["pipe", output ?? "ignore", "pipe", ...(this.spec.descriptors ?? [])],
    });
    if (output !== undefined) fs.closeSync(output);
    this.#child = child;
    let complaint = "";
    child.stderr?.on("data", (chunk: Buffer) => {
      complaint = (complaint + chunk.toString("utf8")).slice(-2000);
    });
    child.stdin?.on("error", () => undefined);
    child.on("error", (error) => {
      complaint = error.message;
    });
    child.on("close", (status, signal) => {
      if (this.#stopped) return;
      const ranMs = Date.now() - startedAt;
      if (ranMs > HEALTHY_MS) this.#delayMs = RESTART_FIRST_MS;
      this.#events.append(Date.now(), "process-ended", {
        worker: this.spec.name,
        status,
        signal,
        complaint: sentenceOf(complaint),
        restartMs: this.#delayMs,
      });
      this.#timer = setTimeout(() => this.#start(), this.#delayMs);
      this.#delayMs = Math.min(this.#delayMs * 2, RESTART_MAX_MS);
    });
    this.#events.append(startedAt, "process-started", { worker: this.spec.name, pid: child.pid });
    this.#onStart(child);
  }
}

/** Of what a process said at its end the line that says why. */
function sentenceOf(complaint: string): string {
  const lines = complaint.trim().split("\n");
  return lines.find((line) => /^\w*Error\b/.test(line)) ?? lines.at(-1) ?? "";
}
