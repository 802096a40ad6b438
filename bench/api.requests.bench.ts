/**
 * The ten calls that a console makes most, with 50 parallel clients, beside a constant route of 1 KiB behind
 * the same TLS, sign-in and middleware; and what a storm of wrong credentials, 200 a second, does to them.
 * The server is alone on core 1, its clients on core 0. For a try: BENCH_ROUNDS=1 SALLYPORT_BENCH_MS=200.
 */
import { type ChildProcess, spawn, spawnSync } from "node:child_process";
import { once } from "node:events";
import fs from "node:fs";
import os from "node:os";
import path from "node:path";
import process from "node:process";
import { createInterface } from "node:readline";
import type { Bench, Goal, Result } from "./bench.ts";
import { interleaved, median, roundsOr } from "./ratio.ts";

const ROUNDS = roundsOr(5);
const RUN_MS = Number(process.env["SALLYPORT_BENCH_MS"] ?? 700);
/** Compilers of hot code are at rest after this. */
const WARM_MS = 3 * RUN_MS;
const CLIENTS = 50;
const STORM_CLIENTS = 20;
const STORM_PER_SECOND = 200;
const HERE = import.meta.dirname;

const CONSTANT = "/v1/constant";
const HOTTEST = [
  "/v1/session",
  "/v1/status",
  "/v1/conduits",
  "/v1/grants",
  "/v1/grant-requests/request-1",
  "/v1/changes/change-1",
  "/v1/policy/running",
  "/v1/flows",
  "/v1/denials",
  "/v1/ledger/records",
] as const;

const goals: readonly Goal[] = [
  { id: "cpu", what: "costliest of ten calls / constant route, CPU per request", goal: "<= 3" },
  { id: "p50", what: "slowest of ten calls / constant route, median latency", goal: "<= 3" },
  {
    id: "storm-cpu",
    what: "ten calls in a sign-in storm / without, CPU per request",
    goal: "<= 2",
  },
  { id: "storm-p50", what: "ten calls in a sign-in storm / without, median latency", goal: "<= 2" },
];

function missing(): string | undefined {
  if (os.availableParallelism() < 2) return "needs two cores";
  for (const [tool, ...args] of [
    ["openssl", "version"],
    ["taskset", "--version"],
  ] as const) {
    if (spawnSync(tool, args).status !== 0) return `needs ${tool}`;
  }
  return undefined;
}

function pinned(core: number, script: string, args: readonly string[]): ChildProcess {
  const node = [process.execPath, path.join(HERE, script), ...args];
  return spawn("taskset", ["-c", String(core), ...node], { stdio: ["pipe", "pipe", "inherit"] });
}

async function firstLine(child: ChildProcess): Promise<string> {
  if (child.stdout === null) throw new Error("no standard output");
  for await (const text of createInterface({ input: child.stdout })) return text;
  throw new Error("a program of the bench ended too early");
}

function get(target: string): string {
  return `GET ${target} HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer bench\r\n\r\n`;
}

function wrongSignIn(): string {
  const body = JSON.stringify({ person: "anna", password: "a guess", totp: "000000" });
  const head =
    "POST /v1/sign-in/password HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json";
  return `${head}\r\nContent-Length: ${body.length}\r\n\r\n${body}`;
}

interface Seen {
  readonly answered: number;
  readonly statuses: Readonly<Record<string, number>>;
  readonly seconds: number;
  readonly p50: number;
  readonly p99: number;
}

interface Measure extends Seen {
  readonly cpuMicroseconds: number;
}

class Server {
  readonly #child: ChildProcess;
  readonly #port: number;

  constructor(child: ChildProcess, port: number) {
    this.#child = child;
    this.#port = port;
  }

