/** Bodies: the right type, never more than the route takes, and never more in all than there is room for. */
import { BODY_BYTES_AT_ONCE } from "./limits.ts";
import { readJson } from "./json.ts";
import { HttpError } from "./problem.ts";

/** `application/json`, with nothing or UTF-8 said about its characters (RFC 8259 §8.1). */
const JSON_TYPE = /^application\/json(\s*;\s*charset="?utf-8"?)?\s*$/i;

export interface Body {
  readonly bytes: Uint8Array;
  readonly value: unknown;
}

/** Room for bodies that are being read, shared by all requests. */
export class BodyRoom {
  #left: number;

  constructor(bytes: number = BODY_BYTES_AT_ONCE) {
    this.#left = bytes;
  }

  async read(request: Request, bytesMax: number): Promise<Body> {
    checkType(request);
    const declared = declaredLength(request);
    if (declared !== undefined && declared > bytesMax) throw tooLarge(bytesMax);
    const room = declared ?? bytesMax;
    if (room > this.#left) {
      throw new HttpError("too-busy", "too many bodies are being read", {
        headers: { "retry-after": "1" },
      });
    }
    this.#left -= room;
    try {
      const bytes = await readAll(request, bytesMax);
      if (bytes.length === 0) throw missing();
      return { bytes, value: readJson(bytes) };
    } finally {
      this.#left += room;
    }
  }
}

/** Of a route that takes none. */
export function refuseBody(request: Request): void {
  if ((declaredLength(request) ?? 0) === 0 && !request.headers.has("transfer-encoding")) return;
  throw new HttpError("bad-request", "this route takes no body", {
    headers: { connection: "close" },
  });
}

function checkType({ headers }: Request): void {
  const type = headers.get("content-type");
  const length = headers.get("content-length");
  // Over HTTP a body has a length or comes in chunks (RFC 9112 §6.3); one without either is not there.
  const isNone = length === null && type === null && !headers.has("transfer-encoding");
  const isEmpty = length === "0" || isNone;
  if (isEmpty) throw missing();
  if (type === null || !JSON_TYPE.test(type)) {
    throw new HttpError("media-type-refused", "the body must be application/json");
  }
  const encoding = headers.get("content-encoding");
  if (encoding !== null && encoding.toLowerCase() !== "identity") {
    throw new HttpError("media-type-refused", "the body must not be compressed");
  }
}

function declaredLength({ headers }: Request): number | undefined {
  const text = headers.get("content-length");
  if (text === null) return undefined;
  if (!/^\d{1,15}$/.test(text)) throw new HttpError("bad-request", "Content-Length is no number");
  return Number(text);
}

async function readAll(request: Request, bytesMax: number): Promise<Uint8Array> {
  if (request.body === null) throw missing();
  const reader: ReadableStreamDefaultReader<Uint8Array> = request.body.getReader();
  const parts: Uint8Array[] = [];
  let size = 0;
  for (;;) {
    const part = await nextOf(reader);
    if (part === undefined) return Buffer.concat(parts, size);
    size += part.length;
    if (size > bytesMax) {
      // Not awaited: a sender that goes on must not hold up its answer.
      reader.cancel().catch(() => undefined);
      throw tooLarge(bytesMax);
    }
    parts.push(part);
  }
}

async function nextOf(
  reader: ReadableStreamDefaultReader<Uint8Array>,
): Promise<Uint8Array | undefined> {
  try {
    const { done, value } = await reader.read();
    return done ? undefined : value;
  } catch {
    throw new HttpError("bad-request", "the body ended before its end", {
      headers: { connection: "close" },
    });
  }
}

function missing(): HttpError {
  return new HttpError("body-missing", "this route needs a body of application/json");
}

function tooLarge(bytesMax: number): HttpError {
  return new HttpError("body-too-large", `the body has more than ${bytesMax} bytes`, {
    headers: { connection: "close" },
  });
}
