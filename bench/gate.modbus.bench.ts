/**
 * The gate, Modbus with every limit on, beside haproxy in `mode tcp` and beside a plain Node `pipe`: CPU per
 * transaction, latency, memory of idle connections. Client and device are C programs on core 0, the proxy is
 * alone on core 1, and all take turns in every round. Smaller runs, for a try:
 * SALLYPORT_BENCH_ROUNDS=2 SALLYPORT_BENCH_MS=300.
 */
import { type ChildProcess, spawn, spawnSync } from "node:child_process";
import { once } from "node:events";
import fs from "node:fs";
import net from "node:net";
import os from "node:os";
import path from "node:path";
import process from "node:process";
import { createInterface } from "node:readline";
import type { GateListener } from "@sallyport/gate";
import type { Bench, Goal, Result } from "./bench.ts";

const ROUNDS = Number(process.env["SALLYPORT_BENCH_ROUNDS"] ?? 7);
/** A round in which the client or the device was the limit is repeated, up to this many in all. */
const ROUNDS_MAX = ROUNDS * 2;
const RUN_MS = Number(process.env["SALLYPORT_BENCH_MS"] ?? 1000);
/** Compilers of hot code are at rest after this; haproxy gets the same. */
const WARM_MS = 2 * RUN_MS;
/** The client must be able to ask more than haproxy can pass, or it is the client that is measured. */
const DIRECT_MIN = 1.3;
const IDLE_PAIRS = 4000;
const CONNECTIONS = [50, 500] as const;
const HERE = import.meta.dirname;

const goals: readonly Goal[] = [
  { id: "cpu-50", what: "gate / haproxy, CPU per transaction, 50 connections", goal: "<= 1.6" },
  { id: "cpu-500", what: "gate / haproxy, CPU per transaction, 500 connections", goal: "<= 1.8" },
  { id: "pipe-50", what: "gate / Node pipe, CPU per transaction, 50 connections", goal: "<= 0.95" },
  {
    id: "pipe-500",
    what: "gate / Node pipe, CPU per transaction, 500 connections",
    goal: "<= 0.95",
  },
  { id: "p50-50", what: "gate / haproxy, median latency, 50 connections", goal: "<= 1.5" },
  { id: "p50-500", what: "gate / haproxy, median latency, 500 connections", goal: "<= 1.5" },
  { id: "idle", what: `KiB of memory per idle pair, of ${IDLE_PAIRS} pairs`, goal: "<= 10" },
];

/** What is missing, or nothing. */
function missing(): string | undefined {
  if (os.availableParallelism() < 2) return "needs two cores";
  for (const [tool, ...args] of [
    ["gcc", "--version"],
    ["haproxy", "-v"],
    ["taskset", "--version"],
  ] as const) {
    if (spawnSync(tool, args).status !== 0) return `needs ${tool}`;
  }
  return undefined;
}

class Lab {
  readonly directory: string = fs.mkdtempSync(path.join(os.tmpdir(), "sallyport-bench-"));
  readonly #children: ChildProcess[] = [];

  /** Pinned to a core; ended with the lab. */
  start(core: number, command: string, args: readonly string[]): ChildProcess {
    const child = spawn("taskset", ["-c", String(core), command, ...args], {
      stdio: ["pipe", "pipe", "inherit"],
    });
    this.#children.push(child);
    return child;
  }

  compile(source: string): string {
    const out = path.join(this.directory, source.replace(/\.c$/, ""));
    const done = spawnSync("gcc", ["-O2", "-o", out, path.join(HERE, source)], {
      encoding: "utf8",
    });
    if (done.status !== 0) throw new Error(`gcc ${source}: ${done.stderr}`);
    return out;
  }

  async close(): Promise<void> {
    await Promise.all(
      this.#children.map(async (child) => {
        if (child.exitCode !== null || child.signalCode !== null) return;
        child.kill("SIGKILL");
        await once(child, "exit");
      }),
    );
    fs.rmSync(this.directory, { recursive: true });
  }
}

/** The first line of a child that `isIt`; a child that ends before is an error. */
async function line(child: ChildProcess, isIt: (text: string) => boolean): Promise<string> {
  if (child.stdout === null) throw new Error("no standard output");
  const lines = createInterface({ input: child.stdout });
  try {
    for await (const text of lines) if (isIt(text)) return text;
  } finally {
    lines.close();
    child.stdout.resume();
  }
  throw new Error("a program of the bench ended too early");
}

async function freePort(): Promise<number> {
  const server = net.createServer().listen(0, "127.0.0.1");
  await once(server, "listening");
  const { port } = server.address() as net.AddressInfo;
  server.close();
  await once(server, "close");
  return port;
}

