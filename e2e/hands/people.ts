/** People at the API of a running gateway: a browser's session, and codes of an app that is not the product's. */
import assert from "node:assert/strict";
import { createHmac } from "node:crypto";
import http from "node:http";
import type { Json } from "@sallyport/core";
import { type ApiAnswer, apiSocket, askApi, fields, type Instance, word } from "sallyport";

const PASSWORD = "a barrel rolls downhill 7";
const STEP_MS = 30_000;

type Fields = ReturnType<typeof fields>;

export interface ServerEvent {
  readonly id: number;
  readonly type: string;
  readonly data: Fields;
}

export class Person {
  readonly #instance: Instance;
  readonly #name: string;
  #cookie = "";
  #seed: Buffer = Buffer.alloc(0);
  #lastStep = 0;

  constructor(instance: Instance, name: string) {
    this.#instance = instance;
    this.#name = name;
  }

  get headers(): Readonly<Record<string, string>> {
    return this.#cookie === "" ? {} : { cookie: this.#cookie, "sallyport-request": "1" };
  }

  async ask(method: string, where: string, body?: Json, more = {}): Promise<ApiAnswer> {
    const answer = await askApi(apiSocket(this.#instance), {
      ...{ method, path: where, headers: { ...this.headers, ...more } },
      ...(body === undefined ? {} : { body: JSON.stringify(body) }),
    });
    const [set] = answer.headers["set-cookie"] ?? [];
    if (set !== undefined) this.#cookie = set.split(";", 1)[0] ?? "";
    return answer;
  }

  async done(method: string, where: string, body?: Json, more = {}): Promise<Fields> {
    const answer = await this.ask(method, where, body, more);
    assert.ok(answer.status < 300, `${method} ${where}: ${JSON.stringify(answer.body)}`);
    return fields(answer.body ?? null);
  }

  /** A code serves once; the one of the next step counts too, so nobody has to wait long. */
  async #code(): Promise<string> {
    const next = Math.max(this.#lastStep + 1, Math.floor(Date.now() / STEP_MS));
    while (next * STEP_MS > Date.now() + STEP_MS) await new Promise((go) => setTimeout(go, 500));
    this.#lastStep = next;
    return totp(this.#seed, next * STEP_MS);
  }

  /** From a link's session to one with two factors. */
  async enroll(): Promise<void> {
    await this.done("PUT", "/v1/session/password", { password: PASSWORD });
    const { flow, uri } = await this.done("POST", "/v1/session/totp/begin", {});
    this.#seed = fromBase32(new URL(word(uri)).searchParams.get("secret") ?? "");
    await this.done("POST", "/v1/session/totp", { flow: word(flow), totp: await this.#code() });
    await this.signIn();
  }

  /** The first administrator, by the link that root made. */
  async comeFirst(token: string): Promise<void> {
    const first = { id: this.#name, name: this.#name };
    await this.done("POST", "/v1/sign-in/link", { secret: token, first });
    await this.enroll();
  }

  async signIn(): Promise<void> {
    this.#cookie = "";
    const answer = { person: this.#name, password: PASSWORD, totp: await this.#code() };
    await this.done("POST", "/v1/sign-in/password", answer);
  }

  /** Live events until `end` is called; `seen` grows as they come. */
  listen(after?: number): { readonly seen: ServerEvent[]; end(): void } {
    const seen: ServerEvent[] = [];
    const last = after === undefined ? {} : { "last-event-id": String(after) };
    const request = http.get(
      {
        ...{ socketPath: apiSocket(this.#instance), path: "/v1/events" },
        headers: { host: "localhost", ...this.headers, ...last },
      },
      (answer) => {
        let text = "";
        answer.setEncoding("utf8");
        answer.on("error", () => undefined);
        answer.on("data", (chunk: string) => {
          const pieces = (text + chunk).split("\n\n");
          text = pieces.pop() ?? "";
          seen.push(...pieces.flatMap(eventIn));
        });
      },
    );
    request.on("error", () => undefined);
    return { seen, end: () => request.destroy() };
  }
}

function eventIn(piece: string): ServerEvent[] {
  const lines = new Map(
    piece.split("\n").map((line) => {
      const at = line.indexOf(": ");
      return [line.slice(0, at), line.slice(at + 2)];
    }),
  );
  const [id, type, data] = [lines.get("id"), lines.get("event"), lines.get("data")];
  if (type === undefined || data === undefined) return [];
  return [{ id: Number(id ?? -1), type, data: fields(JSON.parse(data) as Json) }];
}

/** RFC 6238 with SHA-1 and six digits, written here so that it is not the product's own. */
function totp(secret: Buffer, atMs: number): string {
  const step = Buffer.alloc(8);
  step.writeBigUInt64BE(BigInt(Math.floor(atMs / STEP_MS)));
  const mac = createHmac("sha1", secret).update(step).digest();
  const code = mac.readUInt32BE((mac.at(-1) ?? 0) & 15) & 0x7fffffff;
  return String(code % 1_000_000).padStart(6, "0");
}

function fromBase32(text: string): Buffer {
  const bits = Array.from(text)
    .map((letter) => "ABCDEFGHIJKLMNOPQRSTUVWXYZ234567".indexOf(letter))
    .map((value) => value.toString(2).padStart(5, "0"))
    .join("");
  return Buffer.from((bits.match(/.{8}/g) ?? []).map((byte) => Number.parseInt(byte, 2)));
}
