/** A person at the gateway's API: root's link, two factors, and sign-ins from then on. */
import assert from "node:assert/strict";
import { createHmac } from "node:crypto";
import type { Json } from "@sallyport/core";
import { type ApiAnswer, apiSocket, askApi, fields, type Instance, word } from "sallyport";

const PASSWORD = "a barrel rolls downhill 7";
const STEP_MS = 30_000;

type Fields = ReturnType<typeof fields>;

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

  async ask(method: string, where: string, body?: Json, more = {}): Promise<ApiAnswer> {
    const session = this.#cookie === "" ? {} : { cookie: this.#cookie, "sallyport-request": "1" };
    const answer = await askApi(apiSocket(this.#instance), {
      ...{ method, path: where, headers: { ...session, ...more } },
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

  /** The first administrator, by the link that root made. */
  async comeFirst(token: string): Promise<void> {
    const first = { id: this.#name, name: this.#name };
    await this.done("POST", "/v1/sign-in/link", { secret: token, first });
    await this.done("PUT", "/v1/session/password", { password: PASSWORD });
    const { flow, uri } = await this.done("POST", "/v1/session/totp/begin", {});
    this.#seed = fromBase32(new URL(word(uri)).searchParams.get("secret") ?? "");
    await this.done("POST", "/v1/session/totp", { flow: word(flow), totp: await this.#code() });
    await this.signIn();
  }

  async signIn(): Promise<void> {
    this.#cookie = "";
    const answer = { person: this.#name, password: PASSWORD, totp: await this.#code() };
    await this.done("POST", "/v1/sign-in/password", answer);
  }

  /** A code serves once; the one of the next step counts too, so nobody has to wait long. */
  async #code(): Promise<string> {
    const next = Math.max(this.#lastStep + 1, Math.floor(Date.now() / STEP_MS));
    while (next * STEP_MS > Date.now() + STEP_MS) await new Promise((go) => setTimeout(go, 500));
    this.#lastStep = next;
    return totp(this.#seed, next * STEP_MS);
  }
}
