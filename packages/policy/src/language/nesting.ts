import { DEPTH } from "./limits.ts";

/**
 * How deep a text nests must be told before the YAML parser builds it: a megabyte of `[` takes that
 * parser seconds and a gigabyte. Flow collections are counted in the lexer's tokens, on their way to
 * the parser.
 */
export class FlowDepth {
  #depth = 0;
  #offset = 0;
  #isText = false;

  /** The offset of `token`, the lexer's next, if it opens one collection too many. */
  tooDeepAt(token: string): number | undefined {
    const unit = token.charCodeAt(0);
    // Marks of the lexer for document, flow end and scalar are not in the text.
    if (unit === DOCUMENT || unit === FLOW_ERROR_END) return undefined;
    if (unit === SCALAR) {
      this.#isText = true;
      return undefined;
    }
    const offset = this.#offset;
    const isText = this.#isText;
    this.#isText = false;
    this.#offset += token.length;
    if (isText || token.length !== 1) return undefined;
    if (unit === 0x5b || unit === 0x7b) return ++this.#depth > DEPTH ? offset : undefined;
    if ((unit === 0x5d || unit === 0x7d) && this.#depth > 0) this.#depth--;
    return undefined;
  }
}

const DOCUMENT = 0x02;
const FLOW_ERROR_END = 0x18;
const SCALAR = 0x1f;

/** Blocks nest by columns: of indentation, and of `- ` and `? ` in front of a line's content. */
export function deepBlockAt(text: string): number | undefined {
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
