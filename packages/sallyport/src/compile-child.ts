import { spawn } from "node:child_process";
import fs from "node:fs";
import { type Diagnostic, SallyportError } from "@sallyport/core";
import type { Legs } from "@sallyport/policy/legs";
import { caged } from "./cage.ts";
import type { PolicyFile } from "./messages.ts";

/** DESIGN §4: past either of these the policy is answered with `policy-too-complex`. */
const MEMORY_MAX_BYTES = 512 * 1024 * 1024;
const TIME_MAX_MS = 10_000;
/** Legs of 20,000 conduits are about 30 MB. */
const ANSWER_MAX_BYTES = 128 * 1024 * 1024;
const WATCH_MS = 50;

export interface Compiled {
  readonly diagnostics: readonly Diagnostic[];
  readonly legs?: Legs;
}

export interface CompilerHome {
  readonly node: string;
  /** The read-only mount of the code; all that the compiler may read. */
  readonly codeDir: string;
  /** Its own uid; undefined where there is only one (a user namespace). */
  readonly uid: number | undefined;
}

/**
 * Runs the policy compiler as a process of its own: no network but an empty namespace's, no other
 * process in sight, no file but the code, nothing to write to but its answer; gone with its caller.
 */
export async function compileInChild(
  home: CompilerHome,
  files: readonly PolicyFile[],
  nowMs: number,
): Promise<Compiled> {
  const node = [
    home.node,
    "--disable-sigusr1",
    "--max-old-space-size=400",
    "--permission",
    `--allow-fs-read=${home.codeDir}/*`,
    `${home.codeDir}/packages/sallyport/src/compiler.main.ts`,
  ];
  const limits = ["prlimit", "--core=0", "--fsize=0", "--nofile=64", "--"];
  const cage = home.uid === undefined ? {} : { uid: home.uid };
  const command = ["unshare", "--net", "--", ...caged(cage, [...limits, ...node])];
  const answer = await answerOf(command, { files, nowMs });
  // The compiler is not trusted: its legs are checked against the built-in invariants before use.
  return answer as Compiled;
}

async function answerOf(command: readonly string[], question: object): Promise<unknown> {
  const [file = "", ...args] = command;
  return await new Promise((resolve, reject) => {
    const child = spawn(file, args, { stdio: ["pipe", "pipe", "pipe"], env: {}, cwd: "/" });
    const out: Buffer[] = [];
    let sizeBytes = 0;
    let complaint = "";
    let stopped: string | undefined;
    const stop = (why: string): void => {
      stopped ??= why;
      child.kill("SIGKILL");
    };
    const timer = setTimeout(() => stop(`took over ${TIME_MAX_MS / 1000} seconds`), TIME_MAX_MS);
    const watch = setInterval(() => {
      if (residentBytes(child.pid) > MEMORY_MAX_BYTES) stop("needed over 512 MiB of memory");
    }, WATCH_MS);
    child.stdout.on("data", (chunk: Buffer) => {
      sizeBytes += chunk.length;
      if (sizeBytes > ANSWER_MAX_BYTES) stop("made more rules than any plant needs");
      else out.push(chunk);
    });
    child.stderr.on("data", (chunk: Buffer) => {
      complaint = (complaint + chunk.toString("utf8")).slice(0, 2000);
    });
    child.stdin.on("error", () => undefined);
    child.on("error", (cause) => {
      reject(
        new SallyportError("compiler-not-started", "the policy compiler did not start", { cause }),
      );
    });
    child.on("close", (status) => {
      clearTimeout(timer);
      clearInterval(watch);
      if (stopped !== undefined || /heap out of memory/.test(complaint)) {
        reject(tooComplex(stopped ?? "needed over 512 MiB of memory"));
      } else if (status !== 0) {
        const why =
          complaint.split("\n").find((line) => line.trim() !== "") ?? `exit ${String(status)}`;
        reject(
          new SallyportError(
            "compiler-failed",
            `the policy compiler ended without an answer: ${why}`,
          ),
        );
      } else {
        resolve(JSON.parse(Buffer.concat(out).toString("utf8")));
      }
    });
    child.stdin.end(JSON.stringify(question));
  });
}

function tooComplex(why: string): SallyportError {
  return new SallyportError("policy-too-complex", `the policy was not compiled: it ${why}`, {
    hint: "split it, or remove aliases and generated parts; the running generation is untouched",
  });
}

/** The resident set of a process and its children: unshare waits, its child does the work. */
function residentBytes(pid: number | undefined): number {
  if (pid === undefined) return 0;
  try {
    const pages = Number(fs.readFileSync(`/proc/${pid}/statm`, "utf8").split(" ")[1] ?? 0);
    const children = fs.readFileSync(`/proc/${pid}/task/${pid}/children`, "utf8").trim();
    const below = children === "" ? [] : children.split(" ").map(Number);
    return below.reduce((sum, child) => sum + residentBytes(child), pages * 4096);
  } catch {
    return 0;
  }
}
