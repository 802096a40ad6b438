/**
 * RFC 5424 lines with structured data, and the framing of RFC 5425 §4.3 (octet counting).
 * CEF: ArcSight Common Event Format, version 0, carried as the message of such a line.
 */
import {
  cut,
  type ForwardedRecord,
  membersOf,
  type Rank,
  rankOf,
  type Sender,
  VALUE_LENGTH_MAX,
  visible,
} from "./record.ts";

/** RFC 5424 §6.1: a receiver should take 2048 bytes; ours take more, and 8 KiB fits each we know. */
export const LINE_BYTES_MAX = 8192;
/** §6.2.1: local0, and severity 5 notice, 4 warning, 2 critical. */
const FACILITY = 16;
const SEVERITY: Readonly<Record<Rank, number>> = { usual: 5, refusal: 4, alarm: 2 };
/** Lengths of §6. */
const HOST_MAX = 255;
const MSGID_MAX = 32;
const NAME_MAX = 32;

export function syslogLine(record: ForwardedRecord, sender: Sender): string {
  const id = `sp@${sender.enterprise}`;
  const fixed = [parameter("index", String(record.index)), parameter("leaf", record.leaf)];
  const parameters = membersOf(record).map(([name, text]) => parameter(name, text));
  const build = (kept: readonly string[], dropped: number): string => {
    const note = dropped === 0 ? [] : [parameter("cut", String(dropped))];
    const data = [...fixed, ...kept, ...note].join(" ");
    const message = `${record.type} #${record.index}`;
    return `${head(record, sender)} ${printable(record.type, MSGID_MAX)} [${id} ${data}] ${message}`;
  };
  return fitting(parameters, build);
}

export function cefLine(record: ForwardedRecord, sender: Sender): string {
  const severity = { usual: 3, refusal: 6, alarm: 9 }[rankOf(record)];
  const name = record.type.replaceAll(/[.-]/g, " ");
  const fields = [sender.version, record.type, name, String(severity)].map(headerValue);
  const begin = `${head(record, sender)} - - CEF:0|Sallyport|Gateway|${fields.join("|")}|`;
  const fixed = [`rt=${record.atMs}`, `externalId=${record.index}`];
  const build = (kept: readonly string[], dropped: number): string =>
    begin + [...fixed, ...kept, ...(dropped === 0 ? [] : [`cnt=${dropped}`])].join(" ");
  return fitting(extensions(record), build);
}

/** RFC 5425 §4.3.1: the length in bytes, a space, the message. For TLS and TCP; a UDP datagram has none. */
export function framed(line: string): Buffer {
  const bytes = Buffer.from(line);
  return Buffer.concat([Buffer.from(`${bytes.length} `), bytes]);
}

/** As many parts from the first as a line has room for. */
function fitting(
  parts: readonly string[],
  build: (kept: readonly string[], dropped: number) => string,
): string {
  let kept = parts.length;
  let line = build(parts, 0);
  while (Buffer.byteLength(line) > LINE_BYTES_MAX && kept > 0) {
    kept -= 1;
    line = build(parts.slice(0, kept), parts.length - kept);
  }
  return line;
}

function head(record: ForwardedRecord, { host, processId }: Sender): string {
  const priority = FACILITY * 8 + SEVERITY[rankOf(record)];
  const at = new Date(record.atMs).toISOString();
  return `<${priority}>1 ${at} ${printable(host, HOST_MAX)} sallyport ${processId}`;
}

/** §6: printable US-ASCII without spaces; nothing is written as a hyphen. */
function printable(text: string, lengthMax: number): string {
  return text.replaceAll(/[^\x21-\x7e]/g, "?").slice(0, lengthMax) || "-";
}

/** §6.3.3: `"`, `\` and `]` are escaped in a value; a name has none of `= ] "` and no space. */
function parameter(name: string, text: string): string {
  const safe = printable(name, NAME_MAX).replaceAll(/[=\]"]/g, "_");
  const value = visible(cut(text, VALUE_LENGTH_MAX)).replaceAll(/["\\\]]/g, String.raw`\$&`);
  return `${safe}="${value}"`;
}

/** Fields that CEF has a name for. */
const CEF_NAMES: ReadonlyMap<string, string> = new Map([
  ["source", "src"],
  ["destination", "dst"],
  ["port", "dpt"],
  ["protocol", "app"],
  ["person", "suser"],
  ["reason", "reason"],
]);
/** The format has six texts of one's own; what does not find a place is JSON in the last one. */
const CEF_CUSTOM = 5;

function extensions(record: ForwardedRecord): string[] {
  const found: string[] = [];
  const rest: [string, string][] = [];
  let custom = 0;
  for (const [name, text] of membersOf(record)) {
    const known = CEF_NAMES.get(name);
    const value = extensionValue(cut(text, VALUE_LENGTH_MAX));
    // CEF has an address and a port apart: `spt`, `dpt`.
    const [, address, port] = /^(\d{1,3}(?:\.\d{1,3}){3}):(\d{1,5})$/.exec(value) ?? [];
    const isEnd = known === "src" || known === "dst";
    if (isEnd && address !== undefined && port !== undefined) {
      found.push(`${known}=${address} ${known.charAt(0)}pt=${port}`);
    } else if (known !== undefined) found.push(`${known}=${value}`);
    else if (custom < CEF_CUSTOM) {
      custom += 1;
      found.push(`cs${custom}Label=${extensionValue(name)} cs${custom}=${value}`);
    } else rest.push([name, cut(text, VALUE_LENGTH_MAX)]);
  }
  if (rest.length > 0) {
    const text = extensionValue(JSON.stringify(Object.fromEntries(rest)));
    found.push(`cs6Label=more cs6=${text}`);
  }
  return found;
}

/** In the header `|` and `\` are escaped, in an extension `=` and `\`. */
function headerValue(text: string): string {
  return visible(text).replaceAll(/[|\\]/g, String.raw`\$&`);
}

function extensionValue(text: string): string {
  return visible(text).replaceAll(/[=\\]/g, String.raw`\$&`);
}
