/** Query and body against the route's shapes; every mistake is named. */
import { z } from "zod";
import { type FieldError, HttpError } from "./problem.ts";
import { id } from "../shapes/common.ts";

/** More mistakes than this are one mistake. */
const ERRORS_MAX = 20;
const SHOWN_NAME_LENGTH = 64;

/** What a query's text is meant as: it has no types of its own. */
type QueryTypes = ReadonlyMap<string, string>;

const NO_QUERY = z.strictObject({});

export interface Fields {
  readonly query: z.ZodType;
  readonly queryTypes: QueryTypes;
}

export function fieldsOf(query: z.ZodType = NO_QUERY): Fields {
  const schema = z.toJSONSchema(query, { io: "input" });
  const properties = Object.entries(schema.properties ?? {});
  const queryTypes = new Map(properties.map(([name, property]) => [name, typeOf(property)]));
  return { query, queryTypes };
}

function typeOf(property: z.core.JSONSchema._JSONSchema): string {
  return typeof property === "object" && typeof property.type === "string"
    ? property.type
    : "string";
}

export function readQuery(fields: Fields, search: URLSearchParams): Record<string, unknown> {
  const found = new Map<string, unknown>();
  for (const [name, text] of search) {
    if (found.has(name)) throw wrong([{ field: shown(name), message: "is given twice" }]);
    found.set(name, meant(fields.queryTypes.get(name), text));
  }
  // fromEntries defines members, so `__proto__` is a name as any other, and unknown.
  const value = check(fields.query, Object.fromEntries(found));
  return value as Record<string, unknown>;
}

function meant(type: string | undefined, text: string): unknown {
  if (type === "integer" && /^-?\d{1,15}$/.test(text)) return Number(text);
  if (type === "boolean" && (text === "true" || text === "false")) return text === "true";
  return text;
}

export function readParams(params: Readonly<Record<string, string>>): Record<string, string> {
  const errors: FieldError[] = [];
  for (const [field, text] of Object.entries(params)) {
    const { error } = id.safeParse(text);
    if (error !== undefined)
      errors.push({ field, message: error.issues[0]?.message ?? "is wrong" });
  }
  if (errors.length > 0) throw wrong(errors);
  return params;
}

/** Throws `wrong-fields` with a list of what is wrong. */
export function check(schema: z.ZodType, value: unknown): unknown {
  const { success, data, error } = schema.safeParse(value);
  if (success) return data;
  throw wrong(error.issues.flatMap(errorsOf).slice(0, ERRORS_MAX));
}

function errorsOf(issue: z.core.$ZodIssue): FieldError[] {
  const at = issue.path.map(String).map(shown);
  if (issue.code === "unrecognized_keys") {
    return issue.keys.map((key) => ({
      field: [...at, shown(key)].join("."),
      message: "is not known here",
    }));
  }
  return [{ field: at.join(".") || "body", message: issue.message }];
}

/** A stranger's name in an answer and perhaps a log: short, and printable ASCII. */
function shown(name: string): string {
  return name.replaceAll(/[^\x20-\x7e]/g, "?").slice(0, SHOWN_NAME_LENGTH);
}

function wrong(errors: readonly FieldError[]): HttpError {
  const [first] = errors;
  const more = errors.length > 1 ? `, and ${errors.length - 1} more` : "";
  const detail = first === undefined ? "the fields do not fit" : `${first.field}: ${first.message}`;
  return new HttpError("wrong-fields", `${detail}${more}`, { errors });
}
