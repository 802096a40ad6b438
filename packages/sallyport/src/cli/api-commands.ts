/** The API at the command line, as the person whose account this is; and the link of the first administrator. */
import fs from "node:fs";
import http from "node:http";
import path from "node:path";
import process from "node:process";
import { type Json, SallyportError } from "@sallyport/core";
import { firstAdminToken } from "@sallyport/identity/approval";
import { instanceNamed } from "../instance.ts";
import { apiSocket, keyholderSocket } from "../own-places.ts";
import { type Command, EXIT, type ExitCode } from "./command.ts";
import { ask, askSocket, fields, word } from "./enforcer-client.ts";

const ANSWER_MAX_BYTES = 64 * 1024 * 1024;
const ANSWER_WITHIN_MS = 60_000;
const METHODS: readonly string[] = ["GET", "POST", "PUT", "DELETE"];
/** What an answer means to a script: docs/reference/exit-codes.md. */
const EXIT_OF: Readonly<Record<number, ExitCode>> = {
  401: EXIT.signInNeeded,
  403: EXIT.denied,
};

export interface ApiAnswer {
  readonly status: number;
  readonly headers: http.IncomingHttpHeaders;
  readonly body: Json | undefined;
}

export interface ApiRequest {
  readonly method: string;
  readonly path: string;
  readonly headers?: Readonly<Record<string, string>>;
  readonly body?: string;
}

/** One request over the local socket. */
export async function askApi(
  socketPath: string,
  { method, path: at, headers = {}, body }: ApiRequest,
): Promise<ApiAnswer> {
  const all = {
    host: "localhost",
    ...(body === undefined ? {} : { "content-type": "application/json" }),
    ...(body === undefined ? {} : { "content-length": String(Buffer.byteLength(body)) }),
    ...headers,
  };
  return await new Promise((resolve, reject) => {
    const request = http.request({ socketPath, method, path: at, headers: all }, (answer) => {
      const chunks: Buffer[] = [];
      let sizeBytes = 0;
      answer.on("data", (chunk: Buffer) => {
        sizeBytes += chunk.length;
        if (sizeBytes > ANSWER_MAX_BYTES) answer.destroy(new Error("the answer is too long"));
        else chunks.push(chunk);
      });
      answer.on("error", reject);
      answer.on("end", () => {
        const text = Buffer.concat(chunks).toString("utf8");
        const isJson = (answer.headers["content-type"] ?? "").includes("json");
        const value = isJson ? (JSON.parse(text) as Json) : text === "" ? undefined : text;
        resolve({ status: answer.statusCode ?? 0, headers: answer.headers, body: value });
      });
    });
    request.setTimeout(ANSWER_WITHIN_MS, () => request.destroy(new Error("no answer in time")));
    request.on("error", (cause) => {
      const hint = "sallyport up starts the gateway; sallyport status says how it is";
      const message = "the API does not answer on this machine";
      reject(new SallyportError("not-running", message, { cause, hint }));
    });
    request.end(body);
  });
}

/** Shows that this uid is asking, and answers the token of the sign-in. */
export async function signInByUid(socketPath: string, uid: number): Promise<string> {
  const post = async (
    at: string,
    body: Json,
  ): Promise<Readonly<Record<string, Json | undefined>>> =>
    succeeded(await askApi(socketPath, { method: "POST", path: at, body: JSON.stringify(body) }));
  const { flow, directory, fileName } = await post("/v1/sign-in/local/begin", { uid });
  const file = path.join(word(directory), word(fileName));
  fs.writeFileSync(file, "", { flag: "wx", mode: 0o600 });
  try {
    return word((await post("/v1/sign-in/local/finish", { flow: word(flow) }))["token"]);
  } finally {
    fs.rmSync(file, { force: true });
  }
}

export const api: Command = {
  name: "api",
  args: "METHOD PATH [JSON]",
  help: "Asks the API on this machine, signed in as the person with the name of your account.",
  flags: {
    totp: { type: "string", value: "CODE", help: "shows your second factor first" },
    "if-match": { type: "string", value: "SHA256", help: "what you read, for what is replaced" },
  },
  async run(invocation) {
    const [method = "", at = "", body] = invocation.args;
    if (!METHODS.includes(method) || !at.startsWith("/")) {
      throw new SallyportError(
        "usage",
        `a method is one of ${METHODS.join(", ")}, a path begins with /`,
        {
          hint: "sallyport api GET /v1/status",
        },
      );
    }
    const socketPath = apiSocket(instanceNamed(invocation.instance));
    const token = await signInByUid(socketPath, process.geteuid?.() ?? 0);
    const headers = { authorization: `Bearer ${token}` };
    const totp = invocation.text("totp");
    try {
      if (totp !== undefined) {
        const code = JSON.stringify({ kind: "totp", totp });
        const where = { method: "POST", path: "/v1/session/step-up/finish" };
        succeeded(await askApi(socketPath, { ...where, headers, body: code }));
      }
      const sent = body === undefined && method === "POST" ? "{}" : body;
      const match = invocation.text("if-match");
      const condition = match === undefined ? {} : { "if-match": `"${match}"` };
      const answer = await askApi(socketPath, {
        ...{ method, path: at, headers: { ...headers, ...condition } },
        ...(sent === undefined ? {} : { body: sent }),
      });
      const told = answer.body ?? null;
      invocation.result(told, told === null ? "" : JSON.stringify(told, undefined, 2));
      return answer.status < 400 ? EXIT.ok : (EXIT_OF[answer.status] ?? EXIT.failed);
    } finally {
      await askApi(socketPath, { method: "DELETE", path: "/v1/session", headers });
    }
  },
};

export const adminLink: Command = {
  name: "admin link",
  args: "",
  help: "Makes the link that lets the first administrator in, once, within the hour.",
  flags: {
    name: {
      type: "string",
      value: "HOST",
      help: "the gateway's name in a browser (default: localhost:8443)",
    },
  },
  async run(invocation) {
    const { secret, until } = fields(await ask(invocation.instance, { type: "first-secret" }));
    const host = invocation.text("name") ?? "localhost:8443";
    // After the #, so that no server ever sees it.
    const link = `https://${host}/first#${word(secret)}`;
    const token = firstAdminToken(Buffer.from(word(secret), "base64url"));
    invocation.result(
      { link, secret: word(secret), token, until: word(until) },
      `${link}\ngood once, until ${word(until)}. Whoever has it becomes administrator and first approver.`,
    );
    return EXIT.ok;
  },
};

export const adminCa: Command = {
  name: "admin ca",
  args: "",
  help: "The certificate of the site's own authority, for browsers and scripts to trust.",
  flags: {},
  async run(invocation) {
    const socket = keyholderSocket(instanceNamed(invocation.instance));
    const { certificate } = fields(await askSocket(socket, { type: "ca-certificate" }));
    invocation.result({ certificate: word(certificate) }, word(certificate));
    return EXIT.ok;
  },
};

function succeeded({ status, body }: ApiAnswer): Readonly<Record<string, Json | undefined>> {
  const answer = fields(body ?? null);
  if (status < 400) return answer;
  const { code, detail, hint } = answer;
  const more = hint === undefined ? {} : { hint: word(hint) };
  throw new SallyportError(code === undefined ? "not-running" : word(code), word(detail), more);
}
