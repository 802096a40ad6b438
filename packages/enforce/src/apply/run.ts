/** Kernel tools by argument arrays: never through a shell, always with an end and a bound. */
import { execFile } from "node:child_process";
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
  const { exitCode, stdout, stderr } = await tryRun(file, args, options);
  if (exitCode === 0) return stdout;
  throw refused([file, ...args], `exit code ${exitCode}`, stderr);
}

/** As `run`, for a caller to whom a refusal is an answer. */
export function tryRun(
  file: string,
  args: readonly string[],
  { netns, input = "", timeoutMs: timeout = TIMEOUT_MS }: RunOptions = {},
): Promise<Output> {
  const name = netns?.includes("/") === true ? netns : `${NETNS_DIR}/${netns ?? ""}`;
  // `ip netns exec` would remount /sys and hide the bpffs; nsenter changes nothing else.
  const enter = netns === undefined ? [] : ["nsenter", `--net=${name}`, "--"];
  const [program = file, ...rest] = [...enter, file, ...args];
  return new Promise((resolve, reject) => {
    const limits = { timeout, killSignal: "SIGKILL", maxBuffer: OUTPUT_MAX_BYTES } as const;
    const child = execFile(program, rest, limits, (error, stdout, stderr) => {
      const code = error === null ? 0 : error.code;
      if (typeof code === "number") resolve({ exitCode: code, stdout, stderr });
      else reject(refused([program, ...rest], error?.message ?? "", stderr, error));
    });
    // A tool that ends before it read everything says why by its exit code.
    child.stdin?.on("error", () => {});
    child.stdin?.end(input);
  });
}

function refused(
  command: readonly string[],
  why: string,
  stderr: string,
  cause?: unknown,
): SallyportError {
  const lines = stderr.trim().split("\n").slice(0, STDERR_LINES).join("\n");
  const message = `${command.join(" ")}: ${why}\n${lines}`;
  return new SallyportError("kernel-command-failed", message, { cause });
}
