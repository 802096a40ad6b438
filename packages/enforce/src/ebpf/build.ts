/**
 * Builds `inner.bpf.o` from `inner.bpf.c`: `node packages/enforce/src/ebpf/build.ts`. Users need no
 * compiler: the object is committed, and a test builds it again and compares.
 *
 * With another file as argument it builds there; with `--allow-all` first, the variant with a single
 * rule that benchmarks compare with (never installed).
 */
import { execFileSync } from "node:child_process";
import fs from "node:fs";
import path from "node:path";
import process from "node:process";

const HERE = import.meta.dirname;
/** One version, so that one source has one object. */
const CLANG = "clang-14";
const STRIP = "llvm-strip-14";

export const OBJECT: string = path.join(HERE, "inner.bpf.o");

/** Whether the pinned compiler is on this machine. */
export function canBuild(): boolean {
  const folders = (process.env["PATH"] ?? "").split(":");
  return [CLANG, STRIP].every((tool) => folders.some((at) => fs.existsSync(path.join(at, tool))));
}

export function build(object: string, defines: readonly string[] = []): void {
  const flags = ["-O2", "-g", "-target", "bpfel", "-mcpu=v3", "-Wall", "-Wextra", "-Werror"];
  // Debian keeps asm/ in a folder of the machine's own; what is used of it is the same in all.
  const multiarch = process.arch === "arm64" ? "aarch64-linux-gnu" : "x86_64-linux-gnu";
  const paths = ["-I", `/usr/include/${multiarch}`, "-fdebug-compilation-dir=."];
  const names = defines.map((name) => `-D${name}`);
  const quiet = ["-Wno-unused-parameter", ...(defines.length > 0 ? ["-Wno-unused-function"] : [])];
  const input = ["-c", "inner.bpf.c", "-o", object];
  execFileSync(CLANG, [...flags, ...quiet, ...names, ...paths, ...input], { cwd: HERE });
  // DWARF goes; BTF, which the kernel wants for the maps, stays.
  execFileSync(STRIP, ["-g", object]);
}

if (process.argv[1] === import.meta.filename) {
  const rest = process.argv.slice(2);
  const allowAll = rest[0] === "--allow-all";
  build(rest[allowAll ? 1 : 0] ?? OBJECT, allowAll ? ["ALLOW_ALL"] : []);
}
