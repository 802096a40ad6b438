/**
 * A signed checkpoint on one line, for a QR code, a printed page or a syslog message: who holds such a line
 * holds a head that the log cannot take back. Part of the one-file scripts, so it runs on Node 18 and
 * imports built-ins only.
 */
import { formatHead, parseCheckpoint, parseSize } from "./checkpoint.ts";
import { HASH_BYTES, sha256 } from "./merkle.ts";
import { fromBase64, isKeyName, malformed, type Parsed, parseSignature, toBase64 } from "./note.ts";

const MARK = "sallyport-checkpoint/1";
/** Eight hex digits tell apart a line that was mistyped; the signature tells apart a forged one. */
const CHECK_DIGITS = 8;
/** Longer lines are no checkpoint of ours, whatever they begin with. */
const LINE_MAX_CHARACTERS = 2048;

function checkOf(text: string): string {
  return sha256(Buffer.from(text)).toString("hex").slice(0, CHECK_DIGITS);
}

/** `sallyport-checkpoint/1 ORIGIN SIZE ROOT SIGNATURE CHECK`: the log's own signature, no cosignatures. */
export function checkpointLine(checkpoint: string): string {
  const parsed = parseCheckpoint(checkpoint);
  if (parsed.kind === "malformed") throw new RangeError(`the checkpoint ${parsed.why}`);
  const { head, note } = parsed.value;
  const own = note.signatures.find(({ name }) => name === head.origin);
  if (own === undefined) throw new RangeError(`${head.origin} did not sign the checkpoint`);
  const encoded = own.line.slice(own.line.lastIndexOf(" ") + 1);
  const text = `${MARK} ${head.origin} ${head.size} ${toBase64(head.root)} ${encoded}`;
  return `${text} ${checkOf(text)}`;
}

/** Finds such a line in a text, also behind a syslog header, and gives the checkpoint back. */
export function parseCheckpointLine(text: string): Parsed<string> {
  const start = text.indexOf(`${MARK} `);
  if (start < 0 || text.length > LINE_MAX_CHARACTERS) return malformed(`has no ${MARK}`);
  const [line = ""] = text.slice(start).split(/[\r\n]/);
  const [, origin = "", size = "", root = "", encoded = "", check, ...rest] = line
    .trimEnd()
    .split(" ");
  if (rest.length > 0 || check === undefined) return malformed("does not have six words");
  if (check !== checkOf([MARK, origin, size, root, encoded].join(" "))) {
    return malformed("was mistyped: its check digits do not match");
  }
  const [sizeNumber, rootBytes] = [parseSize(size), fromBase64(root)];
  const signature = parseSignature(`\u2014 ${origin} ${encoded}`);
  if (sizeNumber === undefined || rootBytes?.length !== HASH_BYTES || signature === undefined) {
    return malformed("holds no checkpoint");
  }
  if (!isKeyName(origin)) return malformed("has no origin");
  const head = formatHead({ origin, size: sizeNumber, root: rootBytes });
  return { kind: "parsed", value: `${head}\n${signature.line}\n` };
}

/** RFC 5424 §6.2.1: facility 13, log audit; severity 5, notice. */
const PRIORITY = 13 * 8 + 5;

/** The same as an RFC 5424 message. `host` is a host name without spaces, or `-`. */
export function syslogLine(checkpoint: string, host: string, atMs: number): string {
  const at = new Date(atMs).toISOString();
  return `<${PRIORITY}>1 ${at} ${host} sallyport - checkpoint - ${checkpointLine(checkpoint)}`;
}
