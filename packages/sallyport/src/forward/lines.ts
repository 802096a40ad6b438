/** Records of the ledger as the lines that a destination gets. */
import { cefLine, type ForwardedRecord, ocsfLine, type Sender, syslogLine } from "@sallyport/api";
import type { Json } from "@sallyport/core";
import {
  checkpointLine,
  leafHash,
  parseCheckpoint,
  syslogLine as checkpointSyslogLine,
} from "@sallyport/ledger";
import { fields, word } from "../cli/enforcer-client.ts";
import type { Destination } from "./destination.ts";

/** As the archivist tells it. */
export interface ToldRecord {
  readonly index: number;
  readonly type: string;
  readonly at: string;
  /** Canonical JSON. */
  readonly leaf: string;
  readonly personal: Readonly<Record<string, Json>>;
}

const FORMATS: Readonly<Record<Destination["format"], typeof syslogLine>> = {
  rfc5424: syslogLine,
  cef: cefLine,
  ocsf: ocsfLine,
};

export function recordLine(record: ToldRecord, to: Destination, sender: Sender): string {
  const {
    type: _type,
    at: _at,
    commit: _commit,
    ...plain
  } = fields(JSON.parse(record.leaf) as Json);
  const forwarded: ForwardedRecord = {
    index: record.index,
    type: record.type,
    atMs: Date.parse(record.at),
    fields: defined(plain),
    personal: to.people ? record.personal : {},
    leaf: Buffer.from(leafHash(Buffer.from(record.leaf))).toString("hex"),
  };
  return lineIn(to, forwarded, sender);
}

/**
 * The signed head of the ledger: who keeps it holds a history that the gateway cannot take back. `verify.mjs` takes
 * the words from `sallyport-checkpoint/1` on.
 */
export function headLine(signed: string, atMs: number, to: Destination, sender: Sender): string {
  if (to.format === "rfc5424") return checkpointSyslogLine(signed, sender.host, atMs);
  const parsed = parseCheckpoint(signed);
  if (parsed.kind === "malformed") throw new RangeError(`the checkpoint ${parsed.why}`);
  const { size, root } = parsed.value.head;
  const forwarded: ForwardedRecord = {
    ...{ index: size, type: "checkpoint", atMs, personal: {} },
    fields: { checkpoint: checkpointLine(signed) },
    leaf: Buffer.from(root).toString("hex"),
  };
  return lineIn(to, forwarded, sender);
}

function lineIn(to: Destination, record: ForwardedRecord, sender: Sender): string {
  const line = FORMATS[to.format](record, sender);
  // A syslog receiver files what has no header under its own time and name.
  const isBare = to.kind === "syslog" && to.format === "ocsf";
  return isBare ? `${ocsfHead(record, sender)} ${line}` : line;
}

/** RFC 5424 §6: facility 16 (local0), severity 5 (notice), no structured data. */
function ocsfHead({ atMs, type }: ForwardedRecord, { host, processId }: Sender): string {
  const id = type.replaceAll(/[^\x21-\x7e]/g, "?").slice(0, 32);
  const name = host.replaceAll(/[^\x21-\x7e]/g, "?").slice(0, 255) || "-";
  return `<133>1 ${new Date(atMs).toISOString()} ${name} sallyport ${processId} ${id} -`;
}

/** The size that a signed head speaks of; 0 where there is none yet. */
export function sizeOf(signed: string): number {
  const parsed = parseCheckpoint(signed);
  return parsed.kind === "malformed" ? 0 : parsed.value.head.size;
}

function defined(members: Readonly<Record<string, Json | undefined>>): Record<string, Json> {
  const all = Object.entries(members);
  return Object.fromEntries(all.filter((one): one is [string, Json] => one[1] !== undefined));
}

export function toldRecord(value: Json): ToldRecord {
  const { index, type, at, leaf, personal } = fields(value);
  return {
    ...{ index: Number(index), type: word(type), at: word(at), leaf: word(leaf) },
    personal: defined(fields(personal ?? null)),
  };
}
