/** Records as rows: what can be kept, and what cannot is refused before a database sees it. */
import type { Stored } from "@sallyport/identity";
import { SallyportError } from "@sallyport/core";
import type { RecordTable } from "./state-schema.ts";

const KIND = /^[a-z][a-z0-9-]{0,63}$/;
/** A passkey's id is at most 1023 bytes, 1364 characters in base64url; a page of PostgreSQL's index holds 2704. */
export const ID_MAX_BYTES = 2048;
export const BODY_MAX_BYTES: number = 1024 * 1024;

const encoder = new TextEncoder();

export function checkedKind(kind: string): string {
  if (KIND.test(kind)) return kind;
  throw refused(`${JSON.stringify(kind)} is no name of a kind of record`);
}

export function rowOf(kind: string, record: Stored): RecordTable {
  checkText("id", record.id);
  if (record.person !== undefined) checkText("person", record.person);
  checkWhole("revision", record.revision);
  if (record.expiresAtMs !== undefined) checkWhole("expiresAtMs", record.expiresAtMs);
  return {
    kind,
    id: record.id,
    revision: record.revision,
    person: record.person ?? null,
    expires_at_ms: record.expiresAtMs ?? null,
    body: bodyOf(record),
  };
}

/** The record in a row; undefined when the row holds no record of this id. */
export function recordOf(row: { id: string; body: string }): object | undefined {
  let value: unknown;
  try {
    value = JSON.parse(row.body);
  } catch {
    return undefined;
  }
  if (typeof value !== "object" || value === null || !("id" in value)) return undefined;
  return value.id === row.id ? value : undefined;
}

/**
 * Whether a text could be an id at all. NUL ends a text for one database and is refused by the other, and half a
 * surrogate pair would be replaced on the way, so that two ids became one.
 */
export function isStorable(text: string): boolean {
  return (
    text.length <= ID_MAX_BYTES &&
    !text.includes("\0") &&
    text.isWellFormed() &&
    encoder.encode(text).length <= ID_MAX_BYTES
  );
}

function checkText(name: string, text: string): void {
  if (isStorable(text)) return;
  throw refused(`the ${name} has a NUL, half a character, or more than ${ID_MAX_BYTES} bytes`);
}

function checkWhole(name: string, value: number): void {
  if (!Number.isSafeInteger(value)) throw refused(`${name} is ${value}, not a whole number`);
}

function bodyOf(record: Stored): string {
  const body = JSON.stringify(record, (name, value: unknown) => {
    // JSON would make null of it.
    if (typeof value === "number" && !Number.isFinite(value)) throw refused(`${name} is ${value}`);
    return value;
  });
  if (body.length <= BODY_MAX_BYTES && encoder.encode(body).length <= BODY_MAX_BYTES) return body;
  throw refused(`a record is at most ${BODY_MAX_BYTES} bytes of JSON`);
}

function refused(why: string): SallyportError {
  return new SallyportError("record-not-storable", `nothing was kept: ${why}`);
}
