import { type Interval, normalize, sha256HexOfText } from "@sallyport/core";
import type { Conduit, Leg, Listener, Protocol, Redirect } from "../legs/types.ts";
import { type Allocation, type ListenerNeed, slotsOf } from "./allocate.ts";
import { LISTENERS_PER_CONDUIT } from "./limits.ts";
import { compareText, lineOf, type Reporter } from "./report.ts";
import type { End, Network, ResolvedConduit, Service } from "./resolved.ts";

/** Listeners that a conduit's gate needs: one per (asset, port, slot). */
export function listenersOf(conduit: ResolvedConduit, reporter: Reporter): ListenerNeed[] {
  const { gate, to } = conduit;
  if (gate === undefined) return [];
  const ports = portsOf(conduit.services, "tcp");
  const portCount = ports.reduce((sum, { first, last }) => sum + last - first + 1, 0);
  const count = portCount * to.assets.length * slotsOf(conduit);
  if (count > LISTENERS_PER_CONDUIT) {
    const what = `conduit "${conduit.name}" would need ${count} listeners: assets x ports x slots`;
    const hint = `at most ${LISTENERS_PER_CONDUIT}; name fewer ports, or split it`;
    reporter.report("too-many-listeners", conduit.place, what, hint);
    return [];
  }
  const out: ListenerNeed[] = [];
  for (const asset of [...to.assets].sort((a, b) => a.address - b.address)) {
    for (const { first, last } of ports) {
      for (let port = first; port <= last; port++) {
        for (let slot = 0; slot < slotsOf(conduit); slot++) {
          out.push({ conduit, gate, asset: asset.name, target: asset.address, port, slot });
        }
      }
    }
  }
  return out;
}

/** Cuts a conduit into its legs, now that all addresses are known. */
export function lowerConduit(
  conduit: ResolvedConduit,
  needs: readonly ListenerNeed[],
  allocation: Allocation,
  network: Network,
): Conduit {
  const { name, form, session } = conduit;
  const parts =
    conduit.gate === undefined
      ? { legs: plainLegs(conduit, allocation, network), listeners: [] }
      : gateLegs(conduit, needs, allocation, network);
  // Canonical JSON (RFC 8785), by the engine's own fast writer: every object in legs is made with its
  // members in the order of their names. A test compares the two.
  const digest = sha256HexOfText(JSON.stringify(parts.legs));
  const { via, owner, why, expires, windows, island, system, audit } = conduit;
  const source = lineOf(conduit.place);
  const zoneNames = (end: End): string[] => end.zones.map((zone) => zone.name).sort(compareText);
  const base = {
    name,
    key: `${name}#${digest.slice(0, 12)}`,
    via,
    source,
    owner,
    why,
    expires,
    windows,
  };
  const zones = { fromZones: zoneNames(conduit.from), toZones: zoneNames(conduit.to) };
  const out = { ...base, island, system, audit, ...zones, ...parts };
  return form?.via === "session" && session !== undefined ? { ...out, session } : out;
}

function plainLegs(conduit: ResolvedConduit, allocation: Allocation, network: Network): Leg[] {
  const { firstPoint: point, services } = conduit;
  const from = addressesOf(conduit.from, conduit, "first", allocation, network);
  const to = addressesOf(conduit.to, conduit, "last", allocation, network);
  const replies = conduit.via !== "diode";
  const legs: Leg[] = [];
  for (const protocol of ["tcp", "udp"] as const) {
    const ports = portsOf(services, protocol);
    if (ports.length > 0) legs.push({ from, point, ports, protocol, redirects: [], replies, to });
  }
  if (services.some((service) => service.icmp)) {
    legs.push({ from, point, ports: [], protocol: "icmp", redirects: [], replies, to });
  }
  return legs;
}

/** One leg to the gate, handed over by redirects; one from its egress addresses to the assets. */
function gateLegs(
  conduit: ResolvedConduit,
  needs: readonly ListenerNeed[],
  allocation: Allocation,
  network: Network,
): { legs: Leg[]; listeners: Listener[] } {
  const { gate, firstPoint, lastPoint, l7, connections } = conduit;
  const room = gate?.name ?? "";
  const listenAddress = gate === undefined ? 0 : (allocation.own(gate, firstPoint) ?? 0);
  const listeners: Listener[] = [];
  const redirects: Redirect[] = [];
  for (const need of needs) {
    const { target, port, slot, asset } = need;
    const listenPort = allocation.listenPort(need);
    redirects.push({ address: target, listenAddress, listenPort, port, room, slot });
    const egressAddress = allocation.egress(conduit, slot);
    const dialled = { targetAddress: target, targetPort: port, asset, slot, l7, connections };
    listeners.push({ room, listenAddress, listenPort, egressAddress, ...dialled });
  }
  const to = addressesOf(conduit.to, conduit, "last", allocation, network);
  const protocol = "tcp" as const;
  const ports = portsOf(conduit.services, protocol);
  const from = addressesOf(conduit.from, conduit, "first", allocation, network);
  const egress: Interval[] = [];
  for (let slot = 0; slot < slotsOf(conduit); slot++) {
    const address = allocation.egress(conduit, slot);
    egress.push({ first: address, last: address });
  }
  const legs = [
    { from, point: firstPoint, ports, protocol, redirects, replies: true, to },
    {
      from: normalize(egress),
      point: lastPoint,
      ports,
      protocol,
      redirects: [],
      replies: true,
      to,
    },
  ];
  return { legs, listeners };
}

function addressesOf(
  end: End,
  conduit: ResolvedConduit,
  which: "first" | "last",
  allocation: Allocation,
  network: Network,
): Interval[] {
  if (end.component !== undefined) {
    const point = which === "first" ? conduit.firstPoint : conduit.lastPoint;
    const own = allocation.own(end.component, point);
    return own === undefined ? [] : [{ first: own, last: own }];
  }
  const singles = end.assets.map(({ address }) => ({ first: address, last: address }));
  const whole = end.networks.flatMap((zone) => network.addresses.get(zone) ?? []);
  return normalize([...singles, ...whole]);
}

export function portsOf(
  services: readonly Service[],
  protocol: Exclude<Protocol, "icmp">,
): Interval[] {
  return normalize(services.flatMap((service) => service[protocol]));
}
