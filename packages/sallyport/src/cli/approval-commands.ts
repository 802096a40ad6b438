/** Keys of approvers, and signing on an approver's own machine, which needs no gateway and believes no file. */
import { createPrivateKey, generateKeyPairSync, type KeyObject, sign } from "node:crypto";
import fs from "node:fs";
import process from "node:process";
import { createInterface } from "node:readline/promises";
import { canonicalJson, formatDiagnostic, type Json, SallyportError } from "@sallyport/core";
import { approvalMessage } from "@sallyport/identity/approval";
import { compilePolicy, diff, formatDiff } from "@sallyport/policy";
import { type Act, digestOf } from "../approvals/act.ts";
import { type ActFile, readAct, writeApproval } from "./act-file.ts";
import { type Command, EXIT, type Invocation } from "./command.ts";
import { ask, fields, listOf, word } from "./enforcer-client.ts";
import { required } from "./flags.ts";
import { localRoot } from "./local-root.ts";
import type { WantedKey } from "../messages.ts";
import { placeOf, travelingPolicy } from "./policy-files.ts";
import { table } from "./table.ts";

const KEY_NAME = /^[a-z0-9][a-z0-9._-]{0,62}$/;

export const approverNew: Command = {
  name: "approver new",
  args: "",
  help: "Makes an approver's key on this machine: the private half into a file, the public half on the screen.",
  flags: { out: { type: "string", value: "FILE", help: "for the private key (required)" } },
  async run(invocation) {
    const file = required(invocation, "out");
    const { publicKey, privateKey } = generateKeyPairSync("ed25519");
    const pem = privateKey.export({ format: "pem", type: "pkcs8" });
    fs.writeFileSync(file, pem, { mode: 0o600, flag: "wx" });
    const spki = publicKey.export({ format: "der", type: "spki" }).toString("base64");
    invocation.result(
      { file, key: spki },
      `${spki}\nThe private key is in ${file}: keep it on a machine of your own. On the gateway, as root:\n  sallyport approver add NAME --person PERSON --key ${spki}`,
    );
    return EXIT.ok;
  },
};

export const approverAdd: Command = {
  name: "approver add",
  args: "NAME",
  help: "Enrolls an approver's key at the enforcer. By local root: recorded as break-glass.",
  flags: {
    person: { type: "string", value: "NAME", help: "whose it is (required)" },
    key: { type: "string", value: "BASE64", help: "what `approver new` printed (required)" },
    passkey: {
      type: "string",
      value: "ID",
      help: "the key is that of a passkey, whose credential this is",
    },
    origin: {
      type: "string",
      value: "URL",
      help: "where the passkey was made: https://gateway.plant.example:8443",
    },
    zones: {
      type: "string",
      value: "ZONES",
      help: "the zones it is good for, by comma; all if absent",
    },
    "never-alone": {
      type: "boolean",
      help: "counts only beside somebody else's: for administrators",
    },
    reason: { type: "string", value: "TEXT", help: "why: it is recorded" },
  },
  async run(invocation) {
    const id = nameOf(invocation);
    const zones = invocation.text("zones")?.split(",");
    const key = {
      ...{ id, person: required(invocation, "person"), spki: required(invocation, "key") },
      ...passkeyOf(invocation),
      ...(zones === undefined ? {} : { zones }),
      ...(invocation.flag("never-alone") ? { neverAlone: true } : {}),
    };
    const asked = localRoot(invocation.text("reason"));
    const answer = await ask(invocation.instance, { type: "approver-enrol", key, ...asked });
    invocation.result(answer, `${key.person} can sign with key ${id}`);
    return EXIT.ok;
  },
};

/** The words of a browser about its passkey; the enforcer looks at all of them at each approval. */
function passkeyOf(
  invocation: Invocation,
): Pick<WantedKey, "kind" | "credentialId" | "rpId" | "origin"> {
  const credentialId = invocation.text("passkey");
  if (credentialId === undefined) return { kind: "ed25519" };
  const origin = required(invocation, "origin");
  return { kind: "passkey", credentialId, rpId: URL.parse(origin)?.hostname ?? "", origin };
}

export const approverList: Command = {
  name: "approver list",
  args: "",
  help: "Whose signatures the enforcer counts.",
  flags: {},
  async run(invocation) {
    const answer = await ask(invocation.instance, { type: "approver-list" });
    const rows = listOf(answer).map((item) => {
      const { id, person, kind, zones, revokedAtMs } = fields(item);
      const good = zones === undefined ? "all zones" : listOf(zones).map(word).join(", ");
      return [word(id), word(person), word(kind), revokedAtMs === undefined ? good : "revoked"];
    });
    const none =
      "No approver is enrolled: only local root opens anything. See: sallyport approver new";
    invocation.result(
      answer,
      rows.length === 0 ? none : table(["key", "person", "kind", "good for"], rows),
    );
    return EXIT.ok;
  },
};

