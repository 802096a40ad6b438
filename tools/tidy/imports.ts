/** Who imports whom: the table, the doors, cycles, and what the root processes load. */
import path from "node:path";
import {
  DOORS,
  HARMLESS,
  PLACES,
  READS_SURROUNDINGS,
  ROOT_LINES_GOAL,
  ROOT_LINES_MAX,
  ROOT_MAINS,
  type Row,
  TABLE,
} from "./house.ts";
import { declaredNpm, mayImport } from "./packages.ts";
import {
  type Fault,
  isTest,
  npmName,
  ownPackage,
  type Package,
  packageOf,
  placeOf,
  type Repository,
  resolveImport,
} from "./repository.ts";
import type { Import } from "./source.ts";

export function checkImports(repository: Repository): Fault[] {
  const faults: Fault[] = [];
  for (const [file, source] of repository.sources) {
    const part = repository.packages.get(packageOf(file) ?? "");
    const row = part === undefined ? undefined : TABLE.get(part.name);
    for (const found of source.imports) {
      const what =
        part !== undefined && row !== undefined
          ? faultInPackage(repository, file, part, row, found)
          : faultBeside(repository, file, found);
      if (what !== undefined) faults.push({ file, line: found.line, what });
    }
    if (part !== undefined) {
      const what = "imports a computed name, which cannot be checked";
      for (const { line } of source.computed) faults.push({ file, line, what });
    }
    for (const fault of source.faults) faults.push({ file, line: fault.line, what: fault.text });
    if (part === undefined || isTest(file) || READS_SURROUNDINGS.has(part.name)) continue;
    for (const { text, line } of source.surroundings) {
      const what = `reads ${text}; clocks, randomness and the environment are handed in by sallyport`;
      faults.push({ file, line, what });
    }
  }
  return faults;
}

function faultInPackage(
  repository: Repository,
  file: string,
  part: Package,
  row: Row,
  { specifier, isTypeOnly }: Import,
): string | undefined {
  if (specifier.startsWith(".")) {
    const target = path.posix.join(path.posix.dirname(file), specifier);
    if (!target.startsWith(`${part.directory}/src/`)) {
      return `imports ${specifier}, outside the package; use the other's name`;
    }
    if (isTest(target) && !isTest(file)) return `imports ${specifier}, which is for tests`;
    return repository.files.has(target) ? undefined : `imports ${specifier}, which is not there`;
  }
  if (specifier.startsWith("node:")) {
    if (isTest(file)) return undefined;
    return faultOfBuiltin(row, specifier.slice("node:".length));
  }
  const own = ownPackage(specifier);
  const isDeclared = declaredNpm(repository, part, isTest(file)).has(npmName(specifier));
  if (own === undefined) {
    return isDeclared ? undefined : `imports ${specifier}, which its package.json does not declare`;
  }
  const isAllowed = mayImport(row, own.name, isTypeOnly);
  if (!isAllowed && own.name !== part.name) {
    const isForTypes = (row.mayImportTypes ?? []).includes(own.name);
    return `imports ${specifier}; the table allows ${part.name} ${isForTypes ? "only its types" : "no such import"}`;
  }
  if (!isDeclared) return `imports ${specifier}, which its package.json does not declare`;
  return faultOfDoor(repository, specifier);
}

function faultOfBuiltin(row: Row, name: string): string | undefined {
  if (row.touches.includes("*")) return undefined;
  const open = row.touches.flatMap((door) => DOORS.get(door) ?? []);
  if (open.includes(name) || (row.touches.length > 0 && HARMLESS.has(name))) return undefined;
  return `imports node:${name}; the package touches ${row.touches.join(", ") || "nothing"}`;
}

/** Another package is reached by what it exports, never by a path inside it. */
function faultOfDoor(repository: Repository, specifier: string): string | undefined {
  if (resolveImport(repository, "", specifier) !== undefined) return undefined;
  return `imports ${specifier}, which that package does not export`;
}

/** Code beside the packages: lab, e2e, bench, tools. */
function faultBeside(
  repository: Repository,
  file: string,
  { specifier }: Import,
): string | undefined {
  if (specifier.startsWith("node:")) return undefined;
  if (specifier.startsWith(".")) {
    const target = path.posix.join(path.posix.dirname(file), specifier);
    const place = placeOf(target);
    if (!(PLACES.get(placeOf(file)) ?? []).includes(place)) {
      return `imports ${specifier}; ${placeOf(file)} may not reach into ${place || target}`;
    }
    return repository.files.has(target) ? undefined : `imports ${specifier}, which is not there`;
  }
  if (ownPackage(specifier) !== undefined) return faultOfDoor(repository, specifier);
  const { dependencies = {}, devDependencies = {} } = repository.manifest;
  const isDeclared = Object.hasOwn({ ...dependencies, ...devDependencies }, npmName(specifier));
  return isDeclared
    ? undefined
    : `imports ${specifier}, which the root package.json does not declare`;
}

/** Cycles of what is loaded; types alone make none, as nothing of them is left at run time. */
export function checkCycles(repository: Repository): Fault[] {
  const done = new Set<string>();
  const trail: string[] = [];
  const faults: Fault[] = [];
  const visit = (file: string): void => {
    const start = trail.indexOf(file);
    if (start >= 0) {
      const what = `imports itself: ${[...trail.slice(start), file].join(" → ")}`;
      faults.push({ file, line: 0, what });
      return;
    }
    if (done.has(file)) return;
    trail.push(file);
    for (const next of loadedBy(repository, file)) visit(next);
    trail.pop();
    done.add(file);
  };
  for (const file of repository.sources.keys()) visit(file);
  return faults;
}

function loadedBy(repository: Repository, file: string): string[] {
  return (repository.sources.get(file)?.imports ?? [])
    .filter((found) => !found.isTypeOnly)
    .flatMap((found) => resolveImport(repository, file, found.specifier) ?? []);
}

export interface RootReport {
  readonly faults: readonly Fault[];
  readonly mains: number;
  readonly codeLines: number;
}

/** Walks all that the root mains load: no npm package, and few enough lines to be read whole. */
export function checkRootMains(repository: Repository): RootReport {
  const mains = ROOT_MAINS.filter((file) => repository.sources.has(file));
  const loaded = new Set<string>();
  const faults: Fault[] = [];
  const queue = [...mains];
  for (let file = queue.pop(); file !== undefined; file = queue.pop()) {
    if (loaded.has(file)) continue;
    loaded.add(file);
    queue.push(...loadedBy(repository, file));
    for (const { specifier, isTypeOnly, line } of repository.sources.get(file)?.imports ?? []) {
      const isOurs = specifier.startsWith(".") || ownPackage(specifier) !== undefined;
      if (isTypeOnly || isOurs || specifier.startsWith("node:")) continue;
      const what = `loads npm package ${specifier} into a process that runs as root`;
      faults.push({ file, line, what });
    }
  }
  const codeLines = [...loaded].reduce(
    (sum, file) => sum + (repository.sources.get(file)?.codeLines ?? 0),
    0,
  );
  if (codeLines > ROOT_LINES_MAX) {
    const what = `root mains load ${codeLines} lines of code together; ${ROOT_LINES_MAX} is the limit, ${ROOT_LINES_GOAL} the goal`;
    faults.push({ file: mains[0] ?? "", line: 0, what });
  }
  return { faults, mains: mains.length, codeLines };
}
