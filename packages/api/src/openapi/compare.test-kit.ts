/**
 * What a client that was written for an earlier OpenAPI document would trip over. Knows the parts of JSON
 * Schema that our shapes use; a part it does not know must be equal, so that nothing slips through.
 */
import type { OpenApi } from "./document.ts";

type Part = Readonly<Record<string, unknown>>;
/** Whether the client writes what the schema describes, or reads it. */
type Side = "sent" | "answered";

/** Sentences, one for each break; an empty list means that old clients go on working. */
export function breaks(before: OpenApi, after: OpenApi): string[] {
  const found: string[] = [];
  for (const [path, methods] of Object.entries(before.paths)) {
    for (const [method, operation] of Object.entries(methods)) {
      const name = `${method.toUpperCase()} ${path}`;
      const next = after.paths[path]?.[method];
      if (next === undefined) found.push(`${name} is gone`);
      else found.push(...new Comparison(name, before, after).operation(operation, next));
    }
  }
  return found;
}

class Comparison {
  readonly #name: string;
  readonly #before: OpenApi;
  readonly #after: OpenApi;
  readonly #found: string[] = [];
  readonly #open = new Set<string>();

  constructor(name: string, before: OpenApi, after: OpenApi) {
    this.#name = name;
    this.#before = before;
    this.#after = after;
  }

  operation(before: Part, after: Part): readonly string[] {
    if (before["operationId"] !== after["operationId"]) this.#tell("has another operationId");
    const wasPublic = isEmptyList(before["security"]);
    if (wasPublic && !isEmptyList(after["security"])) this.#tell("needs a sign-in now");
    this.#parameters(before, after);
    this.#body(before, after);
    this.#answers(before, after);
    return this.#found;
  }

