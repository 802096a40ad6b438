/**
 * What the enforcer is asked and answers: one JSON object a line over a socket whose directory only
 * one uid can enter. Each message has one purpose; whatever opens a path carries its approvals, so
 * that signatures can take the place of local root without a new message.
 */
import { type Json, SallyportError } from "@sallyport/core";

/** Policy bytes travel as text; a file that is not UTF-8 is refused by the reader. */
export interface PolicyFile {
  readonly name: string;
  readonly text: string;
}

/**
 * Until people can sign (WebAuthn, approver keys), the only approval is local root's, the recorded
 * break-glass: whoever can open the socket is root on the box already.
 */
export interface Approval {
  readonly kind: "local-root";
  readonly reason: string;
}

export type EnforcerRequest =
  | { readonly type: "status" }
  | { readonly type: "counters" }
  | { readonly type: "running" }
  | { readonly type: "plan"; readonly files: readonly PolicyFile[] }
  | {
      readonly type: "apply";
      readonly files: readonly PolicyFile[];
      /** Hex SHA-256 of the canonical plan that was shown to whoever approved. */
      readonly planSha256: string;
      readonly confirmWithinSeconds: number;
      readonly approvals: readonly Approval[];
    }
  | { readonly type: "confirm"; readonly generation: number }
  | { readonly type: "rollback"; readonly generation: number }
  | {
      readonly type: "grant-add";
      readonly grant: GrantRequest;
      readonly approvals: readonly Approval[];
    }
  | { readonly type: "grant-list" }
  | { readonly type: "grant-revoke"; readonly grant: string }
  | {
      readonly type: "island";
      readonly zone: string;
      readonly on: boolean;
      readonly approvals: readonly Approval[];
    }
  | { readonly type: "trust-time"; readonly approvals: readonly Approval[] }
  | { readonly type: "drift" }
  | { readonly type: "down" };

export interface GrantRequest {
  readonly conduit: string;
  readonly person: string;
  readonly reason: string;
  /** Dotted quad of the person's device. */
  readonly source: string;
  readonly asset: string;
  readonly seconds: number;
}

export type EnforcerReply =
  | { readonly ok: true; readonly result: Json }
  | { readonly ok: false; readonly error: ReplyError };

export interface ReplyError {
  readonly code: string;
  readonly message: string;
  readonly hint?: string;
}

/** A path cannot stay half open for long: an unconfirmed change ends in an hour at the latest. */
export const CONFIRM_SECONDS_MAX = 3600;
export const CONFIRM_SECONDS_MIN = 2;
const FILES_MAX = 64;
const TEXT_MAX = 1024 * 1024;
const GRANT_SECONDS_MAX = 24 * 3600;

/** Checks what came over the socket; throws `bad-message` with the field that is wrong. */
export function readRequest(line: string): EnforcerRequest {
  let value: unknown;
  try {
    value = JSON.parse(line);
  } catch {
    throw bad("the line", "is not JSON");
  }
  const message = record(value, "the message");
  switch (message["type"]) {
    case "status":
    case "counters":
    case "running":
    case "grant-list":
    case "drift":
    case "down":
      return { type: message["type"] };
    case "plan":
      return { type: "plan", files: files(message["files"]) };
    case "apply":
      return {
        type: "apply",
        files: files(message["files"]),
        planSha256: text(message["planSha256"], "planSha256", 64),
        confirmWithinSeconds: whole(
          message["confirmWithinSeconds"],
          "confirmWithinSeconds",
          CONFIRM_SECONDS_MIN,
          CONFIRM_SECONDS_MAX,
        ),
        approvals: approvals(message["approvals"]),
      };
    case "confirm":
    case "rollback":
      return {
        type: message["type"],
        generation: whole(message["generation"], "generation", 0, 2 ** 31 - 1),
      };
    case "grant-add":
      return {
        type: "grant-add",
        grant: grantRequest(message["grant"]),
        approvals: approvals(message["approvals"]),
      };
    case "grant-revoke":
      return { type: "grant-revoke", grant: text(message["grant"], "grant", 64) };
    case "island":
      return {
        type: "island",
        zone: text(message["zone"], "zone", 64),
        on: message["on"] === true,
        approvals: approvals(message["approvals"]),
      };
    case "trust-time":
      return { type: "trust-time", approvals: approvals(message["approvals"]) };
    default:
      throw bad("type", "names no request");
  }
}

function grantRequest(value: unknown): GrantRequest {
  const grant = record(value, "grant");
  return {
    conduit: text(grant["conduit"], "grant.conduit", 64),
    person: text(grant["person"], "grant.person", 128),
    reason: text(grant["reason"], "grant.reason", 1000),
    source: text(grant["source"], "grant.source", 15),
    asset: text(grant["asset"], "grant.asset", 64),
    seconds: whole(grant["seconds"], "grant.seconds", 1, GRANT_SECONDS_MAX),
  };
}

function files(value: unknown): PolicyFile[] {
  if (!Array.isArray(value) || value.length === 0 || value.length > FILES_MAX) {
    throw bad("files", `must be a list of 1 to ${FILES_MAX} files`);
  }
  return value.map((item: unknown) => {
    const file = record(item, "files[]");
    const content = file["text"];
    // Over the limit the compiler answers `policy-too-large`; far over it, nobody reads it at all.
    if (typeof content !== "string" || content.length > 2 * TEXT_MAX) {
      throw bad("files[].text", "must be text of at most 1 MiB");
    }
    return { name: text(file["name"], "files[].name", 255), text: content };
  });
}

function approvals(value: unknown): Approval[] {
  if (value === undefined) return [];
  if (!Array.isArray(value) || value.length > 8)
    throw bad("approvals", "must be a list of at most 8");
  return value.map((item: unknown) => {
    const approval = record(item, "approvals[]");
    if (approval["kind"] !== "local-root") throw bad("approvals[].kind", "must be local-root");
    return { kind: "local-root", reason: text(approval["reason"], "approvals[].reason", 1000) };
  });
}

function record(value: unknown, field: string): Record<string, unknown> {
  if (typeof value !== "object" || value === null || Array.isArray(value)) {
    throw bad(field, "must be an object");
  }
  return Object.fromEntries(Object.entries(value));
}

function text(value: unknown, field: string, maxLength: number): string {
  if (typeof value !== "string" || value.length === 0 || value.length > maxLength) {
    throw bad(field, `must be text of 1 to ${maxLength} characters`);
  }
  return value;
}

function whole(value: unknown, field: string, min: number, max: number): number {
  if (typeof value !== "number" || !Number.isInteger(value) || value < min || value > max) {
    throw bad(field, `must be a whole number from ${min} to ${max}`);
  }
  return value;
}

function bad(field: string, what: string): SallyportError {
  return new SallyportError("bad-message", `${field} ${what}`);
}

/** Any failure as the answer to whoever asked: never a stack trace, always a code. */
export function replyError(error: unknown): ReplyError {
  if (error instanceof SallyportError) {
    const { code, message, hint } = error;
    return hint === undefined ? { code, message } : { code, message, hint };
  }
  const message = error instanceof Error ? error.message : String(error);
  return {
    code: "internal-error",
    message,
    hint: "this is a defect of Sallyport: please report it",
  };
}