async function untilListening(port: number): Promise<void> {
  for (let attempt = 0; attempt < 100; attempt++) {
    const socket = net.connect({ port, host: "127.0.0.1" });
    const isOpen = await new Promise<boolean>((resolve) => {
      socket.once("connect", () => resolve(true)).once("error", () => resolve(false));
    });
    socket.destroy();
    if (isOpen) return;
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
  throw new Error(`nothing listens on port ${port}`);
}

/** A proxy, or none: the device itself. */
interface Subject {
  readonly name: string;
  readonly port: number;
  readonly child?: ChildProcess;
}

const LOOPBACK = 0x7f000001;

function listener(port: number, targetPort: number): GateListener {
  return {
    conduit: "bench",
    policyLine: "bench.yaml:1",
    room: "bench",
    listenAddress: LOOPBACK,
    listenPort: port,
    egressAddress: LOOPBACK + 1,
    targetAddress: LOOPBACK,
    targetPort,
    asset: "plc",
    slot: 0,
    l7: {
      protocol: "modbus",
      functions: ["read-holding-registers", "write-single-register"],
      units: [{ first: 1, last: 1 }],
      coils: [],
      discreteInputs: [],
      holdingRegisters: [{ first: 0, last: 99 }],
      inputRegisters: [],
      maxQuantity: 20,
      writeValues: [{ registers: { first: 10, last: 10 }, values: { first: 0, last: 800 } }],
      requestsPerSecond: 1_000_000,
    },
    connections: { max: IDLE_PAIRS + 1000, idleSeconds: 600, connectSeconds: 10 },
  };
}

async function startGate(lab: Lab, targetPort: number): Promise<Subject> {
  const port = await freePort();
  const script = path.join(HERE, "gate.proxy.main.ts");
  const child = lab.start(1, process.execPath, ["--expose-gc", script, "gate"]);
  const message = { type: "listeners", listeners: [listener(port, targetPort)] };
  child.stdin?.write(`${JSON.stringify(message)}\n`);
  await line(child, (text) => text.includes('"loaded"'));
  return { name: "gate", port, child };
}

async function startPipe(lab: Lab, targetPort: number): Promise<Subject> {
  const port = await freePort();
  const script = path.join(HERE, "gate.proxy.main.ts");
  const args = ["--expose-gc", script, "pipe", String(port), String(targetPort)];
  const child = lab.start(1, process.execPath, args);
  await line(child, (text) => text.includes('"listening"'));
  return { name: "pipe", port, child };
}

async function startHaproxy(lab: Lab, targetPort: number): Promise<Subject> {
  const port = await freePort();
  const file = path.join(lab.directory, "haproxy.cfg");
  fs.writeFileSync(
    file,
    `global
  nbthread 1
  maxconn 2000
defaults
  mode tcp
  timeout connect 5s
  timeout client 600s
  timeout server 600s
listen modbus
  bind 127.0.0.1:${port}
  server device 127.0.0.1:${targetPort} source 127.0.0.4
`,
  );
  const child = lab.start(1, "haproxy", ["-q", "-db", "-f", file]);
  await untilListening(port);
  return { name: "haproxy", port, child };
}

interface Measure {
  readonly cpuMicroseconds: number;
  readonly perSecond: number;
  readonly p50: number;
  readonly p99: number;
}

/** Of all threads: collector and compilers included. Nanoseconds. */
function cpuOf(child: ChildProcess | undefined): number {
  if (child?.pid === undefined) return 0;
  const tasks = `/proc/${child.pid}/task`;
  let sum = 0;
  for (const task of fs.readdirSync(tasks)) {
    sum += Number(fs.readFileSync(`${tasks}/${task}/schedstat`, "utf8").split(" ")[0]);
  }
  return sum;
}

async function load(
  lab: Lab,
  client: string,
  subject: Subject,
  connections: number,
  runMs: number,
): Promise<Measure> {
  const before = cpuOf(subject.child);
  const args = ["127.0.0.1", String(subject.port), String(connections), String(runMs)];
  const text = await line(lab.start(0, client, args), (one) => one.startsWith("{"));
  const cpu = cpuOf(subject.child) - before;
  const seen = JSON.parse(text) as {
    transactions: number;
    seconds: number;
    p50: number;
    p99: number;
    errors: number;
  };
  if (seen.errors > 0 || seen.transactions === 0) {
    throw new Error(`${subject.name}: ${seen.errors} errors in ${seen.transactions} transactions`);
  }
  return {
    cpuMicroseconds: cpu / 1000 / seen.transactions,
    perSecond: seen.transactions / seen.seconds,
    p50: seen.p50,
    p99: seen.p99,
  };
}

function median(values: readonly number[]): number {
  const sorted = [...values].sort((a, b) => a - b);
  const middle = sorted.length >> 1;
  const upper = sorted[middle] ?? Number.NaN;
  return sorted.length % 2 === 1 ? upper : (upper + (sorted[middle - 1] ?? Number.NaN)) / 2;
}

interface Round {
  readonly gate: Measure;
  readonly pipe: Measure;
  readonly haproxy: Measure;
  readonly direct: Measure;
}

async function rounds(
  lab: Lab,
  client: string,
  subjects: readonly Subject[],
  connections: number,
): Promise<{ counted: Round[]; tried: number }> {
  for (const subject of subjects) await load(lab, client, subject, connections, WARM_MS);
  const counted: Round[] = [];
  let tried = 0;
  for (; tried < ROUNDS_MAX && counted.length < ROUNDS; tried++) {
    const seen = new Map<string, Measure>();
    // Another one begins each round, so that none always follows the same one.
    for (let turn = 0; turn < subjects.length; turn++) {
      const subject = subjects[(tried + turn) % subjects.length];
      if (subject === undefined) continue;
      seen.set(subject.name, await load(lab, client, subject, connections, RUN_MS));
    }
    const [gate, pipe] = [seen.get("gate"), seen.get("pipe")];
    const [haproxy, direct] = [seen.get("haproxy"), seen.get("direct")];
    if (!gate || !pipe || !haproxy || !direct) continue;
    if (direct.perSecond >= DIRECT_MIN * haproxy.perSecond) {
      counted.push({ gate, pipe, haproxy, direct });
    }
  }
  return { counted, tried };
}

function results(connections: number, counted: readonly Round[], tried: number): Result[] {
  const note = `${counted.length} of ${tried} rounds count`;
  const ids = [`cpu-${connections}`, `pipe-${connections}`, `p50-${connections}`] as const;
  if (counted.length < ROUNDS) {
    return ids.map((id) => ({ id, ratio: null, note: `${note}: the client was too slow` }));
  }
  const ratio = (of: (round: Round) => number): number => median(counted.map(of));
  const cpu = (subject: keyof Round): string =>
    `${subject} ${median(counted.map((round) => round[subject].cpuMicroseconds)).toFixed(1)} µs`;
  const p99 = ratio((round) => round.gate.p99 / round.haproxy.p99);
  const rate = ratio((round) => round.gate.perSecond / round.haproxy.perSecond);
  return [
    {
      id: ids[0],
      ratio: ratio((round) => round.gate.cpuMicroseconds / round.haproxy.cpuMicroseconds),
      note: `${note}; ${cpu("gate")}, ${cpu("haproxy")}; transactions/s ${rate.toFixed(2)}`,
    },
    {
      id: ids[1],
      ratio: ratio((round) => round.gate.cpuMicroseconds / round.pipe.cpuMicroseconds),
      note: `${note}; ${cpu("pipe")}`,
    },
    {
      id: ids[2],
      ratio: ratio((round) => round.gate.p50 / round.haproxy.p50),
      note: `${note}; p99 ${p99.toFixed(2)}, not a goal`,
    },
  ];
}

async function memoryOf(child: ChildProcess): Promise<number> {
  const answer = line(child, (text) => text.includes('"memory"'));
  child.kill("SIGUSR2");
  return (JSON.parse(await answer) as { bytes: number }).bytes;
}

/** A fresh gate, warmed by a few connections that have ended; each idle pair asked once. */
async function idle(lab: Lab, client: string, targetPort: number): Promise<Result> {
  const gate = await startGate(lab, targetPort);
  if (gate.child === undefined) throw new Error("the gate is a process");
  await load(lab, client, gate, 50, RUN_MS);
  const none = await memoryOf(gate.child);
  const args = ["127.0.0.1", String(gate.port), String(IDLE_PAIRS), "20000", "idle"];
  const holder = lab.start(0, client, args);
  await line(holder, (text) => text.startsWith("idle"));
  const all = await memoryOf(gate.child);
  return {
    id: "idle",
    ratio: (all - none) / IDLE_PAIRS / 1024,
    note: `${(none / 2 ** 20).toFixed(0)} MiB with none, ${(all / 2 ** 20).toFixed(0)} MiB with all`,
  };
}

async function run(): Promise<Result[]> {
  const skipped = missing();
  if (skipped !== undefined) return goals.map(({ id }) => ({ id, ratio: null, skipped }));
  const lab = new Lab();
  try {
    const client = lab.compile("gate.load.c");
    const server = lab.compile("gate.server.c");
    const port = await freePort();
    await line(lab.start(0, server, ["127.0.0.1", String(port)]), (text) => text === "ready");
    const subjects: Subject[] = [
      await startGate(lab, port),
      await startPipe(lab, port),
      await startHaproxy(lab, port),
      { name: "direct", port },
    ];
    const out: Result[] = [];
    for (const connections of CONNECTIONS) {
      const { counted, tried } = await rounds(lab, client, subjects, connections);
      out.push(...results(connections, counted, tried));
    }
    out.push(await idle(lab, client, port));
    return out;
  } finally {
    await lab.close();
  }
}

export const bench: Bench = { name: "gate.modbus", goals, run };
