/** The ledger at the command line. Reading goes through the archivist; verifying needs neither it nor root. */
import { spawnSync } from "node:child_process";
import fs from "node:fs";
import path from "node:path";
import process from "node:process";
import { fileURLToPath } from "node:url";
import { type Json, SallyportError } from "@sallyport/core";
import { checkpointLine, VERIFIER } from "@sallyport/ledger";
import type { ArchivistRequest } from "../archivist/archivist-messages.ts";
import { archivistSocket, instanceNamed } from "../instance.ts";
import { type Command, EXIT, type Invocation } from "./command.ts";
import { askSocket, fields, listOf, word } from "./enforcer-client.ts";
import { table } from "./table.ts";

const SHOWN_DEFAULT = 50;
const WITNESS_WITHIN_MS = 20_000;

async function ask(invocation: Invocation, request: ArchivistRequest): Promise<Json> {
  const socket = archivistSocket(instanceNamed(invocation.instance), "root");
  return await askSocket(socket, request);
}

export const ledgerStatus: Command = {
  name: "ledger status",
  args: "",
  help: "How many records there are, the last signed checkpoint, and the line to print or write down.",
  flags: {},
  async run(invocation) {
    const head = fields(await ask(invocation, { type: "head" }));
    const signed = word(head["signed"]);
    const rows = [
      ["key", word(head["key"])],
      ["records", word(head["size"])],
      ["root", word(head["root"])],
      ["signed up to", signed === "" ? "nothing yet" : (signed.split("\n")[1] ?? "")],
      ["cosigned up to", word(head["cosigned"]).split("\n")[1] ?? "no witness"],
      ...(signed === "" ? [] : [["line to keep elsewhere", checkpointLine(signed)]]),
    ];
    invocation.result({ ...head }, table(["ledger", ""], rows));
    return EXIT.ok;
  },
};

export const ledgerList: Command = {
  name: "ledger list",
  args: "",
  help: "Records, newest last.",
  flags: {
    type: { type: "string", value: "TYPE", help: "only these, e.g. enforcer.applied" },
    from: { type: "string", value: "N", help: "from this record on (default: the last ones)" },
    last: { type: "string", value: "N", help: `how many (default ${SHOWN_DEFAULT})` },
  },
  async run(invocation) {
    const limit = numberOf(invocation, "last") ?? SHOWN_DEFAULT;
    const type = invocation.text("type");
    const size = Number(fields(await ask(invocation, { type: "head" }))["size"]);
    // Of one type the last ones can be anywhere, so the pages are walked from the start.
    const start =
      numberOf(invocation, "from") ?? (type === undefined ? Math.max(0, size - limit) : 0);
    const records = await pages(invocation, type, start, limit);
    const rows = records.map((record) => {
      const { index, at, type: name, leaf } = record;
      return [word(index), word(at), word(name), summaryOf(word(leaf))];
    });
    const text =
      rows.length === 0 ? "No such record." : table(["record", "time", "type", ""], rows);
    invocation.result(records, text);
    return EXIT.ok;
  },
};

async function pages(
  invocation: Invocation,
  type: string | undefined,
  start: number,
  limit: number,
): Promise<readonly ReturnType<typeof fields>[]> {
  const found: ReturnType<typeof fields>[] = [];
  let from: number | undefined = start;
  while (from !== undefined) {
    const question = { from, limit: 1000, ...(type === undefined ? {} : { type }) };
    const page = fields(await ask(invocation, { type: "list", question }));
    found.push(...listOf(page["records"]).map(fields));
    if (type === undefined && found.length >= limit) break;
    found.splice(0, type === undefined ? 0 : Math.max(0, found.length - limit));
    const next: Json | undefined = page["next"];
    from = typeof next === "number" ? next : undefined;
  }
  return type === undefined ? found.slice(0, limit) : found;
}

export const ledgerShow: Command = {
  name: "ledger show",
  args: "RECORD",
  help: "One record: what is in the tree, and the personal values beside it.",
  flags: {},
  async run(invocation) {
    const record = fields(await ask(invocation, { type: "record", index: indexOf(invocation) }));
    const leaf = JSON.stringify(JSON.parse(word(record["leaf"])), undefined, 2);
    const personal = Object.entries(fields(record["personal"] ?? {}));
    const told = personal.map(([name, value]) => `  ${name}: ${word(value)}`);
    const beside = told.length === 0 ? "" : `\npersonal, committed to above:\n${told.join("\n")}`;
    invocation.result(record, `${leaf}${beside}`);
    return EXIT.ok;
  },
};

export const ledgerProve: Command = {
  name: "ledger prove",
  args: "RECORD",
  help: "Writes a proof of one record that anybody can check offline (c2sp.org/tlog-proof).",
  flags: { out: { type: "string", value: "FILE", help: "default: RECORD.tlog-proof" } },
  async run(invocation) {
    const index = indexOf(invocation);
    const answer = fields(await ask(invocation, { type: "prove", index }));
    const out = invocation.text("out") ?? `${index}.tlog-proof`;
    fs.writeFileSync(out, word(answer["proof"]));
    invocation.result(
      { file: out },
      `${out} proves record ${index}; check it with verify.mjs of an export`,
    );
    return EXIT.ok;
  },
};

