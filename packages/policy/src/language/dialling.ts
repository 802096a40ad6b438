import {
  type Interval,
  intersect,
  type Ipv4,
  normalize,
  prefixInterval,
  subtract,
} from "@sallyport/core";
import type { DialledFrom } from "../legs/types.ts";
import type { Zone, ZoneAttachment } from "./resolved.ts";

/**
 * Which of the gateway's addresses each part of a zone with `source: gateway` is dialled from: the one
 * in whose network it lies, else the one in whose network the router to it stands. As in the room's
 * kernel, a longer network goes before a shorter one, and a link before a router.
 */
export function dialledFrom(
  zone: Zone,
  addresses: readonly Interval[],
  zones: Iterable<Zone>,
): readonly DialledFrom[] | undefined {
  const name = zone.attachment?.interface;
  if (zone.form.source !== "gateway" || name === undefined) return undefined;
  const here: ZoneAttachment[] = [];
  // A zone of hosts names another zone's interface, and has no address there itself.
  for (const { attachment } of zones) if (attachment?.interface === name) here.push(attachment);
  const parts = new Map<Ipv4, Interval[]>();
  let rest = addresses;
  for (const { interval, from } of [...linksOf(here), ...routesOf(here)]) {
    const part = intersect(rest, [interval]);
    if (part.length === 0) continue;
    rest = subtract(rest, part);
    parts.set(from, [...(parts.get(from) ?? []), ...part]);
  }
  // Nothing is left over: `checkReachable` refuses a network that is behind neither.
  return [...parts]
    .sort(([a], [b]) => a - b)
    .map(([address, to]) => ({ address, to: normalize(to) }));
}

interface Way {
  readonly interval: Interval;
  readonly from: Ipv4;
}

function linksOf(attachments: readonly ZoneAttachment[]): Way[] {
  return attachments
    .flatMap(({ addresses }) => addresses)
    .sort((a, b) => b.length - a.length || a.address - b.address)
    .map((prefix) => ({ interval: prefixInterval(prefix), from: prefix.address }));
}

function routesOf(attachments: readonly ZoneAttachment[]): Way[] {
  const links = linksOf(attachments);
  return attachments
    .flatMap(({ routes }) => routes)
    .sort((a, b) => b.network.length - a.network.length || a.via - b.via)
    .flatMap(({ network, via }): Way[] => {
      const link = links.find(({ interval }) => interval.first <= via && via <= interval.last);
      return link === undefined ? [] : [{ interval: prefixInterval(network), from: link.from }];
    });
}
