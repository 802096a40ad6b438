/** One line of JSON for each request, of printable ASCII: what a stranger sent cannot begin a line of its own. */
import { LOGGED_PATH_LENGTH_MAX } from "./limits.ts";

export interface AccessEntry {
  readonly atMs: number;
  readonly requestId: string;
  readonly peer: string;
  readonly method: string;
  /** The route's path as in the OpenAPI document; empty where there is none. */
  readonly route: string;
  /** As it came, cut short, without its query: a query may hold what is personal. */
  readonly path: string;
  readonly status: number;
  /** Of a problem. */
  readonly code?: string;
  /** The person, or nothing. */
  readonly person?: string;
  /** Which session or key. */
  readonly credential?: string;
  readonly durationMs: number;
}

export type AccessLog = (entry: AccessEntry) => void;

export function accessLine(entry: AccessEntry): string {
  const { atMs, path, ...rest } = entry;
  const at = new Date(atMs).toISOString();
  const shown = path.slice(0, LOGGED_PATH_LENGTH_MAX);
  return asciiJson({ at, ...rest, path: shown });
}

/** JSON in ASCII: control characters, separators and marks of direction are all written as escapes. */
export function asciiJson(value: unknown): string {
  return JSON.stringify(value).replaceAll(
    /[\x7f-\uffff]/g,
    (sign) => `\\u${sign.charCodeAt(0).toString(16).padStart(4, "0")}`,
  );
}
