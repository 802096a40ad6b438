/** What `sallyport policy matrix` says of the running gateway, as a person would ask it. */
import process from "node:process";
import { fileURLToPath } from "node:url";
import { formatIpv4, type Interval, normalize } from "@sallyport/core";
import type { Grant, Legs, Listener, MatrixRow } from "@sallyport/policy";
import { ask, fields, listOf } from "sallyport";
import { must } from "../../lab/shell.ts";
import type { Site } from "../../lab/site.ts";

const MAIN = fileURLToPath(new URL("../../packages/sallyport/src/main.ts", import.meta.url));

export interface Told {
  readonly rows: readonly MatrixRow[];
  readonly legs: Legs;
  readonly grants: readonly Grant[];
}

export async function toldBy({ instance }: Site): Promise<Told> {
  const argv = [process.execPath, MAIN, "policy", "matrix", "--json", "--instance", instance.name];
  const { rows } = JSON.parse(await must(argv)) as { readonly rows: readonly MatrixRow[] };
  const running = fields(await ask(instance.name, { type: "running" }));
  return {
    rows,
    legs: running["legs"] as unknown as Legs,
    grants: listOf(running["grants"]) as unknown as readonly Grant[],
  };
}

/** One host's right to open one port of another. */
export interface Conversation {
  readonly row: MatrixRow;
  readonly source: string;
  readonly target: string;
  readonly port: number;
  /** Where a gate answers: its listener for this row. */
  readonly listener: Listener | undefined;
}

/** Where the gate of this row answers for that target; a grant has a slot of its own. */
export function listenerOf(told: Told, row: MatrixRow, target: number, port: number): Listener {
  const conduit = told.legs.conduits.find(({ name }) => name === row.conduit);
  const slot = told.grants.find(({ id }) => id === row.grant)?.slot ?? 0;
  const listener = conduit?.listeners.find(
    (one) => one.targetAddress === target && one.targetPort === port && one.slot === slot,
  );
  if (listener !== undefined) return listener;
  throw new RangeError(`no listener of ${row.conduit} for ${formatIpv4(target)}:${port}`);
}

/** nmap's own way of writing ports, read back: `1,3-4` and `-`. */
export function portsOf(text: string): readonly Interval[] {
  if (text === "-") return [{ first: 1, last: 65_535 }];
  const parts = text.split(",").map((part) => {
    const [first = 0, last = first] = part.split("-").map(Number);
    return { first, last };
  });
  return normalize(parts);
}
