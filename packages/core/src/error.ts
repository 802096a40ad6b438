/**
 * An error that a person will read. `code` is kebab-case, stable, never reused, and documented in
 * `docs/diagnostics/<code>.md`; code and tests match on it, never on the prose.
 */
export class SallyportError extends Error {
  readonly code: string;
  /** What to do next, in one sentence. */
  readonly hint: string | undefined;

  constructor(code: string, message: string, options: { cause?: unknown; hint?: string } = {}) {
    super(message, options.cause === undefined ? undefined : { cause: options.cause });
    this.name = "SallyportError";
    this.code = code;
    this.hint = options.hint;
  }
}
