import { parseArgs } from "node:util";
import { nearest, SallyportError } from "@sallyport/core";
import { replyError } from "../messages.ts";
import {
  type Command,
  EXIT,
  type ExitCode,
  type Flag,
  GLOBAL_FLAGS,
  type Invocation,
  parseOptions,
} from "./command.ts";

/** Codes whose meaning for a script is not plain failure. */
const EXIT_OF: Readonly<Record<string, ExitCode>> = {
  usage: EXIT.usage,
  "not-running": EXIT.failed,
  "needs-root": EXIT.denied,
  denied: EXIT.denied,
  "not-permitted": EXIT.denied,
  "own-roles": EXIT.denied,
  "second-approver-needed": EXIT.secondApproverNeeded,
  "approval-missing": EXIT.secondApproverNeeded,
  "sign-in-needed": EXIT.signInNeeded,
  "sign-in-failed": EXIT.signInNeeded,
  "sign-in-ended": EXIT.signInNeeded,
  "step-up-needed": EXIT.signInNeeded,
  "link-invalid": EXIT.signInNeeded,
  "break-glass-refused": EXIT.signInNeeded,
  "missing-program": EXIT.missing,
};

/** Finds the command that the words name, runs it, and turns whatever happens into an exit code. */
export async function dispatch(
  commands: readonly Command[],
  argv: readonly string[],
  streams: { out(text: string): void; err(text: string): void; isTerminal: boolean },
): Promise<ExitCode> {
  const wantsJson = argv.includes("--json");
  try {
    const found = findCommand(commands, argv);
    if (found === undefined) {
      return unknownCommand(commands, argv, streams);
    }
    const { command, rest } = found;
    let parsed: ReturnType<typeof parseArgs>;
    try {
      parsed = parseArgs({
        args: [...rest],
        options: parseOptions(command),
        allowPositionals: true,
      });
    } catch (cause) {
      const why = cause instanceof Error ? (cause.message.split(". ")[0] ?? "") : String(cause);
      throw new SallyportError("usage", why, { cause, hint: `sallyport ${command.name} --help` });
    }
    if (parsed.values["help"] === true) {
      streams.out(`${helpOf(command)}\n`);
      return EXIT.ok;
    }
    return await command.run(invocationOf(parsed, streams));
  } catch (error) {
    const { code, message, hint } = replyError(error);
    if (wantsJson) streams.err(`${JSON.stringify({ error: { code, message, hint } })}\n`);
    else
      streams.err(
        `sallyport: ${message} [${code}]\n${hint === undefined ? "" : `  hint: ${hint}\n`}`,
      );
    return EXIT_OF[code] ?? EXIT.failed;
  }
}

function invocationOf(
  parsed: ReturnType<typeof parseArgs>,
  streams: { out(text: string): void; err(text: string): void; isTerminal: boolean },
): Invocation {
  const text = (flag: string): string | undefined => {
    const value = parsed.values[flag];
    return typeof value === "string" ? value : undefined;
  };
  const json = parsed.values["json"] === true;
  return {
    args: parsed.positionals,
    text,
    flag: (flag) => parsed.values[flag] === true,
    json,
    color:
      streams.isTerminal && parsed.values["no-color"] !== true && !process.env["NO_COLOR"] && !json,
    instance: text("instance") ?? process.env["SALLYPORT_INSTANCE"] ?? "main",
    result: (value, plain) => {
      if (json) streams.out(`${JSON.stringify(value)}\n`);
      else if (plain !== "") streams.out(plain.endsWith("\n") ? plain : `${plain}\n`);
    },
    say: (line) => streams.err(line.endsWith("\n") ? line : `${line}\n`),
  };
}

function findCommand(
  commands: readonly Command[],
  argv: readonly string[],
): { command: Command; rest: readonly string[] } | undefined {
  const places = wordPlaces(argv);
  for (const length of [2, 1]) {
    const own = places.slice(0, length);
    const name = own.map((place) => argv[place]).join(" ");
    const command = commands.find((candidate) => candidate.name === name);
    if (command !== undefined && own.length === length) {
      // Only the command's own words go; flags may stand before or between them.
      return { command, rest: argv.filter((_, place) => !own.includes(place)) };
    }
  }
  return undefined;
}

