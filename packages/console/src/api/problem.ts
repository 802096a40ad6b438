/** RFC 9457 problem details as the API tells them, and the failure of not being answered at all. */

export interface FieldError {
  readonly field: string;
  readonly message: string;
}

export interface Told {
  readonly code: string;
  readonly status: number;
  readonly detail: string;
  readonly hint?: string;
  readonly requestId?: string;
  readonly errors: readonly FieldError[];
}

export class Problem extends Error {
  readonly told: Told;

  constructor(told: Told) {
    super(told.detail);
    this.name = "Problem";
    this.told = told;
  }
}

export const UNREACHABLE = "api-unreachable";

/** A connection that failed, or an answer of somebody else's, such as a proxy. */
export function unreachable(detail: string): Problem {
  return new Problem({ code: UNREACHABLE, status: 0, detail, errors: [] });
}

export function problemOf(text: string, status: number): Problem {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch {
    return unreachable(`status ${status}`);
  }
  if (typeof value !== "object" || value === null) return unreachable(`status ${status}`);
  const { code, detail, hint, requestId, errors } = value as Readonly<Record<string, unknown>>;
  if (typeof code !== "string" || typeof detail !== "string")
    return unreachable(`status ${status}`);
  return new Problem({
    ...{ code, status, detail },
    ...(typeof hint === "string" ? { hint } : {}),
    ...(typeof requestId === "string" ? { requestId } : {}),
    errors: Array.isArray(errors) ? errors.filter(isFieldError) : [],
  });
}

function isFieldError(value: unknown): value is FieldError {
  if (typeof value !== "object" || value === null) return false;
  const { field, message } = value as Readonly<Record<string, unknown>>;
  return typeof field === "string" && typeof message === "string";
}

/** Any failure as a problem, so that pages show one thing. */
export function asProblem(error: unknown): Problem {
  if (error instanceof Problem) return error;
  const detail = error instanceof Error ? `${error.name}: ${error.message}` : String(error);
  return new Problem({ code: "browser", status: 0, detail, errors: [] });
}
