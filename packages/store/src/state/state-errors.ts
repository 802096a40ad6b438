/** What goes wrong with state, in words for the operator. State is never put aside or begun anew by itself. */
import { SallyportError } from "@sallyport/core";
import { SQLITE, sqliteCode } from "../sqlite.ts";

export type Translate = (error: unknown) => Error;

const RESTORE = "stop the gateway and run `sallyport backup restore` with the newest backup";

export function damagedState(where: string, cause?: unknown): SallyportError {
  return new SallyportError(
    "store-damaged",
    `the state in ${where} is damaged; it was left as it is`,
    {
      cause,
      hint: RESTORE,
    },
  );
}

export function damagedRecord(kind: string): SallyportError {
  return new SallyportError("store-damaged", `a record of kind ${kind} cannot be read`, {
    hint: RESTORE,
  });
}

export function translateFor(where: string): Translate {
  return (error) => {
    if (error instanceof SallyportError) return error;
    const code = sqliteCode(error);
    if (code === SQLITE.corrupt || code === SQLITE.notADatabase) return damagedState(where, error);
    const why = error instanceof Error ? error.message : String(error);
    return new SallyportError(
      "store-unavailable",
      `the state in ${where} was not reached: ${why}`,
      {
        cause: error,
        hint: "look at the disk's free space, or at the database server; then try again",
      },
    );
  };
}
