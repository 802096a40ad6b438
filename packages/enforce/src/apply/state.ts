/**
 * What outlives the process: generations, the numbers given to conduits and grants, used approvals.
 * A file is whole or absent: written beside, synced, renamed, and the directory synced.
 */
import { createHash } from "node:crypto";
import { existsSync, statfsSync, writeFileSync } from "node:fs";
import { mkdir, open, readFile, rename, rm } from "node:fs/promises";
import path from "node:path";
import { canonicalJson, type Json, SallyportError } from "@sallyport/core";
import type { Legs } from "@sallyport/policy/legs";
import type { Slot } from "../engine.ts";

export interface Generation {
  readonly number: number;
  /** Hex SHA-256 of the canonical legs. */
  readonly digest: string;
  readonly policySha256: string;
  readonly approvals: readonly Json[];
  readonly state: "pending" | "confirmed" | "rolled-back";
  readonly slot: Slot;
  readonly appliedAt: number;
}

interface StateFile {
  readonly format: 1;
  /** Nothing from here on was ever given to a conduit or grant; no number is given twice. */
  nextId: number;
  nextGeneration: number;
  conduits: Record<string, number>;
  usedApprovals: string[];
  islands: string[];
  generations: Generation[];
}

/** Older generations are dropped with their files: the ledger keeps what they were. */
const GENERATIONS_MAX = 50;
/** Grants' numbers that are taken at once; those that a restart finds unused are never given. */
const NUMBERS_AHEAD = 64;
/** Numbers are connection marks: positive, 31 bits. At a million a day they last for six years. */
const ID_MAX = 2 ** 31 - 1;

export class State {
  private readonly directory: string;
  private readonly file: StateFile;
  /** The next to give; the file's is ahead of it, so that not every number is a write of all there is. */
  private nextId: number;

  private constructor(directory: string, file: StateFile) {
    this.directory = directory;
    this.file = file;
    this.nextId = file.nextId;
  }

  /** What was pending when the file was written, whether or not the guard decided since. */
  undecided: number | undefined;

  /** A generation that the guard marked as rolled back is so: two processes never write one file. */
  static async load(directory: string): Promise<State> {
    await mkdir(path.join(directory, "generations"), { recursive: true, mode: 0o700 });
    const text = await readIfThere(path.join(directory, "state.json"));
    const state = new State(directory, text === undefined ? emptyFile() : parse(text));
    state.undecided = state.pending?.number;
    state.file.generations = state.generations.map((generation) =>
      generation.state === "pending" && existsSync(state.placeOf(generation.number, "rolled-back"))
        ? { ...generation, state: "rolled-back" }
        : generation,
    );
    return state;
  }

  get generations(): readonly Generation[] {
    return this.file.generations;
  }

  get confirmed(): Generation | undefined {
    return this.generations.findLast(({ state }) => state === "confirmed");
  }

  get pending(): Generation | undefined {
    return this.generations.findLast(({ state }) => state === "pending");
  }

  get nextGeneration(): number {
    return this.file.nextGeneration;
  }

  /** By conduit key, all that were ever given. */
  get numbers(): Readonly<Record<string, number>> {
    return this.file.conduits;
  }

  get islands(): readonly string[] {
    return this.file.islands;
  }

  /** Writes a new pending generation with its files, and numbers for its conduits. */
  async begin(
    legs: Legs,
    policy: Uint8Array,
    rest: Pick<Generation, "approvals" | "slot" | "appliedAt">,
  ): Promise<Generation> {
    const text = canonicalJson(legs as unknown as Json);
    const number = this.file.nextGeneration++;
    const hashes = { digest: sha256(text), policySha256: sha256(policy) };
    const generation: Generation = { number, ...hashes, state: "pending", ...rest };
    for (const { key } of legs.conduits) this.file.conduits[key] ??= this.number();
    // It is there already where the process before this one was killed in the next lines.
    await mkdir(this.placeOf(number), { recursive: true, mode: 0o700 });
    await writeWhole(this.placeOf(number, "legs.json"), text);
    await writeWhole(this.placeOf(number, "policy"), policy);
    this.file.generations.push(generation);
    await this.save();
    return generation;
  }

