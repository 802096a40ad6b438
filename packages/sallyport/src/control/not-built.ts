import { SallyportError } from "@sallyport/core";

/** What the API has an address for and this release cannot do: said so, never made up. */
export function notBuiltYet(what: string, hint?: string): SallyportError {
  const more = hint === undefined ? {} : { hint };
  return new SallyportError("not-built-yet", `${what} is not built yet`, more);
}
