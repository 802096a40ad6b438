/** Texts by key, in the language of the person. Plurals by the language's own rules. */
import { de } from "./de.ts";
import { en } from "./en.ts";

export type Key = keyof typeof en;
export type Language = "en" | "de";
export const LANGUAGES: readonly Language[] = ["en", "de"];

/** Keys that have a form for one and a form for several. */
export type CountedKey = Key extends infer K
  ? K extends `${infer Stem}.one`
    ? Stem
    : never
  : never;

const CATALOGUES: Readonly<Record<Language, Readonly<Record<Key, string>>>> = { en, de };

export type Values = Readonly<Record<string, string | number>>;

export interface Words {
  readonly language: Language;
  readonly t: (key: Key, values?: Values) => string;
  /** `count` is among the values. */
  readonly tn: (stem: CountedKey, count: number, values?: Values) => string;
  readonly number: (value: number) => string;
  readonly bytes: (value: number) => string;
  readonly rate: (bytesPerSecond: number) => string;
  readonly time: (iso: string) => string;
  readonly ago: (milliseconds: number) => string;
}

export function fill(template: string, values: Values): string {
  return template.replaceAll(/\{(\w+)\}/g, (all, name: string) => String(values[name] ?? all));
}

const BYTE_UNITS = ["B", "kB", "MB", "GB", "TB"];
const BYTE_STEP = 1000;

export function wordsOf(language: Language, timeZone?: string): Words {
  const texts = CATALOGUES[language];
  const plural = new Intl.PluralRules(language);
  const numbers = new Intl.NumberFormat(language, { maximumFractionDigits: 1 });
  const zone = timeZone === undefined ? {} : { timeZone };
  const times = new Intl.DateTimeFormat(language, {
    ...{ year: "numeric", month: "2-digit", day: "2-digit" },
    ...{ hour: "2-digit", minute: "2-digit", second: "2-digit", hourCycle: "h23" },
    timeZoneName: "short",
    ...zone,
  });
  const relative = new Intl.RelativeTimeFormat(language, { numeric: "always", style: "short" });
  const bytes = (value: number): string => {
    let [rest, unit] = [value, 0];
    for (; rest >= BYTE_STEP && unit < BYTE_UNITS.length - 1; unit += 1) rest /= BYTE_STEP;
    return `${numbers.format(rest)} ${BYTE_UNITS[unit] ?? "B"}`;
  };
  return {
    language,
    t: (key, values = {}) => fill(texts[key], values),
    tn: (stem, count, values = {}) => {
      const form = plural.select(count) === "one" ? "one" : "other";
      // Both forms of a counted stem are keys; a test holds the catalogues to that.
      const key = `${stem}.${form}` as Key;
      return fill(texts[key], { ...values, count: numbers.format(count) });
    },
    number: (value) => numbers.format(value),
    bytes,
    rate: (value) => `${bytes(value)}/s`,
    time: (iso) => (Number.isNaN(Date.parse(iso)) ? iso : times.format(new Date(iso))),
    ago: (milliseconds) => {
      const seconds = Math.max(0, Math.round(milliseconds / 1000));
      if (seconds < 120) return relative.format(-seconds, "second");
      if (seconds < 7200) return relative.format(-Math.round(seconds / 60), "minute");
      if (seconds < 172_800) return relative.format(-Math.round(seconds / 3600), "hour");
      return relative.format(-Math.round(seconds / 86_400), "day");
    },
  };
}

export function languageOf(kept: string | null, wanted: readonly string[]): Language {
  const all = kept === null ? wanted : [kept, ...wanted];
  const found = all.map((tag) => tag.slice(0, 2).toLowerCase());
  return found.find((tag): tag is Language => LANGUAGES.some((one) => one === tag)) ?? "en";
}
