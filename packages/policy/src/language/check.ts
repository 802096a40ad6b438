import { nearest } from "@sallyport/core";
import * as z from "zod";
import { childOf, type Places } from "./places.ts";
import type { Place, Reporter } from "./report.ts";

/** What zod calls a type, in a plant engineer's words. */
const WORDS: ReadonlyMap<string, string> = new Map([
  ["string", "text"],
  ["array", "a list"],
  ["object", "a mapping"],
  ["record", "a mapping"],
  ["number", "a number"],
  ["int", "a whole number"],
  ["boolean", "true or false"],
]);

export interface Checked {
  readonly places: Places;
  readonly reporter: Reporter;
}

/**
 * Whether a value has the form; each way in which it hasn't is reported at its own place. `place` is
 * where the value's name stands, `what` its name for people, like `conduit "erp-reads-tank"`.
 */
export function hasForm<Form>(
  schema: z.ZodType<Form>,
  value: unknown,
  place: Place,
  what: string,
  { places, reporter }: Checked,
): value is Form {
  const result = schema.safeParse(value);
  if (result.success) return true;
  for (const issue of result.error.issues) {
    const isInside = typeof value === "object" && value !== null;
    const where = (path: readonly PropertyKey[], part: "key" | "value" = "value"): Place =>
      isInside && path.length > 0 ? places.at(value, path, part) : place;
    if (issue.code === "unrecognized_keys") {
      for (const key of issue.keys) {
        const known = knownKeys(schema, issue.path);
        const near = nearest(key, known);
        const hint =
          near === undefined ? `known here: ${known.join(", ")}` : `did you mean "${near}"?`;
        reporter.report(
          "unknown-key",
          where([...issue.path, key], "key"),
          `${what} has no key "${key}"`,
          hint,
        );
      }
      continue;
    }
    const key = issue.path.at(-1);
    if (
      issue.code === "invalid_type" &&
      key !== undefined &&
      valueAt(value, issue.path) === undefined
    ) {
      const parent = issue.path.slice(0, -1);
      const inside = parent.length > 0 ? `"${parent.join(".")}" of ${what}` : what;
      reporter.report("missing-key", where(parent), `${inside} needs "${String(key)}"`);
      continue;
    }
    const named = issue.path.length === 0 ? what : `"${issue.path.join(".")}" of ${what}`;
    const { message, hint } = explain(issue, valueAt(value, issue.path));
    reporter.report("wrong-value", where(issue.path), `${named}: ${message}`, hint);
  }
  return false;
}

function explain(
  issue: z.core.$ZodIssue,
  value: unknown,
): { readonly message: string; readonly hint?: string } {
  if (issue.code === "invalid_type") {
    const expected = WORDS.get(issue.expected) ?? issue.expected;
    return { message: value === null ? `is empty, expected ${expected}` : `expected ${expected}` };
  }
  if (issue.code === "invalid_value") {
    const options = issue.values.map(String);
    const near = typeof value === "string" ? nearest(value, options) : undefined;
    const message = `expected ${options.length === 1 ? "" : "one of "}${options.join(", ")}`;
    return near === undefined ? { message } : { message, hint: `did you mean "${near}"?` };
  }
  if (issue.code === "too_small") {
    return { message: `expected at least ${String(issue.minimum)}${unitOf(issue.origin)}` };
  }
  if (issue.code === "too_big") {
    return { message: `expected at most ${String(issue.maximum)}${unitOf(issue.origin)}` };
  }
  return { message: issue.message };
}

function unitOf(origin: string): string {
  if (origin === "string") return " characters";
  return origin === "array" ? " items" : "";
}

function valueAt(value: unknown, path: readonly PropertyKey[]): unknown {
  let at = value;
  for (const step of path) {
    if (typeof at !== "object" || at === null || typeof step === "symbol") return undefined;
    at = childOf(at, step);
  }
  return at;
}

interface JsonSchema {
  readonly properties?: Readonly<Record<string, JsonSchema>>;
  readonly items?: JsonSchema;
  readonly anyOf?: readonly JsonSchema[];
}

const schemas = new WeakMap<z.ZodType, JsonSchema>();

/** Keys that the form has at a path: read from its JSON Schema, where zod's types don't hide them. */
function knownKeys(schema: z.ZodType, path: readonly PropertyKey[]): string[] {
  let json = schemas.get(schema);
  if (json === undefined) {
    json = z.toJSONSchema(schema, { io: "input" }) as JsonSchema;
    schemas.set(schema, json);
  }
  let here: readonly JsonSchema[] = [json];
  for (const step of path) {
    here = here.flatMap(alternatives).flatMap((form) => {
      const next = typeof step === "number" ? form.items : form.properties?.[String(step)];
      return next === undefined ? [] : [next];
    });
  }
  return here.flatMap(alternatives).flatMap((form) => Object.keys(form.properties ?? {}));
}

function alternatives(form: JsonSchema): readonly JsonSchema[] {
  return form.anyOf?.flatMap(alternatives) ?? [form];
}
