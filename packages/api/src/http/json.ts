/** JSON from strangers: what two readers could understand differently is refused. */
import { HttpError } from "./problem.ts";
import { JSON_DEPTH_MAX } from "./limits.ts";

/** Names that reach an object's prototype where code is careless. */
const PROTOTYPE_NAMES: ReadonlySet<string> = new Set(["__proto__", "constructor", "prototype"]);

/**
 * RFC 8259 text as a value. Throws `bad-json` for what is no JSON or no UTF-8, for a name given twice in an
 * object (RFC 8259 §4: behavior is unpredictable), names of the prototype, lone surrogates, and deep nesting.
 */
export function readJson(bytes: Uint8Array): unknown {
  let text: string;
  try {
    // A byte order mark is kept, so that JSON.parse refuses it (RFC 8259 §8.1).
    text = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true }).decode(bytes);
  } catch {
    throw bad("the body is not UTF-8");
  }
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch {
    throw bad("the body is not JSON");
  }
  checkNames(text);
  return value;
}

function bad(message: string): HttpError {
  return new HttpError("bad-json", message);
}

/** Walks text that JSON.parse took, so only strings and brackets need to be told apart. */
function checkNames(text: string): void {
  /** One entry for each open bracket: the names of an object so far, nothing for a list. */
  const open: (Set<string> | undefined)[] = [];
  for (let at = 0; at < text.length; at++) {
    const sign = text[at];
    if (sign === "{" || sign === "[") {
      if (open.length >= JSON_DEPTH_MAX) throw bad(`nested deeper than ${JSON_DEPTH_MAX}`);
      open.push(sign === "{" ? new Set() : undefined);
    } else if (sign === "}" || sign === "]") open.pop();
    else if (sign === '"') {
      const end = endOfString(text, at);
      const word: unknown = JSON.parse(text.slice(at, end + 1));
      if (typeof word !== "string" || !word.isWellFormed()) throw bad("a text is not Unicode");
      if (isName(text, end)) addName(open.at(-1), word);
      at = end;
    }
  }
}

function endOfString(text: string, start: number): number {
  let at = start + 1;
  while (text[at] !== '"') at += text[at] === "\\" ? 2 : 1;
  return at;
}

/** A string is a member's name when a colon follows. */
function isName(text: string, end: number): boolean {
  let at = end + 1;
  while (text[at] === " " || text[at] === "\n" || text[at] === "\r" || text[at] === "\t") at++;
  return text[at] === ":";
}

function addName(names: Set<string> | undefined, name: string): void {
  const shown = JSON.stringify(name.slice(0, 64));
  if (PROTOTYPE_NAMES.has(name)) throw bad(`the name ${shown} is not allowed`);
  if (names?.has(name) === true) throw bad(`the name ${shown} stands twice in one object`);
  names?.add(name);
}
