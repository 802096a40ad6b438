/** What the archivist is asked: one JSON object a line. Each door says who asks; what a door may ask is `MAY`. */
import { type Json, SallyportError } from "@sallyport/core";

export type ArchivistCaller = "root" | "control" | "keyholder";

export type ArchivistRequest =
  | { readonly type: "append"; readonly records: readonly Readonly<Record<string, Json>>[] }
  | { readonly type: "head" }
  | { readonly type: "list"; readonly question: Readonly<Record<string, Json>> }
  | { readonly type: "record"; readonly index: number }
  | { readonly type: "prove"; readonly index: number }
  | { readonly type: "inclusion"; readonly index: number; readonly size: number }
  | { readonly type: "witnesses" }
  | { readonly type: "consistency"; readonly from: number; readonly to: number }
  | {
      readonly type: "export";
      readonly name: string;
      readonly from?: number;
      readonly to?: number;
      readonly personal: boolean;
      readonly proofs: readonly number[];
    }
  | { readonly type: "copy" }
  | { readonly type: "copy-done" }
  | { readonly type: "witness-add"; readonly key: string; readonly threshold?: number }
  | { readonly type: "cosign"; readonly witness: string }
  | {
      readonly type: "cosign-answer";
      readonly id: number;
      readonly status: number;
      readonly body: string;
    }
  | { readonly type: "erase"; readonly value: Json; readonly reason: string };

/** Reading is for whoever shows records; whoever only writes reads nothing. */
export const MAY: Readonly<Record<ArchivistCaller, ReadonlySet<ArchivistRequest["type"]>>> = {
  root: new Set([
    "head",
    "list",
    "record",
    "prove",
    "inclusion",
    "witnesses",
    "consistency",
    "export",
    "copy",
    "copy-done",
    "witness-add",
    "cosign",
    "cosign-answer",
    "erase",
  ]),
  control: new Set([
    "append",
    "head",
    "list",
    "record",
    "prove",
    "inclusion",
    "witnesses",
    "consistency",
    "export",
    "cosign",
    "cosign-answer",
  ]),
  keyholder: new Set(["append", "head"]),
};

const RECORDS_MAX = 1000;
const NAME = /^[a-z0-9][a-z0-9._-]{0,63}$/;

/** Throws `bad-message` with the field that is wrong. What a record may hold is checked by the ledger. */
export function readArchivistRequest(line: string): ArchivistRequest {
  let value: unknown;
  try {
    value = JSON.parse(line);
  } catch {
    throw bad("the line", "is not JSON");
  }
  const message = record(value, "the message");
  const type = message["type"];
  switch (type) {
    case "append": {
      const records = message["records"];
      if (!Array.isArray(records) || records.length === 0 || records.length > RECORDS_MAX) {
        throw bad("records", `must be a list of 1 to ${RECORDS_MAX}`);
      }
      return { type, records: records.map((one: unknown) => record(one, "records[]")) };
    }
    case "head":
    case "copy":
    case "copy-done":
    case "witnesses":
      return { type };
    case "inclusion":
      return {
        type,
        index: whole(message["index"], "index"),
        size: whole(message["size"], "size"),
      };
    case "list":
      return { type, question: record(message["question"] ?? {}, "question") };
    case "record":
    case "prove":
      return { type, index: whole(message["index"], "index") };
    case "consistency":
      return { type, from: whole(message["from"], "from"), to: whole(message["to"], "to") };
    case "export":
      return readExport(message);
    case "witness-add": {
      const threshold = message["threshold"];
      return {
        type,
        key: text(message["key"], "key", 512),
        ...(threshold === undefined ? {} : { threshold: whole(threshold, "threshold") }),
      };
    }
    case "cosign":
      return { type, witness: text(message["witness"], "witness", 255) };
    case "cosign-answer": {
      const body = message["body"];
      if (typeof body !== "string" || body.length > 65_536) throw bad("body", "must be text");
      return {
        type,
        id: whole(message["id"], "id"),
        status: whole(message["status"], "status"),
        body,
      };
    }
    case "erase": {
      if (message["value"] === undefined) throw bad("value", "is missing");
      return {
        type,
        value: message["value"],
        reason: text(message["reason"], "reason", 1000),
      };
    }
    default:
      throw bad("type", "names no request");
  }
}

function readExport(message: Readonly<Record<string, Json>>): ArchivistRequest {
  const name = text(message["name"], "name", 64);
  if (!NAME.test(name)) throw bad("name", "must be lower-case letters, digits, dots and dashes");
  const proofs = message["proofs"] ?? [];
  if (!Array.isArray(proofs) || proofs.length > RECORDS_MAX) {
    throw bad("proofs", `must be a list of at most ${RECORDS_MAX}`);
  }
  const bound = (field: string): number | undefined =>
    message[field] === undefined ? undefined : whole(message[field], field);
  const [from, to] = [bound("from"), bound("to")];
  return {
    type: "export",
    name,
    ...(from === undefined ? {} : { from }),
    ...(to === undefined ? {} : { to }),
    personal: message["personal"] === true,
    proofs: proofs.map((one: unknown) => whole(one, "proofs[]")),
  };
}

function record(value: unknown, field: string): Readonly<Record<string, Json>> {
  if (typeof value === "object" && value !== null && !Array.isArray(value)) {
    // It came from JSON.parse.
    return value as Readonly<Record<string, Json>>;
  }
  throw bad(field, "must be an object");
}

function text(value: unknown, field: string, maxLength: number): string {
  if (typeof value === "string" && value.length > 0 && value.length <= maxLength) return value;
  throw bad(field, `must be text of 1 to ${maxLength} characters`);
}

function whole(value: unknown, field: string): number {
  if (typeof value === "number" && Number.isSafeInteger(value) && value >= 0) return value;
  throw bad(field, "must be a whole number");
}

function bad(field: string, what: string): SallyportError {
  return new SallyportError("bad-message", `${field} ${what}`);
}
