/** Where one can go, and the letter after g that goes there. */
import type { Key } from "../i18n/i18n.ts";

export interface Place {
  readonly to: string;
  readonly title: Key;
  readonly letter: string;
}

export const PLACES: readonly Place[] = [
  { to: "/", title: "nav.plant", letter: "p" },
  { to: "/conduits", title: "nav.conduits", letter: "c" },
  { to: "/evidence", title: "nav.evidence", letter: "e" },
  { to: "/people", title: "nav.people", letter: "u" },
  { to: "/settings", title: "nav.settings", letter: "s" },
];

/** How long after g a letter still counts. */
const CHORD_MS = 1200;

export type Command =
  | { readonly kind: "go"; readonly to: string }
  | { readonly kind: "palette" }
  | { readonly kind: "help" };

/** Follows key presses; nothing while a person types. */
export function keyFollower(nowMs: () => number): (key: KeyPress) => Command | undefined {
  let chordAtMs = Number.NEGATIVE_INFINITY;
  return ({ key, isControl, isTyping }) => {
    if (isControl && key.toLowerCase() === "k") return { kind: "palette" };
    if (isControl || isTyping) return undefined;
    const isChord = nowMs() - chordAtMs < CHORD_MS;
    chordAtMs = key === "g" ? nowMs() : Number.NEGATIVE_INFINITY;
    if (key === "?") return { kind: "help" };
    const place = isChord ? PLACES.find(({ letter }) => letter === key) : undefined;
    return place === undefined ? undefined : { kind: "go", to: place.to };
  };
}

export interface KeyPress {
  readonly key: string;
  readonly isControl: boolean;
  readonly isTyping: boolean;
}
