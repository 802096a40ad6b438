/** RFC 9457 problem details: one shape for every error, with the codes and hints of the command line. */
import { SallyportError } from "@sallyport/core";

export const PROBLEM_TYPE = "application/problem+json";

export interface FieldError {
  /** Dotted path into the body, or the parameter's name. */
  readonly field: string;
  readonly message: string;
}

export interface Problem {
  /** `urn:sallyport:diagnostic:<code>`; the page is docs/diagnostics/<code>.md. */
  readonly type: string;
  readonly title: string;
  readonly status: number;
  readonly detail: string;
  readonly code: string;
  readonly hint?: string;
  readonly requestId: string;
  readonly errors?: readonly FieldError[];
}

/** A refusal with what HTTP wants beside it. */
export class HttpError extends SallyportError {
  readonly headers: Readonly<Record<string, string>>;
  readonly errors: readonly FieldError[] | undefined;

  constructor(
    code: string,
    message: string,
    options: {
      readonly hint?: string;
      readonly headers?: Readonly<Record<string, string>>;
      readonly errors?: readonly FieldError[];
    } = {},
  ) {
    super(code, message, options.hint === undefined ? {} : { hint: options.hint });
    this.name = "HttpError";
    this.headers = options.headers ?? {};
    this.errors = options.errors;
  }
}

const TITLES: ReadonlyMap<number, string> = new Map([
  [400, "Bad Request"],
  [401, "Unauthorized"],
  [403, "Forbidden"],
  [404, "Not Found"],
  [405, "Method Not Allowed"],
  [408, "Request Timeout"],
  [409, "Conflict"],
  [412, "Precondition Failed"],
  [413, "Content Too Large"],
  [414, "URI Too Long"],
  [415, "Unsupported Media Type"],
  [417, "Expectation Failed"],
  [421, "Misdirected Request"],
  [422, "Unprocessable Content"],
  [428, "Precondition Required"],
  [429, "Too Many Requests"],
  [431, "Request Header Fields Too Large"],
  [500, "Internal Server Error"],
  [501, "Not Implemented"],
  [503, "Service Unavailable"],
]);

export function titleOf(status: number): string {
  return TITLES.get(status) ?? "Error";
}

/**
 * The status of each code. One that is not listed came from a service and is a refusal of what was asked
 * in the present state: 409.
 */
export const STATUSES: ReadonlyMap<string, number> = new Map([
  ["bad-request", 400],
  ["bad-json", 400],
  ["body-missing", 400],
  ["sign-in-needed", 401],
  ["sign-in-failed", 401],
  ["sign-in-ended", 401],
  ["link-invalid", 401],
  ["not-permitted", 403],
  ["denied", 403],
  ["second-approver-needed", 403],
  ["break-glass-refused", 401],
  ["oidc-refused", 401],
  ["step-up-needed", 403],
  ["cross-site", 403],
  ["approval-missing", 403],
  ["own-roles", 403],
  ["no-such-route", 404],
  ["no-such-thing", 404],
  ["no-such-grant", 404],
  ["no-such-person", 404],
  ["policy-not-found", 404],
  ["method-not-allowed", 405],
  ["request-timeout", 408],
  ["key-reused", 409],
  ["draft-changed", 412],
  ["body-too-large", 413],
  ["policy-too-large", 413],
  ["target-too-long", 414],
  ["media-type-refused", 415],
  ["expectation-refused", 417],
  ["wrong-host", 421],
  ["wrong-fields", 422],
  ["bad-message", 422],
  ["request-malformed", 422],
  ["person-name-invalid", 422],
  ["password-weak", 422],
  ["passkey-refused", 422],
  ["usage", 422],
  ["policy-refused", 422],
  ["condition-needed", 428],
  ["rate-limited", 429],
  ["sign-in-later", 429],
  ["too-many-streams", 429],
  ["headers-too-large", 431],
  ["internal-error", 500],
  ["not-built-yet", 501],
  ["too-busy", 503],
  ["hash-queue-full", 503],
  ["not-ready", 503],
  ["enforcer-gone", 503],
  ["enforcer-silent", 503],
  ["not-recorded", 503],
]);

const STATUS_OF_REFUSAL = 409;

export interface Told {
  readonly problem: Problem;
  readonly headers: Readonly<Record<string, string>>;
}

/** Any failure as the caller hears it. What nobody foresaw is named, never shown: no stack, no message. */
export function problemOf(error: unknown, requestId: string): Told {
  if (!(error instanceof SallyportError)) {
    const hint = `this is a defect of Sallyport: please report it with request ${requestId}`;
    return problemOf(new HttpError("internal-error", "an unforeseen error", { hint }), requestId);
  }
  const { code, message: detail, hint } = error;
  const status = STATUSES.get(code) ?? STATUS_OF_REFUSAL;
  const errors = error instanceof HttpError ? error.errors : undefined;
  const type = `urn:sallyport:diagnostic:${code}`;
  const head = { type, title: titleOf(status), status, detail, code };
  const problem: Problem = {
    ...head,
    ...(hint === undefined ? {} : { hint }),
    requestId,
    ...(errors === undefined ? {} : { errors }),
  };
  return { problem, headers: error instanceof HttpError ? error.headers : {} };
}
