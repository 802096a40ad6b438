import { SallyportError } from "@sallyport/core";
import type { Invocation } from "./command.ts";

/** What a flag says that the command cannot do without. */
export function required(invocation: Invocation, flag: string): string {
  const value = invocation.text(flag);
  if (value !== undefined) return value;
  throw new SallyportError("usage", `--${flag} is missing`);
}
