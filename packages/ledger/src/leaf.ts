/**
 * What a verifier wants of a leaf: one JSON object in the one way that RFC 8785 writes it, so that nobody
 * can read it in two ways, and commitments that a disclosed value must match. Written apart from the writer
 * in `core` on purpose: a mistake there does not vouch for itself here. Part of the one-file scripts, so it
 * runs on Node 18 and imports built-ins only.
 */
import { sha256Base64 } from "./merkle.ts";
import { decodeText, malformed, type Parsed } from "./note.ts";

/** As in the writer. */
const LEAF_MAX_DEPTH = 64;
/** A salt is 128 bits: nobody tries them all, however few values there are to guess. */
export const SALT_BYTES = 16;

export interface Leaf {
  readonly type: string;
  /** Milliseconds since 1970, UTC. */
  readonly at: number;
  /** By name: SHA-256 over salt and value of a personal field, in base64. */
  readonly commit?: Readonly<Record<string, string>>;
  readonly [field: string]: unknown;
}

/** The canonical text of a parsed JSON value; undefined where it nests too deep or is not Unicode. */
export function canonicalText(value: unknown, depth = 0): string | undefined {
  if (depth > LEAF_MAX_DEPTH) return undefined;
  if (typeof value === "string") return stringText(value);
  if (typeof value !== "object" || value === null) return JSON.stringify(value);
  const parts: string[] = [];
  if (Array.isArray(value)) {
    for (const item of value) {
      const part = canonicalText(item, depth + 1);
      if (part === undefined) return undefined;
      parts.push(part);
    }
    return `[${parts.join(",")}]`;
  }
  // Strings compare by UTF-16 code units, as §3.2.3 asks.
  for (const [name, member] of Object.entries(value).sort(([a], [b]) => (a < b ? -1 : 1))) {
    const [key, part] = [stringText(name), canonicalText(member, depth + 1)];
    if (key === undefined || part === undefined) return undefined;
    parts.push(`${key}:${part}`);
  }
  return `{${parts.join(",")}}`;
}

/** JSON.parse lets half of a surrogate pair through; no Unicode text holds one. */
function stringText(text: string): string | undefined {
  return /\p{Surrogate}/u.test(text) ? undefined : JSON.stringify(text);
}

export function parseLeaf(bytes: Uint8Array): Parsed<Leaf> {
  const text = decodeText(bytes, bytes.length);
  if (text === undefined) return malformed("is not UTF-8");
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch {
    return malformed("is not JSON");
  }
  if (!isLeaf(value))
    return malformed("is no record: it needs a type, a time and commitments as text");
  if (canonicalText(value) !== text) return malformed("is not written canonically");
  return { kind: "parsed", value };
}

function isLeaf(value: unknown): value is Leaf {
  if (typeof value !== "object" || value === null || Array.isArray(value)) return false;
  const { type, at, commit } = value as Record<string, unknown>;
  if (typeof type !== "string" || !Number.isSafeInteger(at)) return false;
  if (commit === undefined) return true;
  if (typeof commit !== "object" || commit === null || Array.isArray(commit)) return false;
  return Object.values(commit).every((one) => typeof one === "string");
}

/** A value is a name or an address; larger things are recordings. */
export const VALUE_MAX_BYTES = 65_535;

/** Used by one call at a time, since none waits. */
const COMMITMENT_INPUT = Buffer.alloc(SALT_BYTES + VALUE_MAX_BYTES);

/**
 * H(salt ‖ value), the value in canonical JSON of at most `VALUE_MAX_BYTES`. The salt's length is fixed, so
 * no two pairs are alike.
 */
export function commitmentOf(salt: Uint8Array, canonicalValue: string): string {
  COMMITMENT_INPUT.set(salt);
  const end = SALT_BYTES + COMMITMENT_INPUT.write(canonicalValue, SALT_BYTES);
  return sha256Base64(COMMITMENT_INPUT.subarray(0, end));
}

/** A personal value shown with its salt, and the record that it belongs to. */
export interface Disclosure {
  readonly index: number;
  readonly name: string;
  /** Base64. */
  readonly salt: string;
  readonly value: unknown;
}

export function isDisclosure(value: unknown): value is Disclosure {
  if (typeof value !== "object" || value === null) return false;
  const { index, name, salt } = value as Record<string, unknown>;
  return (
    Number.isSafeInteger(index) &&
    typeof name === "string" &&
    typeof salt === "string" &&
    Buffer.from(salt, "base64").length === SALT_BYTES
  );
}

/** Whether the disclosed value is the one that the record was made with. */
export function isDisclosed(leaf: Leaf, { name, salt, value }: Disclosure): boolean {
  const commit = leaf.commit ?? {};
  const text = canonicalText(value);
  if (text === undefined || Buffer.byteLength(text) > VALUE_MAX_BYTES) return false;
  if (!Object.hasOwn(commit, name)) return false;
  return commit[name] === commitmentOf(Buffer.from(salt, "base64"), text);
}
