import { SallyportError } from "./error.ts";

/** What JSON can say; `undefined` members of an object are left out, as JSON.stringify does. */
export type Json =
  | null
  | boolean
  | number
  | string
  | readonly Json[]
  | { readonly [name: string]: Json | undefined };

/** Deeper values are refused: nothing of ours nests so far, and recursion must end. */
const MAX_DEPTH = 64;

/**
 * RFC 8785 JSON Canonicalization Scheme: one text for one value, so that its hash can be signed.
 * Members are sorted by UTF-16 code units (§3.2.3); numbers and strings are as ECMAScript prints
 * them (§3.2.2). Throws `not-canonical` for NaN, infinities, lone surrogates and deep nesting.
 */
export function canonicalJson(value: Json): string {
  return write(value, 0);
}

function write(value: Json, depth: number): string {
  if (depth > MAX_DEPTH)
    throw new SallyportError("not-canonical", `nested deeper than ${MAX_DEPTH}`);
  if (value === null || typeof value === "boolean") return String(value);
  if (typeof value === "number") {
    if (!Number.isFinite(value)) throw new SallyportError("not-canonical", `${value} is not JSON`);
    return JSON.stringify(value);
  }
  if (typeof value === "string") {
    if (!value.isWellFormed())
      throw new SallyportError("not-canonical", "a lone surrogate is not Unicode");
    return JSON.stringify(value);
  }
  if (isList(value)) return `[${value.map((item) => write(item, depth + 1)).join(",")}]`;
  const members: string[] = [];
  for (const name of Object.keys(value).sort()) {
    const member = value[name];
    if (member !== undefined) members.push(`${write(name, depth)}:${write(member, depth + 1)}`);
  }
  return `{${members.join(",")}}`;
}

/** Array.isArray does not narrow a readonly array. */
function isList(value: Json): value is readonly Json[] {
  return Array.isArray(value);
}
