import { Lexer } from "yaml";
import { DEPTH } from "./limits.ts";

/**
 * How deep a text nests, told before the YAML parser sees it: a megabyte of `[` takes that parser
 * seconds and a gigabyte, because it builds what it reads. Answers the offset where DEPTH is passed.
 *
 * The first look can only overrate: every opening bracket counts, wherever it stands, and a closing
 * one counts only where it cannot be text, which is before the first quote or block scalar of the
 * file and not after a `#`. A file that looks deep is then read by the YAML lexer, which is exact,
 * linear and builds nothing.
 */
export function tooDeepAt(text: string): number | undefined {
  const byIndent = deepIndentAt(text);
  if (byIndent !== undefined) return byIndent;
  return mayBeDeepFlow(text) ? deepFlowAt(text) : undefined;
}

function mayBeDeepFlow(text: string): boolean {
  let depth = 0;
  let mayBeQuoted = false;
  let mayBeComment = false;
  for (let at = 0; at < text.length; at++) {
    const unit = text.charCodeAt(at);
    if (unit === 0x0a) mayBeComment = false;
    else if (unit === 0x23) mayBeComment = true;
    else if (unit === 0x22 || unit === 0x27 || unit === 0x7c || unit === 0x3e) mayBeQuoted = true;
    else if (unit === 0x5b || unit === 0x7b) {
      if (++depth > DEPTH) return true;
    } else if ((unit === 0x5d || unit === 0x7d) && !mayBeQuoted && !mayBeComment) {
      depth = Math.max(0, depth - 1);
    }
  }
  return false;
}

function deepFlowAt(text: string): number | undefined {
  let depth = 0;
  let offset = 0;
  for (const token of new Lexer().lex(text)) {
    // Marks of the lexer for document, flow end, scalar and BOM are not in the text.
    if (token === "\u0002" || token === "\u0018" || token === "\u001f") continue;
    if (token === "[" || token === "{") {
      if (++depth > DEPTH) return offset;
    } else if (token === "]" || token === "}") depth = Math.max(0, depth - 1);
    offset += token.length;
  }
  return undefined;
}

/** Blocks nest by columns: of indentation, and of `- ` and `? ` in front of a line's content. */
function deepIndentAt(text: string): number | undefined {
  const columns: number[] = [];
  for (let start = 0; start < text.length; ) {
    const newline = text.indexOf("\n", start);
    const end = newline < 0 ? text.length : newline;
    let at = start;
    for (;;) {
      while (at < end && isBlank(text.charCodeAt(at))) at++;
      if (at >= end || text.charCodeAt(at) === 0x23) break;
      const column = at - start;
      while ((columns.at(-1) ?? -1) >= column) columns.pop();
      columns.push(column);
      if (columns.length > DEPTH) return at;
      const unit = text.charCodeAt(at);
      if ((unit !== 0x2d && unit !== 0x3f) || !isBlank(text.charCodeAt(at + 1))) break;
      at++;
    }
    start = end + 1;
  }
  return undefined;
}

function isBlank(unit: number): boolean {
  return unit === 0x20 || unit === 0x09 || unit === 0x0d;
}
