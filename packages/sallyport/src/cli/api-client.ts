/** Asking the API on this machine: by the uid of whoever asks, by a key, or in a session that a file holds. */
import fs from "node:fs";
import http from "node:http";
import path from "node:path";
import process from "node:process";
import { type Json, SallyportError } from "@sallyport/core";
import { instanceNamed } from "../instance.ts";
import { apiSocket } from "../own-places.ts";
import type { Flag, Invocation } from "./command.ts";
import { fields, word } from "./enforcer-client.ts";

/** `sp_`, an id and a secret are 80 characters. */
const KEY_FILE_MAX_BYTES = 4096;
const KEY_VARIABLE = "SALLYPORT_KEY_FILE";

const ANSWER_MAX_BYTES = 64 * 1024 * 1024;
const ANSWER_WITHIN_MS = 60_000;

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
    request.on("error", (cause: NodeJS.ErrnoException) => {
      if (cause.code === "EACCES") {
        const hint = "run the command with sudo";
        reject(new SallyportError("needs-root", "only root asks this", { cause, hint }));
        return;
      }
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

/** How whoever calls shows who they are; for each command that asks the API. */
export const WHO_FLAGS: Readonly<Record<string, Flag>> = {
  totp: { type: "string", value: "CODE", help: "shows your second factor first" },
  "key-file": {
    type: "string",
    value: "FILE",
    help: `asks with the API key in it, as with ${KEY_VARIABLE} set`,
  },
  session: { type: "string", value: "FILE", help: "asks in the session that `open` wrote" },
};

export type Ask = (request: ApiRequest) => Promise<Json | undefined>;

/** One sign-in for what `use` asks, ended after. Refusals are thrown with the API's codes and hints. */
export async function withApi<Answer>(
  invocation: Invocation,
  use: (ask: Ask) => Promise<Answer>,
): Promise<Answer> {
  const socketPath = apiSocket(instanceNamed(invocation.instance));
  const askWith =
    (headers: Readonly<Record<string, string>>): Ask =>
    async (request) => {
      const all = { ...headers, ...request.headers };
      const answer = await askApi(socketPath, { ...request, headers: all });
      succeeded(answer);
      return answer.body;
    };
  const keyFile = invocation.text("key-file") ?? process.env[KEY_VARIABLE];
  const session = invocation.text("session");
  if (keyFile !== undefined) {
    return await use(askWith({ authorization: `Bearer ${secretIn(keyFile)}` }));
  }
  if (session !== undefined) {
    return await use(askWith({ cookie: secretIn(session), "sallyport-request": "1" }));
  }
  const token = await signInByUid(socketPath, process.geteuid?.() ?? 0);
  const ask = askWith({ authorization: `Bearer ${token}` });
  const totp = invocation.text("totp");
  try {
    if (totp !== undefined) {
      const body = JSON.stringify({ kind: "totp", totp });
      await ask({ method: "POST", path: "/v1/session/step-up/finish", body });
    }
    return await use(ask);
  } finally {
    await ask({ method: "DELETE", path: "/v1/session" }).catch(() => undefined);
  }
}

/** A secret that everybody on the box can read is none. */
function secretIn(file: string): string {
  const stat = fs.statSync(file, { throwIfNoEntry: false });
  if (stat?.isFile() !== true || stat.size > KEY_FILE_MAX_BYTES) {
    throw new SallyportError("usage", `${file} holds no key and no session`);
  }
  if ((stat.mode & 0o077) !== 0) {
    throw new SallyportError("usage", `others can read ${file}`, { hint: `chmod 600 ${file}` });
  }
  return fs.readFileSync(file, "utf8").trim();
}

/** Throws the refusal of the API, with its code and its hint. */
export function succeeded({ status, body }: ApiAnswer): Readonly<Record<string, Json | undefined>> {
  const answer = fields(body ?? null);
  if (status < 400) return answer;
  const { code, detail, hint } = answer;
  const more = hint === undefined ? {} : { hint: word(hint) };
  throw new SallyportError(code === undefined ? "not-running" : word(code), word(detail), more);
}
