/** Processes and the machine as this process can know them: from what the supervisor wrote, and what root found. */
import fs from "node:fs";
import type { ProcessState, Status } from "@sallyport/api";
import type { Finding } from "../doctor.ts";

type Told = Awaited<ReturnType<Status["doctor"]>>[number];

/** Starts and ends of a year; what is older says nothing of today. */
const TAIL_BYTES = 1024 * 1024;

/** The newest lines of the supervisor's events, the rotated file's before the present one's. */
export function supervisorLines(file: string): readonly string[] {
  return [`${file}.1`, file].flatMap((one) => {
    try {
      const fd = fs.openSync(one, "r");
      try {
        const { size } = fs.fstatSync(fd);
        const start = Math.max(0, size - TAIL_BYTES);
        const bytes = Buffer.alloc(size - start);
        fs.readSync(fd, bytes, 0, bytes.length, start);
        return bytes
          .toString("utf8")
          .split("\n")
          .slice(start === 0 ? 0 : 1);
      } finally {
        fs.closeSync(fd);
      }
    } catch {
      return [];
    }
  });
}

interface Known {
  readonly sinceMs: number;
  readonly isRunning: boolean;
  readonly restarts: number;
  readonly why?: string;
}

/**
 * Workers by name. One that starts without having ended was started by a supervisor that is new itself, so its restarts begin
 * anew.
 */
export function processesOf(
  lines: readonly string[],
  readiness: ReadonlyMap<string, boolean>,
): readonly ProcessState[] {
  const known = new Map<string, Known>();
  for (const line of lines) {
    const event = eventOf(line);
    if (event === undefined) continue;
    const { worker, type, atMs, why } = event;
    const before = known.get(worker);
    if (type === "process-started") {
      const restarts = before === undefined || before.isRunning ? 0 : before.restarts + 1;
      const last = before?.why === undefined || restarts === 0 ? {} : { why: before.why };
      known.set(worker, { sinceMs: atMs, isRunning: true, restarts, ...last });
    } else if (before !== undefined) {
      known.set(worker, { ...before, sinceMs: atMs, isRunning: false, why });
    }
  }
  return [...known]
    .sort(([a], [b]) => (a < b ? -1 : 1))
    .map(([name, { sinceMs, isRunning, restarts, why }]) => ({
      ...{ name, state: isRunning ? "running" : "failed", restarts },
      ready: isRunning && readiness.get(name) !== false,
      since: new Date(sinceMs).toISOString(),
      ...(why === undefined || why === "" ? {} : { why }),
    }));
}

function eventOf(
  line: string,
): { worker: string; type: string; atMs: number; why: string } | undefined {
  let value: unknown;
  try {
    value = JSON.parse(line);
  } catch {
    return undefined;
  }
  if (typeof value !== "object" || value === null) return undefined;
  const { at, type, worker, complaint } = value as Readonly<Record<string, unknown>>;
  const atMs = typeof at === "string" ? Date.parse(at) : Number.NaN;
  const isOurs = type === "process-started" || type === "process-ended";
  if (!isOurs || typeof worker !== "string" || Number.isNaN(atMs)) return undefined;
  return { worker, type, atMs, why: typeof complaint === "string" ? complaint : "" };
}

/** What `sallyport doctor` wrote down, as root. */
export interface DoctorRun {
  readonly at: string;
  readonly findings: readonly Finding[];
}

const RUN_HINT = "sudo sallyport doctor";
const STATES = { ok: "good", degraded: "degraded", blocked: "failed" } as const;

/**
 * Only root can try the kernel's features, so this repeats what root found, and when. Without such a run, or with one from before the
 * machine started, the state is unknown.
 */
export function doctorFindings(
  text: string | undefined,
  bootedAtMs: number,
  degraded: readonly string[] | undefined,
): readonly Told[] {
  return [...runningFindings(degraded), ...foundByRoot(text, bootedAtMs)];
}

function runningFindings(degraded: readonly string[] | undefined): readonly Told[] {
  const check = "promises in force";
  if (degraded === undefined) {
    return [
      { check, state: "unknown", why: "the enforcer does not answer", hint: "sallyport status" },
    ];
  }
  if (degraded.length === 0)
    return [{ check, state: "good", why: "the enforcer keeps all of them" }];
  return degraded.map((why) => ({ check, state: "degraded", why }));
}

function foundByRoot(text: string | undefined, bootedAtMs: number): readonly Told[] {
  const run = text === undefined ? undefined : runOf(text);
  if (run === undefined) {
    const why = "nobody ran doctor as root on this machine, and nobody else can try its kernel";
    return [{ check: "machine", state: "unknown", why, hint: RUN_HINT }];
  }
  const isOld = Date.parse(run.at) < bootedAtMs;
  return run.findings.map(({ name, state, seen, why, fix }) => {
    const found = `${seen} (as root saw it at ${run.at}); ${why}`;
    if (isOld) {
      const since = `the machine was started after that: ${found}`;
      return { check: name, state: "unknown", why: since, hint: RUN_HINT };
    }
    return {
      check: name,
      state: STATES[state],
      why: found,
      ...(state === "ok" ? {} : { hint: fix }),
    };
  });
}

function runOf(text: string): DoctorRun | undefined {
  try {
    const { at, findings } = JSON.parse(text) as Partial<DoctorRun>;
    if (at === undefined || Number.isNaN(Date.parse(at)) || !Array.isArray(findings))
      return undefined;
    return { at, findings };
  } catch {
    return undefined;
  }
}
