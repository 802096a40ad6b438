/**
 * Acts: a call that changes something. When the API wants a second factor first, or the sign-in ended meanwhile, that is asked for over
 * the page, and the act goes on; nothing that a person typed is lost.
 */
import { createContext, type ReactNode, useCallback, useContext, useMemo, useState } from "react";
import { asProblem, type Problem } from "../api/problem.ts";
import { queryClient } from "../api/queries.ts";
import { SignInAgain } from "../pages/sign-in/sign-in-again.tsx";
import { StepUp } from "../pages/sign-in/step-up.tsx";

type Need = "step-up" | "sign-in";

interface Waiting {
  readonly need: Need;
  readonly done: (isGiven: boolean) => void;
}

type Ask = (need: Need) => Promise<boolean>;

const Context = createContext<Ask>(() => Promise.resolve(false));

export function ActProvider({ children }: { readonly children: ReactNode }) {
  const [waiting, setWaiting] = useState<Waiting>();
  const ask = useCallback<Ask>(
    (need) =>
      new Promise((resolve) => {
        const done = (isGiven: boolean): void => {
          setWaiting(undefined);
          resolve(isGiven);
        };
        setWaiting({ need, done });
      }),
    [],
  );
  return (
    <Context.Provider value={ask}>
      {children}
      {waiting?.need === "step-up" ? <StepUp onDone={waiting.done} /> : null}
      {waiting?.need === "sign-in" ? <SignInAgain onDone={waiting.done} /> : null}
    </Context.Provider>
  );
}

const NEEDS: ReadonlyMap<string, Need> = new Map([
  ["step-up-needed", "step-up"],
  ["sign-in-needed", "sign-in"],
  ["sign-in-ended", "sign-in"],
]);

/** One need each, and the act itself. */
const TRIES_MAX = 3;

export interface Act {
  readonly isBusy: boolean;
  readonly problem: Problem | undefined;
  /** Whether it was done; a refusal is in `problem`. */
  run(act: () => Promise<unknown>): Promise<boolean>;
  clear(): void;
}

/** `touches`: keys of queries that are old once it is done. */
export function useAct(...touches: readonly string[]): Act {
  const ask = useContext(Context);
  const [isBusy, setBusy] = useState(false);
  const [problem, setProblem] = useState<Problem>();
  const keys = touches.join(" ");
  const run = useCallback(
    async (act: () => Promise<unknown>): Promise<boolean> => {
      setBusy(true);
      setProblem(undefined);
      try {
        const refusal = await tried(act, ask);
        setProblem(refusal);
        return refusal === undefined;
      } finally {
        setBusy(false);
        for (const key of keys.split(" ")) {
          if (key !== "") void queryClient.invalidateQueries({ queryKey: [key] });
        }
      }
    },
    [ask, keys],
  );
  const clear = useCallback(() => setProblem(undefined), []);
  return useMemo(() => ({ isBusy, problem, run, clear }), [isBusy, problem, run, clear]);
}

async function tried(act: () => Promise<unknown>, ask: Ask): Promise<Problem | undefined> {
  let refusal: Problem | undefined;
  for (let tries = 0; tries < TRIES_MAX; tries += 1) {
    try {
      await act();
      return undefined;
    } catch (error) {
      refusal = asProblem(error);
      const need = NEEDS.get(refusal.told.code);
      if (need === undefined || !(await ask(need))) return refusal;
    }
  }
  return refusal;
}
