import { SallyportError } from "@sallyport/core";
import { digestOf, type GrantTerms } from "../approvals/act.ts";
import type { Asked } from "../messages.ts";
import { readAct, readApprovals, writeAct } from "./act-file.ts";
import { type Command, EXIT, type Invocation } from "./command.ts";
import { ask, fields, listOf, word } from "./enforcer-client.ts";
import { localRoot, newActId } from "./local-root.ts";
import { table } from "./table.ts";

const DURATION = /^(\d+)(s|m|h)$/;
const SECONDS_OF: Readonly<Record<string, number>> = { s: 1, m: 60, h: 3600 };

/** `90s`, `30m`, `2h` in seconds. */
export function durationSeconds(text: string): number {
  const match = DURATION.exec(text);
  const seconds = Number(match?.[1] ?? Number.NaN) * (SECONDS_OF[match?.[2] ?? ""] ?? Number.NaN);
  if (Number.isInteger(seconds) && seconds > 0) return seconds;
  throw new SallyportError("usage", `"${text}" is not a duration`, {
    hint: "for example 90s, 30m or 2h",
  });
}

export const grantAdd: Command = {
  name: "grant add",
  args: "CONDUIT",
  help: "Opens a session conduit for one person, device and asset, for a time. The kernel ends it. As local root's word (break-glass); with --out it only writes what approvers sign, which `grant open` opens.",
  flags: {
    author: { type: "string", value: "PERSON", help: "who asks for it, with --out" },
    out: { type: "string", value: "FILE", help: "write what approvers sign into this file" },
    "start-within": {
      type: "string",
      value: "TIME",
      help: "with --out: how long it may wait (default 8h)",
    },
    person: { type: "string", value: "NAME", help: "who (required)" },
    source: { type: "string", value: "ADDRESS", help: "the person's device (required)" },
    asset: { type: "string", value: "NAME", help: "the one asset (required)" },
    for: { type: "string", value: "TIME", help: "how long, e.g. 30m (required)" },
    reason: { type: "string", value: "TEXT", help: "why (required)" },
  },
  async run(invocation) {
    const required = (flag: string): string => {
      const value = invocation.text(flag);
      if (value !== undefined) return value;
      throw new SallyportError("usage", `--${flag} is missing`, {
        hint: "sallyport grant add --help",
      });
    };
    const conduit = invocation.args[0];
    if (conduit === undefined) throw new SallyportError("usage", "which conduit?");
    const grant = {
      conduit,
      person: required("person"),
      reason: required("reason"),
      source: required("source"),
      asset: required("asset"),
      seconds: durationSeconds(required("for")),
    };
    const out = invocation.text("out");
    if (out === undefined) return await openGrant(invocation, grant, localRoot());
    await writeGrant(invocation, grant, out);
    return EXIT.ok;
  },
};

export const grantOpen: Command = {
  name: "grant open",
  args: "FILE",
  help: "Opens the grant that `grant add --out` wrote, once enough approvers signed it.",
  flags: {
    approved: {
      type: "string",
      value: "FILES",
      help: "signatures by `approve`, by comma (required)",
    },
  },
  async run(invocation) {
    const file = invocation.args[0];
    if (file === undefined) throw new SallyportError("usage", "which file?");
    const { act } = readAct(file);
    if (act.act !== "grant") throw new SallyportError("usage", `${file} asks for no grant`);
    const { id, author, startBy, conduit, person, reason, source, asset, seconds } = act;
    const files = invocation.text("approved")?.split(",") ?? [];
    const approvals = readApprovals(files, digestOf(act).toString("hex"));
    const terms = { conduit, person, reason, source, asset, seconds };
    return await openGrant(invocation, terms, { id, author, startBy, approvals });
  },
};

async function openGrant(invocation: Invocation, grant: GrantTerms, asked: Asked): Promise<0> {
  const answer = fields(await ask(invocation.instance, { type: "grant-add", grant, ...asked }));
  const text = `grant ${word(answer["id"])} ends by itself at ${word(answer["until"])}`;
  invocation.result(answer, text);
  return EXIT.ok;
}

const START_WITHIN_SECONDS = 8 * 3600;

async function writeGrant(invocation: Invocation, grant: GrantTerms, out: string): Promise<void> {
  const author = invocation.text("author");
  if (author === undefined) {
    throw new SallyportError("usage", "--author is missing: approvers see who asks");
  }
  const within = invocation.text("start-within");
  const seconds = within === undefined ? START_WITHIN_SECONDS : durationSeconds(within);
  const { legs, nodeEpoch } = fields(await ask(invocation.instance, { type: "running" }));
  const site = word(fields(legs ?? null)["site"]);
  const startBy = new Date(Date.now() + seconds * 1000).toISOString();
  const named = { site, nodeEpoch: Number(nodeEpoch ?? 0), id: newActId(), author, startBy };
  writeAct(out, { act: { act: "grant", ...grant, ...named } });
  const text = `${out} is what approvers sign: sallyport approve ${out}; then: sallyport grant open ${out} --approved …`;
  invocation.result({ file: out, ...named }, text);
}

export const grantList: Command = {
  name: "grant list",
  args: "",
  help: "Grants in force.",
  flags: {},
  async run(invocation) {
    const answer = await ask(invocation.instance, { type: "grant-list" });
    const grants = listOf(answer).map(fields);
    const head = ["grant", "person", "conduit", "asset", "from", "until"];
    const rows = grants.map((grant) => [
      ...[grant["id"], grant["person"], grant["conduit"], grant["asset"]].map(word),
      ...[grant["source"], grant["until"]].map(word),
    ]);
    invocation.result(answer, rows.length === 0 ? "No grant is in force." : table(head, rows));
    return EXIT.ok;
  },
};

export const grantRevoke: Command = {
  name: "grant revoke",
  args: "GRANT",
  help: "Ends a grant and its live sessions now.",
  flags: {},
  async run(invocation) {
    const grant = invocation.args[0];
    if (grant === undefined)
      throw new SallyportError("usage", "which grant?", { hint: "sallyport grant list" });
    const answer = await ask(invocation.instance, { type: "grant-revoke", grant });
    invocation.result(answer, `grant ${grant} is revoked`);
    return EXIT.ok;
  },
};

function islandCommand(on: boolean): Command {
  return {
    name: on ? "island on" : "island off",
    args: "ZONE",
    help: on
      ? "Cuts a zone off: only its conduits marked `island: keep` stay open."
      : "Ends island mode of a zone.",
    flags: {},
    async run(invocation) {
      const zone = invocation.args[0];
      if (zone === undefined) throw new SallyportError("usage", "which zone?");
      const answer = await ask(
        invocation.instance,
        on ? { type: "island-on", zone } : { type: "island-off", zone, ...localRoot() },
      );
      invocation.result(answer, on ? `${zone} is an island` : `${zone} is connected again`);
      return EXIT.ok;
    },
  };
}

export const islandOn: Command = islandCommand(true);
export const islandOff: Command = islandCommand(false);

export const clockTrust: Command = {
  name: "clock trust",
  args: "",
  help: "After a clock step: says that the time is right again. Windows open and grants are given anew.",
  flags: {},
  async run(invocation) {
    const answer = await ask(invocation.instance, { type: "trust-time", ...localRoot() });
    invocation.result(answer, `the time is trusted: ${new Date().toISOString()}`);
    return EXIT.ok;
  },
};
