/** The API at the command line, as the person whose account this is. */
import { SallyportError } from "@sallyport/core";
import { WHO_FLAGS, withApi } from "./api-client.ts";
import { type Command, EXIT } from "./command.ts";

const METHODS: readonly string[] = ["GET", "POST", "PUT", "DELETE"];

export const api: Command = {
  name: "api",
  args: "METHOD PATH [JSON]",
  help: "Asks the API on this machine, as the person with the name of your account, or with a key.",
  flags: {
    ...WHO_FLAGS,
    "if-match": { type: "string", value: "SHA256", help: "what you read, for what is replaced" },
  },
  async run(invocation) {
    const [method = "", at = "", body] = invocation.args;
    if (!METHODS.includes(method) || !at.startsWith("/")) {
      throw new SallyportError(
        "usage",
        `a method is one of ${METHODS.join(", ")}, a path begins with /`,
        { hint: "sallyport api GET /v1/status" },
      );
    }
    const sent = body === undefined && method === "POST" ? "{}" : body;
    const match = invocation.text("if-match");
    const told = await withApi(invocation, (ask) =>
      ask({
        ...{ method, path: at },
        ...(match === undefined ? {} : { headers: { "if-match": `"${match}"` } }),
        ...(sent === undefined ? {} : { body: sent }),
      }),
    );
    invocation.result(told ?? null, told === undefined ? "" : JSON.stringify(told, undefined, 2));
    return EXIT.ok;
  },
};
