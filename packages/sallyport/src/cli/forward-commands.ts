/** Where records are sent, through the API, as the person whose account this is. */
import fs from "node:fs";
import process from "node:process";
import { type Json, SallyportError } from "@sallyport/core";
import { instanceNamed } from "../instance.ts";
import { apiSocket } from "../own-places.ts";
import { type ApiAnswer, type ApiRequest, askApi, signInByUid } from "./api-commands.ts";
import { type Command, EXIT, type ExitCode, type Invocation } from "./command.ts";
import { fields, listOf, word } from "./enforcer-client.ts";
import { table } from "./table.ts";

type Ask = (request: ApiRequest) => Promise<ApiAnswer>;

export const forwardingStatus: Command = {
  name: "forwarding status",
  args: "",
  help: "Where records are sent, how far each place has got, and what hinders it. Exits 3 if one fails.",
  flags: {},
  async run(invocation) {
    return await signedIn(invocation, async (ask) => {
      const state = good(await ask({ method: "GET", path: "/v1/forwarding/state" }));
      const items = listOf(state["items"]).map(fields);
      const rows = items.map((one) => [
        ...["name", "state", "sentThrough", "behind", "failures", "why"].map((field) =>
          word(one[field]),
        ),
      ]);
      const head = ["destination", "state", "taken", "behind", "failures", "why"];
      const text = rows.length === 0 ? "Records are sent nowhere." : table(head, rows);
      invocation.result(items, text);
      return items.some((one) => one["state"] === "failed") ? EXIT.degraded : EXIT.ok;
    });
  },
};

export const forwardingSet: Command = {
  name: "forwarding set",
  args: "FILE",
  help: "Replaces where records are sent by what the file says: docs/operate/forwarding.md.",
  flags: {
    totp: { type: "string", value: "CODE", help: "your second factor: needed for settings" },
  },
  async run(invocation) {
    const [file] = invocation.args;
    if (file === undefined) throw new SallyportError("usage", "which file?");
    const body = fs.readFileSync(file, "utf8");
    return await signedIn(invocation, async (ask) => {
      const totp = invocation.text("totp");
      if (totp !== undefined) {
        const factor = JSON.stringify({ kind: "totp", totp });
        const path = "/v1/session/step-up/finish";
        good(await ask({ method: "POST", path, body: factor }));
      }
      const where = "/v1/forwarding";
      const { sha256 } = good(await ask({ method: "GET", path: where }));
      const headers = { "if-match": `"${word(sha256)}"` };
      const now = good(await ask({ method: "PUT", path: where, headers, body }));
      const names = [...listOf(now["targets"]), ...listOf(now["webhooks"])].map((one) =>
        word(fields(one)["name"]),
      );
      invocation.result(now, `records are sent to: ${names.join(", ") || "nobody"}`);
      return EXIT.ok;
    });
  },
};

async function signedIn(
  invocation: Invocation,
  act: (ask: Ask) => Promise<ExitCode>,
): Promise<ExitCode> {
  const socketPath = apiSocket(instanceNamed(invocation.instance));
  const token = await signInByUid(socketPath, process.geteuid?.() ?? 0);
  const authorization = { authorization: `Bearer ${token}` };
  const ask: Ask = async ({ headers = {}, ...request }) =>
    await askApi(socketPath, { ...request, headers: { ...headers, ...authorization } });
  try {
    return await act(ask);
  } finally {
    await ask({ method: "DELETE", path: "/v1/session" });
  }
}

function good({ status, body }: ApiAnswer): Readonly<Record<string, Json | undefined>> {
  const answer = fields(body ?? null);
  if (status < 400) return answer;
  const { code, detail, hint } = answer;
  const more = hint === undefined ? {} : { hint: word(hint) };
  throw new SallyportError(code === undefined ? "not-running" : word(code), word(detail), more);
}
