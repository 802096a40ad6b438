import fs from "node:fs";
import path from "node:path";
import { SallyportError } from "@sallyport/core";
import type { PolicyFile } from "../messages.ts";

/** DESIGN §5: a larger file is refused unread. */
const FILE_MAX_BYTES = 1024 * 1024;
const FILES_MAX = 64;

/** The policy at a path: one file, or a directory's `*.yaml` and `*.yml` in order of their names. */
export function readPolicy(at: string): PolicyFile[] {
  let isDirectory: boolean;
  try {
    isDirectory = fs.statSync(at).isDirectory();
  } catch (cause) {
    throw new SallyportError("policy-not-found", `there is no policy at ${at}`, {
      cause,
      hint: "name a file or a directory, or write one with: sallyport init",
    });
  }
  const names = isDirectory
    ? fs
        .readdirSync(at)
        .filter((name) => /\.ya?ml$/.test(name))
        .sort()
        .map((name) => path.join(at, name))
    : [at];
  if (names.length === 0 || names.length > FILES_MAX) {
    throw new SallyportError("policy-not-found", `${at} holds ${names.length} policy files`, {
      hint: `1 to ${FILES_MAX} files that end in .yaml`,
    });
  }
  return names.map(readOne);
}

/**
 * The same with names that do not tell where the files lie: they are part of what is signed (`site.yaml:41`), and an
 * approver's copy lies elsewhere.
 */
export function travelingPolicy(at: string): PolicyFile[] {
  return readPolicy(at).map(({ name, text }) => ({ name: path.basename(name), text }));
}

/** Where a file of a traveling policy lies here, for whoever has to mend it. */
export function placeOf(at: string, name: string): string {
  return path.basename(at) === name ? at : path.join(at, name);
}

function readOne(file: string): PolicyFile {
  const sizeBytes = fs.statSync(file).size;
  if (sizeBytes > FILE_MAX_BYTES) {
    throw new SallyportError(
      "policy-too-large",
      `${file} has ${sizeBytes} bytes, the most is ${FILE_MAX_BYTES}`,
      {
        hint: "split it into a directory of files",
      },
    );
  }
  const bytes = fs.readFileSync(file);
  try {
    return {
      name: file,
      text: new TextDecoder("utf-8", { fatal: true, ignoreBOM: true }).decode(bytes),
    };
  } catch (cause) {
    throw new SallyportError("policy-not-utf8", `${file} is not UTF-8 text`, { cause });
  }
}