export const approverRevoke: Command = {
  name: "approver revoke",
  args: "NAME",
  help: "Takes an approver's key away at once. Needs no signature; the key never comes back.",
  flags: {},
  async run(invocation) {
    const key = nameOf(invocation);
    const answer = await ask(invocation.instance, { type: "approver-revoke", key });
    invocation.result(answer, `key ${key} signs nothing more`);
    return EXIT.ok;
  },
};

export const approve: Command = {
  name: "approve",
  args: "FILE",
  help: "Signs what somebody asks for, after compiling the policy on this machine. Needs no gateway.",
  flags: {
    policy: {
      type: "string",
      value: "POLICY",
      help: "your copy of the policy; for a change (required)",
    },
    key: { type: "string", value: "FILE", help: "your private key (required)" },
    name: { type: "string", value: "NAME", help: "the name it is enrolled under (required)" },
    out: { type: "string", value: "FILE", help: "default: FILE.NAME" },
    yes: { type: "boolean", help: "do not ask; for a machine without a terminal" },
  },
  async run(invocation) {
    const file = invocation.args[0];
    if (file === undefined) throw new SallyportError("usage", "which file?");
    const name = required(invocation, "name");
    const key = privateKeyIn(required(invocation, "key"));
    const asked = readAct(file);
    const shown = asked.act.act === "apply" ? recompiled(invocation, asked) : termsOf(asked.act);
    invocation.say(shown);
    if (!(await agrees(invocation))) {
      throw new SallyportError("not-approved", "nothing was signed");
    }
    const signature = sign(null, approvalMessage(digestOf(asked.act)), key).toString("base64url");
    const out = invocation.text("out") ?? `${file}.${name}`;
    writeApproval(out, asked.act, { kind: "ed25519", key: name, signature });
    const digest = digestOf(asked.act).toString("hex");
    invocation.result({ file: out, digest }, `signed ${digest}\n${out} goes to whoever asked`);
    return EXIT.ok;
  },
};

/** Compiles the approver's own copy; only what comes out the same is shown and signed. */
function recompiled(invocation: Invocation, { act, running }: ActFile): string {
  if (act.act !== "apply") return "";
  const files = travelingPolicy(required(invocation, "policy"));
  const bytes = files.map(({ name, text }) => ({ name, bytes: new TextEncoder().encode(text) }));
  const { legs, diagnostics } = compilePolicy(bytes, { now: Date.now() });
  const at = required(invocation, "policy");
  for (const diagnostic of diagnostics) {
    invocation.say(formatDiagnostic({ ...diagnostic, file: placeOf(at, diagnostic.file) }));
  }
  if (legs === undefined) {
    throw new SallyportError("policy-refused", "your copy of the policy has mistakes");
  }
  const same =
    canonicalJson(legs as unknown as Json) === canonicalJson(act.legs as unknown as Json) &&
    legs.policySha256 === act.policySha256;
  if (!same) {
    throw new SallyportError("plan-changed", "this machine compiles your copy to something else", {
      hint: "compare the two policies: what you would sign is not what you have",
    });
  }
  const names = new Map(legs.assets.map(({ name, address }) => [address, name]));
  const what = formatDiff(diff(running, legs, { names }));
  const { site, baseGeneration, nextGeneration, author } = act;
  const since =
    running === undefined
      ? "compared with nothing in force"
      : "compared with what the file says is in force (not checked here)";
  return `${author} asks to apply to ${site}, generation ${baseGeneration} → ${nextGeneration}, ${since}:\n${what}`;
}

function termsOf(act: Act): string {
  const shown = Object.entries(act).map(
    ([name, value]) => `  ${name}: ${typeof value === "string" ? value : JSON.stringify(value)}`,
  );
  return `You are asked to sign:\n${shown.join("\n")}`;
}

async function agrees(invocation: Invocation): Promise<boolean> {
  if (invocation.flag("yes")) return true;
  if (!process.stdin.isTTY) {
    throw new SallyportError("usage", "there is no terminal to ask at", { hint: "add --yes" });
  }
  const terminal = createInterface({ input: process.stdin, output: process.stderr });
  try {
    return (await terminal.question("Sign this? Type yes: ")).trim() === "yes";
  } finally {
    terminal.close();
  }
}

function privateKeyIn(file: string): KeyObject {
  try {
    const key = createPrivateKey(fs.readFileSync(file));
    if (key.asymmetricKeyType === "ed25519") return key;
  } catch (cause) {
    throw new SallyportError("key-unreadable", `${file} holds no private key`, { cause });
  }
  throw new SallyportError("key-unreadable", `${file} holds no Ed25519 key`, {
    hint: "sallyport approver new --out FILE makes one",
  });
}

function nameOf(invocation: Invocation): string {
  const name = invocation.args[0] ?? "";
  if (KEY_NAME.test(name)) return name;
  throw new SallyportError("usage", "which key?", {
    hint: "a name of lower-case letters, digits, dots, dashes; see: sallyport approver list",
  });
}
