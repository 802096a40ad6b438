/**
 * Makes the scripts of one file that run far from here on any Node from 18 on: `node tools/one-file.ts`. Each is
 * its main and the modules that it imports, with the types taken out, so the product and the script can never
 * check by different rules. A test compares what is checked in with what this makes.
 */
import { spawnSync } from "node:child_process";
import fs from "node:fs";
import { stripTypeScriptTypes } from "node:module";
import path from "node:path";
import process from "node:process";
import { fileURLToPath } from "node:url";
import { type Comment, parseSync, type Statement } from "oxc-parser";

const ROOT = fileURLToPath(new URL("..", import.meta.url));

export const SCRIPTS: readonly { readonly main: string; readonly script: string }[] = [
  "verify",
  "witness",
].map((name) => ({
  main: `packages/ledger/one-file/${name}.main.ts`,
  script: `packages/ledger/one-file/${name}.mjs`,
}));

/** A piece of a source that the script leaves out. */
interface Cut {
  readonly start: number;
  readonly end: number;
}

interface Module {
  readonly builtins: readonly string[];
  readonly imports: readonly string[];
  readonly text: string;
}

export function makeScript(main: string): string {
  const modules = new Map<string, Module>();
  load(path.join(ROOT, main), modules);
  const builtins = new Set([...modules.values()].flatMap((module) => module.builtins));
  const files = [...modules.keys()].map((file) => path.relative(ROOT, file));
  const source = [
    "#!/usr/bin/env node",
    `// Made by tools/one-file.ts of ${files.join(", ")}.`,
    "// SPDX-License-Identifier: Apache-2.0",
    ...[...builtins].sort(),
    ...[...modules.values()].map(({ text }) => text),
  ].join("\n\n");
  return format(source.replaceAll(/[ \t]+$/gm, "").replaceAll(/\n{3,}/g, "\n\n"));
}

/** Imported modules stand before those that use them, as they must in one file. */
function load(file: string, modules: Map<string, Module>): void {
  if (modules.has(file)) return;
  const module = readModule(file);
  for (const one of module.imports) load(path.resolve(path.dirname(file), one), modules);
  modules.set(file, module);
}

function readModule(file: string): Module {
  const text = fs.readFileSync(file, "utf8");
  const { program, comments, errors } = parseSync(file, text);
  if (errors.length > 0) throw new SyntaxError(`${file}: ${errors[0]?.message ?? ""}`);
  const builtins: string[] = [];
  const imports: string[] = [];
  const cuts: Cut[] = [];
  for (const node of program.body) {
    if (node.type === "ImportDeclaration") {
      const { value } = node.source;
      cuts.push(node);
      if (value.startsWith("node:")) builtins.push(text.slice(node.start, node.end));
      else if (!value.startsWith(".")) throw new Error(`${file} imports ${value}, not a built-in`);
      else if (node.importKind !== "type") imports.push(value);
    } else if (node.type === "ExportNamedDeclaration") {
      if (node.declaration === null) throw new Error(`${file} exports without declaring`);
      const isType = isOnlyType(node.declaration);
      cuts.push(
        isType ? withComment(node, comments, text) : { ...node, end: node.declaration.start },
      );
    } else if (isOnlyType(node)) {
      cuts.push(withComment(node, comments, text));
    }
  }
  return { builtins, imports, text: stripTypeScriptTypes(without(text, cuts)).trim() };
}

function isOnlyType({ type }: { readonly type: string }): boolean {
  return type === "TSInterfaceDeclaration" || type === "TSTypeAliasDeclaration";
}

/** What describes a type goes with it. */
function withComment(node: Statement, comments: readonly Comment[], text: string): Cut {
  const comment = comments.findLast(({ end }) => end <= node.start);
  const isOwn = comment !== undefined && text.slice(comment.end, node.start).trim() === "";
  // The first comment of a file describes the file.
  return { start: isOwn && comment.start > 0 ? comment.start : node.start, end: node.end };
}

function without(text: string, cuts: readonly Cut[]): string {
  let rest = text;
  for (const { start, end } of [...cuts].sort((a, b) => b.start - a.start)) {
    rest = rest.slice(0, start) + rest.slice(end);
  }
  return rest;
}

function format(source: string): string {
  const biome = path.join(ROOT, "node_modules/@biomejs/biome/bin/biome");
  const args = [biome, "format", "--stdin-file-path=script.mjs"];
  const done = spawnSync(process.execPath, args, { cwd: ROOT, input: source, encoding: "utf8" });
  if (done.status !== 0) throw new Error(`biome: ${done.stderr}`);
  return done.stdout;
}

if (import.meta.main) {
  for (const { main, script } of SCRIPTS) {
    fs.writeFileSync(path.join(ROOT, script), makeScript(main));
    // Names of different modules that collide show here.
    const done = spawnSync(process.execPath, ["--check", path.join(ROOT, script)], {
      stdio: "inherit",
    });
    if (done.status !== 0) process.exitCode = 1;
  }
}
