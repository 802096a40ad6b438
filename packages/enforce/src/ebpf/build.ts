/**
 * Builds `inner.bpf.o` from `inner.bpf.c` and its headers: `node packages/enforce/src/ebpf/build.ts`. Users need no
 * compiler: the object is committed, and a test builds it again and compares.
 *
 * With another file as argument it builds there; with `--allow-all` first, the variant with a single
 * rule that benchmarks compare with (never installed).
 */
import { execFileSync } from "node:child_process";
import path from "node:path";
import { parseArgs } from "node:util";

const HERE = import.meta.dirname;
/** One version, so that one source has one object. */
const CLANG = "clang-14";
const STRIP = "llvm-strip-14";

export const OBJECT: string = path.join(HERE, "inner.bpf.o");

/** Whether the pinned compiler is on this machine. */
export function canBuild(): boolean {
  try {
    for (const tool of [CLANG, STRIP]) execFileSync(tool, ["--version"], { stdio: "ignore" });
    return true;
  } catch {
    return false;
  }
}

export function build(object: string, defines: readonly string[] = []): void {
  const flags = ["-O2", "-g", "-target", "bpfel", "-mcpu=v3", "-Wall", "-Wextra", "-Werror"];
  // Debian keeps asm/ in a folder of the machine's own; what is used of it is the same in all.
  const machines = ["x86_64-linux-gnu", "aarch64-linux-gnu"].map((m) => `-I/usr/include/${m}`);
  const paths = [...machines, "-fdebug-compilation-dir=."];
  const names = defines.map((name) => `-D${name}`);
  const quiet = ["-Wno-unused-parameter", ...(defines.length > 0 ? ["-Wno-unused-function"] : [])];
  const input = ["-c", "inner.bpf.c", "-o", object];
  execFileSync(CLANG, [...flags, ...quiet, ...names, ...paths, ...input], { cwd: HERE });
  // DWARF goes; BTF, which the kernel wants for the maps, stays.
  execFileSync(STRIP, ["-g", object]);
}

if (import.meta.main) {
  const options = { "allow-all": { type: "boolean" } } as const;
  const { values, positionals } = parseArgs({ options, allowPositionals: true });
  build(positionals[0] ?? OBJECT, values["allow-all"] === true ? ["ALLOW_ALL"] : []);
}
