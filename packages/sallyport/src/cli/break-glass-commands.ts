/** Sealed accounts, for the day when nobody can sign in. */
import fs from "node:fs";
import { SallyportError } from "@sallyport/core";
import { instanceNamed } from "../instance.ts";
import { apiSocket } from "../own-places.ts";
import { askApi, succeeded, WHO_FLAGS, withApi } from "./api-client.ts";
import { type Command, EXIT, type Invocation } from "./command.ts";
import { fields, listOf, word } from "./enforcer-client.ts";
import { required } from "./flags.ts";
import { table } from "./table.ts";

export const breakGlassSeal: Command = {
  name: "break-glass seal",
  args: "ACCOUNT",
  help: "Makes an account whose secret is two halves on paper, or seals it anew. Prints both once.",
  flags: {
    ...WHO_FLAGS,
    holders: {
      type: "string",
      value: "A,B",
      help: "the two people who get a half each (required)",
    },
    roles: {
      type: "string",
      value: "ROLES",
      help: "what it may while it is open (default: admin)",
    },
  },
  async run(invocation) {
    const account = accountOf(invocation);
    const holders = required(invocation, "holders").split(",");
    const roles = (invocation.text("roles") ?? "admin").split(",");
    const answer = await withApi(invocation, (ask) =>
      ask({
        ...{ method: "PUT", path: `/v1/break-glass/${account}` },
        body: JSON.stringify({ holders, roles }),
      }),
    );
    const halves = listOf(fields(answer ?? null)["halves"]).map(word);
    const lines = halves.map((half, place) => `for ${holders[place] ?? ""}:\n  ${half}`);
    invocation.result(
      answer,
      `${lines.join("\n")}\nPrint each, give it to its holder in a sealed envelope, and keep no copy.`,
    );
    return EXIT.ok;
  },
};

export const breakGlassList: Command = {
  name: "break-glass list",
  args: "",
  help: "Sealed accounts, who has their halves, and which were opened.",
  flags: WHO_FLAGS,
  async run(invocation) {
    const answer = await withApi(invocation, (ask) =>
      ask({ method: "GET", path: "/v1/break-glass" }),
    );
    const rows = listOf(fields(answer ?? null)["items"]).map((item) => {
      const { id, holders, sealedAt, openedAt } = fields(item);
      const state =
        openedAt === undefined ? `sealed ${word(sealedAt)}` : `OPENED ${word(openedAt)}`;
      return [word(id), listOf(holders).map(word).join(", "), state];
    });
    const none = "No account is sealed: sallyport break-glass seal";
    invocation.result(
      answer,
      rows.length === 0 ? none : table(["account", "holders", "state"], rows),
    );
    return EXIT.ok;
  },
};

export const breakGlassOpen: Command = {
  name: "break-glass open",
  args: "ACCOUNT",
  help: "Opens a sealed account for two hours, once. Reads both halves from standard input, a line each. Raises an alarm.",
  flags: {
    reason: { type: "string", value: "TEXT", help: "why: it is recorded (required)" },
    out: {
      type: "string",
      value: "FILE",
      help: "for the session, to be used as --session FILE (required)",
    },
  },
  async run(invocation) {
    const account = accountOf(invocation);
    const [reason, out] = [required(invocation, "reason"), required(invocation, "out")];
    const halves = fs
      .readFileSync(0, "utf8")
      .split("\n")
      .map((half) => half.trim());
    const body = JSON.stringify({ account, halves: halves.filter((half) => half !== ""), reason });
    const socketPath = apiSocket(instanceNamed(invocation.instance));
    const asked = { method: "POST", path: "/v1/sign-in/break-glass", body };
    const answer = await askApi(socketPath, asked);
    const { endsAt } = succeeded(answer);
    const [cookie = ""] = answer.headers["set-cookie"]?.[0]?.split(";") ?? [];
    fs.writeFileSync(out, cookie, { mode: 0o600, flag: "wx" });
    invocation.result(
      { account, session: out, until: word(endsAt) },
      `${account} is open until ${word(endsAt)}. Ask with: sallyport api … --session ${out}\nSeal it anew after: break-glass seal`,
    );
    return EXIT.ok;
  },
};

function accountOf({ args: [account] }: Invocation): string {
  if (account !== undefined) return account;
  throw new SallyportError("usage", "which account?");
}