  async change(number: number, change: Partial<Pick<Generation, "state" | "slot">>): Promise<void> {
    const all = this.generations.map((g) => (g.number === number ? { ...g, ...change } : g));
    const running = all.findLast(({ state }) => state === "confirmed");
    const old = all.slice(0, -GENERATIONS_MAX).filter((g) => g.number !== running?.number);
    this.file.generations = all.filter((generation) => !old.includes(generation));
    await this.save();
    for (const gone of old) await rm(this.placeOf(gone.number), { recursive: true, force: true });
  }

  async setIslands(zones: readonly string[]): Promise<void> {
    this.file.islands = [...zones].sort();
    await this.save();
  }

  /** A new number, durably taken before it is used. */
  async takeNumber(): Promise<number> {
    const isAhead = this.nextId < this.file.nextId;
    const number = this.number();
    if (!isAhead) {
      this.file.nextId = number + NUMBERS_AHEAD;
      await this.save();
    }
    return number;
  }

  idOf(key: string): number {
    const id = this.file.conduits[key];
    if (id === undefined) throw new SallyportError("state-damaged", `conduit ${key} has no number`);
    return id;
  }

  /** An approval opens once. */
  async useApprovals(ids: readonly string[]): Promise<void> {
    const again = ids.find((id) => this.file.usedApprovals.includes(id));
    if (again !== undefined) {
      throw new SallyportError("approval-used", `approval ${again} was used before`);
    }
    this.file.usedApprovals.push(...ids);
    await this.save();
  }

  /** The generation's legs, refused unless they are what was applied. */
  async legsOf(generation: Generation): Promise<Legs> {
    const text = await readIfThere(this.placeOf(generation.number, "legs.json"));
    if (text !== undefined && sha256(text) === generation.digest) return JSON.parse(text) as Legs;
    const message = `generation ${generation.number} on disk is not what was applied`;
    throw new SallyportError("state-damaged", message, { hint: "apply the policy file again" });
  }

  async markRolledBack(number: number): Promise<void> {
    await writeWhole(this.placeOf(number, "rolled-back"), "");
  }

  private number(): number {
    if (this.nextId > ID_MAX) throw new SallyportError("numbers-used-up", "no number is left");
    const number = this.nextId++;
    this.file.nextId = Math.max(this.file.nextId, this.nextId);
    return number;
  }

  private save(): Promise<void> {
    return writeWhole(path.join(this.directory, "state.json"), JSON.stringify(this.file));
  }

  private placeOf(number: number, name = ""): string {
    return path.join(this.directory, "generations", String(number), name);
  }
}

function emptyFile(): StateFile {
  const lists = { usedApprovals: [], islands: [], generations: [] };
  return { format: 1, nextId: 1, nextGeneration: 1, conduits: {}, ...lists };
}

function parse(text: string): StateFile {
  try {
    const file = JSON.parse(text) as { format?: unknown };
    if (file.format === 1) return file as StateFile;
  } catch (cause) {
    throw new SallyportError("state-damaged", "state.json is not JSON", { cause });
  }
  throw new SallyportError("state-damaged", "state.json has a format that this version can't read");
}

/** Room that a full disk cannot take from what closes: it is given up for the next file that finds none. */
const RESERVE_BYTES = 2 * 1024 * 1024;

export function keepReserve(stateDir: string): void {
  const file = path.join(stateDir, "reserve");
  const { bavail, bsize } = statfsSync(stateDir);
  if (existsSync(file) || bavail * bsize < 8 * RESERVE_BYTES) return;
  writeFileSync(file, new Uint8Array(RESERVE_BYTES), { mode: 0o600 });
}

/** After this returns the file survives a power cut, whole. */
export async function writeWhole(file: string, content: string | Uint8Array): Promise<void> {
  await writeOnce(file, content).catch(async (error: unknown) => {
    if ((error as NodeJS.ErrnoException).code !== "ENOSPC") throw error;
    await rm(path.join(path.dirname(file), "reserve"), { force: true });
    await writeOnce(file, content);
  });
}

async function writeOnce(file: string, content: string | Uint8Array): Promise<void> {
  const handle = await open(`${file}.new`, "w", 0o600);
  try {
    await handle.writeFile(content);
    await handle.datasync();
  } finally {
    await handle.close();
  }
  await rename(`${file}.new`, file);
  const directory = await open(path.dirname(file), "r");
  await directory.sync();
  await directory.close();
}

export async function readIfThere(file: string): Promise<string | undefined> {
  try {
    return await readFile(file, "utf8");
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === "ENOENT") return undefined;
    throw error;
  }
}

function sha256(content: string | Uint8Array): string {
  return createHash("sha256").update(content).digest("hex");
}
