/** Live events: each says what is old, and it is read again. How old the data is the status's own reads say. */
import { useEffect, useState } from "react";
import { Problem } from "../api/problem.ts";
import { type Flow, LIVE_DENIALS, queryClient, TOUCHED } from "../api/queries.ts";
import { LIVE_DENIALS_MAX, readDenial } from "../pages/plant/live-denials.ts";

/** Many events at once are one read. */
const GATHER_MS = 250;
const RETRY_MS = 10_000;
/** After this the header says how old the data is. */
export const STALE_MS = 15_000;

export function useLiveEvents(isSignedIn: boolean): void {
  const [attempt, setAttempt] = useState(0);
  useEffect(() => {
    if (!isSignedIn) return undefined;
    const source = new EventSource("/v1/events");
    const old = new Set<string>();
    let timer: ReturnType<typeof setTimeout> | undefined;
    let retry: ReturnType<typeof setTimeout> | undefined;
    // A browser comes back by itself after a lost connection, but not after a refusal such as too many streams.
    source.addEventListener("error", () => {
      if (source.readyState !== EventSource.CLOSED) return;
      retry ??= setTimeout(() => setAttempt(attempt + 1), RETRY_MS);
    });
    const flush = (): void => {
      timer = undefined;
      for (const key of old) void queryClient.invalidateQueries({ queryKey: [key] });
      old.clear();
    };
    const touch = (keys: readonly string[]): void => {
      for (const key of keys) old.add(key);
      timer ??= setTimeout(flush, GATHER_MS);
    };
    for (const [type, keys] of Object.entries(TOUCHED)) {
      source.addEventListener(type, () => touch(keys));
    }
    source.addEventListener("denial", ({ data }) => {
      const told = readDenial(String(data));
      if (told === undefined) return;
      queryClient.setQueryData<readonly Flow[]>(LIVE_DENIALS, (before = []) =>
        [...before, told].slice(-LIVE_DENIALS_MAX),
      );
    });
    // Some were missed: everything may be old.
    source.addEventListener("gap", () => touch(Object.values(TOUCHED).flat()));
    return () => {
      source.close();
      clearTimeout(timer);
      clearTimeout(retry);
    };
  }, [isSignedIn, attempt]);
}

export type Freshness =
  | { readonly kind: "live" }
  | { readonly kind: "old"; readonly ageMs: number }
  | { readonly kind: "lost"; readonly ageMs: number | undefined };

/** A refusal is an answer, so the connection stands; it is only nothing that one may see. */
export function isLost(error: unknown): boolean {
  return error instanceof Problem && (error.told.status === 0 || error.told.status >= 500);
}

/** From when the status was last read, and whether the last try failed. */
export function freshnessOf(updatedAtMs: number, isFailing: boolean, nowMs: number): Freshness {
  const ageMs = updatedAtMs === 0 ? undefined : Math.max(0, nowMs - updatedAtMs);
  if (isFailing) return { kind: "lost", ageMs };
  if (ageMs === undefined) return { kind: "lost", ageMs };
  return ageMs > STALE_MS ? { kind: "old", ageMs } : { kind: "live" };
}
