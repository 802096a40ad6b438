/** Opaque cursors: a place in one list, of no use for another. */
import { HttpError } from "./problem.ts";

/** A place is an index, or a time and an id. */
const PLACE_LENGTH_MAX = 200;

export function writeCursor(route: string, place: string): string {
  return Buffer.from(JSON.stringify([1, route, place])).toString("base64url");
}

/** Throws `wrong-fields` for a cursor that this list did not give. */
export function readCursor(route: string, cursor: string): string {
  try {
    const value: unknown = JSON.parse(Buffer.from(cursor, "base64url").toString());
    if (Array.isArray(value) && value.length === 3 && value[0] === 1 && value[1] === route) {
      const place: unknown = value[2];
      if (typeof place === "string" && place.length <= PLACE_LENGTH_MAX) return place;
    }
  } catch {
    // What is not JSON is refused as any other text.
  }
  const message = "is not a cursor that this list gave";
  throw new HttpError("wrong-fields", `cursor ${message}`, {
    errors: [{ field: "cursor", message }],
    hint: "begin again without a cursor",
  });
}
