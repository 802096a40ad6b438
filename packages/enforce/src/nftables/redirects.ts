/** Translation to gates: whose packets, as dialled, go to which listener in which room. */
import {
  contains,
  formatIpv4,
  type Interval,
  type Ipv4,
  type Json,
  overlaps,
} from "@sallyport/core";
import type { Grant, Leg, Legs, Point, Redirect } from "@sallyport/policy/legs";
import { type Lowering, MARKS, type Slot } from "../engine.ts";
import * as nft from "./json.ts";

type GrantRow = Lowering["grants"][number];
/** A set or map, and what goes in. */
export type Elements = readonly [string, readonly Json[]];

export interface Redirects {
  /** Numbers of conduits that are redirected here. */
  readonly ids: readonly number[];
  readonly elements: readonly Elements[];
}

/** All redirects of conduits, and the veth behind which each listener lives. */
export function allRedirects(lowering: Lowering): Redirects {
  const { legs, point, slot, conduits } = lowering;
  const pairs: Translation[] = [];
  const places: Json[] = [];
  for (const conduit of legs.conduits) {
    const id = conduits.get(conduit.key)?.id;
    // A session conduit is never open by itself: its grants bring their own rows.
    if (id === undefined || conduit.session !== undefined) continue;
    for (const leg of conduit.legs.filter((candidate) => isGated(candidate, point))) {
      for (const redirect of leg.redirects) if (redirect.slot === 0) pairs.push({ id, redirect });
      places.push(...beginnings(legs, point, id, leg.from));
    }
  }
  const rooms = legs.rooms.flatMap((room, index) =>
    (room[point]?.addresses ?? []).map((address) => [
      formatIpv4(address),
      MARKS.inspectBase + index,
    ]),
  );
  return {
    ids: pairs.map(({ id }) => id),
    elements: [
      ...translations("redirect", pairs, slot),
      [`redirecting_${slot}`, places],
      [`rooms_${slot}`, rooms],
    ],
  };
}

/** Whether anything is handed to a gate at this point, now or once there is a grant for it. */
export function isTranslating({ conduits }: Legs, point: Point): boolean {
  return conduits.some(({ legs }) => legs.some((leg) => isGated(leg, point)));
}

/** All that the grants of a slot have, but for how long they are open: the tables in `GRANTED`. */
export function grantTables(lowering: Lowering): Elements[] {
  const { grants, slot } = lowering;
  const redirects = grants.map((row) => grantRedirects(lowering, row));
  const closed = grants.map(({ entry: { id, liveness } }): Json => {
    return [id, nft.goto(`note_${liveness.closedReason}_${slot}`)];
  });
  return [
    grantRows(lowering),
    [`granted_closed_${slot}`, closed],
    [`granted_in_${slot}`, redirects.flatMap(({ places }) => places)],
    ...translations(
      "granted",
      redirects.flatMap(({ pairs }) => pairs),
      slot,
    ),
  ];
}

/** Exact rows of all grants in force. Where two ask for the same row, the one that lasts longer has it. */
function grantRows({ legs, point, slot, grants }: Lowering): Elements {
  const rows = new Map<string, { ends: number; row: Json }>();
  for (const { grant, entry } of grants) {
    const { open, until } = entry.liveness;
    const ends = open ? (until ?? Number.POSITIVE_INFINITY) : 0;
    for (const source of sourcesOf(grant, legs, point)) {
      const key = `${source} ${grant.target} ${grant.protocol} ${grant.port}`;
      if ((rows.get(key)?.ends ?? -1) >= ends) continue;
      const between = [formatIpv4(source), formatIpv4(grant.target)];
      rows.set(key, { ends, row: [nft.concat(...between, grant.protocol, grant.port), entry.id] });
    }
  }
  return [`grants_${slot}`, [...rows.values()].map(({ row }) => row)];
}

/** Who dials the target at this point: the person, or behind the gate the address of the slot. */
function sourcesOf(grant: Grant, legs: Legs, point: Point): Ipv4[] {
  const conduit = legs.conduits.find(({ name }) => name === grant.conduit);
  const egress = conduit?.listeners.find(
    (listener) =>
      listener.slot === grant.slot &&
      listener.targetAddress === grant.target &&
      listener.targetPort === grant.port,
  )?.egressAddress;
  const sources: Ipv4[] = [];
  for (const leg of conduit?.legs ?? []) {
    if (leg.point !== point || leg.protocol !== grant.protocol) continue;
    const source = leg.redirects.length > 0 ? grant.source : egress;
    if (source === undefined || !contains(leg.from, source)) continue;
    if (contains(leg.to, grant.target) && contains(leg.ports, grant.port)) sources.push(source);
  }
  return sources;
}

/** Where one grant's packets are handed to the gate. */
function grantRedirects(
  { legs, point }: Lowering,
  { grant, entry }: GrantRow,
): { readonly pairs: readonly Translation[]; readonly places: readonly Json[] } {
  const conduit = legs.conduits.find(({ name }) => name === grant.conduit);
  const gated = (conduit?.legs ?? []).filter(
    (leg) => isGated(leg, point) && contains(leg.from, grant.source),
  );
  const pairs = gated
    .flatMap((leg) => leg.redirects)
    .filter(
      ({ address, port, slot: taken }) =>
        address === grant.target && port === grant.port && taken === grant.slot,
    )
    .map((redirect) => ({ id: entry.id, redirect }));
  const source = [{ first: grant.source, last: grant.source }];
  const places = pairs.length === 0 ? [] : beginnings(legs, point, entry.id, source);
  return { pairs, places };
}

interface Translation {
  readonly id: number;
  readonly redirect: Redirect;
}

function isGated(leg: Leg, point: Point): boolean {
  return leg.point === point && leg.redirects.length > 0;
}

/** Where packets of a redirected leg arrive: (number, interface). */
function beginnings(legs: Legs, point: Point, id: number, from: readonly Interval[]): Json[] {
  const zones = legs.zones.filter((zone) => zone.point === point && overlaps(zone.addresses, from));
  return [...new Set(zones.map((zone) => zone.interface))].map((device) => nft.concat(id, device));
}

function translations(
  whose: "redirect" | "granted",
  pairs: readonly Translation[],
  slot: Slot,
): Elements[] {
  const key = ({ id, redirect }: Translation): Json =>
    nft.concat(id, formatIpv4(redirect.address), redirect.port);
  const address = pairs.map((pair) => [key(pair), formatIpv4(pair.redirect.listenAddress)]);
  const port = pairs.map((pair) => [key(pair), pair.redirect.listenPort]);
  return [
    [`${whose}_address_${slot}`, address],
    [`${whose}_port_${slot}`, port],
  ];
}
