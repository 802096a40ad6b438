import { SallyportError } from "@sallyport/core";
import { Lexer } from "yaml";
import { SourceFile } from "./report.ts";
import { parseYaml } from "./yaml-text.ts";

/** Long texts are folded and long flow mappings broken here. */
const LINE_WIDTH = 100;

/**
 * A policy file in its usual form: two spaces, one form of quotes, lines up to 100 characters. Keeps
 * comments, blank lines and the order of everything, and never changes what the file means. Throws
 * `policy-syntax` or `policy-too-deep` for a text that is not YAML of ours.
 */
export function formatPolicy(text: string): string {
  const file = new SourceFile("policy", text);
  const options = {
    version: "1.2",
    schema: "core",
    uniqueKeys: false,
    prettyErrors: false,
  } as const;
  const parsed = parseYaml(text, options);
  if (parsed.kind === "too-deep") {
    const { line } = file.position(parsed.offset);
    throw new SallyportError("policy-too-deep", `line ${line} nests too deep`);
  }
  const { document } = parsed;
  const error = document.errors[0] ?? document.warnings[0];
  if (error !== undefined) {
    const { line, column } = file.position(error.pos[0]);
    throw new SallyportError("policy-syntax", `line ${line}, column ${column}: ${error.message}`, {
      hint: "sallyport policy validate shows every mistake",
    });
  }
  const formatted = document.toString({
    indent: 2,
    lineWidth: LINE_WIDTH,
    singleQuote: false,
    flowCollectionPadding: true,
  });
  return tightLists(formatted);
}

/** `[ 1, 2 ]` to `[1, 2]`, while mappings keep their blanks; the lexer knows brackets from text. */
function tightLists(text: string): string {
  let out = "";
  let previous = "";
  for (const token of new Lexer().lex(text)) {
    // Marks of the lexer for document, flow end, scalar and BOM are not in the text.
    if (token === "\u0002" || token === "\u0018" || token === "\u001f" || token === "\ufeff")
      continue;
    if (previous === "[" && token === " ") continue;
    if (token === "]" && previous === " " && out.endsWith(" ")) out = out.slice(0, -1);
    out += token;
    previous = token;
  }
  return out;
}
