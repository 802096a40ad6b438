/** What `tidy` wants to know about one TypeScript file, read from its syntax tree. */
import { type Expression, type Program, parseSync, Visitor } from "oxc-parser";

export interface Import {
  readonly specifier: string;
  /** `import type` and `export type`, which leave nothing to load. */
  readonly isTypeOnly: boolean;
  readonly line: number;
}

/** Something found at a line. */
export interface Mention {
  readonly text: string;
  readonly line: number;
}

export interface Source {
  readonly imports: readonly Import[];
  /** Codes of errors and diagnostics made here. */
  readonly codes: readonly Mention[];
  /** Reads of a clock, randomness or the environment. */
  readonly surroundings: readonly Mention[];
  /** All string literals, to find codes that are named in another way. */
  readonly strings: ReadonlySet<string>;
  /** Lines that hold more than white space and comments. */
  readonly codeLines: number;
  /** Imports of a name made at run time, which nothing can check. */
  readonly computed: readonly Mention[];
  /** Where the file cannot be understood. */
  readonly faults: readonly Mention[];
}

const CODE = /^[a-z][a-z0-9]*(-[a-z0-9]+)+$/;
const SEVERITIES = new Set(["error", "warning", "note"]);
const SURROUNDINGS = new Set([
  "Date.now",
  "Math.random",
  "process.env",
  "process.hrtime",
  "performance.now",
]);
const RANDOM = new Set(["randomBytes", "randomUUID", "randomInt", "randomFill", "getRandomValues"]);

type At = (what: string, start: number) => Mention;

export function readSource(file: string, text: string): Source {
  const { program, comments, errors } = parseSync(file, text);
  const lineOf = lineCounter(text);
  const at: At = (what, start) => ({ text: what, line: lineOf(start) });
  const faults = errors.map((error) => at(error.message, error.labels[0]?.start ?? 0));
  const { imports, computed } = readImports(program, at);
  const strings = new Set<string>();
  new Visitor({
    Literal(node) {
      if (typeof node.value === "string") strings.add(node.value);
    },
  }).visit(program);
  return {
    imports,
    codes: readCodes(program, at),
    surroundings: readSurroundings(program, at),
    strings,
    codeLines: countCodeLines(text, comments),
    computed,
    faults,
  };
}

function readImports(program: Program, at: At): { imports: Import[]; computed: Mention[] } {
  const imports: Import[] = [];
  const computed: Mention[] = [];
  const add = (specifier: string, isTypeOnly: boolean, start: number): void => {
    imports.push({ specifier, isTypeOnly, line: at("", start).line });
  };
  new Visitor({
    ImportDeclaration(node) {
      add(node.source.value, node.importKind === "type", node.start);
    },
    ExportNamedDeclaration(node) {
      if (node.source !== null) add(node.source.value, node.exportKind === "type", node.start);
    },
    ExportAllDeclaration(node) {
      add(node.source.value, node.exportKind === "type", node.start);
    },
    ImportExpression(node) {
      const specifier = literal(node.source);
      if (specifier !== undefined) add(specifier, false, node.start);
      else computed.push(at("import(…)", node.start));
    },
    TSImportType(node) {
      const specifier = literal(node.source);
      if (specifier !== undefined) add(specifier, true, node.start);
    },
  }).visit(program);
  return { imports, computed };
}

function readCodes(program: Program, at: At): Mention[] {
  const codes: Mention[] = [];
  const add = (code: string | undefined, start: number): void => {
    if (code !== undefined && CODE.test(code)) codes.push(at(code, start));
  };
  new Visitor({
    // new SallyportError("code", …), and classes made of it, which built-in errors are told from.
    NewExpression(node) {
      const name = node.callee.type === "Identifier" ? node.callee.name : "";
      const code = literal(node.arguments[0]);
      if (name === "SallyportError" && code !== undefined) codes.push(at(code, node.start));
      else if (name.endsWith("Error")) add(code, node.start);
    },
    // diagnostic("code", …), or a helper that is called so at its end.
    CallExpression(node) {
      if (!/diagnostic$/i.test(calledName(node.callee))) return;
      const words = node.arguments.map(literal);
      add(
        words.find((word) => word !== undefined && CODE.test(word)),
        node.start,
      );
    },
    // { code: "code", severity: …, … }, and a list of codes with their severities.
    ObjectExpression(node) {
      const members = node.properties.filter((member) => member.type === "Property");
      const nameOf = ({
        key,
      }: {
        key: { type: string; name?: unknown; value?: unknown };
      }): unknown => (key.type === "Identifier" ? key.name : literal(key));
      const isDiagnostic = members.some((member) => nameOf(member) === "severity");
      for (const member of members) {
        const value = literal(member.value);
        if (isDiagnostic && nameOf(member) === "code") add(value, node.start);
        if (SEVERITIES.has(value ?? "")) add(literal(member.key), member.start);
      }
    },
  }).visit(program);
  return codes;
}

function calledName(callee: Expression): string {
  if (callee.type === "Identifier") return callee.name;
  if (callee.type !== "MemberExpression") return "";
  return callee.property.type === "Identifier" ? callee.property.name : "";
}

function readSurroundings(program: Program, at: At): Mention[] {
  const found: Mention[] = [];
  new Visitor({
    ImportSpecifier(node) {
      const name = node.imported.type === "Identifier" ? node.imported.name : "";
      if (RANDOM.has(name)) found.push(at(name, node.start));
    },
    NewExpression(node) {
      const isDate = node.callee.type === "Identifier" && node.callee.name === "Date";
      if (isDate && node.arguments.length === 0) found.push(at("new Date()", node.start));
    },
    MemberExpression(node) {
      if (node.object.type !== "Identifier" || node.property.type !== "Identifier") return;
      const name = `${node.object.name}.${node.property.name}`;
      const isRandom = node.object.name === "crypto" && RANDOM.has(node.property.name);
      if (SURROUNDINGS.has(name) || isRandom) found.push(at(name, node.start));
    },
  }).visit(program);
  return found;
}

function literal(node: { type: string; value?: unknown } | undefined): string | undefined {
  return node?.type === "Literal" && typeof node.value === "string" ? node.value : undefined;
}

/** 1-based line of an offset. */
function lineCounter(text: string): (offset: number) => number {
  const starts = [0];
  for (let at = text.indexOf("\n"); at >= 0; at = text.indexOf("\n", at + 1)) starts.push(at + 1);
  return (offset) => {
    const next = starts.findIndex((start) => start > offset);
    return next < 0 ? starts.length : next;
  };
}

function countCodeLines(
  text: string,
  comments: readonly { readonly start: number; readonly end: number }[],
): number {
  let code = "";
  let end = 0;
  for (const comment of comments) {
    code += text.slice(end, comment.start);
    // A comment over several lines keeps its line breaks, or it would join what surrounds it.
    code += text.slice(comment.start, comment.end).replaceAll(/[^\n]/g, "");
    ({ end } = comment);
  }
  code += text.slice(end);
  return code.split("\n").filter((line) => line.trim() !== "").length;
}
