/** What the keyholder is asked: one JSON object a line. Whatever it keeps never leaves it; it verifies and signs. */
import { type Json, SallyportError } from "@sallyport/core";

export type KeyholderRequest =
  | { readonly type: "totp-enroll"; readonly person: string }
  | { readonly type: "totp-confirm"; readonly person: string; readonly code: string }
  | { readonly type: "totp-verify"; readonly person: string; readonly code: string }
  | { readonly type: "totp-remove"; readonly person: string }
  | { readonly type: "totp-status"; readonly person: string }
  | {
      readonly type: "tls-issue";
      readonly key: { readonly request: string } | { readonly spki: string };
      readonly names: readonly string[];
    }
  | { readonly type: "ca-certificate" }
  /** Sealed on disk: a provider's client secret (`oidc.<id>`), or a certificate that the plant gave (`tls`). */
  | { readonly type: "secret-set"; readonly name: string; readonly secret: string }
  | { readonly type: "secret-get"; readonly name: string }
  | { readonly type: "secret-remove"; readonly name: string }
  | { readonly type: "status" };

/** A name is at most a local one, an `@` and a provider's. */
const PERSON_MAX = 127;
const CODE_MAX = 16;
/** A request with an RSA key of 4096 bits is 1.7 kB of text. */
const KEY_MAX = 16 * 1024;
const NAMES_MAX = 20;
/** A key and a chain of three certificates are 8 kB as JSON; what is sealed is at most 64 KiB. */
const SECRET_MAX = 32 * 1024;
const SECRET_NAME = /^(tls|oidc\.[a-z][a-z0-9-]{0,30})$/;
const NAME_MAX = 253;

/** Throws `bad-message` with the field that is wrong. */
export function readKeyholderRequest(line: string): KeyholderRequest {
  let value: unknown;
  try {
    value = JSON.parse(line);
  } catch {
    throw bad("the line", "is not JSON");
  }
  const message = record(value, "the message");
  const type = message["type"];
  switch (type) {
    case "totp-enroll":
    case "totp-remove":
    case "totp-status":
      return { type, person: text(message["person"], "person", PERSON_MAX) };
    case "totp-confirm":
    case "totp-verify":
      return {
        type,
        person: text(message["person"], "person", PERSON_MAX),
        code: text(message["code"], "code", CODE_MAX),
      };
    case "tls-issue": {
      const { names } = message;
      const { spki, request } = record(message["key"], "key");
      if ((spki === undefined) === (request === undefined)) {
        throw bad("key", "has spki or request, and not both");
      }
      if (!Array.isArray(names) || names.length === 0 || names.length > NAMES_MAX) {
        throw bad("names", `must be a list of 1 to ${NAMES_MAX}`);
      }
      return {
        type,
        key:
          spki === undefined
            ? { request: text(request, "key.request", KEY_MAX) }
            : { spki: text(spki, "key.spki", KEY_MAX) },
        names: names.map((name: unknown) => text(name, "names[]", NAME_MAX)),
      };
    }
    case "secret-set":
      return {
        ...{ type, name: secretName(message["name"]) },
        secret: text(message["secret"], "secret", SECRET_MAX),
      };
    case "secret-get":
    case "secret-remove":
      return { type, name: secretName(message["name"]) };
    case "ca-certificate":
    case "status":
      return { type };
    default:
      throw bad("type", "names no request");
  }
}

function record(value: unknown, field: string): Readonly<Record<string, Json>> {
  if (typeof value === "object" && value !== null && !Array.isArray(value)) {
    // It came from JSON.parse.
    return value as Readonly<Record<string, Json>>;
  }
  throw bad(field, "must be an object");
}

function secretName(value: unknown): string {
  if (typeof value === "string" && SECRET_NAME.test(value)) return value;
  throw bad("name", "is tls, or oidc. and a provider's id");
}

function text(value: unknown, field: string, maxLength: number): string {
  if (typeof value === "string" && value.length > 0 && value.length <= maxLength) return value;
  throw bad(field, `must be text of 1 to ${maxLength} characters`);
}

function bad(field: string, what: string): SallyportError {
  return new SallyportError("bad-message", `${field} ${what}`);
}
