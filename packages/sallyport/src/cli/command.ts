import type { ParseArgsConfig } from "node:util";

/** What a command's end means to a script. Documented in docs/reference/exit-codes.md. */
export const EXIT = {
  ok: 0,
  failed: 1,
  changes: 2,
  degraded: 3,
  signInNeeded: 4,
  denied: 5,
  secondApproverNeeded: 6,
  usage: 64,
  missing: 69,
  interrupted: 130,
} as const;
export type ExitCode = (typeof EXIT)[keyof typeof EXIT];

export interface Flag {
  readonly type: "string" | "boolean";
  /** What follows the flag in help, e.g. `FILE`. */
  readonly value?: string;
  readonly help: string;
}

export interface Invocation {
  readonly args: readonly string[];
  text(flag: string): string | undefined;
  flag(flag: string): boolean;
  readonly json: boolean;
  readonly color: boolean;
  readonly instance: string;
  /** One result: JSON with `--json`, the text otherwise. Goes to standard output. */
  result(value: unknown, text: string): void;
  /** Talk that is not the result. Goes to standard error. */
  say(text: string): void;
}

export interface Command {
  /** `policy validate`. */
  readonly name: string;
  /** What follows the name, e.g. `FILE…`. */
  readonly args: string;
  readonly help: string;
  readonly flags: Readonly<Record<string, Flag>>;
  run(invocation: Invocation): Promise<ExitCode>;
}

export const GLOBAL_FLAGS: Readonly<Record<string, Flag>> = {
  json: { type: "boolean", help: "machine-readable output" },
  instance: {
    type: "string",
    value: "NAME",
    help: "which gateway on this machine (default: main)",
  },
  "no-color": { type: "boolean", help: "no color, as with NO_COLOR set" },
  help: { type: "boolean", help: "this text" },
};

export function parseOptions(command: Command): NonNullable<ParseArgsConfig["options"]> {
  const all = { ...GLOBAL_FLAGS, ...command.flags };
  return Object.fromEntries(Object.entries(all).map(([name, flag]) => [name, { type: flag.type }]));
}