  /** Of all threads, hashes of passwords included. Nanoseconds. */
  #cpu(): number {
    const tasks = `/proc/${this.#child.pid ?? 0}/task`;
    const times = fs
      .readdirSync(tasks)
      .map((task) => fs.readFileSync(`${tasks}/${task}/schedstat`, "utf8").split(" ")[0]);
    return times.reduce((sum, time) => sum + Number(time), 0);
  }

  async load(
    requests: readonly string[],
    runMs: number,
    clients = CLIENTS,
    perSecond = 0,
  ): Promise<Measure> {
    const before = this.#cpu();
    const args = [this.#port, clients, runMs, perSecond].map(String);
    const child = pinned(0, "api.client.main.ts", [...args, JSON.stringify(requests)]);
    const seen = JSON.parse(await firstLine(child)) as Seen;
    const cpuMicroseconds = (this.#cpu() - before) / 1000 / seen.answered;
    return { ...seen, cpuMicroseconds };
  }

  /** Fails unless every request was answered with 200: a refusal is cheap. */
  async good(requests: readonly string[], runMs: number): Promise<Measure> {
    const measure = await this.load(requests, runMs);
    if (measure.statuses["200"] !== measure.answered || measure.answered === 0) {
      const first = requests[0]?.split("\r")[0] ?? "";
      throw new Error(`${first}: ${JSON.stringify(measure.statuses)}`);
    }
    return measure;
  }

  async inStorm(requests: readonly string[]): Promise<Measure> {
    const storm = this.load([wrongSignIn()], RUN_MS, STORM_CLIENTS, STORM_PER_SECOND);
    const [measure, { statuses, answered }] = await Promise.all([
      this.good(requests, RUN_MS),
      storm,
    ]);
    const refused = (statuses["401"] ?? 0) + (statuses["429"] ?? 0) + (statuses["503"] ?? 0);
    const isStorm = answered >= (STORM_PER_SECOND * RUN_MS) / 2000;
    if (refused !== answered || !isStorm) {
      throw new Error(`no storm of refusals: ${answered}, ${JSON.stringify(statuses)}`);
    }
    return measure;
  }
}

async function started(directory: string): Promise<{ server: Server; end: () => Promise<void> }> {
  const key = path.join(directory, "key.pem");
  const cert = path.join(directory, "cert.pem");
  const made = spawnSync("openssl", [
    ...["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"],
    ...["-keyout", key, "-out", cert, "-days", "2", "-subj", "/CN=localhost"],
  ]);
  if (made.status !== 0) throw new Error(`openssl: ${String(made.stderr)}`);
  const child = pinned(1, "api.server.main.ts", [key, cert]);
  const { port } = JSON.parse(await firstLine(child)) as { port: number };
  const end = async (): Promise<void> => {
    if (child.exitCode !== null || child.signalCode !== null) return;
    child.kill("SIGKILL");
    await once(child, "exit");
  };
  return { server: new Server(child, port), end };
}

async function compared(server: Server): Promise<Result[]> {
  const targets = [CONSTANT, ...HOTTEST];
  const mix = HOTTEST.map(get);
  for (const target of targets) await server.good([get(target)], WARM_MS / 3);
  const contestants: Record<string, () => Promise<Measure>> = Object.fromEntries(
    targets.map((target) => [target, () => server.good([get(target)], RUN_MS)]),
  );
  contestants["calm"] = () => server.good(mix, RUN_MS);
  contestants["storm"] = () => server.inStorm(mix);
  const seen = await interleaved(ROUNDS, contestants);
  const of = (name: string, field: "cpuMicroseconds" | "p50" | "p99"): number =>
    median((seen[name] ?? []).map((one) => one[field]));
  const worst = (field: "cpuMicroseconds" | "p50"): { target: string; ratio: number } =>
    HOTTEST.map((target) => ({ target, ratio: of(target, field) / of(CONSTANT, field) })).reduce(
      (a, b) => (b.ratio > a.ratio ? b : a),
    );
  const [cpu, p50] = [worst("cpuMicroseconds"), worst("p50")];
  const p99 = HOTTEST.map((target) => of(target, "p99"));
  return [
    {
      id: "cpu",
      ratio: cpu.ratio,
      note: `${cpu.target}; constant route ${of(CONSTANT, "cpuMicroseconds").toFixed(0)} µs`,
    },
    {
      id: "p50",
      ratio: p50.ratio,
      note: `${p50.target}; p99 ${Math.min(...p99).toFixed(0)} to ${Math.max(...p99).toFixed(0)} ms, of the constant route ${of(CONSTANT, "p99").toFixed(0)} ms`,
    },
    { id: "storm-cpu", ratio: of("storm", "cpuMicroseconds") / of("calm", "cpuMicroseconds") },
    {
      id: "storm-p50",
      ratio: of("storm", "p50") / of("calm", "p50"),
      note: `p99 ${of("storm", "p99").toFixed(0)} ms, without ${of("calm", "p99").toFixed(0)} ms`,
    },
  ];
}

async function run(): Promise<Result[]> {
  const skipped = missing();
  if (skipped !== undefined) return goals.map(({ id }) => ({ id, ratio: null, skipped }));
  const directory = fs.mkdtempSync(path.join(os.tmpdir(), "sallyport-bench-"));
  try {
    const { server, end } = await started(directory);
    try {
      return await compared(server);
    } finally {
      await end();
    }
  } finally {
    fs.rmSync(directory, { recursive: true });
  }
}

export const bench: Bench = { name: "api.requests", goals, run };
