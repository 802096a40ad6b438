/** Where records are sent, through the API, as the person whose account this is, or with a key. */
import fs from "node:fs";
import { SallyportError } from "@sallyport/core";
import { WHO_FLAGS, withApi } from "./api-client.ts";
import { type Command, EXIT } from "./command.ts";
import { fields, listOf, word } from "./enforcer-client.ts";
import { table } from "./table.ts";

export const forwardingStatus: Command = {
  name: "forwarding status",
  args: "",
  help: "Where records are sent, how far each place has got, and what hinders it. Exits 3 if one fails.",
  flags: WHO_FLAGS,
  async run(invocation) {
    return await withApi(invocation, async (ask) => {
      const state = fields((await ask({ method: "GET", path: "/v1/forwarding/state" })) ?? null);
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
  flags: WHO_FLAGS,
  async run(invocation) {
    const [file] = invocation.args;
    if (file === undefined) throw new SallyportError("usage", "which file?");
    const body = fs.readFileSync(file, "utf8");
    return await withApi(invocation, async (ask) => {
      const path = "/v1/forwarding";
      const { sha256 } = fields((await ask({ method: "GET", path })) ?? null);
      const headers = { "if-match": `"${word(sha256)}"` };
      const now = fields((await ask({ method: "PUT", path, headers, body })) ?? null);
      const names = [...listOf(now["targets"]), ...listOf(now["webhooks"])].map((one) =>
        word(fields(one)["name"]),
      );
      invocation.result(now, `records are sent to: ${names.join(", ") || "nobody"}`);
      return EXIT.ok;
    });
  },
};
