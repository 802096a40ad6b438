/** Backups at the command line, as root. Verifying one needs no gateway, and restoring one needs it stopped. */
import fs from "node:fs";
import path from "node:path";
import process from "node:process";
import { SallyportError } from "@sallyport/core";
import { backUp } from "../backup/gather.ts";
import { backupsDir, keptBackups, placeForNew, shareWithControl } from "../backup/kept-backups.ts";
import { checkBackup, putBack } from "../backup/put-back.ts";
import { makeRecoveryKey } from "../backup/recovery-key.ts";
import { instanceNamed } from "../instance.ts";
import { type Command, EXIT, type Invocation } from "./command.ts";
import { release } from "./release.ts";
import { table } from "./table.ts";

const MEBI = 1024 * 1024;

export const backupKey: Command = {
  name: "backup key",
  args: "",
  help: "Makes the recovery key that a restore on another machine asks for, and prints it once. Earlier backups need the key from before.",
  flags: {},
  async run(invocation) {
    requireRoot();
    const { stateDir } = instanceNamed(invocation.instance);
    const key = makeRecoveryKey(path.join(stateDir, "keyholder"));
    invocation.say("Keep this away from the gateway, and apart from its backups:");
    invocation.result({ key }, key);
    return EXIT.ok;
  },
};

export const backupCreate: Command = {
  name: "backup create",
  args: "[DIRECTORY]",
  help: "Copies ledger, state, sealed keys, the confirmed policy and the approvers while the gateway works. Without DIRECTORY beside the state.",
  flags: {},
  async run(invocation) {
    requireRoot();
    const instance = instanceNamed(invocation.instance);
    const atMs = Date.now();
    const [given] = invocation.args;
    const target = given === undefined ? placeForNew(instance, atMs) : path.resolve(given);
    const { entries, ledgerHead = "" } = await backUp(instance, target, {
      release: release(),
      atMs,
    });
    if (given === undefined) shareWithControl(instance, target);
    const sizeBytes = entries.reduce((sum, entry) => sum + entry.sizeBytes, 0);
    const records = Number(ledgerHead.split("\n")[1] ?? 0);
    const told = { directory: target, files: entries.length, sizeBytes, records };
    const text = `${target}: ${entries.length} files, ${mebi(sizeBytes)}, ledger of ${records} records. Take it to another machine.`;
    invocation.result(told, text);
    return EXIT.ok;
  },
};

export const backupList: Command = {
  name: "backup list",
  args: "",
  help: "Backups that stand beside the state.",
  flags: {},
  async run(invocation) {
    const kept = keptBackups(backupsDir(instanceNamed(invocation.instance)));
    const rows = kept.map(({ id, atMs, sizeBytes, sha256 }) => [
      ...[id, new Date(atMs).toISOString(), mebi(sizeBytes), sha256],
    ]);
    const text =
      rows.length === 0 ? "No backup." : table(["backup", "made", "size", "manifest"], rows);
    invocation.result(kept, text);
    return EXIT.ok;
  },
};

export const backupVerify: Command = {
  name: "backup verify",
  args: "DIRECTORY",
  help: "Reads every byte, every page and every record of the ledger against the checkpoint that was signed. Changes nothing, needs no gateway.",
  flags: {},
  async run(invocation) {
    const directory = directoryOf(invocation);
    const { release: by, atMs, entries, ledgerHead = "" } = await checkBackup(directory);
    const made = new Date(atMs).toISOString();
    const records = Number(ledgerHead.split("\n")[1] ?? 0);
    const told = { good: true, directory, release: by, made, files: entries.length, records };
    invocation.result(
      told,
      `good: made ${made} by release ${by}, ${entries.length} files as they were, ${records} records as they were signed`,
    );
    return EXIT.ok;
  },
};

export const backupRestore: Command = {
  name: "backup restore",
  args: "DIRECTORY",
  help: "Puts a backup in place of the state of a stopped gateway; what was there stays beside it. What was signed before opens nothing any more.",
  flags: {
    "recovery-key": {
      type: "string",
      value: "FILE",
      help: "what `backup key` printed, on another machine",
    },
    witnessed: {
      type: "string",
      value: "CHECKPOINT",
      help: "what a witness holds of this ledger: a file, or how many records; less is refused",
    },
    "keep-ledger": {
      type: "boolean",
      help: "the ledger that is in place stays; all else is restored",
    },
  },
  async run(invocation) {
    requireRoot();
    const directory = directoryOf(invocation);
    const file = invocation.text("recovery-key");
    const witnessed = invocation.text("witnessed");
    const { manifest, movedTo } = await putBack(instanceNamed(invocation.instance), directory, {
      ...(file === undefined ? {} : { recoveryKey: fs.readFileSync(file, "utf8") }),
      ...(witnessed === undefined ? {} : { witnessed }),
      keepLedger: invocation.flag("keep-ledger"),
    });
    const made = new Date(manifest.atMs).toISOString();
    const lines = [
      `The state of ${made} is in place.${movedTo === undefined ? "" : ` What was there before: ${movedTo}`}`,
      "People, keys and API keys that were taken away after that are there again: look at them first.",
      "All sign-ins have ended, and what was signed before this opens nothing. Start it: sallyport up",
    ];
    invocation.result({ made, movedTo, files: manifest.entries.length }, lines.join("\n"));
    return EXIT.ok;
  },
};

function directoryOf(invocation: Invocation): string {
  const [directory] = invocation.args;
  if (directory !== undefined) return path.resolve(directory);
  throw new SallyportError("usage", "which backup?", { hint: "sallyport backup list" });
}

function requireRoot(): void {
  if (process.geteuid?.() === 0) return;
  throw new SallyportError("needs-root", "a backup has what only root may read", {
    hint: "run the command with sudo",
  });
}

function mebi(sizeBytes: number): string {
  return `${(sizeBytes / MEBI).toFixed(1)} MiB`;
}