export const ledgerExport: Command = {
  name: "ledger export",
  args: "DIRECTORY",
  help: "Writes records, tiles, checkpoint and a verifier that needs nothing but Node into a new directory.",
  flags: {
    from: { type: "string", value: "N", help: "the first record" },
    to: { type: "string", value: "N", help: "the one after the last" },
    personal: { type: "boolean", help: "with personal values and their salts" },
  },
  async run(invocation) {
    const target = invocation.args[0];
    if (target === undefined) throw new SallyportError("usage", "into which directory?");
    if (fs.existsSync(target)) {
      throw new SallyportError("file-exists", `${target} is there already`, {
        hint: "name a new directory",
      });
    }
    const [from, to] = [numberOf(invocation, "from"), numberOf(invocation, "to")];
    const answer = fields(
      await ask(invocation, {
        type: "export",
        name: `cli-${Date.now()}`,
        ...(from === undefined ? {} : { from }),
        ...(to === undefined ? {} : { to }),
        personal: invocation.flag("personal"),
        proofs: [],
      }),
    );
    const made = word(answer["directory"]);
    fs.cpSync(made, target, { recursive: true });
    fs.rmSync(made, { recursive: true });
    const text = `${word(answer["size"])} records in ${target}; check them: node ${path.join(target, "verify.mjs")} --help`;
    invocation.result({ ...answer, directory: target }, text);
    return EXIT.ok;
  },
};

export const ledgerVerify: Command = {
  name: "ledger verify",
  args: "DIRECTORY | PROOF",
  help: "Checks an export or a proof as an auditor would, with the verifier that every export carries. Needs no gateway when --key is given.",
  flags: {
    key: {
      type: "string",
      value: "KEY",
      help: "the ledger's public key (default: this gateway's)",
    },
    witness: { type: "string", value: "KEY", help: "a witness's public key, or a file of them" },
    threshold: { type: "string", value: "K", help: "how many witnesses must have cosigned" },
    since: { type: "string", value: "HEAD", help: "a head held from before: file, folder or line" },
  },
  async run(invocation) {
    const what = invocation.args[0];
    if (what === undefined) throw new SallyportError("usage", "which export or proof?");
    const key =
      invocation.text("key") ?? word(fields(await ask(invocation, { type: "head" }))["key"]);
    const given = ["witness", "threshold", "since"].flatMap((flag) => {
      const value = invocation.text(flag);
      return value === undefined ? [] : [`--${flag}`, value];
    });
    const argv = [fileURLToPath(VERIFIER), what, "--key", key, ...given];
    const { status, stdout, stderr } = spawnSync(process.execPath, argv, { encoding: "utf8" });
    if (status === 0) {
      invocation.result({ good: true, said: stdout.trim() }, stdout);
      return EXIT.ok;
    }
    throw new SallyportError("ledger-not-good", (stderr + stdout).trim(), {
      hint: "docs/reference/ledger.md says what each finding means",
    });
  },
};

export const ledgerWitness: Command = {
  name: "ledger witness",
  args: "add KEY | ask NAME URL",
  help: "add: trusts a witness's key, so that its cosignatures count. ask: has a witness cosign the present head, over HTTP from this machine.",
  flags: {
    threshold: {
      type: "string",
      value: "K",
      help: "with add: how many must cosign (default: all)",
    },
  },
  async run(invocation) {
    const [verb, name, url] = invocation.args;
    if (verb === "add" && name !== undefined) return await addWitness(invocation, name);
    if (verb === "ask" && name !== undefined && url !== undefined) {
      return await askWitness(invocation, name, url);
    }
    throw new SallyportError("usage", "add KEY, or ask NAME URL?", {
      hint: "sallyport ledger witness --help",
    });
  },
};

async function addWitness(invocation: Invocation, key: string): Promise<0> {
  const threshold = numberOf(invocation, "threshold");
  const rest = threshold === undefined ? {} : { threshold };
  const answer = await ask(invocation, { type: "witness-add", key, ...rest });
  invocation.result(answer, `${key.split("+")[0] ?? key} is a witness; the archivist starts anew`);
  return EXIT.ok;
}

async function askWitness(invocation: Invocation, witness: string, url: string): Promise<0> {
  let step = fields(await ask(invocation, { type: "cosign", witness }));
  while (step["done"] === undefined) {
    const { status, body } = await post(url, word(step["body"]));
    const answer = { type: "cosign-answer" as const, id: Number(step["id"]), status, body };
    step = fields(await ask(invocation, answer));
  }
  invocation.result(step, `${word(step["done"])} of our witnesses have cosigned the present head`);
  return EXIT.ok;
}

async function post(url: string, body: string): Promise<{ status: number; body: string }> {
  try {
    const answer = await fetch(new URL("add-checkpoint", url.endsWith("/") ? url : `${url}/`), {
      method: "POST",
      body,
      signal: AbortSignal.timeout(WITNESS_WITHIN_MS),
    });
    return { status: answer.status, body: (await answer.text()).slice(0, 65_536) };
  } catch (cause) {
    throw new SallyportError("witness-unreachable", `the witness at ${url} did not answer`, {
      cause,
    });
  }
}

function indexOf(invocation: Invocation): number {
  const index = Number(invocation.args[0] ?? Number.NaN);
  if (Number.isSafeInteger(index) && index >= 0) return index;
  throw new SallyportError("usage", "which record?", { hint: "its number: sallyport ledger list" });
}

function numberOf(invocation: Invocation, flag: string): number | undefined {
  const text = invocation.text(flag);
  if (text === undefined) return undefined;
  const value = Number(text);
  if (Number.isSafeInteger(value) && value >= 0) return value;
  throw new SallyportError("usage", `--${flag} takes a whole number, not "${text}"`);
}

/** A record's own words in one line of a table. */
function summaryOf(leaf: string): string {
  const {
    type: _type,
    at: _at,
    commit: _commit,
    ...rest
  } = JSON.parse(leaf) as Record<string, Json>;
  const text = Object.entries(rest)
    .map(([name, value]) => `${name}=${word(value)}`)
    .join(" ");
  return text.length > 100 ? `${text.slice(0, 99)}…` : text;
}
