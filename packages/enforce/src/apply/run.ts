/** Kernel tools by argument arrays: never through a shell, always with an end and a bound. */
import { spawn } from "node:child_process";
import { SallyportError } from "@sallyport/core";

export interface RunOptions {
  /** Written to the tool's standard input. */
  readonly input?: string;
  /** The network namespace to run in: a name that `ip netns` knows, or a path with a slash. */
  readonly netns?: string;
  readonly timeoutMs?: number;
}

export interface Output {
  readonly exitCode: number;
  readonly stdout: string;
  readonly stderr: string;
}

/** Where `ip netns add` keeps names. */
export const NETNS_DIR = "/run/netns";

/** `nft -f` of 10,000 conduits takes well under a second; a tool that hangs holds the queue. */
const TIMEOUT_MS = 30_000;
/** A listing of 10,000 conduits with counters is a few MiB; more is not a listing. */
const OUTPUT_MAX_BYTES = 64 * 1024 * 1024;
const STDERR_LINES = 5;

/** Runs a tool and answers its output; a refusal is `kernel-command-failed`. */
export async function run(
  file: string,
  args: readonly string[],
  options: RunOptions = {},
): Promise<string> {
  const output = await tryRun(file, args, options);
  if (output.exitCode === 0) return output.stdout;
  throw refused([file, ...args], `exit code ${output.exitCode}`, output.stderr);
}

/** As `run`, for a caller to whom a refusal is an answer. */
export function tryRun(
  file: string,
  args: readonly string[],
  options: RunOptions = {},
): Promise<Output> {
  const { netns, input, timeoutMs = TIMEOUT_MS } = options;
  // `ip netns exec` would remount /sys and hide the bpffs; nsenter changes nothing else.
  const command =
    netns === undefined
      ? [file, ...args]
      : ["nsenter", `--net=${netnsPath(netns)}`, "--", file, ...args];
  const [program = file, ...rest] = command;
  return new Promise((resolve, reject) => {
    const child = spawn(program, rest, { stdio: ["pipe", "pipe", "pipe"] });
    const output = { stdout: new Bounded(), stderr: new Bounded() };
    let why = "";
    const end = (reason: string): void => {
      why = reason;
      child.kill("SIGKILL");
    };
    const timer = setTimeout(() => end(`no answer within ${timeoutMs} ms`), timeoutMs);
    for (const name of ["stdout", "stderr"] as const) {
      child[name].on("data", (chunk: Buffer) => {
        if (!output[name].add(chunk)) end(`more than ${OUTPUT_MAX_BYTES} bytes on ${name}`);
      });
    }
    child.on("error", (cause) => {
      clearTimeout(timer);
      const hint = `is ${program} installed?`;
      reject(
        new SallyportError("kernel-command-failed", `${program}: ${cause.message}`, {
          cause,
          hint,
        }),
      );
    });
    child.on("close", (code, signal) => {
      clearTimeout(timer);
      const [stdout, stderr] = [output.stdout.text(), output.stderr.text()];
      if (code !== null && why === "") resolve({ exitCode: code, stdout, stderr });
      else reject(refused(command, why || `ended by ${signal ?? "nothing"}`, stderr));
    });
    // A tool that ends before it read everything says why by its exit code.
    child.stdin.on("error", () => {});
    child.stdin.end(input ?? "");
  });
}

function netnsPath(netns: string): string {
  return netns.includes("/") ? netns : `${NETNS_DIR}/${netns}`;
}

class Bounded {
  private readonly chunks: Buffer[] = [];
  private sizeBytes = 0;

  add(chunk: Buffer): boolean {
    this.sizeBytes += chunk.length;
    if (this.sizeBytes > OUTPUT_MAX_BYTES) return false;
    this.chunks.push(chunk);
    return true;
  }

  text(): string {
    return Buffer.concat(this.chunks).toString("utf8");
  }
}

function refused(command: readonly string[], why: string, stderr: string): SallyportError {
  const lines = stderr.trim().split("\n").slice(0, STDERR_LINES).join("\n");
  return new SallyportError("kernel-command-failed", `${command.join(" ")}: ${why}\n${lines}`);
}
