import {
  Composer,
  type Document,
  type DocumentOptions,
  Lexer,
  type ParseOptions,
  Parser,
  type SchemaOptions,
  YAMLParseError,
} from "yaml";
import { deepBlockAt, FlowDepth } from "./nesting.ts";

export type YamlText =
  | { readonly kind: "document"; readonly document: Document }
  | { readonly kind: "too-deep"; readonly offset: number };

/**
 * What `parseDocument` of the YAML library answers, or that the text nests deeper than `DEPTH`. Its
 * lexer, parser and composer are driven here, so that depth is told by the lexer's own tokens before
 * the parser builds what they mean, and the text is read once.
 */
export function parseYaml(
  text: string,
  options: ParseOptions & DocumentOptions & SchemaOptions,
): YamlText {
  const block = deepBlockAt(text);
  if (block !== undefined) return { kind: "too-deep", offset: block };
  const depth = new FlowDepth();
  const parser = new Parser();
  const composer = new Composer(options);
  const documents: Document.Parsed[] = [];
  for (const lexeme of new Lexer().lex(text)) {
    const offset = depth.tooDeepAt(lexeme);
    if (offset !== undefined) return { kind: "too-deep", offset };
    for (const token of parser.next(lexeme)) documents.push(...composer.next(token));
  }
  for (const token of parser.end()) documents.push(...composer.next(token));
  documents.push(...composer.end(true, text.length));
  const [document, second] = documents;
  // The library's own promise for `end(true)`.
  if (document === undefined) throw new TypeError("the composer gave no document");
  if (second !== undefined) {
    const [start, end] = second.range;
    document.errors.push(
      new YAMLParseError([start, end], "MULTIPLE_DOCS", "a second document begins here"),
    );
  }
  return { kind: "document", document };
}
