/**
 * What outlives the process: generations, the numbers given to conduits and grants, used approvals.
 * A file is whole or absent: written beside, synced, renamed, and the directory synced.
 */
import { createHash } from "node:crypto";
import { open, mkdir, readFile, rename, rm, stat } from "node:fs/promises";
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
  /** The next number for a conduit or grant; no number is given twice. */
  nextId: number;
  nextGeneration: number;
  conduits: Record<string, number>;
  usedApprovals: string[];
  islands: string[];
  generations: Generation[];
}

/** Older generations are dropped with their files: the ledger keeps what they were. */
const GENERATIONS_MAX = 50;
/** Numbers are connection marks: positive, 31 bits. At a million a day they last for six years. */
const ID_MAX = 2 ** 31 - 1;

export class State {
  private readonly directory: string;
  private readonly file: StateFile;

  private constructor(directory: string, file: StateFile) {
    this.directory = directory;
    this.file = file;
  }

  static async load(directory: string): Promise<State> {
    await mkdir(path.join(directory, "generations"), { recursive: true, mode: 0o700 });
    const text = await readIfThere(path.join(directory, "state.json"));
    const empty: StateFile = {
      format: 1,
      nextId: 1,
      nextGeneration: 1,
      conduits: {},
      usedApprovals: [],
      islands: [],
      generations: [],
    };
    const state = new State(directory, text === undefined ? empty : parse(text));
    await state.seeRolledBack();
    return state;
  }

  /** The guard process leaves a mark beside the generation; two processes never write one file. */
  async seeRolledBack(): Promise<void> {
    for (const { number, state } of this.generations) {
      if (state === "pending" && (await exists(this.markOf(number))))
        this.turn(number, "rolled-back");
    }
  }

  get generations(): readonly Generation[] {
    return this.file.generations;
  }

  get confirmed(): Generation | undefined {
    return this.file.generations.findLast(({ state }) => state === "confirmed");
  }

  get pending(): Generation | undefined {
    return this.file.generations.findLast(({ state }) => state === "pending");
  }

  get nextGeneration(): number {
    return this.file.nextGeneration;
  }

  get islands(): readonly string[] {
    return this.file.islands;
  }

  /** Writes a new pending generation with its files, and numbers for its conduits. */
  async begin(
    legs: Legs,
    policy: Uint8Array,
    approvals: readonly Json[],
    place: { readonly slot: Slot; readonly now: number },
  ): Promise<Generation> {
    const text = canonicalJson(legs as unknown as Json);
    const generation: Generation = {
      number: this.file.nextGeneration++,
      digest: sha256(text),
      policySha256: sha256(policy),
      approvals,
      state: "pending",
      slot: place.slot,
      appliedAt: place.now,
    };
    for (const { key } of legs.conduits) this.file.conduits[key] ??= this.number();
    const directory = this.directoryOf(generation.number);
    await mkdir(directory, { mode: 0o700 });
    await writeWhole(path.join(directory, "legs.json"), text);
    await writeWhole(path.join(directory, "policy"), policy);
    this.file.generations.push(generation);
    await this.save();
    return generation;
  }

  async setState(number: number, state: "confirmed" | "rolled-back"): Promise<void> {
    this.turn(number, state);
    const old = this.file.generations.splice(0, this.file.generations.length - GENERATIONS_MAX);
    const kept = this.confirmed;
    if (kept === undefined || old.some((generation) => generation.number === kept.number)) {
      this.file.generations.unshift(...old);
    } else {
      await Promise.all(
        old.map(({ number: n }) => rm(this.directoryOf(n), { recursive: true, force: true })),
      );
    }
    await this.save();
  }

  async setSlot(number: number, slot: Slot): Promise<void> {
    const { generations } = this.file;
    this.file.generations = generations.map((g) => (g.number === number ? { ...g, slot } : g));
    await this.save();
  }

  async setIslands(zones: readonly string[]): Promise<void> {
    this.file.islands = [...zones].sort();
    await this.save();
  }

  /** A new number, durable before it is used. */
  async takeNumber(): Promise<number> {
    const number = this.number();
    await this.save();
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
    const text = await readIfThere(path.join(this.directoryOf(generation.number), "legs.json"));
    if (text !== undefined && sha256(text) === generation.digest) return JSON.parse(text) as Legs;
    const message = `generation ${generation.number} on disk is not what was applied`;
    throw new SallyportError("state-damaged", message, { hint: "apply the policy file again" });
  }

  policyOf(generation: Generation): Promise<Buffer> {
    return readFile(path.join(this.directoryOf(generation.number), "policy"));
  }

  async markRolledBack(number: number): Promise<void> {
    await writeWhole(this.markOf(number), "");
  }

  private number(): number {
    if (this.file.nextId > ID_MAX) throw new SallyportError("numbers-used-up", "no number is left");
    return this.file.nextId++;
  }

  private turn(number: number, state: Generation["state"]): void {
    const { generations } = this.file;
    const index = generations.findIndex((generation) => generation.number === number);
    const found = generations[index];
    if (found !== undefined) generations[index] = { ...found, state };
  }

  private save(): Promise<void> {
    return writeWhole(path.join(this.directory, "state.json"), JSON.stringify(this.file));
  }

  private directoryOf(number: number): string {
    return path.join(this.directory, "generations", String(number));
  }

  private markOf(number: number): string {
    return path.join(this.directoryOf(number), "rolled-back");
  }
}

function parse(text: string): StateFile {
  let file: { format?: unknown } = {};
  try {
    file = JSON.parse(text) as { format?: unknown };
  } catch (cause) {
    throw new SallyportError("state-damaged", "state.json is not JSON", { cause });
  }
  if (file.format === 1) return file as StateFile;
  throw new SallyportError("state-damaged", "state.json has a format that this version can't read");
}

/** After this returns the file survives a power cut, whole. */
export async function writeWhole(file: string, content: string | Uint8Array): Promise<void> {
  const beside = `${file}.new`;
  const handle = await open(beside, "w", 0o600);
  try {
    await handle.writeFile(content);
    await handle.datasync();
  } finally {
    await handle.close();
  }
  await rename(beside, file);
  const directory = await open(path.dirname(file), "r");
  try {
    await directory.sync();
  } finally {
    await directory.close();
  }
}

export async function readIfThere(file: string): Promise<string | undefined> {
  try {
    return await readFile(file, "utf8");
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === "ENOENT") return undefined;
    throw error;
  }
}

async function exists(file: string): Promise<boolean> {
  return stat(file).then(
    () => true,
    () => false,
  );
}

function sha256(content: string | Uint8Array): string {
  return createHash("sha256").update(content).digest("hex");
}
