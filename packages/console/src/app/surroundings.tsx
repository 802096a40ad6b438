/** What all pages stand in: language, appearance, the present moment. */
import { createContext, type ReactNode, useContext, useEffect, useMemo, useState } from "react";
import { type Language, languageOf, type Words, wordsOf } from "../i18n/i18n.ts";

const LANGUAGE_KEY = "sallyport-language";

interface Surroundings {
  readonly words: Words;
  readonly setLanguage: (language: Language) => void;
}

const Context = createContext<Surroundings>({
  words: wordsOf("en"),
  setLanguage: () => undefined,
});

export function SurroundingsProvider({ children }: { readonly children: ReactNode }) {
  const [language, setLanguage] = useState<Language>(() =>
    languageOf(localStorage.getItem(LANGUAGE_KEY), navigator.languages),
  );
  useEffect(() => {
    document.documentElement.lang = language;
  }, [language]);
  const value = useMemo(
    () => ({
      words: wordsOf(language),
      setLanguage: (next: Language) => {
        localStorage.setItem(LANGUAGE_KEY, next);
        setLanguage(next);
      },
    }),
    [language],
  );
  return <Context.Provider value={value}>{children}</Context.Provider>;
}

export function useWords(): Words {
  return useContext(Context).words;
}

export function useSetLanguage(): (language: Language) => void {
  return useContext(Context).setLanguage;
}

const SECOND_MS = 1000;

/** Renders again each second; only what shows an age asks for it. */
export function useNowMs(): number {
  const [nowMs, setNowMs] = useState(() => Date.now());
  useEffect(() => {
    const timer = setInterval(() => setNowMs(Date.now()), SECOND_MS);
    return () => clearInterval(timer);
  }, []);
  return nowMs;
}
