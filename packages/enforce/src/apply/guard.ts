/**
 * The guard of an unconfirmed change: a process of its own that puts the last confirmed generation
 * back when nobody confirmed in time, whatever became of the process that applied.
 *
 * The kernels fall back at the deadline by themselves; the guard says it to them once more, takes
 * back links and rooms, and marks the generation. Whoever renames the armed file owns the change:
 * confirming and taking back exclude each other even when one of them is killed half-way.
 */
import { spawn } from "node:child_process";
import { readFileSync } from "node:fs";
import { rename, rm } from "node:fs/promises";
import path from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { SallyportError } from "@sallyport/core";
import type { Slot } from "../engine.ts";
import { standingRooms } from "../rooms/instance.ts";
import type { RoomSet } from "../rooms/room-set.ts";
import { readIfThere, State, writeWhole } from "./state.ts";

export interface Armed {
  readonly format: 1;
  readonly generation: number;
  /** The generation to go back to; null: to nothing, the rooms go too. */
  readonly previous: number | null;
  readonly previousSlot: Slot;
  /** On the boot clock, which all processes share. */
  readonly deadlineMs: number;
}

/** Starting a process and its modules takes well under a second; a guard that can't start is no guard. */
const GUARD_START_MS = 15_000;
/** How often the guard looks whether the change was confirmed. */
const LOOK_MS = 200;
/** A confirmation that began before the deadline has this long; then its process is taken for dead. */
const CONFIRM_GRACE_MS = 15_000;
/** A kernel tool that is refused now may work in a moment (a lock, memory). */
const ATTEMPTS = 5;
const ATTEMPT_PAUSE_MS = 1000;

/** Where a change stands: the name of its one file. */
type Stage = "armed" | "confirming" | "taking-back";
const STAGES: readonly Stage[] = ["armed", "confirming", "taking-back"];

/** Milliseconds since boot: a clock that nobody sets. */
export function bootMs(): number {
  const [seconds] = readFileSync("/proc/uptime", "utf8").split(" ");
  return Number(seconds) * 1000;
}

export async function arm(stateDir: string, armed: Armed): Promise<void> {
  await writeWhole(fileOf(stateDir, "armed"), JSON.stringify(armed));
}

export async function disarm(stateDir: string): Promise<void> {
  for (const stage of STAGES) await rm(fileOf(stateDir, stage), { force: true });
}

/** True for exactly one process. */
export async function claim(stateDir: string, to: Stage, from: Stage = "armed"): Promise<boolean> {
  try {
    await rename(fileOf(stateDir, from), fileOf(stateDir, to));
    return true;
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === "ENOENT") return false;
    throw error;
  }
}

/** The change that is waiting, being confirmed or being taken back. */
export async function armedChange(
  stateDir: string,
  stages: readonly Stage[] = STAGES,
): Promise<Armed | undefined> {
  for (const stage of stages) {
    const text = await readIfThere(fileOf(stateDir, stage));
    if (text !== undefined) return JSON.parse(text) as Armed;
  }
  return undefined;
}

/** Detached, so that it outlives whatever ends this process; armed once it has said so. */
export async function startGuard(command: readonly string[]): Promise<void> {
  const [program = "", ...args] = command;
  const child = spawn(program, args, { detached: true, stdio: ["ignore", "pipe", "ignore"] });
  const late = AbortSignal.timeout(GUARD_START_MS);
  await new Promise<void>((resolve, reject) => {
    const failed = (why: string): void =>
      reject(new SallyportError("guard-not-started", `the guard process ${program} ${why}`));
    late.addEventListener("abort", () => failed("said nothing"));
    child.once("error", (cause) => failed(`could not be started: ${cause.message}`));
    child.once("exit", (code) => failed(`ended with ${code ?? "a signal"}`));
    child.stdout.once("data", () => resolve());
  });
  child.stdout.destroy();
  child.unref();
}

/** The guard's whole life. `ready` is called once it stands; ends when the change was decided. */
export async function standGuard(
  stateDir: string,
  rooms: RoomSet,
  ready: () => void,
): Promise<"confirmed" | "rolled-back"> {
  const armed = await armedChange(stateDir, ["armed"]);
  if (armed === undefined) throw new SallyportError("not-armed", "there is no unconfirmed change");
  ready();
  for (;;) {
    const lateMs = bootMs() - armed.deadlineMs;
    const waiting = await armedChange(stateDir, ["armed", "confirming"]);
    if (waiting?.generation !== armed.generation) return "confirmed";
    if (lateMs >= 0 && (await claim(stateDir, "taking-back"))) break;
    if (lateMs >= CONFIRM_GRACE_MS && (await claim(stateDir, "taking-back", "confirming"))) {
      const { confirmed } = await State.load(stateDir);
      if (confirmed?.number !== armed.generation) break;
      await disarm(stateDir);
      return "confirmed";
    }
    await sleep(lateMs < 0 ? Math.min(LOOK_MS, -lateMs) : LOOK_MS);
  }
  for (let attempt = 1; ; attempt++) {
    try {
      await takeBack(stateDir, armed, rooms);
      return "rolled-back";
    } catch (error) {
      if (attempt === ATTEMPTS) throw error;
      await sleep(ATTEMPT_PAUSE_MS);
    }
  }
}

/** Puts the previous generation in force again and removes what the change added. Idempotent. */
export async function takeBack(stateDir: string, armed: Armed, rooms: RoomSet): Promise<void> {
  const state = await State.load(stateDir);
  const find = (number: number | null) => state.generations.find((g) => g.number === number);
  const [generation, previous] = [find(armed.generation), find(armed.previous)];
  // After a reboot there is no room to put right: boot loads the confirmed generation anyway.
  const standing = await standingRooms(rooms.instance);
  if (previous === undefined) {
    await rooms.down();
  } else {
    const engines = Object.values(rooms.engines).filter(({ point }) => standing.includes(point));
    await Promise.all(engines.map((engine) => engine.select({ confirmed: armed.previousSlot })));
    if (generation !== undefined) {
      await rooms.settle(await state.legsOf(generation), await state.legsOf(previous));
    }
  }
  await state.markRolledBack(armed.generation);
  await disarm(stateDir);
}

function fileOf(stateDir: string, stage: Stage): string {
  return path.join(stateDir, `${stage}.json`);
}
