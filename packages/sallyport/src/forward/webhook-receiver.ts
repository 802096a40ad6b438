/**
 * Records as signed HTTPS requests. An answer of 2xx is the receipt; anything else, and silence, is tried again. Its format
 * and signature are in docs/reference/forwarding.md.
 */
import { createHmac } from "node:crypto";
import type { ClientRequest } from "node:http";
import https from "node:https";
import type { NewWebhook } from "@sallyport/api";
import { type Json, SallyportError } from "@sallyport/core";
import { tlsName } from "./destination.ts";
import type { Receiver } from "./pump.ts";
import { type Bounds, PAGE_RECORDS } from "./stretch.ts";

/** What receivers take in one request without being set up for more. */
const BYTES_MAX = 512 * 1024;
const ANSWER_MS = 20_000;

export class WebhookReceiver implements Receiver {
  readonly bounds: Bounds = { linesMax: PAGE_RECORDS, bytesMax: BYTES_MAX, lingerMs: 0 };
  readonly overlap = 0;
  readonly #webhook: NewWebhook;
  readonly #nowMs: () => number;
  readonly #answerMs: number;
  #request: ClientRequest | undefined;

  constructor(webhook: NewWebhook, nowMs: () => number, answerMs: number = ANSWER_MS) {
    this.#webhook = webhook;
    this.#nowMs = nowMs;
    this.#answerMs = answerMs;
  }

  async send(lines: AsyncIterable<string>): Promise<void> {
    const { name, format } = this.#webhook;
    const events: Json[] = [];
    for await (const line of lines) {
      events.push(format === "ocsf" ? (JSON.parse(line) as Json) : line);
    }
    if (events.length === 0) return;
    const body = Buffer.from(JSON.stringify({ version: 1, destination: name, format, events }));
    const status = await this.#post(body);
    if (status >= 200 && status < 300) return;
    throw new SallyportError("forwarding-broken", `${name} answered ${status}`);
  }

  close(): void {
    this.#request?.destroy();
  }

  async #post(body: Buffer): Promise<number> {
    const { name, to, trust, secret = "" } = this.#webhook;
    const url = new URL(to);
    const seconds = String(Math.floor(this.#nowMs() / 1000));
    const headers = {
      "content-type": "application/json",
      "content-length": body.length,
      "user-agent": "sallyport",
      "sallyport-timestamp": seconds,
      "sallyport-signature": `v1=${signatureOf(secret, seconds, body)}`,
    };
    const options = {
      ...{ method: "POST", headers, minVersion: "TLSv1.3" as const, ...tlsName(url.hostname) },
      // A connection of its own, so that no answer is taken for another request's.
      agent: false,
      ...(trust === undefined ? {} : { ca: trust }),
    };
    return await new Promise<number>((resolve, reject) => {
      const request = https.request(url, options, (answer) => {
        // Only the status counts; a redirect is not followed, and what is said besides is not read.
        resolve(answer.statusCode ?? 0);
        answer.destroy();
      });
      this.#request = request;
      const failed = (why: string, cause?: unknown): void => {
        clearTimeout(timer);
        reject(new SallyportError("forwarding-broken", `${name}: ${why}`, { cause }));
      };
      const timer = setTimeout(() => {
        failed("no answer in time");
        request.destroy();
      }, this.#answerMs);
      request.on("error", (error) => failed(error.message, error));
      request.on("close", () => failed("the connection was closed"));
      request.end(body);
    });
  }
}

/** Hex HMAC-SHA-256 over the timestamp, a dot, and the body's bytes. */
export function signatureOf(secret: string, timestamp: string, body: Uint8Array): string {
  return createHmac("sha256", secret).update(`${timestamp}.`).update(body).digest("hex");
}
