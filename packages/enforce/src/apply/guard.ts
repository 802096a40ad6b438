/**
 * The guard of an unconfirmed change: a process of its own that puts the last confirmed generation
 * back when nobody confirmed in time, whatever became of the process that applied.
 *
 * The kernels fall back at the deadline by themselves; the guard says it to them once more, takes
 * back links and rooms, and marks the generation. Whoever renames the armed file owns the change:
 * confirming and taking back exclude each other even when one of them is killed half-way.
 */
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
  /** On the monotonic clock, which all processes of one boot share. */
  readonly deadlineMs: number;
}

/** How often the guard looks whether the change was confirmed. */
const LOOK_MS = 200;
/** A confirmation that began before the deadline has this long; then its process is taken for dead. */
const CONFIRM_GRACE_MS = 15_000;
/** A kernel tool that is refused now may work in a moment (a lock, memory). */
const ATTEMPTS = 5;
const ATTEMPT_PAUSE_MS = 1000;

const names = { armed: "armed.json", confirming: "confirming.json", taken: "taking-back.json" };

export function monotonicMs(): number {
  return Number(process.hrtime.bigint() / 1_000_000n);
}

export async function arm(stateDir: string, armed: Armed): Promise<void> {
  await writeWhole(path.join(stateDir, names.armed), JSON.stringify(armed));
}

export async function disarm(stateDir: string): Promise<void> {
  for (const name of Object.values(names)) await rm(path.join(stateDir, name), { force: true });
}

/** True for exactly one process. */
export function claim(stateDir: string, to: "confirming" | "taken"): Promise<boolean> {
  return move(stateDir, "armed", to);
}

async function move(
  stateDir: string,
  from: "armed" | "confirming",
  to: "confirming" | "taken",
): Promise<boolean> {
  try {
    await rename(path.join(stateDir, names[from]), path.join(stateDir, names[to]));
    return true;
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === "ENOENT") return false;
    throw error;
  }
}

/** The guard's whole life. `ready` is called once it stands; ends when the change was decided. */
export async function standGuard(
  stateDir: string,
  rooms: RoomSet,
  ready: () => void,
): Promise<"confirmed" | "rolled-back"> {
  const armed = await readArmed(stateDir, "armed");
  if (armed === undefined) throw new SallyportError("not-armed", "there is no unconfirmed change");
  ready();
  for (;;) {
    const now = monotonicMs();
    const waiting = await readArmed(stateDir, "armed");
    const confirming = await readArmed(stateDir, "confirming");
    const mine = (waiting ?? confirming)?.generation === armed.generation;
    if (!mine) return "confirmed";
    if (waiting !== undefined && now >= armed.deadlineMs) {
      if (await move(stateDir, "armed", "taken")) break;
    } else if (waiting === undefined && now >= armed.deadlineMs + CONFIRM_GRACE_MS) {
      const state = await State.load(stateDir);
      if (state.confirmed?.number === armed.generation) {
        await disarm(stateDir);
        return "confirmed";
      }
      if (await move(stateDir, "confirming", "taken")) break;
    }
    await sleep(Math.max(1, Math.min(LOOK_MS, armed.deadlineMs - now)));
  }
  await persevere(() => takeBack(stateDir, armed, rooms));
  return "rolled-back";
}

/** Puts the previous generation in force again and removes what the change added. Idempotent. */
export async function takeBack(stateDir: string, armed: Armed, rooms: RoomSet): Promise<void> {
  const state = await State.load(stateDir);
  const find = (number: number | null) => state.generations.find((g) => g.number === number);
  const [generation, previous] = [find(armed.generation), find(armed.previous)];
  if (previous === undefined) {
    await rooms.down();
  } else {
    // After a reboot there is no room to put right: boot loads the confirmed generation anyway.
    const standing = await standingRooms(rooms.instance);
    const back = { confirmed: armed.previousSlot };
    const there = Object.values(rooms.engines).filter(({ point }) => standing.includes(point));
    await Promise.all(there.map((engine) => engine.select(back)));
    if (generation !== undefined) {
      await rooms.settle(await state.legsOf(generation), await state.legsOf(previous));
    }
  }
  await state.markRolledBack(armed.generation);
  await disarm(stateDir);
}

/** The change that is waiting, being confirmed or being taken back. */
export async function armedChange(stateDir: string): Promise<Armed | undefined> {
  return (
    (await readArmed(stateDir, "armed")) ??
    (await readArmed(stateDir, "confirming")) ??
    (await readArmed(stateDir, "taken"))
  );
}

async function readArmed(stateDir: string, name: keyof typeof names): Promise<Armed | undefined> {
  const text = await readIfThere(path.join(stateDir, names[name]));
  return text === undefined ? undefined : (JSON.parse(text) as Armed);
}

async function persevere(work: () => Promise<void>): Promise<void> {
  for (let attempt = 1; ; attempt++) {
    try {
      await work();
      return;
    } catch (error) {
      if (attempt === ATTEMPTS) throw error;
      await sleep(ATTEMPT_PAUSE_MS);
    }
  }
}