  #tell(what: string): void {
    this.#found.push(`${this.#name} ${what}`);
  }

  #parameters(before: Part, after: Part): void {
    const was = byName(before["parameters"]);
    const is = byName(after["parameters"]);
    for (const [name, parameter] of was) {
      const next = is.get(name);
      if (next === undefined) this.#tell(`no longer takes ${name}`);
      else this.#schema(part(parameter["schema"]), part(next["schema"]), name, "sent");
    }
    for (const [name, parameter] of is) {
      const isNewNeed = parameter["required"] === true && was.get(name)?.["required"] !== true;
      if (isNewNeed) this.#tell(`needs ${name} now`);
    }
  }

  #body(before: Part, after: Part): void {
    const was = contentOf(before["requestBody"]);
    const is = contentOf(after["requestBody"]);
    if (was.size === 0 && is.size > 0) this.#tell("needs a body now");
    for (const [type, schema] of was) {
      const next = is.get(type);
      if (next === undefined) this.#tell(`no longer takes a body of ${type}`);
      else this.#schema(schema, next, "body", "sent");
    }
  }

  #answers(before: Part, after: Part): void {
    const is = part(after["responses"]);
    for (const [status, answer] of Object.entries(part(before["responses"]))) {
      if (is[status] === undefined) {
        this.#tell(`no longer answers ${status}`);
        continue;
      }
      const next = contentOf(is[status]);
      for (const [type, schema] of contentOf(answer)) {
        const found = next.get(type);
        if (found === undefined) this.#tell(`no longer answers ${status} as ${type}`);
        else this.#schema(schema, found, `answer ${status}`, "answered");
      }
    }
  }

  #schema(before: Part, after: Part, at: string, side: Side): void {
    // What refers to itself is looked at once.
    const pair = JSON.stringify([before["$ref"], after["$ref"], side]);
    const isNamed = before["$ref"] !== undefined || after["$ref"] !== undefined;
    if (isNamed && this.#open.has(pair)) return;
    if (isNamed) this.#open.add(pair);
    const was = resolved(before, this.#before);
    const is = resolved(after, this.#after);
    for (const key of new Set([...Object.keys(was), ...Object.keys(is)])) {
      if (!same(was[key], is[key])) this.#keyword(key, was, is, at, side);
    }
    if (isNamed) this.#open.delete(pair);
  }

  #keyword(key: string, was: Part, is: Part, at: string, side: Side): void {
    switch (key) {
      case "description":
        return;
      case "properties":
        return this.#properties(was, is, at, side);
      case "required":
        return this.#required(list(was[key]), list(is[key]), at, side);
      case "items":
      case "propertyNames":
        return this.#schema(part(was[key]), part(is[key]), `${at}[]`, side);
      case "additionalProperties":
        if (isSchema(was[key]) && isSchema(is[key])) {
          return this.#schema(was[key], is[key], `${at}.*`, side);
        }
        if (side === "sent" && is[key] !== false) return;
        return this.#tell(`changes which members ${at} may have`);
      case "enum":
        return this.#values(list(was[key]), list(is[key]), at, side);
      case "anyOf":
      case "oneOf":
        return this.#choices(list(was[key]), list(is[key]), at, side);
      case "maxLength":
      case "maximum":
      case "maxItems":
        return this.#bound(key, number(was[key], Infinity), number(is[key], Infinity), at, side);
      case "minLength":
      case "minimum":
      case "minItems":
        return this.#bound(
          key,
          -number(was[key], -Infinity),
          -number(is[key], -Infinity),
          at,
          side,
        );
      default:
        this.#tell(`changes ${key} of ${at}`);
    }
  }

  #properties(was: Part, is: Part, at: string, side: Side): void {
    const next = part(is["properties"]);
    for (const [name, schema] of Object.entries(part(was["properties"]))) {
      const found = next[name];
      if (found === undefined) this.#tell(`no longer has ${at}.${name}`);
      else this.#schema(part(schema), part(found), `${at}.${name}`, side);
    }
  }

  #required(was: readonly unknown[], is: readonly unknown[], at: string, side: Side): void {
    if (side === "sent") {
      for (const name of is) if (!was.includes(name)) this.#tell(`needs ${at}.${String(name)} now`);
    } else {
      for (const name of was) {
        if (!is.includes(name)) this.#tell(`may leave out ${at}.${String(name)} now`);
      }
    }
  }

  /** A client may send what it always sent, and must understand what it is answered. */
  #values(was: readonly unknown[], is: readonly unknown[], at: string, side: Side): void {
    const [kept, known] = side === "sent" ? [was, is] : [is, was];
    for (const value of kept) {
      if (known.includes(value)) continue;
      const what = side === "sent" ? "no longer takes" : "may answer a new";
      this.#tell(`${what} ${JSON.stringify(value)} in ${at}`);
    }
  }

  #choices(was: readonly unknown[], is: readonly unknown[], at: string, side: Side): void {
    const isLess = side === "sent" ? is.length < was.length : is.length > was.length;
    if (isLess) this.#tell(`has other choices in ${at}`);
    for (const [index, choice] of was.entries()) {
      const next = is[index];
      if (next !== undefined) {
        this.#schema(part(choice), part(next), `${at}#${index + 1}`, side);
      }
    }
  }

  /** Upper bounds; a lower one comes with its sign turned. */
  #bound(key: string, was: number, is: number, at: string, side: Side): void {
    const isWorse = side === "sent" ? is < was : is > was;
    if (isWorse) this.#tell(`narrows ${key} of ${at}`);
  }
}

function part(value: unknown): Part {
  return isSchema(value) ? value : {};
}

function isSchema(value: unknown): value is Part {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

function list(value: unknown): readonly unknown[] {
  return Array.isArray(value) ? value : [];
}

function number(value: unknown, otherwise: number): number {
  return typeof value === "number" ? value : otherwise;
}

function isEmptyList(value: unknown): boolean {
  return Array.isArray(value) && value.length === 0;
}

function same(a: unknown, b: unknown): boolean {
  // References are looked into: what they name may have changed.
  const [one, other] = [JSON.stringify([a]), JSON.stringify([b])];
  return one === other && !one.includes('"$ref"');
}

function byName(value: unknown): Map<string, Part> {
  return new Map(list(value).map((item) => [String(part(item)["name"]), part(item)]));
}

function contentOf(value: unknown): Map<string, Part> {
  const content = Object.entries(part(part(value)["content"]));
  return new Map(content.map(([type, media]) => [type, part(part(media)["schema"])]));
}

function resolved(schema: Part, document: OpenApi): Part {
  const reference = schema["$ref"];
  if (typeof reference !== "string") return schema;
  return document.components.schemas[reference.replace("#/components/schemas/", "")] ?? {};
}
