/** What is typed is kept for this tab, so that neither a reload nor another page loses it. */
import { useState } from "react";

const KEY = "sallyport-draft-text";

interface Kept {
  readonly base: string;
  readonly text: string;
}

export function useKeptText(
  base: string,
  saved: string,
): readonly [string, (text: string) => void, boolean] {
  const [kept] = useState(() => readKept(sessionStorage.getItem(KEY)));
  const isRestored = kept !== undefined && kept.text !== saved;
  const [text, setText] = useState(isRestored ? kept.text : saved);
  const set = (next: string): void => {
    setText(next);
    sessionStorage.setItem(KEY, JSON.stringify({ base, text: next } satisfies Kept));
  };
  return [text, set, isRestored && kept.base !== base];
}

export function readKept(value: string | null): Kept | undefined {
  if (value === null) return undefined;
  try {
    const found: unknown = JSON.parse(value);
    if (typeof found !== "object" || found === null) return undefined;
    const { base, text } = found as Readonly<Record<string, unknown>>;
    return typeof base === "string" && typeof text === "string" ? { base, text } : undefined;
  } catch {
    return undefined;
  }
}
