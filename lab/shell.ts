/**
 * Programs that the lab runs, each by an argument array, in a network namespace where one is named.
 * Every one is ended by the kernel when the lab's own process ends (PR_SET_PDEATHSIG), so that even
 * `kill -9` of the lab leaves no device, capture or scan behind.
 */
import { type ChildProcessByStdio, spawn } from "node:child_process";
import process from "node:process";
import { setTimeout as delay } from "node:timers/promises";
import type { Readable, Writable } from "node:stream";
import { SallyportError } from "@sallyport/core";

/** Where iproute2 keeps the names of namespaces. */
export const NETNS_DIR = "/run/netns";

const TIMEOUT_MS = 30_000;
/** More than any of the lab's tools prints; what comes after is dropped. */
const OUTPUT_MAX_BYTES = 4 * 1024 * 1024;
/** A line longer than this is no answer of ours. */
const LINE_MAX_BYTES = 64 * 1024;
const STOP_GRACE_MS = 1_500;

export interface RunResult {
  /** null when a signal ended it. */
  readonly code: number | null;
  readonly stdout: string;
  readonly stderr: string;
}

export interface RunOptions {
  /** Name of the network namespace; absent: where the lab itself runs. */
  readonly netns?: string | undefined;
  readonly input?: string;
  readonly timeoutMs?: number;
}

type Child = ChildProcessByStdio<Writable, Readable, Readable>;

function start(argv: readonly string[], netns: string | undefined): Child {
  const enter = netns === undefined ? [] : ["nsenter", `--net=${NETNS_DIR}/${netns}`, "--"];
  const full = ["--pdeathsig", "KILL", "--", ...enter, ...argv];
  return spawn("setpriv", full, { stdio: ["pipe", "pipe", "pipe"] });
}

/** Runs to its end and answers whatever came; only a program that cannot be started is an error. */
export function run(argv: readonly string[], options: RunOptions = {}): Promise<RunResult> {
  return new Promise((resolve, reject) => {
    const child = start(argv, options.netns);
    const out: Buffer[] = [];
    const err: Buffer[] = [];
    let size = 0;
    const keep = (list: Buffer[]) => (chunk: Buffer) => {
      size += chunk.length;
      if (size <= OUTPUT_MAX_BYTES) list.push(chunk);
    };
    child.stdout.on("data", keep(out));
    child.stderr.on("data", keep(err));
    const timer = setTimeout(() => child.kill("SIGKILL"), options.timeoutMs ?? TIMEOUT_MS);
    child.on("error", (cause) => {
      clearTimeout(timer);
      reject(
        new SallyportError("lab-tool-failed", `${argv.join(" ")} cannot be started`, { cause }),
      );
    });
    child.on("close", (code) => {
      clearTimeout(timer);
      resolve({
        code,
        stdout: Buffer.concat(out).toString(),
        stderr: Buffer.concat(err).toString(),
      });
    });
    // A program that ends without reading its input is no fault of ours.
    child.stdin.on("error", () => undefined);
    child.stdin.end(options.input ?? "");
  });
}

/** Like `run`, and throws `lab-tool-failed` unless the program exits 0. */
export async function must(argv: readonly string[], options: RunOptions = {}): Promise<string> {
  const result = await run(argv, options);
  if (result.code !== 0) {
    const said =
      result.stderr.trim() || result.stdout.trim() || `exit ${result.code ?? "by a signal"}`;
    throw new SallyportError("lab-tool-failed", `${argv.join(" ")}: ${said}`, {
      hint: "the lab needs iproute2, util-linux, tcpdump, nmap and python3-pymodbus",
    });
  }
  return result.stdout;
}

/** A long-lived program: its standard output line by line, until it ends or is stopped. */
export class Running {
  readonly pid: number;
  readonly exited: Promise<number | null>;
  readonly #child: Child;
  #stderr = "";
  #ended = false;

  constructor(
    argv: readonly string[],
    options: {
      readonly netns?: string | undefined;
      readonly onLine?: (line: string) => void;
      readonly onBytes?: (chunk: Buffer) => void;
    },
  ) {
    const child = start(argv, options.netns);
    if (child.pid === undefined) {
      child.on("error", () => undefined);
      throw new SallyportError("lab-tool-failed", `${argv.join(" ")} cannot be started`);
    }
    this.#child = child;
    this.pid = child.pid;
    child.stdin.on("error", () => undefined);
    child.stderr.on("data", (chunk: Buffer) => {
      this.#stderr = (this.#stderr + chunk.toString()).slice(-LINE_MAX_BYTES);
    });
    const onBytes = options.onBytes ?? lines(options.onLine ?? (() => undefined));
    child.stdout.on("data", onBytes);
    this.exited = new Promise((resolve) => {
      child.on("error", () => resolve(null));
      child.on("close", (code) => {
        this.#ended = true;
        resolve(code);
      });
    });
  }

  get stderr(): string {
    return this.#stderr;
  }

  get isRunning(): boolean {
    return !this.#ended;
  }

  /** Asks first, so that a capture can write out what it holds. */
  async stop(signal: NodeJS.Signals = "SIGTERM"): Promise<void> {
    if (this.#ended) return;
    this.#child.kill(signal);
    const timer = setTimeout(() => this.#child.kill("SIGKILL"), STOP_GRACE_MS);
    await this.exited;
    clearTimeout(timer);
  }
}

function lines(onLine: (line: string) => void): (chunk: Buffer) => void {
  let rest = "";
  return (chunk) => {
    const parts = (rest + chunk.toString()).split("\n");
    rest = (parts.pop() ?? "").slice(-LINE_MAX_BYTES);
    for (const part of parts) if (part !== "") onLine(part);
  };
}

/** Ends early, and quietly, when the signal comes. */
export function sleep(ms: number, signal?: AbortSignal): Promise<void> {
  return delay(ms, undefined, signal === undefined ? {} : { signal }).catch(() => undefined);
}

const POLL_MS = 40;

/** Asks again and again until the answer is something, at most for `limitMs`. */
export async function within<T>(
  limitMs: number,
  ask: () => T | undefined | Promise<T | undefined>,
): Promise<T | undefined> {
  const end = performance.now() + limitMs;
  for (;;) {
    const answer = await ask();
    if (answer !== undefined || performance.now() >= end) return answer;
    await sleep(POLL_MS);
  }
}

/** tcpdump drops its rights only when it is root, and must be told not to. */
export function isRoot(): boolean {
  return process.getuid?.() === 0;
}
