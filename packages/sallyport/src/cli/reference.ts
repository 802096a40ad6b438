/** `docs/reference/cli.md`, from the same table as help and completion. */
import { type Command, type Flag, GLOBAL_FLAGS } from "./command.ts";

const HEAD = `# Commands

<!-- Made from the command table (packages/sallyport/src/cli/commands.ts); a test compares. To write it anew:
     SALLYPORT_UPDATE=1 npm test -- packages/sallyport/src/cli/reference -->

\`sallyport COMMAND [FLAGS]\`. From a clone: \`node packages/sallyport/bin/sallyport.mjs COMMAND\`. What ends with which exit code is
in [exit-codes.md](exit-codes.md). Commands that ask the running gateway need root: its socket is root's alone.`;

export function referenceText(commands: readonly Command[]): string {
  return [
    HEAD,
    ["Flags that every command takes:", "", flagTable(GLOBAL_FLAGS)].join("\n"),
    "`SALLYPORT_INSTANCE` in the environment names the gateway where `--instance` does not.",
    ...commands.map(section),
  ]
    .join("\n\n")
    .concat("\n");
}

function section({ name, args, help, flags }: Command): string {
  const usage = ["sallyport", name, args].filter((part) => part !== "").join(" ");
  const own = Object.keys(flags).length === 0 ? [] : ["", flagTable(flags)];
  return [`## ${name}`, "", `\`${usage}\``, "", help, ...own].join("\n");
}

function flagTable(flags: Readonly<Record<string, Flag>>): string {
  const rows = Object.entries(flags).map(([name, { value, help }]) => {
    const form = value === undefined ? `--${name}` : `--${name} ${value}`;
    return `| \`${cell(form)}\` | ${cell(help)} |`;
  });
  return ["| flag | |", "|---|---|", ...rows].join("\n");
}

/** A bar would end the cell, also inside a code span. */
function cell(text: string): string {
  return text.replaceAll("|", "\\|");
}
