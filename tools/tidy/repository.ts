/** The tree that `tidy` looks at, read once. */
import fs from "node:fs";
import path from "node:path";
import { filesBelow } from "../files.ts";
import { PLACES } from "./house.ts";
import { readSource, type Source } from "./source.ts";

export interface Fault {
  /** Relative to the root, with `/`. */
  readonly file: string;
  /** 1-based; 0 is the file as a whole. */
  readonly line: number;
  readonly what: string;
}

/** The part of a package.json that `tidy` reads. */
export interface Manifest {
  readonly name?: string;
  readonly exports?: Readonly<Record<string, string>>;
  readonly sallyport?: {
    readonly layer?: number;
    readonly mayImport?: readonly string[];
    readonly mayImportTypes?: readonly string[];
    readonly touches?: readonly string[];
  };
  readonly dependencies?: Readonly<Record<string, string>>;
  readonly devDependencies?: Readonly<Record<string, string>>;
}

export interface Package {
  /** Its folder's name, which is its name in the table. */
  readonly name: string;
  readonly directory: string;
  readonly manifest: Manifest;
}

export interface Repository {
  readonly root: string;
  readonly files: ReadonlySet<string>;
  readonly manifest: Manifest;
  readonly packages: ReadonlyMap<string, Package>;
  /** TypeScript of packages and of the folders beside them, by path. */
  readonly sources: ReadonlyMap<string, Source>;
  readonly text: (file: string) => string;
}

export function readRepository(root: string): Repository {
  const files = filesBelow(root);
  const texts = new Map<string, string>();
  const text = (file: string): string => {
    const known = texts.get(file);
    if (known !== undefined) return known;
    const read = fs.readFileSync(path.join(root, file), "utf8");
    texts.set(file, read);
    return read;
  };
  // A manifest of another shape shows up as a fault of the checks that miss its members.
  const manifestAt = (file: string): Manifest =>
    files.includes(file) ? (JSON.parse(text(file)) as Manifest) : {};
  const names = files.flatMap((file) => /^packages\/([^/]+)\/./.exec(file)?.[1] ?? []);
  const packages = new Map<string, Package>();
  for (const name of new Set(names)) {
    const directory = `packages/${name}`;
    packages.set(name, { name, directory, manifest: manifestAt(`${directory}/package.json`) });
  }
  const sources = new Map<string, Source>();
  for (const file of files) {
    if (isSource(file)) sources.set(file, readSource(file, text(file)));
  }
  const manifest = manifestAt("package.json");
  return { root, files: new Set(files), manifest, packages, sources, text };
}

function isSource(file: string): boolean {
  if (!/\.tsx?$/.test(file) || file.endsWith(".d.ts") || file.includes("/testdata/")) return false;
  return /^packages\/[^/]+\/src\//.test(file) || PLACES.has(placeOf(file));
}

/** The first folder of a path. */
export function placeOf(file: string): string {
  return file.slice(0, Math.max(0, file.indexOf("/")));
}

export function packageOf(file: string): string | undefined {
  return /^packages\/([^/]+)\//.exec(file)?.[1];
}

export function isTest(file: string): boolean {
  return /\.test(-[a-z]+)?\.tsx?$/.test(file);
}

/** `@sallyport/policy/legs` → policy and `./legs`; undefined for what is not ours. */
export function ownPackage(specifier: string): { name: string; door: string } | undefined {
  const match = /^@sallyport\/([^/]+)(\/.*)?$/.exec(specifier);
  return match?.[1] === undefined ? undefined : { name: match[1], door: `.${match[2] ?? ""}` };
}

/** `zod/mini` → `zod`, `@x/y/z` → `@x/y`. */
export function npmName(specifier: string): string {
  return specifier
    .split("/")
    .slice(0, specifier.startsWith("@") ? 2 : 1)
    .join("/");
}

/** The file that an import of ours loads; undefined for built-ins, npm packages and what is not there. */
export function resolveImport(
  repository: Repository,
  from: string,
  specifier: string,
): string | undefined {
  if (specifier.startsWith(".")) {
    const file = path.posix.join(path.posix.dirname(from), specifier);
    return repository.files.has(file) ? file : undefined;
  }
  const own = ownPackage(specifier);
  const target = own === undefined ? undefined : repository.packages.get(own.name);
  const exported = own === undefined ? undefined : target?.manifest.exports?.[own.door];
  if (target === undefined || exported === undefined) return undefined;
  const file = path.posix.join(target.directory, exported);
  return repository.files.has(file) ? file : undefined;
}
