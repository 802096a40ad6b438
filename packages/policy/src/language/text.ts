import { FILE_BYTES, FILES, TOTAL_BYTES } from "./limits.ts";
import { compareText, type Reporter, SourceFile } from "./report.ts";

export interface PolicyFileBytes {
  readonly name: string;
  readonly bytes: Uint8Array;
}

// Control and format characters but tab, line feed and carriage return: they can't be seen in an
// editor, and some reorder a line on the screen ("Trojan Source", CVE-2021-42574), so what a person
// approves would not be what they read.
const HIDDEN = /(?![\t\n\r])[\p{Cc}\p{Cf}]/u;

/** Bytes to text, by size and encoding alone. A refused file is reported and left out. */
export function readTexts(files: readonly PolicyFileBytes[], reporter: Reporter): SourceFile[] {
  const out: SourceFile[] = [];
  const sorted = [...files].sort((a, b) => compareText(a.name, b.name));
  if (sorted.length === 0) {
    const nowhere = { file: new SourceFile("policy", ""), offset: 0 };
    reporter.report("policy-syntax", nowhere, "there is no policy file");
  }
  let total = 0;
  for (const [index, { name, bytes }] of sorted.entries()) {
    const empty = { file: new SourceFile(name, ""), offset: 0 };
    total += bytes.length;
    if (bytes.length > FILE_BYTES) {
      const what = `${bytes.length} bytes; a policy file has at most ${FILE_BYTES}`;
      reporter.report("policy-too-large", empty, what, "split it: a directory is merged by key");
    } else if (index >= FILES || total > TOTAL_BYTES) {
      const what = `a policy has at most ${FILES} files and ${TOTAL_BYTES} bytes`;
      reporter.report("policy-too-large", empty, what);
      return out;
    } else {
      const file = decode(name, bytes, reporter);
      if (file !== undefined) out.push(file);
    }
  }
  return out;
}

function decode(name: string, bytes: Uint8Array, reporter: Reporter): SourceFile | undefined {
  let text: string;
  try {
    text = new TextDecoder("utf-8", { fatal: true }).decode(bytes);
  } catch {
    const lenient = new SourceFile(name, new TextDecoder("utf-8").decode(bytes));
    const offset = Math.max(0, lenient.text.indexOf("\ufffd"));
    reporter.report(
      "policy-not-utf8",
      { file: lenient, offset },
      "not UTF-8 here",
      "save it as UTF-8",
    );
    return undefined;
  }
  const file = new SourceFile(name, text);
  const hidden = HIDDEN.exec(text);
  if (hidden !== null) {
    const code = (hidden[0].codePointAt(0) ?? 0).toString(16).toUpperCase().padStart(4, "0");
    reporter.report(
      "policy-control-character",
      { file, offset: hidden.index },
      `U+${code} cannot be seen`,
      "delete it",
    );
    return undefined;
  }
  return file;
}
