/**
 * When a conduit or a grant is open. Both kernels are told the end of the present opening, so what
 * is answered here closes by itself; only opening again needs a process that asks once more.
 *
 * Weekly windows are wall-clock times in an IANA zone. Where a clock change takes a wall time away,
 * it means the moment of the change; where one happens twice, it means the first: a window never
 * opens twice for one line of policy, and one that lies wholly in the missing hour does not open.
 */
import { type Interval, normalize } from "@sallyport/core";
import type { PacketReason } from "./reasons.ts";
import type { Conduit, Grant, Liveness, Window } from "./types.ts";

const MINUTE_MS = 60_000;
const DAY_MS = 86_400_000;
/** Local days around `now` that are laid out: a window reaches at most into the day after it. */
const DAYS_BEFORE = 3;
const DAYS_AFTER = 9;
/** The last moment of an ECMAScript date; beyond it no clock can be laid out. */
const TIME_MAX = 8.64e15 - 20 * DAY_MS;

/** Expiry, then island, then untrusted time, then windows: the first that closes names the reason. */
export function livenessOf(
  conduit: Conduit,
  now: number,
  islandedZones: ReadonlySet<string>,
  timeTrusted = true,
): Liveness {
  if (conduit.session !== undefined) return closed("no-grant");
  return termsOf(conduit, now, islandedZones, timeTrusted);
}

/**
 * A grant is open from `notBefore` to before `notAfter`, and never longer than its conduit's own
 * dates and windows. `conduit` is undefined when the policy no longer has it.
 */
export function grantLiveness(
  grant: Grant,
  conduit: Conduit | undefined,
  now: number,
  revoked: ReadonlySet<string>,
  islandedZones: ReadonlySet<string>,
  timeTrusted = true,
): Liveness {
  if (revoked.has(grant.id) || conduit?.session === undefined) return closed("revoked");
  if (now >= grant.notAfter) return closed("grant-expired");
  if (now < grant.notBefore) return closed("no-grant");
  if (!timeTrusted) return closed("time-untrusted");
  const terms = termsOf(conduit, now, islandedZones, timeTrusted);
  if (!terms.open || (terms.until !== null && terms.until < grant.notAfter)) return terms;
  return { open: true, until: grant.notAfter, closedReason: "grant-expired" };
}

/** The next moment at which `livenessOf` may answer differently by itself; null if there is none. */
export function nextChange(conduit: Conduit, now: number): number | null {
  if (now >= conduit.expires) return null;
  let next = conduit.expires;
  for (const opening of openings(conduit.windows, now)) {
    if (opening.first > now) next = Math.min(next, opening.first);
    if (opening.last + 1 > now) next = Math.min(next, opening.last + 1);
  }
  return next;
}

function termsOf(
  conduit: Conduit,
  now: number,
  islandedZones: ReadonlySet<string>,
  timeTrusted: boolean,
): Liveness {
  if (now >= conduit.expires) return closed("expired");
  const touched = conduit.fromZones.concat(conduit.toZones);
  const islanded = conduit.island === "drop" && touched.some((zone) => islandedZones.has(zone));
  if (islanded) return closed("island");
  if (conduit.windows.length === 0) {
    return { open: true, until: conduit.expires, closedReason: "expired" };
  }
  if (!timeTrusted) return closed("time-untrusted");
  const opening = openings(conduit.windows, now).find((o) => o.first <= now && now <= o.last);
  if (opening === undefined) return closed("outside-window");
  const end = opening.last + 1;
  if (conduit.expires <= end)
    return { open: true, until: conduit.expires, closedReason: "expired" };
  return { open: true, until: end, closedReason: "outside-window" };
}

function closed(closedReason: PacketReason): Liveness {
  return { open: false, until: null, closedReason };
}

