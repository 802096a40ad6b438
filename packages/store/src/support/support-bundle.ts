import { type RedactOptions, redactor } from "./redact.ts";

export interface SupportText {
  /** As in a directory, e.g. `events/enforcer.ndjson`. */
  readonly name: string;
  readonly text: string;
}

export interface SupportBundle {
  readonly texts: readonly SupportText[];
  /** Names of texts of which only the end is there. */
  readonly cut: readonly string[];
  /** Names of texts that no longer had room. */
  readonly leftOut: readonly string[];
}

/** The end of a log tells what went wrong; more than that nobody reads in a message. */
export const TEXT_MAX_CHARS: number = 1024 * 1024;
/** What a mail or a ticket takes. */
export const BUNDLE_MAX_CHARS: number = 16 * 1024 * 1024;

/**
 * What is handed to somebody outside: the given texts without their secrets, in the given order. Texts are
 * redacted before they are cut, so that no cut hides the name of a secret from what follows it.
 */
export function supportBundle(
  texts: readonly SupportText[],
  options: RedactOptions = {},
): SupportBundle {
  const redact = redactor(options);
  const kept: SupportText[] = [];
  const cut: string[] = [];
  const leftOut: string[] = [];
  let chars = 0;
  for (const { name, text } of texts) {
    const clean = redact(text);
    const end = clean.length > TEXT_MAX_CHARS ? clean.slice(-TEXT_MAX_CHARS) : clean;
    if (chars + end.length > BUNDLE_MAX_CHARS) {
      leftOut.push(name);
      continue;
    }
    if (end !== clean) cut.push(name);
    chars += end.length;
    kept.push({ name: redact(name), text: end });
  }
  return { texts: kept, cut, leftOut };
}
