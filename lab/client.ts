/** The plant's Modbus clients: Debian's pymodbus, run on the host that is meant to ask. */
import { PYTHON, program } from "./device.ts";
import type { HostName } from "./plant.ts";
import type { Running } from "./shell.ts";
import type { Plant } from "./topology.ts";

export interface Endpoint {
  readonly address: string;
  readonly port: number;
}

export type Area = "holding" | "input" | "coils" | "discrete";

/** One result as `clients/modbus.py` tells it. */
export interface Answer {
  /** Milliseconds since 1970. */
  readonly t: number;
  readonly op: "connect" | "read" | "write" | "ended";
  readonly ok: boolean;
  readonly values?: readonly number[];
  /** Modbus exception code. */
  readonly exception?: number;
  /** `timeout`, `refused`, `reset`, `closed` or the system's own words. */
  readonly error?: string;
}

/** A request takes at most two of these: connecting, and waiting for the answer. */
const TIMEOUT_S = 1.5;
/** Of a poll that goes on for days the last minutes are kept. */
const ANSWERS_MAX = 2_000;

export interface ReadRequest {
  readonly area: Area;
  readonly address: number;
  readonly count: number;
}

export async function readModbus(
  plant: Plant,
  from: HostName,
  to: Endpoint,
  request: ReadRequest,
): Promise<Answer> {
  return once(plant, from, ["read", ...target(to), ...reading(request)]);
}

export async function writeModbus(
  plant: Plant,
  from: HostName,
  to: Endpoint,
  address: number,
  values: readonly number[],
): Promise<Answer> {
  const method = values.length === 1 ? "single" : "multiple";
  return once(plant, from, [
    "write",
    ...target(to),
    ...["--address", String(address), "--values", values.join(","), "--function", method],
  ]);
}

export interface PollOptions {
  readonly intervalMs: number;
  /** It ends by itself after this. */
  readonly seconds: number;
  readonly timeoutSeconds?: number;
  /** Dials again after a failure, so that a gap and its end can be seen. */
  readonly reconnect?: boolean;
  /** Writes this value after each read. */
  readonly write?: { readonly address: number; readonly value: number };
}

/** A long-lived session that keeps asking, and notices the moment it is ended. */
export class Poller {
  /** The latest ones. */
  readonly #answers: Answer[] = [];
  readonly #process: Running;

  constructor(
    plant: Plant,
    from: HostName,
    to: Endpoint,
    request: ReadRequest,
    options: PollOptions,
  ) {
    const { intervalMs, seconds, write } = options;
    const argv = [...PYTHON, program("clients/modbus.py"), "loop", ...target(to)];
    argv.push(...reading(request), "--interval-ms", String(intervalMs));
    argv.push("--seconds", String(seconds), "--timeout", String(options.timeoutSeconds ?? 0.6));
    if (options.reconnect === true) argv.push("--reconnect");
    if (write !== undefined) argv.push("--write", `${write.address}=${write.value}`);
    this.#process = plant.spawn(from, argv, (line) => {
      const answer = readAnswer(line);
      if (answer === undefined) return;
      this.#answers.push(answer);
      if (this.#answers.length > ANSWERS_MAX) this.#answers.shift();
    });
  }

  get isRunning(): boolean {
    return this.#process.isRunning;
  }

  get pid(): number {
    return this.#process.pid;
  }

  since(at: number): readonly Answer[] {
    return this.#answers.filter((answer) => answer.t >= at);
  }

  /** The first good answer since then. */
  goodSince(at: number): Answer | undefined {
    return this.#answers.find((answer) => answer.ok && answer.t >= at);
  }

  async stop(): Promise<void> {
    await this.#process.stop();
  }
}

/** In few words: `read 500 160`, `exception 1`, `timeout while connecting`. */
export function describeAnswer(answer: Answer): string {
  if (answer.ok) return `${answer.op} ${answer.values?.join(" ") ?? "done"}`;
  if (answer.exception !== undefined) return `exception ${answer.exception}`;
  return answer.op === "connect"
    ? `no connection (${answer.error ?? "failed"})`
    : `${answer.error ?? "failed"} during ${answer.op}`;
}

function target(to: Endpoint): string[] {
  return [to.address, "--port", String(to.port)];
}

function reading({ area, address, count }: ReadRequest): string[] {
  return ["--area", area, "--address", String(address), "--count", String(count)];
}

async function once(plant: Plant, from: HostName, argv: readonly string[]): Promise<Answer> {
  const at = Date.now();
  const full = [...PYTHON, program("clients/modbus.py"), ...argv, "--timeout", String(TIMEOUT_S)];
  const result = await plant.run(from, full, { timeoutMs: 10_000 });
  const last = result.stdout.trim().split("\n").at(-1) ?? "";
  const failed = { t: at, op: "connect", ok: false } as const;
  return readAnswer(last) ?? { ...failed, error: result.stderr.trim().split("\n").at(-1) ?? "" };
}

function readAnswer(line: string): Answer | undefined {
  try {
    const value: unknown = JSON.parse(line);
    return isAnswer(value) ? value : undefined;
  } catch {
    return undefined;
  }
}

function isAnswer(value: unknown): value is Answer {
  if (typeof value !== "object" || value === null) return false;
  return "t" in value && "op" in value && "ok" in value && typeof value.ok === "boolean";
}
