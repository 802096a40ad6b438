/** Each package against its row of the table: manifest, README, compiler settings. */
import { INFERS_DECLARATIONS, README_HEADINGS, type Row, TABLE } from "./house.ts";
import { type Fault, npmName, type Package, ownPackage, type Repository } from "./repository.ts";

export function checkPackages(repository: Repository): Fault[] {
  const faults: Fault[] = [];
  for (const part of repository.packages.values()) {
    const row = TABLE.get(part.name);
    if (row === undefined) {
      const what = `package "${part.name}" has no row in the table of tools/tidy/house.ts`;
      faults.push({ file: `${part.directory}/package.json`, line: 0, what });
      continue;
    }
    faults.push(...checkManifest(part, row), ...checkReadme(repository, part));
    faults.push(...checkCompiler(repository, part, row));
  }
  return faults;
}

/** Whether the row lets the package import the other at all, if only its types. */
export function mayImport(row: Row, other: string, isTypeOnly: boolean): boolean {
  const target = TABLE.get(other);
  if (target === undefined || target.layer >= row.layer) return false;
  if (row.mayImport.includes("*") || row.mayImport.includes(other)) return true;
  return isTypeOnly && (row.mayImportTypes ?? []).includes(other);
}

function checkManifest(part: Package, row: Row): Fault[] {
  const file = `${part.directory}/package.json`;
  const faults: string[] = [];
  const { sallyport: own, name, dependencies = {}, exports = {} } = part.manifest;
  const expected = part.name === "sallyport" ? "sallyport" : `@sallyport/${part.name}`;
  if (name !== expected) faults.push(`name is "${name ?? ""}", not "${expected}"`);
  const pairs = [
    ["layer", own?.layer, row.layer],
    ["mayImport", own?.mayImport, row.mayImport],
    ["mayImportTypes", own?.mayImportTypes ?? [], row.mayImportTypes ?? []],
    ["touches", own?.touches, row.touches],
  ] as const;
  for (const [member, found, wanted] of pairs) {
    if (JSON.stringify(found) === JSON.stringify(wanted)) continue;
    faults.push(
      `sallyport.${member} is ${JSON.stringify(found) ?? "missing"}; the table says ${JSON.stringify(wanted)}`,
    );
  }
  for (const dependency of Object.keys(dependencies)) {
    const other = ownPackage(dependency);
    if (other !== undefined && !mayImport(row, other.name, true)) {
      faults.push(`depends on ${dependency}, which the table does not allow`);
    }
  }
  for (const [dependency, version] of Object.entries(dependencies)) {
    if (!/^\d+\.\d+\.\d+/.test(version)) faults.push(`${dependency} is not pinned: "${version}"`);
  }
  for (const target of Object.values(exports)) {
    if (!target.startsWith("./src/")) faults.push(`exports "${target}", which is outside src`);
  }
  return faults.map((what) => ({ file, line: 0, what }));
}

function checkReadme(repository: Repository, part: Package): Fault[] {
  const file = `${part.directory}/README.md`;
  if (!repository.files.has(file)) return [{ file, line: 0, what: "is missing" }];
  const found = [...repository.text(file).matchAll(/^## (.+)$/gm)].map((match) => match[1]);
  if (JSON.stringify(found) === JSON.stringify(README_HEADINGS)) return [];
  const what = `has the headings ${found.join(" · ") || "(none)"}, not ${README_HEADINGS.join(" · ")}`;
  return [{ file, line: 0, what }];
}

interface CompilerFile {
  readonly extends?: string;
  readonly compilerOptions?: Readonly<Record<string, unknown>>;
}

function checkCompiler(repository: Repository, part: Package, row: Row): Fault[] {
  const faults: Fault[] = [];
  for (const name of ["tsconfig.json", "tsconfig.src.json", "tsconfig.test.json"]) {
    const file = `${part.directory}/${name}`;
    const fault = (what: string): void => void faults.push({ file, line: 0, what });
    if (!repository.files.has(file)) {
      fault("is missing");
      continue;
    }
    if (name === "tsconfig.json") continue;
    const { compilerOptions = {}, extends: base } = JSON.parse(
      repository.text(file),
    ) as CompilerFile;
    if (base !== "../../tsconfig.base.json") fault("does not extend ../../tsconfig.base.json");
    const types = JSON.stringify(compilerOptions["types"] ?? null);
    if (name === "tsconfig.src.json" && row.touches.length === 0 && types !== "[]") {
      fault(`types is ${types}; a package that touches nothing has []`);
    }
    const loosened = Object.keys(compilerOptions).filter(
      (option) =>
        option !== "types" &&
        !(
          INFERS_DECLARATIONS.has(part.name) &&
          ["isolatedDeclarations", "jsx", "lib"].includes(option)
        ),
    );
    if (loosened.length > 0) fault(`changes compiler flags of the house: ${loosened.join(", ")}`);
  }
  return faults;
}

/** Npm packages that a file of the package may load; tests may also use those of the root. */
export function declaredNpm(repository: Repository, part: Package, forTest: boolean): Set<string> {
  const declared = Object.keys(part.manifest.dependencies ?? {});
  if (forTest) {
    declared.push(...Object.keys(part.manifest.devDependencies ?? {}));
    declared.push(...Object.keys(repository.manifest.devDependencies ?? {}));
  }
  return new Set(declared.map(npmName));
}
