/**
 * Checks a ledger that was exported, or one record's proof, with nothing but Node 18 or later: no package, no
 * network, no gateway. Exit status 0: it holds. 1: it does not, and the line says which record and why.
 * 64: the command is not understood.
 */
import * as fs from "node:fs";
import { type Checked, type Fault, parseSize, type Trust } from "../src/checkpoint.ts";
import { NOTE_MAX_BYTES, parseVerifierKey, type VerifierKey } from "../src/note.ts";
import { checkProof, PROOF_FILE_MAX_BYTES } from "../src/tlog-proof.ts";
import { verifyExport } from "../src/verify-export.ts";

const USAGE = `usage: node verify.mjs <export directory | file.tlog-proof> --key KEY [option ...]

  --key KEY          public key of the ledger, name+id+base64, or a file with one a line
  --witness KEY      public key of a witness, or a file with one a line; may be repeated
  --threshold K      how many of the witnesses must have cosigned; all of them unless given
  --origin ORIGIN    origin line to expect, when it is not the key's name
  --since HEAD       a head held from before: a checkpoint file, an older export's directory, or the line
                     that was printed or sent to syslog; may be repeated
  --range FROM-TO    records that the export must hold, when it is not all of them
  --record FILE      the record itself, where a proof does not carry it

Keys must come to you by another way than the export.`;

/** Text after the last flag of that name, and all of them. */
type Flags = ReadonlyMap<string, readonly string[]>;

class Usage extends Error {}

const FLAGS = new Set(["key", "witness", "threshold", "origin", "since", "range", "record"]);

function readFlags(words: readonly string[]): { what: string; flags: Flags } {
  const flags = new Map<string, string[]>();
  const rest: string[] = [];
  for (let at = 0; at < words.length; at++) {
    const word = words[at] ?? "";
    if (!word.startsWith("--")) {
      rest.push(word);
      continue;
    }
    const name = word.slice(2);
    const value = words[++at];
    if (!FLAGS.has(name)) throw new Usage(`there is no option ${word}`);
    if (value === undefined) throw new Usage(`${word} needs a value`);
    flags.set(name, [...(flags.get(name) ?? []), value]);
  }
  const [what, ...more] = rest;
  if (what === undefined || more.length > 0) throw new Usage("name one directory or one proof");
  return { what, flags };
}

function readIfFile(text: string, maxBytes: number): Buffer | undefined {
  const stat = fs.statSync(text, { throwIfNoEntry: false });
  if (stat === undefined) return undefined;
  if (!stat.isFile() || stat.size > maxBytes) throw new Usage(`${text} is no file of that kind`);
  return fs.readFileSync(text);
}

function readKeys(texts: readonly string[] = []): VerifierKey[] {
  const lines = texts.flatMap((text) =>
    (readIfFile(text, NOTE_MAX_BYTES)?.toString() ?? text).split("\n"),
  );
  return lines
    .map((line) => line.trim())
    .filter((line) => line !== "" && !line.startsWith("#"))
    .map((line) => {
      const key = parseVerifierKey(line);
      if (key.kind === "malformed") throw new Usage(key.why);
      return key.value;
    });
}

function readNumber(text: string): number {
  const number = parseSize(text);
  if (number === undefined) throw new Usage(`"${text}" is no number`);
  return number;
}

function readTrust(flags: Flags): Trust {
  const logKeys = readKeys(flags.get("key"));
  const witnessKeys = readKeys(flags.get("witness"));
  if (logKeys.length === 0) throw new Usage("--key is needed: without a key nothing is proved");
  const threshold = readNumber(flags.get("threshold")?.at(-1) ?? String(witnessKeys.length));
  if (threshold > witnessKeys.length)
    throw new Usage("--threshold is above the number of witnesses");
  const origin = flags.get("origin")?.at(-1);
  return { logKeys, witnessKeys, threshold, ...(origin === undefined ? {} : { origin }) };
}

function readRange(text: string): { from: number; to: number } {
  const [from = "", to = "", ...rest] = text.split("-");
  if (rest.length > 0) throw new Usage("--range is FROM-TO");
  // People count the last one in.
  return { from: readNumber(from), to: readNumber(to) + 1 };
}

function describeTrust({ threshold, witnessKeys }: Trust): string {
  if (witnessKeys.length === 0) {
    return "no witness was asked for, so a second history signed with the same key is not excluded";
  }
  return `cosigned by at least ${threshold} of ${witnessKeys.length} witnesses`;
}

function verifyDirectory(directory: string, flags: Flags): Checked<string> {
  const trust = readTrust(flags);
  const since = flags.get("since") ?? [];
  const directories = since.filter((one) =>
    fs.statSync(one, { throwIfNoEntry: false })?.isDirectory(),
  );
  const heads = since
    .filter((one) => !directories.includes(one))
    .map((one) => readIfFile(one, NOTE_MAX_BYTES)?.toString() ?? one);
  if (directories.length > 1) throw new Usage("--since takes one directory");
  const [olderDirectory] = directories;
  const range = flags.get("range")?.at(-1);
  const checked = verifyExport({
    directory,
    trust,
    heads,
    ...(olderDirectory === undefined ? {} : { olderDirectory }),
    ...(range === undefined ? {} : { range: readRange(range) }),
  });
  if (checked.kind === "bad") return checked;
  const { checkpoint, records, disclosed, extended } = checked.value;
  const { origin, size } = checkpoint.head;
  const lines = [
    `${origin}: ${records} of ${size} records are as they were signed; ${describeTrust(trust)}`,
    ...checkpoint.cosigned.map(
      ({ name, atSeconds }) => `cosigned by ${name} at ${new Date(atSeconds * 1000).toISOString()}`,
    ),
    `${extended} heads from before are part of it; ${disclosed} personal values match`,
  ];
  return { kind: "good", value: lines.join("\n") };
}

function verifyFile(file: string, flags: Flags): Checked<string> {
  if (flags.has("since") || flags.has("range"))
    throw new Usage("--since and --range need an export");
  const trust = readTrust(flags);
  const text = readIfFile(file, PROOF_FILE_MAX_BYTES)?.toString() ?? "";
  const recordFile = flags.get("record")?.at(-1);
  const record = recordFile === undefined ? undefined : fs.readFileSync(recordFile);
  const checked = checkProof(text, trust, record);
  if (checked.kind === "bad") return checked;
  const { head, index, leaf } = checked.value;
  const line = `record ${index} of ${head.size} of ${head.origin} is as it was signed; ${describeTrust(trust)}`;
  return { kind: "good", value: `${line}\n${Buffer.from(leaf).toString()}` };
}

function describeFault({ code, record, why }: Fault): string {
  return `${record === undefined ? "ledger" : `record ${record}`}: [${code}] ${why}`;
}

function main(words: readonly string[]): number {
  try {
    const { what, flags } = readFlags(words);
    const stat = fs.statSync(what, { throwIfNoEntry: false });
    if (stat === undefined) throw new Usage(`${what} is not there`);
    const checked = stat.isDirectory() ? verifyDirectory(what, flags) : verifyFile(what, flags);
    if (checked.kind === "bad") {
      console.log(describeFault(checked.fault));
      return 1;
    }
    console.log(checked.value);
    return 0;
  } catch (error) {
    if (!(error instanceof Usage)) throw error;
    console.error(`${error.message}\n\n${USAGE}`);
    return 64;
  }
}

process.exitCode = main(process.argv.slice(2));