/** All openings around `now` as sets of milliseconds; windows that touch are one opening. */
function openings(windows: readonly Window[], now: number): Interval[] {
  if (now > TIME_MAX || now < -TIME_MAX) return [];
  const found: Interval[] = [];
  for (const window of windows) {
    const today = Math.floor((now + offsetAt(window.timezone, now)) / DAY_MS);
    for (let day = today - DAYS_BEFORE; day <= today + DAYS_AFTER; day++) {
      // Day 0 of the epoch was a Thursday, which is weekday 4.
      if (!window.days.includes((((day + 4) % 7) + 7) % 7)) continue;
      const endDay = window.toMinute <= window.fromMinute ? day + 1 : day;
      const first = momentOf(window.timezone, day, window.fromMinute);
      const last = momentOf(window.timezone, endDay, window.toMinute) - 1;
      if (first <= last) found.push({ first, last });
    }
  }
  return normalize(found);
}

/** The first moment at which a clock in the zone shows this minute of this local day, or later. */
function momentOf(timezone: string, day: number, minute: number): number {
  const key = `${timezone}|${day}|${minute}`;
  const known = moments.get(key);
  if (known !== undefined) return known;
  const wall = day * DAY_MS + minute * MINUTE_MS;
  const before = offsetAt(timezone, wall - DAY_MS);
  const after = offsetAt(timezone, wall + DAY_MS);
  const candidates = [wall - before, wall - after].filter(
    (moment) => moment + offsetAt(timezone, moment) === wall,
  );
  const moment = candidates.length > 0 ? Math.min(...candidates) : changeNear(timezone, wall);
  if (moments.size >= MOMENTS_MAX) moments.clear();
  moments.set(key, moment);
  return moment;
}

/** Where the zone's clock jumps over `wall`: found by halving the two days around it. */
function changeNear(timezone: string, wall: number): number {
  let low = wall - DAY_MS;
  let high = wall + DAY_MS;
  const before = offsetAt(timezone, low);
  while (high - low > 1) {
    const middle = Math.floor((low + high) / 2);
    if (offsetAt(timezone, middle) === before) low = middle;
    else high = middle;
  }
  return high;
}

/** What `longOffset` prints: `GMT`, `GMT+05:45`, and `GMT-01:14:40` where a zone once had such. */
const OFFSET = /^GMT(?:([+-])(\d\d):(\d\d)(?::(\d\d))?)?$/;

/** Milliseconds that clocks in the zone are ahead of UTC at this moment. */
function offsetAt(timezone: string, moment: number): number {
  const parts = formatter(timezone).formatToParts(moment);
  const text = parts.find((part) => part.type === "timeZoneName")?.value ?? "";
  const [, sign, hours, minutes, seconds] = OFFSET.exec(text) ?? [];
  const [h, m, s] = [hours, minutes, seconds].map((digits) => Number(digits ?? 0));
  const size = ((h ?? 0) * 60 + (m ?? 0)) * MINUTE_MS + (s ?? 0) * 1000;
  return sign === "-" ? -size : size;
}

/** Asking Intl is slow and the answers never change, so both are kept; each memory is bounded. */
const MOMENTS_MAX = 10_000;
const FORMATTERS_MAX = 100;
const moments = new Map<string, number>();
const formatters = new Map<string, Intl.DateTimeFormat>();

function formatter(timezone: string): Intl.DateTimeFormat {
  const known = formatters.get(timezone);
  if (known !== undefined) return known;
  const options = {
    timeZone: timezone,
    timeZoneName: "longOffset",
    numberingSystem: "latn",
  } as const;
  const made = new Intl.DateTimeFormat("en-US", options);
  if (formatters.size >= FORMATTERS_MAX) formatters.clear();
  formatters.set(timezone, made);
  return made;
}

/** Whether Intl knows the IANA zone. Every window's zone must be checked before its first use. */
export function isTimezone(name: string): boolean {
  try {
    formatter(name);
    return true;
  } catch {
    return false;
  }
}
