/**
 * What schemas can't say: ports, ranges, durations, dates, times of day. Each answers undefined for
 * what isn't one; the caller knows the place and reports it.
 */
import type { Interval } from "@sallyport/core";
import type { Window } from "../legs/types.ts";

const RANGE = /^(0|[1-9][0-9]{0,4})(?:-(0|[1-9][0-9]{0,4}))?$/;

/** `502`, `"502"` or `4711-4713`, inside `lowest` to `highest`, which are at most 65535. */
export function parseRange(value: unknown, lowest: number, highest: number): Interval | undefined {
  const match = RANGE.exec(String(value));
  if (match === null || (typeof value !== "number" && typeof value !== "string")) return undefined;
  const first = Number(match[1]);
  const last = Number(match[2] ?? match[1]);
  return first >= lowest && first <= last && last <= highest ? { first, last } : undefined;
}

const UNIT_SECONDS: ReadonlyMap<string, number> = new Map([
  ["s", 1],
  ["m", 60],
  ["h", 3600],
  ["d", 86_400],
]);

/** `90s`, `30m`, `2h`, `30d`: seconds, at least 1. */
export function parseDuration(value: string): number | undefined {
  const match = /^([1-9][0-9]{0,6})(s|m|h|d)$/.exec(value);
  const unit = UNIT_SECONDS.get(match?.[2] ?? "");
  return match === null || unit === undefined ? undefined : Number(match[1]) * unit;
}

/** `50/s`: requests per second, 1 to 99999. */
export function parseRate(value: string): number | undefined {
  const match = /^([1-9][0-9]{0,4})\/s$/.exec(value);
  return match === null ? undefined : Number(match[1]);
}

/** `02:00` to `24:00`: minutes after midnight. */
export function parseTimeOfDay(value: string): number | undefined {
  const match = /^([01][0-9]|2[0-4]):([0-5][0-9])$/.exec(value);
  if (match === null) return undefined;
  const minutes = Number(match[1]) * 60 + Number(match[2]);
  return minutes <= 1440 ? minutes : undefined;
}

const DAYS = ["sun", "mon", "tue", "wed", "thu", "fri", "sat"];

/** `sun`, `mon-fri`, `daily`: numbers with 0 for Sunday. */
export function parseDays(value: string): number[] | undefined {
  if (value === "daily") return [0, 1, 2, 3, 4, 5, 6];
  const [from = "", to = from, ...rest] = value.split("-");
  const first = DAYS.indexOf(from);
  const last = DAYS.indexOf(to);
  if (first < 0 || last < 0 || rest.length > 0) return undefined;
  const count = ((last - first + 7) % 7) + 1;
  return Array.from({ length: count }, (_, index) => (first + index) % 7);
}

/** Formatters cost far more than their use, and a policy has few zones. */
const formatters = new Map<string, Intl.DateTimeFormat>();

function formatterOf(timezone: string): Intl.DateTimeFormat {
  let formatter = formatters.get(timezone);
  if (formatter === undefined) {
    formatter = new Intl.DateTimeFormat("en-US", {
      timeZone: timezone,
      hourCycle: "h23",
      year: "numeric",
      month: "numeric",
      day: "numeric",
      hour: "numeric",
      minute: "numeric",
      second: "numeric",
    });
    formatters.set(timezone, formatter);
  }
  return formatter;
}

/** An IANA name that this machine knows; offsets like +01:00 have no daylight saving and are not taken. */
export function isTimezone(name: string): boolean {
  if (!/^[A-Za-z][A-Za-z0-9_+/-]{0,63}$/.test(name)) return false;
  try {
    return formatterOf(name) !== undefined;
  } catch {
    return false;
  }
}

/** What the zone's clock shows at `time`, as if it were UTC. */
function wallClock(time: number, timezone: string): number {
  const parts = new Map(
    formatterOf(timezone)
      .formatToParts(time)
      .map(({ type, value }) => [type, Number(value)]),
  );
  const part = (name: Intl.DateTimeFormatPartTypes): number => parts.get(name) ?? 0;
  return Date.UTC(
    part("year"),
    part("month") - 1,
    part("day"),
    part("hour"),
    part("minute"),
    part("second"),
  );
}

/** The first moment of a calendar day there. A day whose midnight is skipped begins after the gap. */
function startOfDay(utcMidnight: number, timezone: string): number {
  const before =
    utcMidnight - (wallClock(utcMidnight - 86_400_000, timezone) - (utcMidnight - 86_400_000));
  const after =
    utcMidnight - (wallClock(utcMidnight + 86_400_000, timezone) - (utcMidnight + 86_400_000));
  for (const guess of [Math.min(before, after), Math.max(before, after)]) {
    if (wallClock(guess, timezone) === utcMidnight) return guess;
  }
  return Math.max(before, after);
}

const DATE = /^([0-9]{4})-([0-9]{2})-([0-9]{2})$/;
const MOMENT =
  /^([0-9]{4}-[0-9]{2}-[0-9]{2})T([01][0-9]|2[0-3]):[0-5][0-9]:[0-5][0-9](Z|[+-][01][0-9]:[0-5][0-9])$/;

/** Midnight UTC of a date that exists: 2027-02-30 doesn't. */
function parseDate(value: string): number | undefined {
  const match = DATE.exec(value);
  if (match === null) return undefined;
  const [year, month, day] = [Number(match[1]), Number(match[2]), Number(match[3])];
  const time = Date.UTC(year, month - 1, day);
  const back = new Date(time);
  return year >= 1970 && back.getUTCMonth() === month - 1 && back.getUTCDate() === day
    ? time
    : undefined;
}

const ends = new Map<string, number>();
const ENDS_KEPT = 4096;

/**
 * The first moment at which what ends then is closed. A date is the last day it is open, in the
 * site's zone; a moment (RFC 3339 with offset) is itself.
 */
export function parseEnd(value: string, timezone: string): number | undefined {
  if (MOMENT.test(value)) {
    return parseDate(value.slice(0, 10)) === undefined ? undefined : Date.parse(value);
  }
  const day = parseDate(value);
  if (day === undefined) return undefined;
  const key = `${timezone} ${value}`;
  const known = ends.get(key);
  if (known !== undefined) return known;
  const end = startOfDay(day + 86_400_000, timezone);
  if (ends.size >= ENDS_KEPT) ends.clear();
  ends.set(key, end);
  return end;
}

/** What of a window's form is wrong, by field; or the window. */
export function windowOf(
  form: { readonly days: readonly string[]; readonly from: string; readonly to: string },
  timezone: string,
): Window | { readonly wrong: "days" | "from" | "to" } {
  const days = new Set<number>();
  for (const day of form.days) {
    const parsed = parseDays(day);
    if (parsed === undefined) return { wrong: "days" };
    for (const number of parsed) days.add(number);
  }
  const fromMinute = parseTimeOfDay(form.from);
  if (fromMinute === undefined || fromMinute === 1440) return { wrong: "from" };
  const toMinute = parseTimeOfDay(form.to);
  if (toMinute === undefined) return { wrong: "to" };
  const sorted = [...days].sort((a, b) => a - b);
  // Midnight as an end is the end of the day, and Window counts it so.
  return { days: sorted, fromMinute, toMinute: toMinute === 0 ? 1440 : toMinute, timezone };
}
