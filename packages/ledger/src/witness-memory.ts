/**
 * A witness's memory as one JSON file, written whole and synced before each answer. Part of the one-file
 * scripts, so it runs on Node 18 and imports built-ins only.
 */
import { readText, writeDurably } from "./durable-file.ts";
import type { WitnessedHead, WitnessMemory } from "./witness.ts";

/** Thousands of logs; a file beyond it is not ours. */
const MEMORY_MAX_BYTES = 16 * 1024 * 1024;

/** A memory that cannot be read is an error: a witness that forgot would cosign a rollback. */
export function openWitnessMemory(file: string): WitnessMemory {
  const text = readText(file, MEMORY_MAX_BYTES);
  const heads = new Map<string, WitnessedHead>(text === undefined ? [] : parse(text));
  return {
    get: (origin) => heads.get(origin),
    put: (origin, head) => {
      const next = new Map(heads).set(origin, head);
      writeDurably(file, `${JSON.stringify([...next], undefined, 1)}\n`);
      heads.set(origin, head);
    },
  };
}

function parse(text: string): [string, WitnessedHead][] {
  const value: unknown = JSON.parse(text);
  if (Array.isArray(value) && value.every(isEntry)) return value;
  throw new TypeError(
    "the witness's memory is damaged; restore it, or the logs can be rolled back",
  );
}

function isEntry(value: unknown): value is [string, WitnessedHead] {
  if (!Array.isArray(value) || value.length !== 2 || typeof value[0] !== "string") return false;
  const head: unknown = value[1];
  if (typeof head !== "object" || head === null) return false;
  const { size, root, checkpoint } = head as Record<string, unknown>;
  return Number.isSafeInteger(size) && typeof root === "string" && typeof checkpoint === "string";
}
