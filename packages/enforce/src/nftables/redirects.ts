/** Translation to gates: whose packets, as dialled, go to which listener in which room. */
import { contains, formatIpv4, type Json } from "@sallyport/core";
import type { Conduit, Grant, Legs, Point, Redirect } from "@sallyport/policy/legs";
import { type LiveEntry, type Lowering, MARKS, type Slot } from "../engine.ts";
import * as nft from "./json.ts";

export interface GrantRow {
  readonly grant: Grant;
  readonly entry: LiveEntry;
}
/** A set or map, and what goes in. */
export type Elements = readonly [string, readonly Json[]];

/** All redirects of conduits, and the veth behind which each listener lives. */
export function redirectElements(lowering: Lowering): nft.Command[] {
  const { legs, point, slot, conduits } = lowering;
  const pairs: { id: number; redirect: Redirect }[] = [];
  for (const conduit of legs.conduits) {
    const id = conduits.get(conduit.key)?.id;
    // A session conduit is never open by itself: its grants bring their own rows.
    if (id === undefined || conduit.session !== undefined) continue;
    for (const redirect of redirectsOf(conduit, point, 0)) pairs.push({ id, redirect });
  }
  const rooms = legs.rooms.flatMap((room, index) =>
    (room[point]?.addresses ?? []).map((address) => [formatIpv4(address), MARKS.inspectBase + index]),
  );
  const all: Elements[] = [...translations(pairs, slot), [`rooms_${slot}`, rooms]];
  return all.flatMap(([name, elem]) => nft.elements(name, elem));
}

/** A grant's rows at one point: who dials the target, or the gate that dials it for them. */
export function grantElements(
  legs: Legs,
  point: Point,
  slot: Slot,
  { grant, entry }: GrantRow,
): Elements[] {
  const conduit = legs.conduits.find(({ name }) => name === grant.conduit);
  if (conduit === undefined) return [];
  const egress = conduit.listeners.find(
    (listener) =>
      listener.slot === grant.slot &&
      listener.targetAddress === grant.target &&
      listener.targetPort === grant.port,
  )?.egressAddress;
  const rows: Json[] = [];
  for (const leg of conduit.legs) {
    if (leg.point !== point || leg.protocol !== grant.protocol) continue;
    const source = leg.redirects.length > 0 ? grant.source : egress;
    if (source === undefined || !contains(leg.from, source)) continue;
    if (!contains(leg.to, grant.target) || !contains(leg.ports, grant.port)) continue;
    const ends = [formatIpv4(source), formatIpv4(grant.target)];
    rows.push([nft.concat(...ends, grant.protocol, grant.port), entry.id]);
  }
  const redirects = redirectsOf(conduit, point, grant.slot).filter(
    (redirect) => redirect.address === grant.target && redirect.port === grant.port,
  );
  const pairs = redirects.map((redirect) => ({ id: entry.id, redirect }));
  return [[`grants_${slot}`, rows], ...translations(pairs, slot)];
}

function redirectsOf(conduit: Conduit, point: Point, slot: number): Redirect[] {
  const legs = conduit.legs.filter((leg) => leg.point === point);
  return legs.flatMap((leg) => leg.redirects.filter((redirect) => redirect.slot === slot));
}

function translations(pairs: readonly { id: number; redirect: Redirect }[], slot: Slot): Elements[] {
  const key = ({ id, redirect }: { id: number; redirect: Redirect }): Json =>
    nft.concat(id, formatIpv4(redirect.address), redirect.port);
  const address = pairs.map((pair) => [key(pair), formatIpv4(pair.redirect.listenAddress)]);
  const port = pairs.map((pair) => [key(pair), pair.redirect.listenPort]);
  return [
    [`redirecting_${slot}`, [...new Set(pairs.map(({ id }) => id))]],
    [`redirect_address_${slot}`, address],
    [`redirect_port_${slot}`, port],
  ];
}