/** Where the words are that are neither a flag nor the value of one that every command has. */
function wordPlaces(argv: readonly string[]): number[] {
  const places: number[] = [];
  for (let place = 0; place < argv.length; place++) {
    const word = argv[place] ?? "";
    if (!word.startsWith("-")) places.push(place);
    else if (GLOBAL_FLAGS[word.replace(/^--/, "")]?.type === "string") place++;
  }
  return places;
}

function unknownCommand(
  commands: readonly Command[],
  argv: readonly string[],
  streams: { out(text: string): void; err(text: string): void },
): ExitCode {
  const words = wordPlaces(argv).map((place) => argv[place] ?? "");
  if (words.length === 0) {
    const asked = argv.includes("--help") || argv.length === 0;
    if (asked) streams.out(overview(commands));
    else streams.err(overview(commands));
    return asked ? EXIT.ok : EXIT.usage;
  }
  const [first = ""] = words;
  const group = commands.filter((command) => command.name.startsWith(`${first} `));
  const typed = group.length > 0 ? words.slice(0, 2).join(" ") : first;
  if (group.length > 0 && words.length === 1) {
    streams.err(`${group.map((command) => `  ${usageOf(command)}`).join("\n")}\n`);
    return EXIT.usage;
  }
  const names = commands.map((command) => command.name);
  const near = nearest(typed, names) ?? nearest(first, names);
  const hint =
    near === undefined ? "sallyport --help lists the commands" : `did you mean "${near}"?`;
  throw new SallyportError("usage", `there is no command "${typed}"`, { hint });
}

function usageOf(command: Command): string {
  return ["sallyport", command.name, command.args].filter((part) => part !== "").join(" ");
}

function flagLine([name, flag]: [string, Flag]): string {
  const form = flag.value === undefined ? `--${name}` : `--${name} ${flag.value}`;
  return `  ${form.padEnd(28)} ${flag.help}`;
}

export function helpOf(command: Command): string {
  const flags = Object.entries({ ...command.flags, ...GLOBAL_FLAGS }).map(flagLine);
  return [usageOf(command), "", command.help, "", ...flags].join("\n");
}

export function overview(commands: readonly Command[]): string {
  const lines = commands.map(
    (command) =>
      `  ${`${command.name} ${command.args}`.padEnd(40)} ${command.help.split(". ")[0] ?? ""}`,
  );
  return [
    "Sallyport: an industrial DMZ, secure remote access and zero-trust segmentation from one policy.",
    "",
    ...lines,
    "",
    "sallyport COMMAND --help tells more; exit codes: docs/reference/exit-codes.md",
    "",
  ].join("\n");
}

/** Completion for bash and zsh (through bashcompinit), from the same table as help. */
export function completion(commands: readonly Command[], shell: string): string {
  if (shell !== "bash" && shell !== "zsh") {
    throw new SallyportError("usage", `there is no completion for "${shell}"`, {
      hint: "bash or zsh",
    });
  }
  const cases = commands.map((command) => {
    const flags = Object.keys({ ...command.flags, ...GLOBAL_FLAGS }).map((flag) => `--${flag}`);
    return `    "${command.name}") words="${flags.join(" ")}" ;;`;
  });
  const first = [...new Set(commands.map((command) => command.name.split(" ")[0]))].join(" ");
  const groups = new Map<string, string[]>();
  for (const command of commands) {
    const [head = "", tail] = command.name.split(" ");
    if (tail !== undefined) groups.set(head, [...(groups.get(head) ?? []), tail]);
  }
  const seconds = [...groups].map(
    ([head, tails]) => `    "${head}") words="${tails.join(" ")}" ;;`,
  );
  return [
    ...(shell === "zsh" ? ["autoload -U +X bashcompinit && bashcompinit"] : []),
    "_sallyport() {",
    '  local current="${COMP_WORDS[COMP_CWORD]}" words=""',
    `  if [ "$COMP_CWORD" -eq 1 ]; then words="${first}"; fi`,
    '  case "${COMP_WORDS[1]}" in',
    ...seconds,
    "  esac",
    '  case "${COMP_WORDS[1]} ${COMP_WORDS[2]}" in',
    ...cases.filter((line) => /^ +"[^"]+ /.test(line)),
    "  esac",
    '  if [ "$COMP_CWORD" -gt 1 ]; then case "${COMP_WORDS[1]}" in',
    ...cases.filter((line) => !/^ +"[^"]+ /.test(line)),
    "  esac; fi",
    '  COMPREPLY=($(compgen -W "$words" -- "$current"))',
    "}",
    "complete -o default -F _sallyport sallyport",
    "",
  ].join("\n");
}
