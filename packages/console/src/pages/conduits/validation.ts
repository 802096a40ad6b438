/** The compiler's word on what is typed, a moment after the last key. */
import { useEffect, useState } from "react";
import { type AnswerOf, call } from "../../api/client.ts";
import { asProblem, type Problem } from "../../api/problem.ts";

const WAIT_MS = 400;

type Answer = AnswerOf<"POST /v1/policy/validate">;

export interface Validation {
  /** Unknown while it is being checked. */
  readonly isValid: boolean | undefined;
  readonly diagnostics: Answer["diagnostics"];
  readonly conduits: number;
  readonly problem: Problem | undefined;
}

const NOTHING: Validation = {
  isValid: undefined,
  diagnostics: [],
  conduits: 0,
  problem: undefined,
};

export function useValidation(files: readonly { name: string; text: string }[]): Validation {
  const [validation, setValidation] = useState<Validation>(NOTHING);
  const key = JSON.stringify(files);
  useEffect(() => {
    const stop = new AbortController();
    setValidation((before) => ({ ...before, isValid: undefined }));
    const body = { files: JSON.parse(key) as { name: string; text: string }[] };
    const ask = async (): Promise<void> => {
      const { value } = await call("POST /v1/policy/validate", { body, signal: stop.signal });
      const { valid, diagnostics, conduits } = value;
      setValidation({ isValid: valid, diagnostics, conduits, problem: undefined });
    };
    const timer = setTimeout(() => {
      ask().catch((error: unknown) => {
        if (!stop.signal.aborted) setValidation({ ...NOTHING, problem: asProblem(error) });
      });
    }, WAIT_MS);
    return () => {
      clearTimeout(timer);
      stop.abort();
    };
  }, [key]);
  return validation;
}
