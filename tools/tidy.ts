/**
 * The rules of the house, checked: `node boot.mjs check tidy`. The table of packages is in
 * `tidy/house.ts`; each package.json repeats its row, so that who reads one sees what it may do.
 */
import process from "node:process";
import { fileURLToPath } from "node:url";
import { ROOT_LINES_GOAL, ROOT_LINES_MAX } from "./tidy/house.ts";
import { checkCycles, checkImports, checkRootMains } from "./tidy/imports.ts";
import { checkPackages } from "./tidy/packages.ts";
import { checkCodes, checkLinks, checkLockfile, checkNames, checkSizes } from "./tidy/pages.ts";
import { type Fault, readRepository } from "./tidy/repository.ts";

export interface Report {
  readonly faults: readonly Fault[];
  readonly warnings: readonly Fault[];
  /** What was looked at, in one sentence. */
  readonly looked: string;
}

export function tidy(root: string): Report {
  const repository = readRepository(root);
  const codes = checkCodes(repository);
  const links = checkLinks(repository);
  const sizes = checkSizes(repository);
  const mains = checkRootMains(repository);
  const counts = {
    packages: repository.packages.size,
    sources: repository.sources.size,
    imports: [...repository.sources.values()].reduce((sum, file) => sum + file.imports.length, 0),
    pages: links.pages,
  };
  // A check that looked at nothing would hold for ever.
  const blind: Fault[] = Object.entries(counts).flatMap(([what, count]) =>
    count > 0 ? [] : [{ file: ".", line: 0, what: `looked at no ${what}` }],
  );
  const faults = [
    ...blind,
    ...checkPackages(repository),
    ...checkImports(repository),
    ...checkCycles(repository),
    ...mains.faults,
    ...codes.faults,
    ...links.faults,
    ...sizes.faults,
    ...checkNames(repository),
    ...checkLockfile(repository),
  ];
  const looked =
    `${counts.packages} packages, ${counts.sources} sources, ${counts.imports} imports, ` +
    `${counts.pages} pages, ${codes.codes} codes; ${mains.mains} root mains load ` +
    `${mains.codeLines} of at most ${ROOT_LINES_MAX} lines, goal ${ROOT_LINES_GOAL} (blank lines and comments not counted)`;
  return { faults, warnings: sizes.warnings, looked };
}

function format({ file, line, what }: Fault): string {
  return line > 0 ? `${file}:${line}: ${what}` : `${file}: ${what}`;
}

if (import.meta.main) {
  const { faults, warnings, looked } = tidy(fileURLToPath(new URL("..", import.meta.url)));
  for (const warning of warnings) console.log(`warning: ${format(warning)}`);
  for (const fault of faults) console.log(format(fault));
  console.log(`tidy: ${faults.length} faults in ${looked}`);
  process.exitCode = faults.length === 0 ? 0 : 1;
}
