/**
 * What the enforcer is asked and answers: one JSON object a line over a socket whose directory only
 * one caller can enter. Each message has one purpose; whatever opens a path carries its approvals.
 */
import { type Json, SallyportError } from "@sallyport/core";
import type {
  ApproverKey,
  FirstApprover,
  Approval as Signature,
} from "@sallyport/identity/approval";
import type { GrantTerms } from "./approvals/act.ts";
import {
  asked,
  author,
  bad,
  firstKey,
  grantTerms,
  record,
  text,
  wantedKey,
  whole,
  approvals,
} from "./message-fields.ts";

/** Policy bytes travel as text; a file that is not UTF-8 is refused by the reader. */
export interface PolicyFile {
  readonly name: string;
  readonly text: string;
}

/** Known by the socket it used: root at the box's command line, or a process of ours. */
export type Caller = "root" | "control" | "keyholder";

/**
 * A person's signature, or local root's word: whoever can open root's socket is root on the box
 * already, and it is recorded as break-glass.
 */
export type Approval = Signature | { readonly kind: "local-root"; readonly reason: string };

/** What every opening act but an apply carries; see `Named` in approvals/act.ts. */
export interface Asked {
  readonly id: string;
  readonly author: string;
  readonly startBy: string;
  readonly approvals: readonly Approval[];
}

/** A key to be enrolled: all that is signed about it. */
export type WantedKey = Omit<ApproverKey, "counter" | "enrolledAtMs" | "revokedAtMs">;

type Question = "status" | "counters" | "running" | "grant-list" | "approver-list" | "drift";
type Plain = Question | "first-secret" | "backup" | "down";
const PLAIN: readonly Plain[] = [
  ...(["status", "counters", "running", "grant-list", "approver-list", "drift"] as const),
  ...(["first-secret", "backup", "down"] as const),
];

export type EnforcerRequest =
  | { [Type in Plain]: { readonly type: Type } }[Plain]
  | { readonly type: "plan"; readonly files: readonly PolicyFile[]; readonly author?: string }
  | {
      readonly type: "apply";
      readonly files: readonly PolicyFile[];
      readonly author: string;
      /** Hex SHA-256 of the canonical act that was shown to whoever approved. */
      readonly planSha256: string;
      readonly confirmWithinSeconds: number;
      readonly approvals: readonly Approval[];
    }
  | { readonly type: "confirm"; readonly generation: number }
  | { readonly type: "rollback"; readonly generation: number }
  | ({ readonly type: "grant-add"; readonly grant: GrantTerms } & Asked)
  | { readonly type: "grant-revoke"; readonly grant: string }
  | { readonly type: "island-on"; readonly zone: string }
  | ({ readonly type: "island-off"; readonly zone: string } & Asked)
  | ({ readonly type: "trust-time" } & Asked)
  | ({ readonly type: "approver-enrol"; readonly key: WantedKey } & Asked)
  | { readonly type: "approver-revoke"; readonly key: string }
  | { readonly type: "first-check"; readonly token: string }
  | { readonly type: "first-enrol"; readonly key: FirstApprover; readonly proof: string };

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

/** Checks what came over the socket; throws `bad-message` with the field that is wrong. */
export function readRequest(line: string): EnforcerRequest {
  let value: unknown;
  try {
    value = JSON.parse(line);
  } catch {
    throw bad("the line", "is not JSON");
  }
  const message = record(value, "the message");
  const plain = PLAIN.find((type) => type === message["type"]);
  if (plain !== undefined) return { type: plain };
  switch (message["type"]) {
    case "plan":
      return { type: "plan", files: files(message["files"]), author: author(message) };
    case "apply":
      return {
        type: "apply",
        files: files(message["files"]),
        author: author(message),
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
      return { type: "grant-add", grant: grantTerms(message["grant"]), ...asked(message) };
    case "grant-revoke":
      return { type: "grant-revoke", grant: text(message["grant"], "grant", 64) };
    case "island-on":
      return { type: "island-on", zone: text(message["zone"], "zone", 64) };
    case "island-off":
      return { type: "island-off", zone: text(message["zone"], "zone", 64), ...asked(message) };
    case "trust-time":
      return { type: "trust-time", ...asked(message) };
    case "approver-enrol":
      return { type: "approver-enrol", key: wantedKey(message["key"]), ...asked(message) };
    case "approver-revoke":
      return { type: "approver-revoke", key: text(message["key"], "key", 64) };
    case "first-check":
      return { type: "first-check", token: text(message["token"], "token", 64) };
    case "first-enrol":
      return {
        type: "first-enrol",
        key: firstKey(message["key"]),
        proof: text(message["proof"], "proof", 64),
      };
    default:
      throw bad("type", "names no request");
  }
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
